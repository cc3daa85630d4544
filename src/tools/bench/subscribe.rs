//! `leveret bench sub`: how much an NSQ server gives to consumers that finish everything.

use super::contest::{Contest, Reading};
use super::nsq::{self, Consume, Produce};
use super::process::Watch;
use super::publish::{names, rate};
use super::server::Server;
use super::wire::{Outcome, fail};

/// What consumers do.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Subscribe {
    #[command(flatten)]
    contest: Contest,
    /// Messages that are queued first and taken then; the memory at most is that over both
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// Bytes of a body
    #[arg(long, default_value_t = 200)]
    size: usize,
    /// Connections of consumers
    #[arg(long, default_value_t = 2)]
    connections: u64,
    /// RDY of each connection
    #[arg(long, default_value_t = 2500)]
    ready: u32,
}

impl Subscribe {
    pub(super) fn run(&self) -> Outcome<()> {
        let title = format!(
            "SUB: {} messages of {} bytes, {} connections, RDY {}",
            self.messages, self.size, self.connections, self.ready,
        );
        self.contest.run(&title, |server| self.measure(server))
    }

    fn measure(&self, server: &Server) -> Outcome<Vec<Reading>> {
        let (topics, channels) = (names("topic", 1), names("channel", 1));
        let (Some(topic), Some(channel)) = (topics.first(), channels.first()) else {
            return Ok(Vec::new());
        };
        server.make(&topics, &channels)?;
        let filled = Watch::start(server.pid)?;
        nsq::produce(&Produce {
            address: &server.address,
            topics: &topics,
            messages: self.messages,
            size: self.size,
            connections: 2,
            batch: 200,
            window: 200,
        })?;
        let fill = filled.cpu("CPU of queueing", self.messages)?;
        let watch = Watch::start(server.pid)?;
        let span = nsq::consume(&Consume {
            address: &server.address,
            topic,
            channel,
            messages: self.messages,
            connections: self.connections,
            ready: self.ready,
        })?;
        if span.messages != self.messages {
            return fail(format!("{} messages queued, {} came", self.messages, span.messages));
        }
        let cpu = watch.cpu("CPU", self.messages)?;
        let readings = [Some(rate("delivered", span)), cpu, fill].into_iter();
        let readings = readings.chain(watch.memory()?).flatten().collect();
        server.unmake(&topics)?;
        Ok(readings)
    }
}
