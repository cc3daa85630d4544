//! The keys of `topics` in the node's file.

use std::time::Duration;

use super::*;

/// What a message outlives.
pub(super) const DURABILITY: Kind = Kind::Choice(&["memory", "disk", "fsync"]);

const ON_FULL: Kind = Kind::Choice(&["reject", "drop_oldest"]);

const CHANNEL_NAMES: Kind = Kind::List("list of channel names", &CHANNEL_NAME);

const DEAD_LETTER_TO: Kind = Kind::OneOf(&[EMPTY_OR_TOPIC_NAME, Kind::Mapping(DEAD_LETTER)]);

const MESSAGES: Kind = Kind::Integer(0, 1 << 50);

const BYTES: Kind = Kind::Size(0, BOUNDLESS);

const AGE: Kind = Kind::Duration(Duration::ZERO, TEN_YEARS);

/// `topics`.
pub(in crate::config) const TOPIC: &Keys = &Keys::new(
    "topics",
    &[
        key(
            "broker",
            BROKER_NAME,
            "`default`",
            "with `store: rabbitmq`: which of the node's [brokers](configuration.md#brokers)",
        ),
        key(
            "channel",
            Kind::List("list", &Kind::Mapping(CHANNEL)),
            "none",
            "rows for some of the channels, see [topics.channel](#topicschannel)",
        ),
        key("channels", CHANNEL_NAMES, "none", "the same, for whoever likes the channels apart"),
        key(
            "dead_letter",
            DEAD_LETTER_TO,
            "none",
            "where it goes then, see [dead_letter](#dead_letter). Without it the message is \
             dropped",
        ),
        key(
            "declare",
            Kind::OneOf(&[Kind::Boolean, CHANNEL_NAMES]),
            "`false`",
            "the topic, and these channels, are made at start. Only if `match` is a name",
        ),
        key(
            "durability",
            DURABILITY,
            "`nsqd.durability`",
            "what a message outlives once its publish is answered",
        ),
        needed("match", PATTERN, "which topics"),
        key("max_age", AGE, "`0`", "older messages are not delivered; 0 is no bound"),
        key(
            "max_attempts",
            Kind::Integer(0, 65_535),
            "`0`",
            "deliveries after which a channel gives a message up; 0 is never",
        ),
        key("max_bytes", BYTES, "`0`", "the same in bytes of bodies"),
        key(
            "max_hold",
            Kind::Duration(SECOND, Duration::from_secs(25 * 60)),
            "`10m`",
            "with `store: rabbitmq`: how long a message that a consumer has put off is held by this \
             node at most; for a longer time it is put off at the broker",
        ),
        key(
            "max_messages",
            MESSAGES,
            "`0`",
            "the most messages that may wait in the topic's own queue, and in each channel; 0 is \
             no bound",
        ),
        key(
            "on_full",
            ON_FULL,
            "`reject`",
            "what happens to a publish beyond `max_messages` or `max_bytes`",
        ),
        key(
            "prefetch",
            Kind::Integer(1, 65_535),
            "`300`",
            "with `store: rabbitmq`: the most messages of a channel that this node holds \
             unacknowledged",
        ),
        key(
            "publish_timeout",
            Kind::Duration(Duration::from_millis(10), Duration::from_secs(600)),
            "`30s`",
            "with `store: rabbitmq`: how long a publish may wait for the broker's confirm, and a \
             SUB or a change over HTTP for the broker's side of it",
        ),
        key(
            "queue",
            Kind::Mapping(STORE_QUEUE),
            "a quorum queue",
            "with `store: rabbitmq`: how channels are kept, see [topics.queue](#topicsqueue)",
        ),
        key(
            "retention",
            Kind::Mapping(RETENTION),
            "none",
            "what is kept for channels to come, see [retention](#retention)",
        ),
        key(
            "store",
            Kind::Choice(&["local", "rabbitmq"]),
            "`local`",
            "where the messages live: in this node's log, or at a broker, see [store](store.md)",
        ),
    ],
);

/// `topics.queue`.
pub(in crate::config) const STORE_QUEUE: &Keys = &Keys::new(
    "topics.queue",
    &[
        key(
            "delivery_limit",
            Kind::Integer(1, 2_147_483_647),
            "`65535`",
            "deliveries after which the broker drops a message. Quorum",
        ),
        key(
            "type",
            Kind::Choice(&["classic", "quorum"]),
            "`quorum`",
            "`quorum` is replicated over the nodes of a cluster, `classic` is on one node",
        ),
    ],
);

/// `topics.channel`.
pub(in crate::config) const CHANNEL: &Keys = &Keys::new(
    "topics.channel",
    &[
        key("dead_letter", DEAD_LETTER_TO, "the topic's", "as of a topic"),
        needed("match", PATTERN, "which channels of the topics that match"),
        key("max_age", AGE, "the topic's", "as of a topic"),
        key("max_attempts", Kind::Integer(0, 65_535), "the topic's", "as of a topic"),
        key("max_bytes", BYTES, "the topic's", "as of a topic"),
        key("max_messages", MESSAGES, "the topic's", "as of a topic, for this channel alone"),
        key("on_full", ON_FULL, "the topic's", "as of a topic"),
        key(
            "rate",
            Kind::OneOf(&[MESSAGE_RATE, Kind::Choice(&["none"]), Kind::Mapping(RATE)]),
            "`none`",
            "the most deliveries, all consumers together, see [rate](#rate)",
        ),
        key(
            "replay",
            Kind::OneOf(&[Kind::Choice(&["new", "start"]), AGE, Kind::Mapping(REPLAY)]),
            "`new`",
            "where a channel of what the topic has [retained](#retention) begins when it is made, \
             see [replay](#replay)",
        ),
    ],
);

/// `retention`.
pub(in crate::config) const RETENTION: &Keys = &Keys::new(
    "retention",
    &[
        key(
            "age",
            AGE,
            "none",
            "messages at most this old are kept after all channels have finished them",
        ),
        key("bytes", BYTES, "none", "the newest so many bytes of bodies"),
        key("messages", MESSAGES, "none", "the newest so many messages"),
    ],
);

/// `topics.dead_letter`.
pub(in crate::config) const DEAD_LETTER: &Keys = &Keys::new(
    "topics.dead_letter",
    &[
        key(
            "envelope",
            Kind::Choice(&["none", "json"]),
            "`none`",
            "`none`: the body as it is. `json`: an object with `reason`, `topic`, `channel`, \
             `id`, `timestamp` (of the publish, ns), `attempts`, `body`, and `encoding: base64` \
             if the body is not UTF-8",
        ),
        needed(
            "topic",
            TOPIC_NAME,
            "the local topic; it is made when it is needed. It may have a route of its own",
        ),
    ],
);

/// `rate`.
pub(in crate::config) const RATE: &Keys = &Keys::new(
    "rate",
    &[
        key(
            "burst",
            Kind::Integer(1, 4_294_967_295),
            "a second's worth",
            "how many may pass at once after a quiet time. With less than the rate of a few \
             milliseconds the timers are too coarse to reach the rate",
        ),
        needed("messages", MESSAGE_RATE, "deliveries in a span of time"),
    ],
);

/// `replay`.
pub(in crate::config) const REPLAY: &Keys = &Keys::new(
    "replay",
    &[
        key(
            "offset",
            Kind::Integer(0, (1 << 54) - 1),
            "",
            "begins with the message of this number, the lower 54 bits of its id, or the next one",
        ),
        key(
            "time",
            Kind::Text("Unix seconds, or `2024-05-01T12:00:00Z`", ""),
            "",
            "begins with the first message published then or later",
        ),
    ],
)
.only_one();
