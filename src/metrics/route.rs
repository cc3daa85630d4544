//! A route's counters, and what is shown of it.
//!
//! The books of a route balance: `received = confirmed + dead_lettered + dropped + filtered + rejected + given_back +
//! pending`. Everything else counts events on the way (a message may be retried ten times and confirmed once).

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counts since the route was made. Adds are relaxed and meant to be made once a batch.
#[derive(Debug, Default)]
pub struct RouteCounters {
    /// Messages taken from the origin, each once.
    pub received: AtomicU64,
    /// Bytes of their bodies.
    pub bytes_received: AtomicU64,
    /// Messages for which the destination took responsibility.
    pub confirmed: AtomicU64,
    /// Further attempts to send a message.
    pub retried: AtomicU64,
    /// Messages that the broker returned as unroutable.
    pub returned: AtomicU64,
    /// Messages that the broker refused by a negative confirm.
    pub nacked: AtomicU64,
    /// Messages that went to the dead-letter target.
    pub dead_lettered: AtomicU64,
    /// Messages dropped because the route says so.
    pub dropped: AtomicU64,
    /// Messages that the route does not take.
    pub filtered: AtomicU64,
    /// Messages sent again without knowing whether the first time counted: possible duplicates.
    pub redelivered: AtomicU64,
    /// Messages refused to the producer, which keeps them, for whatever reason.
    pub rejected: AtomicU64,
    /// The part of `rejected` that was above the limit.
    pub rejected_by_limit: AtomicU64,
    /// The part of `dropped` that was above the limit.
    pub dropped_by_limit: AtomicU64,
    /// Messages that passed above the committed rate, and were marked.
    pub excess: AtomicU64,
    /// Deliveries given back to their broker unsettled: nobody wanted them any more, or the connection was lost.
    pub given_back: AtomicU64,
}

/// The values of [`RouteCounters`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "each is described at RouteCounters")]
pub struct RouteCounts {
    pub received: u64,
    pub bytes_received: u64,
    pub confirmed: u64,
    pub retried: u64,
    pub returned: u64,
    pub nacked: u64,
    pub dead_lettered: u64,
    pub dropped: u64,
    pub filtered: u64,
    pub redelivered: u64,
    pub rejected: u64,
    pub rejected_by_limit: u64,
    pub dropped_by_limit: u64,
    pub excess: u64,
    pub given_back: u64,
}

impl RouteCounters {
    /// The values of this moment.
    #[must_use]
    pub fn snapshot(&self) -> RouteCounts {
        // Read in the opposite order of what happens to a message, so that no snapshot shows more ends than beginnings
        // (on processors that reorder loads it can, by what happened in between).
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let confirmed = read(&self.confirmed);
        let dead_lettered = read(&self.dead_lettered);
        let dropped_by_limit = read(&self.dropped_by_limit);
        let excess = read(&self.excess);
        let dropped = read(&self.dropped);
        let filtered = read(&self.filtered);
        let rejected_by_limit = read(&self.rejected_by_limit);
        let given_back = read(&self.given_back);
        let rejected = read(&self.rejected);
        let retried = read(&self.retried);
        let returned = read(&self.returned);
        let nacked = read(&self.nacked);
        let redelivered = read(&self.redelivered);
        let bytes_received = read(&self.bytes_received);
        let received = read(&self.received);
        RouteCounts {
            received,
            bytes_received,
            confirmed,
            retried,
            returned,
            nacked,
            dead_lettered,
            dropped,
            filtered,
            redelivered,
            rejected,
            rejected_by_limit,
            dropped_by_limit,
            excess,
            given_back,
        }
    }
}

impl RouteCounts {
    /// What the books leave: messages that were received and have not ended yet.
    #[must_use]
    pub const fn pending(&self) -> u64 {
        self.received
            .saturating_sub(self.confirmed)
            .saturating_sub(self.dead_lettered)
            .saturating_sub(self.dropped)
            .saturating_sub(self.filtered)
            .saturating_sub(self.rejected)
            .saturating_sub(self.given_back)
    }
}

/// What a route is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteState {
    /// It moves messages, or would if there were any.
    Running,
    /// Nothing to do until somebody subscribes.
    Idle,
    /// It will go on by itself when something comes back.
    #[default]
    Waiting,
    /// Somebody has to mend something.
    Failed,
    /// An operator stopped it.
    Paused,
}

impl RouteState {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Running, Self::Idle, Self::Waiting, Self::Failed, Self::Paused];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Paused => "paused",
        }
    }
}

/// A route's limit, and what it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LimitStatus {
    /// Messages a second in the long run, if they are limited.
    pub messages_per_second: Option<f64>,
    /// Messages that may pass at once after a quiet time.
    pub messages_burst: Option<u64>,
    /// Bytes of bodies a second in the long run, if they are limited.
    pub bytes_per_second: Option<f64>,
    /// Bytes that may pass at once after a quiet time.
    pub bytes_burst: Option<u64>,
    /// Time that the route has spent waiting for its limit.
    pub throttled_seconds: f64,
    /// Time that the batch at the limit still has to wait.
    pub projected_wait_seconds: f64,
    /// Messages that may pass now, if they are limited; below zero, as many are owed.
    pub messages_left: Option<i64>,
    /// Bytes that may pass now, if they are limited; below zero, as many are owed.
    pub bytes_left: Option<i64>,
    /// Keys that have a limit of their own, if there are keys.
    pub keys: Option<u64>,
    /// Messages that wait for their key's limit, or for a rate with a mark.
    pub parked: u64,
}

/// Everything that is shown of a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RouteStatus {
    /// Its name.
    pub name: String,
    /// `direct` or `queued`.
    pub mode: String,
    /// Where it takes messages from, in words.
    pub from: String,
    /// Where it brings them, in words.
    pub to: String,
    /// What it is doing.
    pub state: RouteState,
    /// Since when, Unix seconds.
    pub since: i64,
    /// Why it is not running, in the words of whoever refused.
    pub reason: Option<String>,
    /// Its counters.
    pub counters: RouteCounts,
    /// Messages that were taken from the origin and have not ended yet.
    pub pending: u64,
    /// How many may be pending, if that is bounded by a number of messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
    /// Messages that still lie at the origin, if the route can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// Whether it filters messages or changes them.
    pub transform: bool,
    /// Its limit, if it has one.
    pub limit: Option<LimitStatus>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_balance() {
        let counters = RouteCounters::default();
        counters.received.fetch_add(10, Ordering::Relaxed);
        counters.confirmed.fetch_add(4, Ordering::Relaxed);
        counters.dead_lettered.fetch_add(1, Ordering::Relaxed);
        counters.dropped.fetch_add(1, Ordering::Relaxed);
        counters.received.fetch_add(3, Ordering::Relaxed);
        counters.filtered.fetch_add(3, Ordering::Relaxed);
        counters.rejected.fetch_add(2, Ordering::Relaxed);
        counters.rejected_by_limit.fetch_add(1, Ordering::Relaxed);
        counters.retried.fetch_add(30, Ordering::Relaxed);
        let counts = counters.snapshot();
        assert_eq!((counts.received, counts.retried), (13, 30));
        assert_eq!(counts.pending(), 2);
    }

    #[test]
    fn states_are_written_as_they_are_called() {
        for state in RouteState::ALL {
            let word = serde_json::to_value(state).unwrap();
            assert_eq!(word, state.as_str());
        }
        for state in crate::metrics::broker::BrokerState::ALL {
            let word = serde_json::to_value(state).unwrap();
            assert_eq!(word, state.as_str());
        }
    }

    #[test]
    fn what_a_route_cannot_tell_is_left_out() {
        let shown = serde_json::to_value(RouteStatus::default()).unwrap();
        assert!(shown.get("lag").is_none());
        assert_eq!(shown["state"], "waiting");
        assert_eq!(shown["counters"]["received"], 0);
        assert!(shown["reason"].is_null() && shown["limit"].is_null());
    }
}
