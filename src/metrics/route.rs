//! What a route counts, and how it is shown.
//!
//! The books balance: `received` = `confirmed` + `dead_lettered` + `dropped` + `rejected` + `failed` + `pending`.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counts since the route was started. Incremented relaxed, a batch at a time.
        #[derive(Debug, Default)]
        pub struct RouteCounters {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        /// [`RouteCounters`] at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct RouteCounts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl RouteCounters {
            /// The counts of this moment.
            #[must_use]
            pub fn snapshot(&self) -> RouteCounts {
                RouteCounts { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Messages taken from the source.
    received,
    /// Bytes of their bodies.
    received_bytes,
    /// Messages that the destination has taken responsibility for.
    confirmed,
    /// Messages that went to the dead-letter endpoint.
    dead_lettered,
    /// Messages dropped because the route says so.
    dropped,
    /// Messages refused to their producer because of the limit.
    rejected,
    /// Messages whose producer was told that they failed, for another reason.
    failed,
    /// Refused messages that are tried again.
    retried,
    /// Messages that no queue was bound for (`basic.return`).
    returned,
    /// Messages that the broker could not take (`basic.nack`).
    nacked,
    /// Messages that may have arrived twice: sent again after a connection was lost, or delivered again by the broker.
    redelivered,
}

/// How a route is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteState {
    /// Messages move.
    Running,
    /// It goes on by itself when something comes back.
    Waiting,
    /// Somebody has to mend something.
    Failed,
}

impl RouteState {
    /// The state in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
        }
    }
}

/// A route's limit and what it cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LimitStatus {
    /// Messages a second.
    pub messages_per_second: Option<f64>,
    /// Messages at once.
    pub messages_burst: Option<u64>,
    /// Bytes a second.
    pub bytes_per_second: Option<f64>,
    /// Bytes at once.
    pub bytes_burst: Option<u64>,
    /// Time spent waiting for it.
    pub throttled_seconds: f64,
    /// Time that the batch at the limit has still to wait.
    pub projected_wait_seconds: f64,
}

/// A route, as `/v1/routes` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouteStatus {
    /// Its name.
    pub name: String,
    /// `direct` or `queued`.
    pub mode: String,
    /// Where messages come from.
    pub from: String,
    /// Where they go.
    pub to: String,
    /// How it is.
    pub state: RouteState,
    /// Since when, Unix seconds.
    pub since: i64,
    /// Why it does not run, in the words of whoever refused.
    pub reason: Option<String>,
    /// What it counted.
    #[serde(flatten)]
    pub counts: RouteCounts,
    /// Messages that it has and that are not settled yet.
    pub pending: u64,
    /// Its limit, if it has one.
    pub limit: Option<LimitStatus>,
}
