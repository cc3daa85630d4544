//! The keys of the two ends of a route.

use super::declare::{SOURCE_DECLARE, TARGET_DECLARE};
use super::*;

/// `from`.
pub(in crate::config) const SOURCE: &Keys = &Keys::new(
    "from",
    &[
        key(
            "amqp",
            Kind::Mapping(AMQP_SOURCE),
            "",
            "a queue of a broker, see [from.amqp](#fromamqp)",
        ),
        key("nsq", Kind::Mapping(NSQ), "", "a topic of this node, see [nsq](#nsq)"),
    ],
)
.only_one();

/// `to`.
pub(in crate::config) const TARGET: &Keys = &Keys::new(
    "to",
    &[
        key(
            "amqp",
            Kind::Mapping(AMQP_TARGET),
            "",
            "an exchange of a broker, see [to.amqp](#toamqp)",
        ),
        key("nsq", Kind::Mapping(NSQ), "", "a topic of this node, see [nsq](#nsq)"),
        key(
            "share",
            Kind::Mapping(SHARE),
            "",
            "each message goes to one of two places, see [to.share](#toshare)",
        ),
        key("tee", Kind::Mapping(TEE), "", "two places get every message, see [to.tee](#totee)"),
    ],
)
.only_one();

/// One of the two places of a tee or a share.
pub(in crate::config) const PLACE: &Keys = &Keys::new(
    "place",
    &[
        key("amqp", Kind::Mapping(AMQP_TARGET), "", "an exchange, see [to.amqp](#toamqp)"),
        key("nsq", Kind::Mapping(NSQ), "", "a topic of this node, see [nsq](#nsq)"),
    ],
)
.only_one();

/// `to.tee`.
pub(in crate::config) const TEE: &Keys = &Keys::new(
    "to.tee",
    &[
        needed("primary", Kind::Mapping(PLACE), "a [place](#places)"),
        needed("secondary", Kind::Mapping(PLACE), "a [place](#places)"),
        key(
            "wait",
            Kind::Choice(&["both", "primary"]),
            "`both`",
            "`both`: a message has arrived when both places have it. What one of them refused is \
             tried again there alone (a producer that publishes again reaches both again). \
             `primary`: it has arrived when the primary place has it, and the topic \
             `NAME.secondary` of this node, as safe as that topic's durability says; a second \
             route, `NAME.secondary`, brings it from there to the secondary place, with this \
             route's `retry`, `dead_letter` and `ordered`",
        ),
    ],
);

/// `to.share`.
pub(in crate::config) const SHARE: &Keys = &Keys::new(
    "to.share",
    &[
        key(
            "by",
            TEMPLATE,
            "the message's id",
            "what decides: all messages of one value go the same way, after a restart and on every \
             node",
        ),
        needed(
            "percent",
            Kind::Text("`0%` to `100%`, two decimals at most", "^[0-9]{1,3}(\\.[0-9]{1,2})? ?%$"),
            "how many of the messages go to `to`",
        ),
        needed("rest", Kind::Mapping(PLACE), "the [place](#places) where all else goes"),
        needed("to", Kind::Mapping(PLACE), "the [place](#places) where that part goes"),
    ],
);

/// `nsq`.
pub(in crate::config) const NSQ: &Keys = &Keys::new(
    "nsq",
    &[
        key("auth_secret", TEXT, "none", "what AUTH says, if the nsqds ask for it").flows(OTHERS),
        key("auth_secret_file", PATH, "", "a file that holds it, in place of `auth_secret`")
            .flows(OTHERS),
        key(
            "channel",
            CHANNEL_NAME,
            "",
            "`from`, queued: the channel that is read; the route's name if left out, and not \
             `#ephemeral`. `to`, direct, from a queue: the channel as which the queue appears; \
             needed. Elsewhere it is refused: a direct route takes what producers send to the \
             topic, and a topic is written to with all its channels",
        ),
        key(
            "compression",
            Kind::Choice(&["none", "snappy", "deflate"]),
            "`none`",
            "the compression that is asked for; a nsqd that does not have it is not used",
        )
        .flows(OTHERS),
        key(
            "heartbeat",
            Kind::Duration(SECOND, Duration::from_secs(60)),
            "`10s`",
            "how often a nsqd is to be heard of; after twice this in silence the connection counts as lost",
        )
        .flows(OTHERS),
        key(
            "lookupd",
            Kind::List("list of host:port or URLs", &TEXT),
            "none",
            "the HTTP addresses of nsqlookupds: the end is not this node but the nsqds that they \
             know. Read from: those that have the topic. Written to: all",
        ),
        key(
            "lookupd_interval",
            Kind::Duration(SECOND, HOUR),
            "`1m`",
            "between two questions to nsqlookupds, with some jitter; a lost connection asks at once",
        )
        .flows(OTHERS),
        key(
            "max_backoff",
            Kind::Duration(Duration::ZERO, HOUR),
            "`2m`",
            "the longest backoff of the consumer, see [other nsqds](#other-nsqds); `0` for none",
        )
        .flows(OTHERS_FROM),
        key(
            "max_in_flight",
            Kind::Integer(1, 100_000),
            "`1000`",
            "messages that may be out together, over all nsqds",
        )
        .flows(OTHERS_FROM),
        key(
            "msg_timeout",
            Kind::Duration(SECOND, Duration::from_secs(900)),
            "the nsqd's",
            "how long a message may be out untouched before its nsqd delivers it again. The route \
             touches what it has at half of this",
        )
        .flows(OTHERS_FROM),
        key(
            "nsqd",
            Kind::List("list of host:port", &ADDRESS),
            "none",
            "the TCP addresses of nsqds: the end is not this node but these. May be given together \
             with `lookupd`",
        ),
        key(
            "tls",
            Kind::Mapping(NSQ_TLS),
            "no TLS",
            "has connections in TLS; `{}` by the system's authorities. See [nsq.tls](#nsqtls)",
        )
        .flows(OTHERS),
        needed(
            "topic",
            TOPIC_NAME_OR_TEMPLATE,
            "the topic; where a route writes to it, it may be a [template](#templates)",
        ),
    ],
);

const OTHERS: &str = "other nsqds";
const OTHERS_FROM: &str = "from other nsqds";

/// `nsq.tls`.
pub(in crate::config) const NSQ_TLS: &Keys = &Keys::new(
    "nsq.tls",
    &[
        key(
            "ca_file",
            PATH,
            "the system's",
            "the authorities that stand for the servers' certificates",
        ),
        key(
            "cert_file",
            PATH,
            "none",
            "our own certificate, and those that lead to its authority; with `key_file`",
        ),
        key("insecure", Kind::Boolean, "`false`", "whether any certificate will do"),
        key("key_file", PATH, "none", "its key"),
        key("server_name", SHORT_TEXT, "the host", "the name that the certificates are for"),
    ],
);

/// `from.amqp`.
pub(in crate::config) const AMQP_SOURCE: &Keys = &Keys::new(
    "from.amqp",
    &[
        key(
            "broker",
            BROKER_NAME,
            "`default`",
            "which of the node's [brokers](configuration.md#brokers)",
        ),
        key(
            "consumer_tag",
            SHORT_TEXT,
            "chosen by the broker",
            "the consumer's name on the broker's pages",
        ),
        key(
            "declare",
            Kind::Mapping(SOURCE_DECLARE),
            "nothing is declared",
            "see [from.amqp.declare](#fromamqpdeclare)",
        ),
        key(
            "offset",
            Kind::Text("`first`, `last`, `next`, a number, a span or a time", "."),
            "`next`",
            "where to begin in a stream: with the oldest message, the last chunk, what comes from now on, the message \
             of that number, those of the last `1h`, those since `2026-01-31T12:00:00Z`. The broker sends whole \
             chunks: spans and times may bring some older messages. After a lost connection the route goes on where \
             it was; after a restart of the node it begins here again",
        ),
        key(
            "prefetch",
            Kind::Integer(1, 65_535),
            "`1000`",
            "deliveries that may be unacknowledged at once: what this node holds at most",
        ),
        needed("queue", SHORT_TEXT, "the queue to consume"),
    ],
);

/// `to.amqp`.
pub(in crate::config) const AMQP_TARGET: &Keys = &Keys::new(
    "to.amqp",
    &[
        key(
            "broker",
            BROKER_NAME,
            "`default`",
            "which of the node's [brokers](configuration.md#brokers)",
        ),
        key("content_type", SHORT_TEXT, "as it came", "the `content_type` property"),
        key(
            "declare",
            Kind::Mapping(TARGET_DECLARE),
            "nothing is declared",
            "see [to.amqp.declare](#toamqpdeclare)",
        ),
        needed(
            "exchange",
            TEMPLATE,
            "the exchange; `\"\"` is the default exchange, which routes to the queue named by the \
             routing key",
        ),
        key(
            "persistent",
            Kind::Boolean,
            "`true`",
            "whether the broker keeps the message over a restart, where the message does not say so itself \
             (`delivery_mode`)",
        ),
        needed("routing_key", TEMPLATE, "the routing key"),
    ],
);
