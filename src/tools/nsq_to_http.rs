//! nsq_to_http: hands each message of a topic to an HTTP server, and finishes it when that took it.

mod request;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use request::Sender;
pub use request::{Address, AddressError, header};

use super::chance::Chance;
use super::destinations::{Destinations, Mode};
use super::latencies::Latencies;
use super::program::{LogPlan, ToolError, run as run_program, stop_signals};
use super::progress::Progress;
use super::reader::{Delivery, Reader, Reading};
use crate::clock;
use crate::task::stopped;

/// What to hand to whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The topic.
    pub topic: String,
    /// Where from.
    pub reading: Reading,
    /// Who gets it.
    pub addresses: Vec<Address>,
    /// How one of them is chosen; all of them, one after the other, if `None`.
    pub mode: Option<Mode>,
    /// Requests at a time.
    pub handlers: usize,
    /// Further headers, by name; one may stand for one of ours.
    pub headers: Vec<(String, String)>,
    /// Of a POST.
    pub content_type: String,
    /// For a connection to be open.
    pub connect_timeout: Duration,
    /// For an answer.
    pub request_timeout: Duration,
    /// The part of the messages that is sent, 0 to 1; the rest is finished as it comes.
    pub sample: f64,
    /// After so many requests a line of the log says how long they took; 0 for never.
    pub status_every: usize,
    /// Whether its progress is for machines.
    pub json: bool,
}

/// Hands messages on until a signal.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    run_program(&LogPlan::of("nsq_to_http"), || hand_on(options))
}

/// Who gets messages, and how that goes.
struct Targets {
    sender: Sender,
    all: Vec<(Address, Latencies)>,
    choice: Option<Destinations>,
    aggregate: Latencies,
}

async fn hand_on(options: &Options) -> Result<(), ToolError> {
    let mut stop = stop_signals()?;
    let targets = Arc::new(Targets::new(options)?);
    let reader = Reader::start(&options.topic, &options.reading).await?;
    let progress = Progress::begin("sent", options.json, true, None);
    let mut chance = Chance::new(clock::unix_nanos().unsigned_abs());
    let mut open = FuturesUnordered::new();
    let mut is_stopping = false;
    loop {
        let room = options.handlers.saturating_sub(open.len());
        tokio::select! {
            () = stopped(&mut stop), if !is_stopping => {
                is_stopping = true;
                reader.leave();
            }
            Some((message, ended)) = open.next(), if !open.is_empty() => {
                reader.settle(&progress, &message, ended);
            }
            messages = reader.next(room), if !is_stopping && room > 0 => {
                for message in messages {
                    if options.sample < 1.0 && chance.part() > options.sample {
                        reader.finish(&[message.tag]);
                        continue;
                    }
                    let targets = Arc::clone(&targets);
                    open.push(async move {
                        let ended = targets.send(&message).await;
                        (message, ended)
                    });
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
    progress.end();
    Ok(())
}

impl Targets {
    fn new(options: &Options) -> Result<Self, ToolError> {
        let every = if options.addresses.len() > 1 { options.status_every } else { 0 };
        let label = |address: &Address| Latencies::new(address.to_string(), every);
        let all: Vec<_> =
            options.addresses.iter().map(|address| (address.clone(), label(address))).collect();
        let seed = clock::unix_nanos().unsigned_abs();
        Ok(Self {
            sender: Sender::new(options)?,
            choice: options.mode.map(|mode| Destinations::new(mode, all.len(), seed)),
            all,
            aggregate: Latencies::new("aggregate".into(), options.status_every),
        })
    }

    async fn send(&self, message: &Delivery) -> Result<(), String> {
        let Some(choice) = &self.choice else {
            // Those that have it already get it again if a later one fails.
            for (address, latencies) in &self.all {
                self.send_to(address, latencies, message).await?;
            }
            return Ok(());
        };
        let start = clock::now();
        let chosen = choice.choose(start);
        let Some((address, latencies)) = self.all.get(chosen) else { return Ok(()) };
        let ended = self.send_to(address, latencies, message).await;
        choice.report(chosen, ended.is_ok(), clock::since(start), clock::now());
        ended
    }

    async fn send_to(
        &self,
        address: &Address,
        latencies: &Latencies,
        message: &Delivery,
    ) -> Result<(), String> {
        let start = clock::now();
        let ended = self.sender.send(address, &message.body).await;
        let took = clock::since(start);
        for latencies in [latencies, &self.aggregate] {
            if let Some(line) = latencies.note(took) {
                tracing::info!("{line}");
            }
        }
        ended.map_err(|error| format!("{address}: {error}"))
    }
}
