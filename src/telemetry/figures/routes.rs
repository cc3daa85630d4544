//! The figures of routes.

use crate::metrics::route::{LimitStatus, RouteState, RouteStatus};
use crate::telemetry::samples::{Column, Kind, Samples, counter, gauge};

/// What routes join, and how they are.
pub(super) fn states(page: &mut Samples, routes: &[RouteStatus]) {
    let help = "What a route joins; always 1.";
    page.family("leveret_route_info", Kind::Gauge, help, |family| {
        for route in routes {
            let labels = [
                ("route", route.name.as_str()),
                ("mode", &route.mode),
                ("from", &route.from),
                ("to", &route.to),
            ];
            family.sample(&labels, 1_u64);
        }
    });
    let help = "1 for the state that a route is in, 0 for the others.";
    page.family("leveret_route_state", Kind::Gauge, help, |family| {
        for route in routes {
            for state in RouteState::ALL {
                let labels = [("route", route.name.as_str()), ("state", state.as_str())];
                family.sample(&labels, state == route.state);
            }
        }
    });
}

/// Reads a route's limit, if it has one.
fn limit<T>(route: &RouteStatus, read: impl FnOnce(&LimitStatus) -> T) -> Option<T> {
    route.limit.as_ref().map(read)
}

/// The figures of each route.
pub(super) const ROUTE: &[Column<RouteStatus>] = &[
    gauge(
        "leveret_route_pending",
        "Messages taken from the origin that have not ended yet.",
        |route| route.pending.into(),
    ),
    gauge("leveret_route_window", "How many messages of a route may be pending.", |route| {
        route.window.into()
    }),
    gauge("leveret_route_lag", "Messages that still lie at the origin.", |route| route.lag.into()),
    counter("leveret_route_received_total", "Messages taken from the origin.", |route| {
        route.counters.received.into()
    }),
    counter(
        "leveret_route_received_bytes_total",
        "Bytes of the bodies of messages taken from the origin.",
        |route| route.counters.bytes_received.into(),
    ),
    counter(
        "leveret_route_confirmed_total",
        "Messages that the destination took responsibility for.",
        |route| route.counters.confirmed.into(),
    ),
    counter("leveret_route_retried_total", "Further attempts to send a message.", |route| {
        route.counters.retried.into()
    }),
    counter(
        "leveret_route_returned_total",
        "Messages that the broker returned as unroutable.",
        |route| route.counters.returned.into(),
    ),
    counter(
        "leveret_route_nacked_total",
        "Messages that the broker refused by a negative confirm.",
        |route| route.counters.nacked.into(),
    ),
    counter(
        "leveret_route_dead_lettered_total",
        "Messages that went to the dead-letter target.",
        |route| route.counters.dead_lettered.into(),
    ),
    counter(
        "leveret_route_dropped_total",
        "Messages dropped because the route says so.",
        |route| route.counters.dropped.into(),
    ),
    counter(
        "leveret_route_filtered_total",
        "Messages that the route does not take, settled at their origin.",
        |route| route.counters.filtered.into(),
    ),
    counter(
        "leveret_route_redelivered_total",
        "Messages sent again without knowing whether the first time counted.",
        |route| route.counters.redelivered.into(),
    ),
    counter(
        "leveret_route_rejected_total",
        "Messages refused to the producer, which keeps them.",
        |route| route.counters.rejected.into(),
    ),
    counter(
        "leveret_route_rejected_by_limit_total",
        "Messages refused to the producer because they were above the limit.",
        |route| route.counters.rejected_by_limit.into(),
    ),
    counter(
        "leveret_route_dropped_by_limit_total",
        "Messages dropped because they were above the limit.",
        |route| route.counters.dropped_by_limit.into(),
    ),
    counter(
        "leveret_route_excess_total",
        "Messages that passed above the committed rate, and were marked.",
        |route| route.counters.excess.into(),
    ),
    counter(
        "leveret_route_given_back_total",
        "Deliveries given back to their broker unsettled.",
        |route| route.counters.given_back.into(),
    ),
    counter(
        "leveret_route_throttled_seconds_total",
        "Time that a route has spent waiting for its limit.",
        |route| limit(route, |limit| limit.throttled_seconds).into(),
    ),
    gauge(
        "leveret_route_projected_wait_seconds",
        "Time that the batch at the limit still has to wait.",
        |route| limit(route, |limit| limit.projected_wait_seconds).into(),
    ),
    gauge(
        "leveret_route_limit_left_messages",
        "Messages that a route's limit lets pass now; below zero, as many are owed.",
        |route| limit(route, |limit| limit.messages_left).into(),
    ),
    gauge(
        "leveret_route_limit_left_bytes",
        "Bytes that a route's limit lets pass now; below zero, as many are owed.",
        |route| limit(route, |limit| limit.bytes_left).into(),
    ),
    gauge("leveret_route_limit_keys", "Keys that have a limit of their own.", |route| {
        limit(route, |limit| limit.keys).into()
    }),
    gauge("leveret_route_limit_parked", "Messages that wait for their key's limit.", |route| {
        limit(route, |limit| limit.parked).into()
    }),
    gauge(
        "leveret_route_limit_messages_per_second",
        "Messages a second that a route's limit allows.",
        |route| limit(route, |limit| limit.messages_per_second).into(),
    ),
    gauge(
        "leveret_route_limit_burst_messages",
        "Messages that may pass at once after a quiet time.",
        |route| limit(route, |limit| limit.messages_burst).into(),
    ),
    gauge(
        "leveret_route_limit_bytes_per_second",
        "Bytes a second that a route's limit allows.",
        |route| limit(route, |limit| limit.bytes_per_second).into(),
    ),
    gauge(
        "leveret_route_limit_burst_bytes",
        "Bytes that may pass at once after a quiet time.",
        |route| limit(route, |limit| limit.bytes_burst).into(),
    ),
];
