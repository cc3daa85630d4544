//! `/health/live` (it answers) and `/health/ready` (everything that it is to do, it can do), with reasons.

use axum::http::StatusCode;
use serde::Serialize;

use super::Context;
use super::reply::{Refusal, Reply};
use crate::engine::DrainPhase;
use crate::metrics::broker::BrokerState;
use crate::metrics::route::RouteState;

#[derive(Serialize)]
struct Live {
    status: &'static str,
}

/// GET `/health/live`: 200 as long as there is anybody to answer.
pub(super) fn live() -> Result<Reply, Refusal> {
    Reply::json(&Live { status: "live" })
}

#[derive(Serialize)]
struct Part {
    name: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    role: &'static str,
    state: &'static str,
    since: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    /// Empty if it is ready.
    reasons: Vec<String>,
    routes: Vec<Part>,
    brokers: Vec<Part>,
}

/// GET `/health/ready`: 200 if the node is well and does not drain, each route runs (or was paused) and each broker is up, else 503.
pub(super) fn ready(context: &Context) -> Result<Reply, Refusal> {
    let mut reasons: Vec<String> = (context.health)().err().into_iter().collect();
    let phase = context.engine.drain_state().borrow().phase;
    if phase != DrainPhase::Serving {
        reasons.push(format!("the node is {}: it takes no more messages", phase.as_str()));
    }
    let mut routes = Vec::new();
    for route in context.routes.routes() {
        let state = route.state.as_str();
        if !matches!(route.state, RouteState::Running | RouteState::Idle | RouteState::Paused) {
            reasons.push(because("route", &route.name, state, route.reason.as_deref()));
        }
        routes.push(Part {
            name: route.name,
            role: "",
            state,
            since: route.since,
            reason: route.reason,
        });
    }
    let mut brokers = Vec::new();
    for broker in context.routes.brokers() {
        let state = broker.state.as_str();
        if broker.state != BrokerState::Up {
            reasons.push(because("broker", &broker.name, state, broker.error.as_deref()));
        }
        brokers.push(Part {
            name: broker.name,
            role: broker.role,
            state,
            since: broker.since,
            reason: broker.error,
        });
    }
    let (status, word) = if reasons.is_empty() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    Reply::json_with(status, &Ready { status: word, reasons, routes, brokers })
}

fn because(what: &str, name: &str, state: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{what} {name} is {state}: {reason}"),
        None => format!("{what} {name} is {state}"),
    }
}
