//! The keys of a route file, besides those of the two ends.

use std::time::Duration;

use super::endpoints::{AMQP_TARGET, NSQ, SOURCE, TARGET};
use super::transforms::TRANSFORM;
use super::*;

/// `route file`.
pub(in crate::config) const ROOT: &Keys = &Keys::new(
    "route file",
    &[key(
        "routes",
        Kind::List("list", &Kind::Mapping(ROUTE)),
        "",
        "the routes; a file may hold any number",
    )],
);

/// `routes`.
pub(in crate::config) const ROUTE: &Keys = &Keys::new(
    "routes",
    &[
        key(
            "dead_letter",
            Kind::OneOf(&[Kind::Choice(&["stop", "drop"]), Kind::Mapping(DEAD_LETTER)]),
            "`stop`",
            "see [dead_letter](#dead_letter)",
        )
        .flows("queued, amqp → amqp"),
        key(
            "defer",
            Kind::Boolean,
            "`false`",
            "whether publishes with a delay (DPUB, `/pub?defer=`) are taken, and put off at the target's broker \
             in queues of their own, see [delivery](delivery.md#publishing). Without it they are refused",
        )
        .flows("direct nsq → amqp"),
        needed(
            "from",
            Kind::Mapping(SOURCE),
            "where messages come from, see [from and to](#from-and-to)",
        ),
        key(
            "instances",
            Kind::Choice(&["all", "one"]),
            "`all`",
            "on how many of the nodes that share a [registry](registry.md) it runs: on every one that has it, or on \
             one of them at a time. `one` needs `registry` in the node's file",
        )
        .flows("from amqp, or from other nsqds"),
        key("limit", Kind::Mapping(LIMIT), "no limit", "see [limit](#limit)"),
        key(
            "max_hold",
            Kind::Duration(Duration::from_secs(1), Duration::from_secs(25 * 60)),
            "`10m`",
            "how long a message that a consumer has put off (REQ) is held by this node, unacknowledged; \
             for a longer time it is put off at the broker, see [delivery](delivery.md#consuming)",
        )
        .flows("a queue as a channel"),
        needed(
            "mode",
            Kind::Choice(&["direct", "queued"]),
            "how a message is handed on, see the table of flows",
        ),
        needed("name", NAME, "unique on the node; in metrics, logs and the API"),
        key(
            "ordered",
            Kind::Boolean,
            "`false`",
            "whether a message that is tried again keeps its place, so that none overtakes it: one \
             message at a time is on its way then. Without it first attempts are in order, and \
             what is tried again comes later",
        )
        .flows("queued, amqp → amqp"),
        key(
            "publish_timeout",
            Kind::Duration(Duration::from_millis(10), Duration::from_secs(600)),
            "`30s`",
            "how long a message may wait for the broker's confirm, reconnections included. \
             Direct: then the producer gets the error. Queued: then it is tried again",
        )
        .flows("all but a queue as a channel"),
        key("retry", Kind::Mapping(RETRY), "", "see [retry](#retry)").flows("queued, amqp → amqp"),
        needed("to", Kind::Mapping(TARGET), "where they go"),
        key(
            "transform",
            Kind::Mapping(TRANSFORM),
            "",
            "what it changes of its messages, see [transform](#transform)",
        ),
        key(
            "when",
            Kind::Text("expression", ""),
            "all messages",
            "which messages the route takes, see [when](#when)",
        ),
        key("window", Kind::Mapping(WINDOW), "", "see [window](#window)")
            .flows("all but a queue as a channel"),
    ],
);

const BURST: Key = key(
    "burst",
    Kind::Integer(1, 4_294_967_295),
    "one second's worth",
    "messages that may pass at once",
);
const BURST_BYTES: Key = key(
    "burst_bytes",
    Kind::Size(1 << 10, 1 << 40),
    "one second's worth",
    "bytes that may pass at once",
);
const BYTES: Key = key("bytes", BYTE_RATE, "no limit", "bytes in a span of time, counted in KiB");
const MESSAGES: Key =
    key("messages", MESSAGE_RATE, "no limit", "messages in a span of time. Zero is refused");

/// `limit`.
pub(in crate::config) const LIMIT: &Keys = &Keys::new(
    "limit",
    &[
        BURST,
        BURST_BYTES,
        BYTES,
        key(
            "excess",
            Kind::Mapping(EXCESS),
            "nothing",
            "what may pass above `messages` and `bytes` with a mark, see \
             [limit.excess](#limitexcess)",
        ),
        key(
            "max_keys",
            Kind::Integer(1, 100_000),
            "`10000`",
            "with `per`: keys that have a limit of their own at once; about 1 KiB of memory each",
        ),
        MESSAGES,
        key(
            "on_exceed",
            Kind::Choice(&["wait", "reject", "dead_letter", "drop"]),
            "`wait`",
            "above the limit: `wait` lets the origin wait (a producer's OK comes later, a queue's \
             deliveries stay at the broker), `reject` answers the producer with an error, \
             `dead_letter` hands the message to the route's [dead_letter](#dead_letter), `drop` \
             drops and counts it (a producer gets its OK). `reject` is for direct routes from nsq \
             only, `dead_letter` for routes with a place for dead letters, `drop` for all but a \
             queue as a channel",
        ),
        key(
            "per",
            TEMPLATE,
            "",
            "the key of a message, such as `{{ body.tenant }}`: each key has the whole limit for \
             itself, see [limits by key](#limits-by-key). Not for a queue as a channel",
        ),
        key(
            "total",
            Kind::Mapping(TOTAL),
            "no limit",
            "with `per`: the limit of all keys together, see [limit.total](#limittotal)",
        ),
    ],
);

/// `limit.total`.
pub(in crate::config) const TOTAL: &Keys =
    &Keys::new("limit.total", &[BURST, BURST_BYTES, BYTES, MESSAGES]);

/// `limit.excess`.
pub(in crate::config) const EXCESS: &Keys = &Keys::new(
    "limit.excess",
    &[
        BURST,
        BURST_BYTES,
        BYTES,
        MESSAGES,
        key(
            "routing_key",
            TEMPLATE,
            "that of the route",
            "where such messages go instead, in the same exchange",
        ),
    ],
);

/// `window`.
pub(in crate::config) const WINDOW: &Keys = &Keys::new(
    "window",
    &[
        key("bytes", Kind::Size(1 << 10, 1 << 30), "`16MiB`", "bytes of bodies"),
        key("messages", Kind::Integer(1, 100_000), "`1000`", "messages"),
    ],
);

/// `retry`.
pub(in crate::config) const RETRY: &Keys = &Keys::new(
    "retry",
    &[
        key("backoff", Kind::Mapping(BACKOFF), "", "see [retry.backoff](#retrybackoff)"),
        key(
            "max_attempts",
            Kind::Integer(1, 65_535),
            "`8`",
            "attempts before the message is a [dead letter](#dead_letter), the first one included",
        ),
    ],
);

/// `retry.backoff`.
pub(in crate::config) const BACKOFF: &Keys = &Keys::new(
    "retry.backoff",
    &[
        key(
            "initial",
            Kind::Duration(MILLISECOND, HOUR),
            "`500ms`",
            "before the second attempt; it doubles from attempt to attempt",
        ),
        key("max", Kind::Duration(MILLISECOND, HOUR), "`1m`", "the longest"),
    ],
);

/// `dead_letter`.
pub(in crate::config) const DEAD_LETTER: &Keys = &Keys::new(
    "dead_letter",
    &[
        key(
            "amqp",
            Kind::Mapping(AMQP_TARGET),
            "",
            "an exchange, see [to.amqp](#toamqp); `exchange` and `routing_key` are constants",
        ),
        key("nsq", Kind::Mapping(NSQ), "", "`topic` is a topic of this node, not the route's own"),
    ],
)
.only_one();
