//! What a route says of itself: its counters and how it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::route::{Flow, Route, RouteLimit, Source};
use super::transform::Transform;
use crate::clock;
use crate::limit::{Allowance, Throttle};
use crate::metrics::history::{History, HistoryShown};
use crate::metrics::route::{LimitStatus, RouteCounters, RouteState, RouteStatus};

/// Why a route does not run that has just begun.
const STARTING: &str = "starting";

#[derive(Debug)]
struct Condition {
    state: RouteState,
    since: i64,
    reason: Option<String>,
}

fn per_second(allowance: Allowance) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a figure to look at")]
    let amount = allowance.rate.amount() as f64;
    amount / allowance.rate.per().as_secs_f64()
}

/// Shared by all parts of a running route and by whoever shows it.
#[derive(Debug)]
pub(super) struct Status {
    route: Route,
    pub(super) name: Arc<str>,
    pub(super) counters: RouteCounters,
    /// How many messages may be pending, where the route bounds them.
    window: Option<u64>,
    throttle: Mutex<Option<Arc<Throttle>>>,
    /// The limit of the moment.
    limit: Mutex<Option<RouteLimit>>,
    /// Keys with a limit of their own.
    keys: AtomicU64,
    /// Messages that wait for their key's limit.
    parked: AtomicU64,
    condition: Mutex<Condition>,
    /// An operator stopped it, whatever its condition is besides.
    is_paused: AtomicBool,
    history: Mutex<History>,
}

impl Status {
    pub(super) fn new(route: Route) -> Arc<Self> {
        let condition = Condition {
            state: RouteState::Waiting,
            since: clock::unix_seconds(),
            reason: Some(STARTING.into()),
        };
        Arc::new(Self {
            name: route.name.as_str().into(),
            window: match &route.flow {
                Flow::Ingress { publish, .. } => Some(publish.window.messages.into()),
                Flow::Channel { from, .. } => Some(from.prefetch.into()),
                Flow::Move(moving) => Some(match &moving.from {
                    Source::Nsq(_) => moving.publish.window.messages.into(),
                    Source::Amqp(from) => from.prefetch.into(),
                    Source::Remote(from) => from.max_in_flight.into(),
                }),
            },
            counters: RouteCounters::default(),
            throttle: Mutex::default(),
            limit: Mutex::new(route.limit.clone()),
            keys: AtomicU64::new(0),
            parked: AtomicU64::new(0),
            condition: Mutex::new(condition),
            is_paused: AtomicBool::new(false),
            history: Mutex::default(),
            route,
        })
    }

    /// The limiter whose times are shown.
    pub(super) fn set_throttle(&self, throttle: Arc<Throttle>) {
        *self.throttle.lock() = Some(throttle);
    }

    /// The limit that holds from now on.
    pub(super) fn set_limit(&self, limit: Option<RouteLimit>) {
        *self.limit.lock() = limit;
    }

    /// How many keys have a limit of their own, and how many messages wait for theirs.
    pub(super) fn set_parked(&self, keys: u64, parked: u64) {
        self.keys.store(keys, Ordering::Relaxed);
        self.parked.store(parked, Ordering::Relaxed);
    }

    /// Whether nothing was said of how it is yet.
    pub(super) fn is_starting(&self) -> bool {
        self.condition.lock().reason.as_deref() == Some(STARTING)
    }

    /// All is well.
    pub(super) fn running(&self) {
        self.enter(RouteState::Running, None);
    }

    /// One end is there, and nothing was said yet of the other: what that said stays.
    pub(super) fn begun(&self) {
        let mut condition = self.condition.lock();
        if condition.reason.as_deref() == Some(STARTING) {
            self.change(&mut condition, RouteState::Running, None);
        }
    }

    /// Nobody wants anything of it.
    pub(super) fn idle(&self, reason: impl Into<String>) {
        self.enter(RouteState::Idle, Some(reason.into()));
    }

    /// It will go on by itself when something comes back.
    pub(super) fn waiting(&self, reason: impl Into<String>) {
        self.enter(RouteState::Waiting, Some(reason.into()));
    }

    /// Somebody has to mend something, in the words of whoever refused.
    pub(super) fn failed(&self, reason: impl Into<String>) {
        self.enter(RouteState::Failed, Some(reason.into()));
    }

    /// An operator stops it, or has it go on.
    pub(super) fn set_paused(&self, is_paused: bool) {
        if self.is_paused.swap(is_paused, Ordering::Relaxed) != is_paused {
            tracing::info!(route = %self.name, is_paused, "route paused or resumed");
            self.condition.lock().since = clock::unix_seconds();
        }
    }

    fn enter(&self, state: RouteState, reason: Option<String>) {
        self.change(&mut self.condition.lock(), state, reason);
    }

    fn change(&self, condition: &mut Condition, state: RouteState, reason: Option<String>) {
        if condition.state == state && condition.reason == reason {
            return;
        }
        let words = reason.as_deref().unwrap_or("");
        match state {
            RouteState::Failed => {
                tracing::error!(route = %self.name, reason = words, "route failed")
            }
            RouteState::Waiting => {
                tracing::warn!(route = %self.name, reason = words, "route waits")
            }
            RouteState::Idle => tracing::info!(route = %self.name, reason = words, "route is idle"),
            RouteState::Running | RouteState::Paused => {
                tracing::info!(route = %self.name, "route runs");
            }
        }
        *condition = Condition { state, since: clock::unix_seconds(), reason };
    }

    /// Why it does not run, if it does not.
    pub(super) fn trouble(&self) -> Option<String> {
        self.condition.lock().reason.clone()
    }

    fn limit_status(&self, limit: &RouteLimit) -> LimitStatus {
        let throttle = self.throttle.lock().clone();
        let throttle = throttle.as_deref();
        let seconds = |read: fn(&Throttle) -> Duration| {
            throttle.map_or(0.0, |throttle| read(throttle).as_secs_f64())
        };
        LimitStatus {
            messages_per_second: limit.rates.messages.map(per_second),
            messages_burst: limit.rates.messages.map(|a| a.burst),
            bytes_per_second: limit.rates.bytes.map(per_second),
            bytes_burst: limit.rates.bytes.map(|a| a.burst),
            throttled_seconds: seconds(Throttle::waited),
            projected_wait_seconds: seconds(Throttle::projected_wait),
            messages_left: throttle.and_then(Throttle::messages_left),
            bytes_left: throttle.and_then(Throttle::bytes_left),
            keys: limit.per.is_some().then(|| self.keys.load(Ordering::Relaxed)),
            parked: self.parked.load(Ordering::Relaxed),
        }
    }

    /// Remembers how it is now.
    pub(super) fn remember(&self, now: i64) {
        self.history.lock().take(&self.counters.snapshot(), now);
    }

    /// What it remembers.
    pub(super) fn history(&self) -> HistoryShown {
        self.history.lock().show()
    }

    /// Everything, for `/v1/routes` and `/metrics`.
    pub(super) fn show(&self) -> RouteStatus {
        let counts = self.counters.snapshot();
        let condition = self.condition.lock();
        let limit = self.limit.lock().as_ref().map(|limit| self.limit_status(limit));
        RouteStatus {
            name: self.route.name.clone(),
            mode: self.route.mode.to_string(),
            from: self.route.from_text(),
            to: self.route.to_text(),
            state: if self.is_paused.load(Ordering::Relaxed) {
                RouteState::Paused
            } else {
                condition.state
            },
            since: condition.since,
            reason: condition.reason.clone(),
            counters: counts,
            pending: counts.pending(),
            window: self.window,
            lag: None,
            transform: self.route.transform != Transform::default(),
            limit,
        }
    }
}
