//! The node's figures, pushed to OpenTSDB's `/api/put`, which Bosun and others read.
//!
//! [`points`] says what is pushed. What cannot be sent waits in a bounded queue, oldest first, and is tried again; what is
//! refused as wrong is dropped and said. If the queue is full, the oldest points make room.

mod points;

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use crate::client::{Call, HttpClient};
use crate::clock::{self, jittered};
use crate::task::stopped;
use crate::telemetry::samples::Samples;
use points::{Metadata, Point};

/// How long the last push may take when the node stops.
const LAST_PUSH: Duration = Duration::from_secs(3);
/// The first and the longest wait after a push that failed.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Where and how figures are pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `http://host:port` or `https://host:port`, with a path before `/api` if there is one.
    pub url: String,
    /// Tags of every point, beside those of its labels.
    pub tags: Vec<(String, String)>,
    /// The time between two looks at the figures.
    pub interval: Duration,
    /// Points of one request.
    pub batch: u32,
    /// Points that may wait.
    pub queue: u32,
    /// Whether requests are packed.
    pub gzip: bool,
    /// Whether Bosun is told what each metric means.
    pub bosun: bool,
}

/// What became of points.
#[derive(Debug, Default)]
pub struct Counters {
    /// Taken by the server.
    pub sent: AtomicU64,
    /// Refused by it as wrong, or too many to wait.
    pub dropped: AtomicU64,
}

/// What the server says of points that are wrong.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    failed: u64,
    errors: Vec<Failure>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Failure {
    error: String,
}

struct Pusher {
    options: Options,
    http: HttpClient,
    counters: Arc<Counters>,
    queue: VecDeque<Point>,
    metadata: Vec<Metadata>,
}

/// Pushes until `stop`, and what is left then for a few seconds more.
pub async fn run(
    options: Options,
    host: String,
    figures: Arc<dyn Fn() -> Samples + Send + Sync>,
    http: HttpClient,
    counters: Arc<Counters>,
    mut stop: watch::Receiver<bool>,
) {
    let mut tags = vec![("host".to_owned(), host)];
    tags.extend(options.tags.iter().cloned());
    let mut pusher =
        Pusher { options, http, counters, queue: VecDeque::new(), metadata: Vec::new() };
    let (mut due, mut again, mut wait) = (clock::now(), None, BACKOFF.0);
    loop {
        let next = again
            .filter(|_| !pusher.queue.is_empty())
            .map_or(due, |again: clock::Instant| again.min(due));
        let is_last = tokio::select! {
            () = stopped(&mut stop) => true,
            () = sleep_until(next) => false,
        };
        if is_last || clock::now() >= due {
            let samples = figures();
            if pusher.options.bosun && pusher.metadata.is_empty() {
                pusher.metadata = points::metadata(&samples);
            }
            pusher.add(points::of(&samples, &tags, clock::unix_seconds()));
            due += pusher.options.interval;
        }
        if is_last {
            // What does not get out now is lost; the next start has newer figures.
            let pushed = timeout(LAST_PUSH, pusher.push()).await;
            tracing::debug!(
                done = matches!(pushed, Ok(Ok(()))),
                "figures pushed to OpenTSDB for the last time"
            );
            return;
        }
        match pusher.push().await {
            Ok(()) => (again, wait) = (None, BACKOFF.0),
            Err(reason) => {
                tracing::warn!(
                    url = pusher.options.url,
                    reason,
                    waiting = pusher.queue.len(),
                    "figures could not be pushed to OpenTSDB; they are tried again"
                );
                again = Some(clock::now() + jittered(wait));
                wait = (wait * 2).min(BACKOFF.1);
            }
        }
    }
}

impl Pusher {
    fn add(&mut self, points: Vec<Point>) {
        self.queue.extend(points);
        let surplus = self.queue.len().saturating_sub(self.options.queue as usize);
        if surplus > 0 {
            self.queue.drain(..surplus);
            self.drop_points(surplus as u64);
            tracing::warn!(
                surplus,
                "the queue to OpenTSDB is full: the oldest figures are dropped"
            );
        }
    }

    fn drop_points(&self, count: u64) {
        self.counters.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Sends all that waits.
    async fn push(&mut self) -> Result<(), String> {
        if !self.metadata.is_empty() {
            let body = serde_json::to_vec(&self.metadata).map_err(|error| error.to_string())?;
            let answered = self.post("/api/metadata/put", body).await?;
            if answered.0.is_server_error() {
                return Err(format!("/api/metadata/put: it answers {}", answered.0));
            }
            // A server that does not know it is not Bosun's; it is not asked again.
            self.metadata.clear();
            self.options.bosun = false;
        }
        while !self.queue.is_empty() {
            let count = self.queue.len().min(self.options.batch as usize);
            let batch: Vec<&Point> = self.queue.iter().take(count).collect();
            let body = serde_json::to_vec(&batch).map_err(|error| error.to_string())?;
            let (status, answer) = self.post("/api/put?details", body).await?;
            let refused = match status {
                _ if status.is_success() => 0,
                StatusCode::BAD_REQUEST => self.refused(&answer, count),
                _ => return Err(format!("it answers {status}")),
            };
            self.queue.drain(..count);
            self.drop_points(refused);
            let sent = (count as u64).saturating_sub(refused);
            self.counters.sent.fetch_add(sent, Ordering::Relaxed);
        }
        Ok(())
    }

    /// How many of a batch were refused as wrong: the others were taken.
    fn refused(&self, answer: &[u8], count: usize) -> u64 {
        let details: Details = serde_json::from_slice(answer).unwrap_or_default();
        let first = details.errors.first().map(|failure| failure.error.as_str());
        let url = &self.options.url;
        tracing::warn!(
            url,
            reason = first.unwrap_or("it does not say why"),
            "OpenTSDB refuses figures"
        );
        // Without details nobody knows which were taken.
        if details.failed == 0 { count as u64 } else { details.failed.min(count as u64) }
    }

    async fn post(&self, path: &str, body: Vec<u8>) -> Result<(StatusCode, Vec<u8>), String> {
        let mut headers = vec![("content-type", "application/json")];
        let body = if self.options.gzip {
            headers.push(("content-encoding", "gzip"));
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            let packed = encoder.write_all(&body).and_then(|()| encoder.finish());
            packed.map_err(|error| error.to_string())?
        } else {
            body
        };
        let call = Call {
            method: Method::POST,
            headers: &headers,
            body: Some(&body),
            ..Call::get(&self.options.url, path)
        };
        let answered = self.http.send(&call).await.map_err(|error| error.to_string())?;
        Ok((answered.status, answered.body))
    }
}
