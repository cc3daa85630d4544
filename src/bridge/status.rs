//! What a route says of itself: its counters and how it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::route::{Flow, Route, Source};
use crate::clock;
use crate::limit::{Allowance, Throttle};
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
    condition: Mutex<Condition>,
    /// An operator stopped it, whatever its condition is besides.
    is_paused: AtomicBool,
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
            condition: Mutex::new(condition),
            is_paused: AtomicBool::new(false),
            route,
        })
    }

    /// The limiter whose times are shown.
    pub(super) fn set_throttle(&self, throttle: Arc<Throttle>) {
        *self.throttle.lock() = Some(throttle);
    }

    /// Whether nothing was said of how it is yet.
    pub(super) fn is_starting(&self) -> bool {
        self.condition.lock().reason.as_deref() == Some(STARTING)
    }

    /// All is well.
    pub(super) fn running(&self) {
        self.enter(RouteState::Running, None);
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
        let mut condition = self.condition.lock();
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

    /// Everything, for `/v1/routes` and `/metrics`.
    pub(super) fn show(&self) -> RouteStatus {
        let throttle = self.throttle.lock().clone();
        let counts = self.counters.snapshot();
        let condition = self.condition.lock();
        let limit = self.route.limit.map(|limit| LimitStatus {
            messages_per_second: limit.rates.messages.map(per_second),
            messages_burst: limit.rates.messages.map(|a| a.burst),
            bytes_per_second: limit.rates.bytes.map(per_second),
            bytes_burst: limit.rates.bytes.map(|a| a.burst),
            throttled_seconds: throttle.as_ref().map_or(0.0, |t| t.waited().as_secs_f64()),
            projected_wait_seconds: throttle
                .as_ref()
                .map_or(0.0, |t| t.projected_wait().as_secs_f64()),
        });
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
            limit,
        }
    }
}
