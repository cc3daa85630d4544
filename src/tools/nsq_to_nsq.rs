//! nsq_to_nsq: publishes the messages of topics again, on other nsqds.
//!
//! A message is finished once its destination has it. Publishes are on their way together, as many as `max_in_flight` allows.

mod filter;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::task::JoinSet;

pub use filter::Filter;
use filter::Verdict;

use super::client::ClientOptions;
use super::destinations::{Destinations, Mode};
use super::latencies::Latencies;
use super::program::{LogPlan, ToolError, run as run_program, stop_signals};
use super::progress::Progress;
use super::reader::{Reader, Reading};
use super::target::Target;
use crate::clock;
use crate::task::stopped;

/// Messages that are taken in one go.
const BATCH: usize = 256;

/// What to publish again, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The topics.
    pub topics: Vec<String>,
    /// Where from.
    pub reading: Reading,
    /// The nsqds that get it, one of them each message.
    pub destinations: Vec<String>,
    /// The topic there; each message's own if `None`.
    pub destination_topic: Option<String>,
    /// How a destination is chosen.
    pub mode: Mode,
    /// Which messages pass, and what of them.
    pub filter: Filter,
    /// How it is a client of the destinations.
    pub producer: ClientOptions,
    /// After so many publishes a line of the log says how long they took; 0 for never.
    pub status_every: usize,
    /// Whether its progress is for machines.
    pub json: bool,
}

/// Publishes again until a signal.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    run_program(&LogPlan::of("nsq_to_nsq"), || copy(options))
}

/// The nsqds that are published to.
struct Targets {
    all: Vec<(Target, Latencies)>,
    choice: Destinations,
    aggregate: Latencies,
    dial_timeout: Duration,
}

async fn copy(options: &Options) -> Result<(), ToolError> {
    let mut stop = stop_signals()?;
    let targets = Arc::new(Targets::start(options).await?);
    let progress = Progress::begin("published", options.json, true, None);
    let mut topics = JoinSet::new();
    for topic in &options.topics {
        let reader = Reader::start(topic, &options.reading).await?;
        let (options, targets) = (options.clone(), Arc::clone(&targets));
        let (progress, stop) = (Arc::clone(&progress), stop.clone());
        topics.spawn(async move { copy_topic(reader, &options, &targets, &progress, stop).await });
    }
    stopped(&mut stop).await;
    while let Some(ended) = topics.join_next().await {
        ended.map_err(|error| ToolError::Setup(error.to_string()))?;
    }
    progress.end();
    Ok(())
}

async fn copy_topic(
    reader: Reader,
    options: &Options,
    targets: &Targets,
    progress: &Progress,
    mut stop: tokio::sync::watch::Receiver<bool>,
) {
    let to = options.destination_topic.as_deref().unwrap_or_else(|| reader.topic()).to_owned();
    let mut open = FuturesUnordered::new();
    let mut is_stopping = false;
    loop {
        tokio::select! {
            () = stopped(&mut stop), if !is_stopping => {
                is_stopping = true;
                reader.leave();
            }
            Some((message, ended)) = open.next(), if !open.is_empty() => {
                reader.settle(progress, &message, ended);
            }
            messages = reader.next(BATCH), if !is_stopping => {
                for message in messages {
                    match options.filter.decide(&message.body) {
                        Verdict::Drop => reader.finish(&[message.tag]),
                        Verdict::Fail => reader.fail(&message),
                        Verdict::Pass(body) => {
                            let to = to.clone();
                            open.push(async move {
                                let ended = targets.publish(&to, body).await;
                                (message, ended)
                            });
                        }
                    }
                }
            }
            else => break,
        }
        if is_stopping && open.is_empty() {
            break;
        }
    }
    drop(open);
    reader.end().await;
}

impl Targets {
    async fn start(options: &Options) -> Result<Self, ToolError> {
        let mut all = Vec::new();
        let is_alone = options.destinations.len() == 1;
        for address in &options.destinations {
            let target = Target::start(address, &options.producer).await?;
            let every = if is_alone { 0 } else { options.status_every };
            all.push((target, Latencies::new(address.clone(), every)));
        }
        let seed = clock::unix_nanos().unsigned_abs();
        let aggregate = Latencies::new("aggregate".into(), options.status_every);
        let dial_timeout = options.producer.connect.dial_timeout;
        let choice = Destinations::new(options.mode, all.len(), seed);
        Ok(Self { all, choice, aggregate, dial_timeout })
    }

    /// Publishes a body at one of them.
    async fn publish(&self, topic: &str, body: bytes::Bytes) -> Result<(), ToolError> {
        let start = clock::now();
        let chosen = self.choice.choose(start);
        let Some((target, latencies)) = self.all.get(chosen) else { return Ok(()) };
        let ended = async {
            target.up(self.dial_timeout).await?;
            target.answered(target.push(topic, body)).await
        };
        let ended = ended.await;
        let took = clock::since(start);
        self.choice.report(chosen, ended.is_ok(), took, clock::now());
        for latencies in [latencies, &self.aggregate] {
            if let Some(line) = latencies.note(took) {
                tracing::info!("{line}");
            }
        }
        ended
    }
}
