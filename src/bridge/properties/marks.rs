//! Headers that routes leave on messages, and those that are of no use to the next one.

/// Header that counts the routes a message has been through.
pub const HOPS_HEADER: &str = "x-leveret-hops";

/// Header with the name of the last route that a message has been through.
pub const ROUTE_HEADER: &str = "x-leveret-route";

/// Routes that a message may go through, unless a route says otherwise.
pub const HOPS_MAX: u8 = 16;

/// What a queue tells of its own deliveries, and a route of its own publishes. It says nothing to whoever is next, and
/// would be taken for what that one says.
pub const OF_THE_LAST: [&str; 6] = [
    "x-acquired-count",
    "x-delivery-count",
    "x-leveret-attempts",
    "x-leveret-due",
    "x-leveret-id",
    "x-stream-offset",
];
