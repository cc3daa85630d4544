//! `leveret bench pub`: how much an NSQ server takes from producers, read by consumers meanwhile or not.

use std::thread;

use super::contest::{Contest, Reading};
use super::crowd;
use super::nsq::{self, Consume, Produce, Span};
use super::process::Watch;
use super::report::as_f64;
use super::server::Server;
use super::wire::{Fail, Outcome};
use crate::clock;

/// More connections than this are served by one thread.
const THREADS_MAX: u64 = 16;

/// What producers do.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Publish {
    #[command(flatten)]
    contest: Contest,
    /// Messages to publish
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// Bytes of a body
    #[arg(long, default_value_t = 200)]
    size: usize,
    /// Connections of producers
    #[arg(long, default_value_t = 2)]
    connections: u64,
    /// Messages in one MPUB; 1 sends PUB
    #[arg(long, default_value_t = 200)]
    batch: u64,
    /// Messages of one connection that may be unanswered [default: one batch]
    #[arg(long, value_name = "MESSAGES")]
    pipeline: Option<u64>,
    /// PUB, and wait for OK before the next: as --batch 1 --pipeline 1
    #[arg(long, conflicts_with_all = ["batch", "pipeline"])]
    sync: bool,
    /// Topics that are published to by turns
    #[arg(long, default_value_t = 1)]
    topics: usize,
    /// Channels of each topic
    #[arg(long, default_value_t = 1)]
    channels: usize,
    /// Consumers of the first topic's first channel
    #[arg(long, default_value_t = 0)]
    consumers: u64,
}

impl Publish {
    pub(super) fn run(&self) -> Outcome<()> {
        let title = format!(
            "PUB: {} messages of {} bytes, {} connections, batches of {}, {} unanswered, {} topics with {} channels, {} consumers",
            self.messages,
            self.size,
            self.connections,
            self.batch(),
            self.pipeline(),
            self.topics,
            self.channels,
            self.consumers,
        );
        self.contest.run(&title, |server| self.measure(server))
    }

    fn batch(&self) -> u64 {
        if self.sync { 1 } else { self.batch.max(1) }
    }

    fn pipeline(&self) -> u64 {
        if self.sync { 1 } else { self.pipeline.unwrap_or(self.batch).max(1) }
    }

    fn measure(&self, server: &Server) -> Outcome<Vec<Reading>> {
        let topics = names("topic", self.topics);
        let channels = names("channel", self.channels);
        server.make(&topics, &channels)?;
        let watch = Watch::start(server.pid)?;
        let readings = if self.consumers == 0 {
            let span = self.produce(server, &topics)?;
            vec![Some(rate("published", span))]
        } else {
            self.with_consumers(server, &topics, &channels)?
        };
        let cpu = watch.cpu("CPU", self.messages)?;
        let readings = readings.into_iter().chain([cpu]).chain(watch.memory()?);
        server.unmake(&topics)?;
        Ok(readings.flatten().collect())
    }

    fn produce(&self, server: &Server, topics: &[String]) -> Outcome<Span> {
        let (batch, window) = (self.batch(), self.pipeline());
        let Self { messages, size, connections, .. } = *self;
        let address = &server.address;
        if batch == 1 && (window == 1 || connections > THREADS_MAX) {
            let load = crowd::Crowd { address, topics, messages, size, connections, window };
            return crowd::publish(&load);
        }
        nsq::produce(&Produce { address, topics, messages, size, connections, batch, window })
    }

    fn with_consumers(
        &self,
        server: &Server,
        topics: &[String],
        channels: &[String],
    ) -> Outcome<Vec<Option<Reading>>> {
        let (Some(topic), Some(channel)) = (topics.first(), channels.first()) else {
            return Ok(Vec::new());
        };
        let load = Consume {
            address: &server.address,
            topic,
            channel,
            messages: self.messages / topics.len() as u64,
            connections: self.consumers,
            ready: 2500,
        };
        thread::scope(|scope| {
            let began = clock::now();
            let consuming = scope.spawn(|| nsq::consume(&load).map(|span| (span, clock::now())));
            let produced = self.produce(server, topics)?;
            let (consumed, ended) =
                consuming.join().map_err(|_| Fail::Said("the consumers panicked".into()))??;
            let time = ended.saturating_duration_since(began);
            let delivered = Span { messages: consumed.messages, time };
            Ok(vec![Some(rate("published", produced)), Some(rate("delivered", delivered))])
        })
    }
}

/// Messages a second.
pub(super) fn rate(name: impl Into<String>, span: Span) -> Reading {
    Reading::new(name, "msg/s", as_f64(span.messages) / span.time.as_secs_f64())
}

/// `count` names of one length.
pub(super) fn names(stem: &str, count: usize) -> Vec<String> {
    (0..count.max(1)).map(|at| format!("bench-{stem}-{at:05}")).collect()
}
