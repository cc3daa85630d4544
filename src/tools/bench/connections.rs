//! `leveret bench connections`: memory of an idle subscribed connection, and what its being there costs a publisher.

use super::contest::{Contest, Reading};
use super::nsq::{self, Produce};
use super::process::{Memory, Watch};
use super::publish::names;
use super::report::as_f64;
use super::server::Server;
use super::wire::{Outcome, fail};

/// How many connections, and what is published beside them.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Connections {
    #[command(flatten)]
    contest: Contest,
    /// Idle connections, all subscribed to one channel
    #[arg(long, default_value_t = 5000)]
    count: u64,
    /// Messages that are published to another topic, before and after they are opened
    #[arg(long, default_value_t = 500_000)]
    messages: u64,
}

impl Connections {
    pub(super) fn run(&self) -> Outcome<()> {
        let title = format!("connections: {} idle subscribed ones", self.count);
        self.contest.run(&title, |server| self.measure(server))
    }

    fn measure(&self, server: &Server) -> Outcome<Vec<Reading>> {
        let Some(pid) = server.pid else {
            return fail("the server's process is to be named: --against-pid");
        };
        let (topics, channels) = (names("topic", 2), names("channel", 1));
        let [idle, busy] = topics.as_slice() else { return Ok(Vec::new()) };
        let Some(channel) = channels.first() else { return Ok(Vec::new()) };
        server.make(&topics, &channels)?;
        let alone = self.publish(server, busy, "CPU of PUB without them")?;
        let before = Memory::of(pid)?.now;
        let mut wires = Vec::new();
        for _ in 0..self.count {
            wires.push(nsq::subscribe(&server.address, idle, channel, 1)?);
        }
        let grown = Memory::of(pid)?.now.saturating_sub(before);
        let each = as_f64(grown) / 1024.0 / as_f64(self.count.max(1));
        let beside = self.publish(server, busy, "CPU of PUB beside them")?;
        drop(wires);
        server.unmake(&topics)?;
        let each = Some(Reading::new("memory of each", "KiB", each));
        Ok([each, alone, beside].into_iter().flatten().collect())
    }

    fn publish(&self, server: &Server, topic: &String, name: &str) -> Outcome<Option<Reading>> {
        let watch = Watch::start(server.pid)?;
        nsq::produce(&Produce {
            address: &server.address,
            topics: std::slice::from_ref(topic),
            messages: self.messages,
            size: 200,
            connections: 2,
            batch: 1,
            window: 200,
        })?;
        watch.cpu(name, self.messages)
    }
}
