//! `/v1/drain` and `/config/drain`: the node refuses publishes, delivers what it has, and goes.

use std::time::Duration;

use serde::Serialize;

use super::Context;
use super::body::{End, Incoming};
use super::query::Query;
use super::reply::{Refusal, Reply};
use crate::clock;
use crate::engine::DrainPhase;

/// A switch is one word.
const VALUE_MAX: u64 = 64;
/// The longest time that a drain can be given.
const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);

#[derive(Serialize)]
struct State {
    state: &'static str,
    /// When it goes whatever is left, Unix seconds.
    deadline: Option<i64>,
    /// Messages that are still to be delivered or settled.
    messages: u64,
    /// Those of them at consumers.
    in_flight: u64,
}

/// GET `/v1/drain`.
pub(super) fn state(context: &Context) -> Result<Reply, Refusal> {
    let engine = &context.engine;
    let state = *engine.drain_state().borrow();
    let deadline = state.deadline.map(|at| {
        let left = at.saturating_duration_since(clock::now()).as_secs();
        clock::unix_seconds().saturating_add(i64::try_from(left).unwrap_or(i64::MAX))
    });
    Reply::json(&State {
        state: state.phase.as_str(),
        deadline,
        messages: engine.owed(),
        in_flight: engine.in_flight(),
    })
}

/// POST `/v1/drain`, with `timeout` (milliseconds, as `defer`) in place of `--drain-timeout`.
pub(super) fn begin(context: &Context, raw: &str) -> Result<Reply, Refusal> {
    let query = Query::parse(raw)?;
    let timeout = match query.get("timeout") {
        None => context.limits.drain_timeout,
        Some(text) => text
            .parse()
            .ok()
            .map(Duration::from_millis)
            .filter(|timeout| *timeout <= TIMEOUT_MAX)
            .ok_or_else(|| Refusal::bad("INVALID_TIMEOUT"))?,
    };
    drain(context, timeout);
    state(context)
}

/// GET `/config/drain`.
pub(super) fn is_draining(context: &Context) -> Reply {
    let is_draining = context.engine.drain_state().borrow().phase != DrainPhase::Serving;
    Reply::Text(is_draining.to_string())
}

/// PUT `/config/drain` with `true`. A drain is not taken back.
pub(super) async fn configure(context: &Context, body: &mut Incoming) -> Result<Reply, Refusal> {
    let (value, end) = body.read(VALUE_MAX).await;
    match (end, value.trim_ascii()) {
        (End::Broken, _) => Err(Refusal::internal()),
        (End::Complete, b"true" | b"1") => {
            drain(context, context.limits.drain_timeout);
            Ok(is_draining(context))
        }
        _ => Err(Refusal::bad("INVALID_VALUE")),
    }
}

fn drain(context: &Context, timeout: Duration) {
    let deadline = (!timeout.is_zero()).then(|| clock::now() + timeout);
    context.engine.drain(deadline);
}
