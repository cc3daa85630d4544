//! The keys of what is to be declared on a broker.

use super::*;

const EXCHANGE_TYPE: Kind = Kind::OneOf(&[
    Kind::Choice(&["direct", "fanout", "topic", "headers"]),
    Kind::Text("the type of a plugin, which starts with `x-`", "^x-"),
]);

const ROUTING_KEY: Kind = Kind::Text("text, up to 255 bytes", "");

const COUNT_MAX: u64 = 2_147_483_647;

const fn list(of: &'static Kind) -> Kind {
    Kind::List("list", of)
}

const fn arguments(doc: &'static str) -> Key {
    key("arguments", Kind::Named(&Kind::Any), "none", doc)
}

// What every queue may have.
const ARGUMENTS: Key = arguments(
    "further arguments by the broker's own names, see [declare.arguments](#declarearguments)",
);
const AUTO_DELETE: Key = key(
    "auto_delete",
    Kind::Boolean,
    "`false`",
    "whether the broker deletes the queue with its last consumer; classic",
);
const BINDINGS: Key = key(
    "bindings",
    list(&Kind::Mapping(BINDING)),
    "none",
    "what feeds the queue, see [declare.bindings](#declarebindings)",
);
const DEAD_LETTER_EXCHANGE: Key = key(
    "dead_letter_exchange",
    TEXT,
    "none",
    "where the broker sends what is rejected, too old or too much; `\"\"` is the default exchange. Classic and quorum",
);
const DEAD_LETTER_ROUTING_KEY: Key =
    key("dead_letter_routing_key", TEXT, "the message's own", "the key of these");
const DEAD_LETTER_STRATEGY: Key = key(
    "dead_letter_strategy",
    Kind::Choice(&["at-most-once", "at-least-once"]),
    "`at-most-once`",
    "whether they may be lost on the way; `at-least-once` needs `overflow: reject-publish`. Quorum",
);
const DELIVERY_LIMIT: Key = key(
    "delivery_limit",
    Kind::Integer(0, COUNT_MAX),
    "the broker's",
    "deliveries of a message before it is a dead letter of the queue. Quorum",
);
const DURABLE: Key = key(
    "durable",
    Kind::Boolean,
    "`true`",
    "whether a classic queue outlives a restart of the broker; the others always do",
);
const EXPIRES: Key = key(
    "expires",
    Kind::Duration(MILLISECOND, TEN_YEARS),
    "never",
    "the broker deletes the queue when it has been unused for so long. Classic and quorum",
);
const MAX_AGE: Key = key(
    "max_age",
    Kind::Duration(SECOND, TEN_YEARS),
    "none",
    "how old messages of a stream become",
);
const MAX_LENGTH: Key = key(
    "max_length",
    Kind::Integer(0, COUNT_MAX),
    "no bound",
    "messages in the queue. Classic and quorum",
);
const MAX_LENGTH_BYTES: Key =
    key("max_length_bytes", Kind::Size(1, 1 << 50), "no bound", "bytes in the queue");
const MAX_PRIORITY: Key =
    key("max_priority", Kind::Integer(1, 255), "none", "makes it a priority queue. Classic");
const MESSAGE_TTL: Key = key(
    "message_ttl",
    Kind::Duration(MILLISECOND, TEN_YEARS),
    "none",
    "how long a message may wait. Classic and quorum",
);
const OVERFLOW: Key = key(
    "overflow",
    Kind::Choice(&["drop-head", "reject-publish", "reject-publish-dlx"]),
    "`drop-head`",
    "what happens to what is too much; the last one on classic queues only",
);
const SINGLE_ACTIVE_CONSUMER: Key = key(
    "single_active_consumer",
    Kind::Boolean,
    "`false`",
    "whether one consumer at a time gets everything. Classic and quorum",
);
const TYPE: Key = key(
    "type",
    Kind::Choice(&["classic", "quorum", "stream"]),
    "`classic`",
    "how the queue is stored",
);

// What both ends may have.
const EXCHANGE_BINDINGS: Key = key(
    "exchange_bindings",
    list(&Kind::Mapping(EXCHANGE_BINDING)),
    "none",
    "exchanges that get messages of other exchanges, see [declare.exchange_bindings](#declareexchange_bindings)",
);
const EXCHANGES: Key = key(
    "exchanges",
    list(&Kind::Mapping(EXCHANGE)),
    "none",
    "further exchanges, see [declare.exchanges](#declareexchanges)",
);
const PASSIVE: Key = key(
    "passive",
    Kind::Boolean,
    "`false`",
    "queues and exchanges are looked for and never made: the route is `failed` if one is missing. Properties are not \
     compared, bindings are left alone",
);

/// `from.amqp.declare`.
pub(in crate::config) const SOURCE_DECLARE: &Keys = &Keys::new(
    "from.amqp.declare",
    &[
        ARGUMENTS,
        AUTO_DELETE,
        BINDINGS,
        DEAD_LETTER_EXCHANGE,
        DEAD_LETTER_ROUTING_KEY,
        DEAD_LETTER_STRATEGY,
        DELIVERY_LIMIT,
        DURABLE,
        EXCHANGE_BINDINGS,
        EXCHANGES,
        EXPIRES,
        MAX_AGE,
        MAX_LENGTH,
        MAX_LENGTH_BYTES,
        MAX_PRIORITY,
        MESSAGE_TTL,
        OVERFLOW,
        PASSIVE,
        key(
            "queues",
            list(&Kind::Mapping(QUEUE)),
            "none",
            "further queues, see [declare.queues](#declarequeues)",
        ),
        SINGLE_ACTIVE_CONSUMER,
        TYPE,
    ],
);

/// `to.amqp.declare`.
pub(in crate::config) const TARGET_DECLARE: &Keys = &Keys::new(
    "to.amqp.declare",
    &[
        key(
            "alternate_exchange",
            SHORT_TEXT,
            "none",
            "where messages go that no binding of the exchange takes; with `exchange_type`",
        ),
        arguments(
            "those of the exchange, see [declare.arguments](#declarearguments); with `exchange_type`",
        ),
        EXCHANGE_BINDINGS,
        key(
            "exchange_type",
            EXCHANGE_TYPE,
            "the exchange must exist",
            "declares the exchange, durable",
        ),
        EXCHANGES,
        PASSIVE,
        key(
            "queues",
            list(&Kind::Mapping(QUEUE)),
            "none",
            "queues to declare and bind, see [declare.queues](#declarequeues)",
        ),
    ],
);

/// `declare.queues`.
pub(in crate::config) const QUEUE: &Keys = &Keys::new(
    "declare.queues",
    &[
        ARGUMENTS,
        AUTO_DELETE,
        BINDINGS,
        DEAD_LETTER_EXCHANGE,
        DEAD_LETTER_ROUTING_KEY,
        DEAD_LETTER_STRATEGY,
        DELIVERY_LIMIT,
        DURABLE,
        EXPIRES,
        MAX_AGE,
        MAX_LENGTH,
        MAX_LENGTH_BYTES,
        MAX_PRIORITY,
        MESSAGE_TTL,
        needed("name", SHORT_TEXT, "the queue"),
        OVERFLOW,
        key(
            "routing_keys",
            Kind::List("list of texts, up to 255 bytes each", &ROUTING_KEY),
            "the route's routing key; `\"\"` for a fanout or headers exchange; none if there are `bindings`",
            "`to.amqp` only: the keys or patterns it is bound to the route's exchange with. Needed \
             if the route's key is a template. Refused for the default exchange, which has no \
             bindings",
        ),
        SINGLE_ACTIVE_CONSUMER,
        TYPE,
    ],
);

/// `declare.bindings`.
pub(in crate::config) const BINDING: &Keys = &Keys::new(
    "declare.bindings",
    &[
        arguments(
            "such as the headers that a headers exchange looks at: `{ x-match: all, region: eu }`",
        ),
        needed("exchange", SHORT_TEXT, "the exchange to bind the queue to"),
        key(
            "exchange_type",
            EXCHANGE_TYPE,
            "the exchange must exist",
            "declares the exchange, durable, before it is bound to",
        ),
        key("routing_key", ROUTING_KEY, "`\"\"`", "the key or pattern"),
    ],
);

/// `declare.exchanges`.
pub(in crate::config) const EXCHANGE: &Keys = &Keys::new(
    "declare.exchanges",
    &[
        key("alternate_exchange", SHORT_TEXT, "none", "where messages go that no binding takes"),
        arguments("see [declare.arguments](#declarearguments)"),
        key(
            "auto_delete",
            Kind::Boolean,
            "`false`",
            "whether the broker deletes it with its last binding",
        ),
        key("durable", Kind::Boolean, "`true`", "whether it outlives a restart of the broker"),
        key("internal", Kind::Boolean, "`false`", "whether only other exchanges may send to it"),
        needed("name", SHORT_TEXT, "the exchange"),
        needed("type", EXCHANGE_TYPE, "how it routes, such as `x-consistent-hash`"),
    ],
);

/// `declare.exchange_bindings`.
pub(in crate::config) const EXCHANGE_BINDING: &Keys = &Keys::new(
    "declare.exchange_bindings",
    &[
        arguments("as those of [declare.bindings](#declarebindings)"),
        needed("from", SHORT_TEXT, "the exchange that the messages come from"),
        key("routing_key", ROUTING_KEY, "`\"\"`", "the key or pattern"),
        needed("to", SHORT_TEXT, "the exchange that gets them"),
    ],
);
