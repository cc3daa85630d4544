//! `leveret bench topics`: what a message costs by the number of topics that are published to.

use super::contest::{Contest, Reading};
use super::nsq::{self, Produce};
use super::process::Watch;
use super::publish::{names, rate};
use super::server::Server;
use super::wire::Outcome;

/// How many topics.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Topics {
    #[command(flatten)]
    contest: Contest,
    /// Numbers of topics, each with one channel
    #[arg(long, value_name = "COUNT,...", value_delimiter = ',', default_values_t = [1, 100, 1000])]
    topics: Vec<usize>,
    /// Messages to publish, to all topics by turns
    #[arg(long, default_value_t = 500_000)]
    messages: u64,
    /// Bytes of a body
    #[arg(long, default_value_t = 200)]
    size: usize,
    /// Messages of one connection that may be unanswered
    #[arg(long, default_value_t = 200)]
    pipeline: u64,
}

impl Topics {
    pub(super) fn run(&self) -> Outcome<()> {
        let title = format!(
            "topics: {} messages of {} bytes to {:?} topics by turns, PUB, {} unanswered",
            self.messages, self.size, self.topics, self.pipeline
        );
        self.contest.run(&title, |server| self.measure(server))
    }

    fn measure(&self, server: &Server) -> Outcome<Vec<Reading>> {
        let channels = names("channel", 1);
        let mut readings = Vec::new();
        for &count in &self.topics {
            let topics = names(&format!("of-{count}"), count);
            server.make(&topics, &channels)?;
            let watch = Watch::start(server.pid)?;
            let span = nsq::produce(&Produce {
                address: &server.address,
                topics: &topics,
                messages: self.messages,
                size: self.size,
                connections: 2,
                batch: 1,
                window: self.pipeline,
            })?;
            readings.push(Some(rate(format!("to {count} topics"), span)));
            readings.push(watch.cpu(format!("CPU with {count} topics"), self.messages)?);
            server.unmake(&topics)?;
        }
        Ok(readings.into_iter().flatten().collect())
    }
}
