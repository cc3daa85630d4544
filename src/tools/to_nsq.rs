//! to_nsq: publishes what comes in, piece by piece, to every one of the nsqds that are named.
//!
//! Publishes are on their way together, [`WINDOW`] of them to each nsqd, in the order of the pieces; the original waits for
//! each answer before it sends the next. It also takes the last byte of the input for a delimiter and drops it, which
//! this does not.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::num::NonZeroU64;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::client::ClientOptions;
use super::program::{LogPlan, ToolError, run as run_program, stop_signals, try_all};
use super::progress::Progress;
use super::target::{Answer, Target};
use crate::limit::{Allowance, LimitOptions, Limiter, Rate};
use crate::task::stopped;

/// Publishes on their way to one nsqd.
const WINDOW: usize = 200;
/// Pieces that are read ahead.
const AHEAD: usize = 256;
/// The largest piece, bytes: no nsqd takes more.
const PIECE_MAX: u64 = 1 << 30;

/// What to publish where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The topic.
    pub topic: String,
    /// The nsqds, which get everything each.
    pub nsqd: Vec<String>,
    /// The byte between pieces.
    pub delimiter: u8,
    /// Messages a second, the first second's worth at once if need be; as many as go if `None`.
    pub rate: Option<NonZeroU64>,
    /// How it is a client.
    pub client: ClientOptions,
    /// Whether its progress is for machines.
    pub json: bool,
}

/// Publishes the standard input.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    run_program(&LogPlan::of("to_nsq"), || publish_all(options))
}

/// One nsqd, and the answers that it owes.
struct Destination {
    target: Target,
    open: VecDeque<Answer>,
}

async fn publish_all(options: &Options) -> Result<(), ToolError> {
    try_all(&options.nsqd, &options.client).await?;
    let mut destinations = Vec::new();
    for address in &options.nsqd {
        let target = Target::start(address, &options.client).await?;
        destinations.push(Destination { target, open: VecDeque::new() });
    }
    let mut stop = stop_signals()?;
    let total = size_of_input();
    let progress = Progress::begin("published", options.json, true, total);
    let (pieces, mut arriving) = mpsc::channel(AHEAD);
    let delimiter = options.delimiter;
    // It may wait for input for ever, and nobody waits for it.
    std::thread::spawn(move || read(std::io::stdin(), delimiter, &pieces));
    let mut limiter = options.rate.and_then(limiter);
    let mut published = Ok(());
    loop {
        let piece = tokio::select! {
            () = stopped(&mut stop) => break,
            piece = arriving.recv() => piece,
        };
        let Some(piece) = piece else { break };
        let piece = piece.map_err(ToolError::io("cannot read the standard input"))?;
        if let Some(limiter) = &mut limiter {
            limiter.acquire(1, 0).await;
        }
        let bytes = piece.len() as u64 + 1;
        for destination in &mut destinations {
            published = destination.push(&options.topic, piece.clone()).await;
            if published.is_err() {
                break;
            }
        }
        if published.is_err() {
            break;
        }
        progress.done(1, bytes);
    }
    for destination in &mut destinations {
        published = published.and(destination.settle(0).await);
    }
    progress.end();
    published
}

impl Destination {
    async fn push(&mut self, topic: &str, piece: Bytes) -> Result<(), ToolError> {
        self.settle(WINDOW - 1).await?;
        self.open.push_back(self.target.push(topic, piece));
        Ok(())
    }

    /// Waits until no more than so many answers are owed.
    async fn settle(&mut self, most: usize) -> Result<(), ToolError> {
        while self.open.len() > most {
            let Some(answer) = self.open.pop_front() else { break };
            self.target.answered(answer).await?;
        }
        Ok(())
    }
}

/// A bucket of a second's worth that begins with one message.
fn limiter(rate: NonZeroU64) -> Option<Limiter> {
    let rate = Rate::new(rate, Duration::from_secs(1))?;
    let allowance = Allowance { rate, burst: rate.per_second_ceil() };
    Some(Limiter::empty(&LimitOptions { messages: Some(allowance), bytes: None }))
}

/// Sends every piece of `input` that is not empty, without the delimiter behind it.
fn read(input: impl Read, delimiter: u8, pieces: &mpsc::Sender<std::io::Result<Bytes>>) {
    let mut input = BufReader::with_capacity(1 << 16, input);
    loop {
        let mut piece = Vec::new();
        let next = input.by_ref().take(PIECE_MAX).read_until(delimiter, &mut piece);
        let is_end = match next {
            Ok(read) => read == 0,
            Err(error) => {
                pieces.blocking_send(Err(error)).unwrap_or_default();
                true
            }
        };
        if is_end {
            return;
        }
        if piece.last() == Some(&delimiter) {
            piece.pop();
        }
        if !piece.is_empty() && pieces.blocking_send(Ok(piece.into())).is_err() {
            return;
        }
    }
}

/// How much there is to read, if the input is a file.
fn size_of_input() -> Option<u64> {
    let input = std::io::stdin();
    let found = rustix::fs::fstat(&input).ok()?;
    let is_file =
        rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::RegularFile;
    let size = u64::try_from(found.st_size).ok()?;
    let read = rustix::fs::tell(&input).unwrap_or_default();
    is_file.then(|| size.saturating_sub(read))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(input: &[u8], delimiter: u8) -> Vec<Bytes> {
        let (sender, mut receiver) = mpsc::channel(100);
        read(input, delimiter, &sender);
        drop(sender);
        std::iter::from_fn(|| receiver.try_recv().ok()).map(Result::unwrap).collect()
    }

    #[test]
    fn edge_152_nothing_is_taken_from_the_last_piece() {
        assert_eq!(pieces(b"one\ntwo\n", b'\n'), ["one", "two"]);
        assert_eq!(pieces(b"one\ntwo", b'\n'), ["one", "two"]);
        assert_eq!(pieces(b"\n\none\n\n", b'\n'), ["one"], "empty ones are left out");
        assert_eq!(pieces(b"a\nb,c", b','), ["a\nb", "c"]);
        assert!(pieces(b"", b'\n').is_empty());
    }
}
