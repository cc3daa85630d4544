//! `leveret bench fanout`: what a message costs by the number of channels that each hand it to a consumer.

use std::thread;

use super::contest::{Contest, Reading};
use super::nsq::{self, Consume, Produce, Span};
use super::process::Watch;
use super::publish::{names, rate};
use super::server::Server;
use super::wire::{Fail, Outcome};
use crate::clock;

/// How many channels.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Fanout {
    #[command(flatten)]
    contest: Contest,
    /// Numbers of channels, each with one consumer
    #[arg(long, value_name = "COUNT,...", value_delimiter = ',', default_values_t = [1, 10])]
    channels: Vec<usize>,
    /// Messages to publish
    #[arg(long, default_value_t = 200_000)]
    messages: u64,
    /// Bytes of a body
    #[arg(long, default_value_t = 200)]
    size: usize,
}

impl Fanout {
    pub(super) fn run(&self) -> Outcome<()> {
        let title = format!(
            "fan-out: {} messages of {} bytes to {:?} channels",
            self.messages, self.size, self.channels
        );
        self.contest.run(&title, |server| self.measure(server))
    }

    fn measure(&self, server: &Server) -> Outcome<Vec<Reading>> {
        let topics = names("fanout", self.channels.len());
        let mut readings = Vec::new();
        let mut first: Option<(usize, f64)> = None;
        for (&count, topic) in self.channels.iter().zip(&topics) {
            let channels = names("channel", count);
            let topic = std::slice::from_ref(topic);
            server.make(topic, &channels)?;
            let watch = Watch::start(server.pid)?;
            let span = self.move_all(server, topic, &channels)?;
            readings.push(Some(rate(format!("to {count} channels"), span)));
            let cpu = watch.cpu(format!("CPU with {count} channels"), self.messages)?;
            match (&cpu, first) {
                (Some(cpu), None) => first = Some((count, cpu.value)),
                (Some(cpu), Some((fewest, one))) if one > 0.0 => {
                    let name = format!("CPU with {count} channels by that with {fewest}");
                    readings.push(Some(Reading::new(name, "times", cpu.value / one)));
                }
                _ => {}
            }
            readings.push(cpu);
        }
        server.unmake(&topics)?;
        Ok(readings.into_iter().flatten().collect())
    }

    /// From the first publish until every channel's consumer has everything.
    fn move_all(&self, server: &Server, topics: &[String], channels: &[String]) -> Outcome<Span> {
        let address = server.address.as_str();
        let Self { messages, size, .. } = *self;
        let topic = topics.first().map_or("", String::as_str);
        thread::scope(|scope| {
            let consume = |channel| {
                let (connections, ready) = (1, 2500);
                nsq::consume(&Consume { address, topic, channel, messages, connections, ready })
            };
            let consuming: Vec<_> =
                channels.iter().map(|channel| scope.spawn(move || consume(channel))).collect();
            let began = clock::now();
            let (connections, batch, window) = (2, 200, 200);
            nsq::produce(&Produce { address, topics, messages, size, connections, batch, window })?;
            for consumer in consuming {
                consumer.join().map_err(|_| Fail::Said("a consumer panicked".into()))??;
            }
            Ok(Span { messages, time: clock::since(began) })
        })
    }
}
