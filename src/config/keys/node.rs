//! The keys of the node's file, besides `nsqd` and `topics`.

use std::time::Duration;

use super::nsqd::NSQD;
use super::topics::TOPIC;
use super::*;

/// `node file`.
pub(in crate::config) const ROOT: &Keys = &Keys::new(
    "node file",
    &[
        key(
            "bridges",
            PATH,
            "none",
            "the folder with the route files: every `.yaml` and `.yml` in it, sorted by name, \
             hidden ones left out. It may be empty, but it must exist",
        ),
        key(
            "brokers",
            Kind::Named(&Kind::Mapping(BROKER)),
            "none",
            "the brokers by name, see [brokers](#brokers)",
        ),
        key("log", Kind::Mapping(LOG), "", "see [log](#log)"),
        key("nsqd", Kind::Mapping(NSQD), "", "the NSQ side, see [nsqd](#nsqd)"),
        key(
            "shutdown_timeout",
            Kind::Duration(Duration::ZERO, HOUR),
            "`15s`",
            "how long a clean exit may take to answer clients, and then again to settle what \
             routes have in flight; the rest is redelivered",
        ),
        key(
            "topics",
            Kind::List("list", &Kind::Mapping(TOPIC)),
            "none",
            "bounds, ages, attempts, dead letters and limits by the patterns of names, see \
             [topics](topics.md)",
        ),
    ],
);

/// `brokers`.
pub(in crate::config) const BROKER: &Keys = &Keys::new(
    "brokers",
    &[
        key(
            "connect_timeout",
            Kind::Duration(Duration::from_millis(100), Duration::from_secs(600)),
            "`10s`",
            "for a connection to be open: TCP, TLS and login together",
        ),
        key("connection_name", SHORT_TEXT, "`leveret`", "the name on RabbitMQ's own pages"),
        key(
            "heartbeat",
            Kind::Duration(SECOND, Duration::from_secs(64_800)),
            "`10s`",
            "the interval agreed with the broker, whole seconds; after two without a sign of life the connection \
             counts as lost",
        ),
        key(
            "max_message_size",
            Kind::Size(1 << 10, 512 << 20),
            "`16MiB`",
            "the largest message that the broker takes (`max_message_size` of RabbitMQ, 16 MiB \
             since 4.0): a larger one is refused before it is sent, since it would close the \
             channel",
        ),
        key("password_file", PATH, "", "a file that holds the password, in place of the address's"),
        key(
            "uri",
            Kind::Text("address", "^[aA][mM][qQ][pP][sS]?://"),
            "needed, or `uri_file`",
            "`amqp://user:password@host:port/vhost`, or `amqps://` for TLS. User and password \
             default to `guest`, the port to 5672 (TLS: 5671), the virtual host to `/`, written \
             `%2f`. Parameters after `?` are refused: the keys here say the same",
        ),
        key("uri_file", PATH, "", "a file that holds the address"),
    ],
);

/// `log`.
pub(in crate::config) const LOG: &Keys = &Keys::new(
    "log",
    &[
        key(
            "format",
            Kind::Choice(&["text", "json"]),
            "`text`",
            "for people, or one JSON object a line",
        ),
        key(
            "level",
            Kind::Choice(&["trace", "debug", "info", "warn", "error"]),
            "`info`",
            "the least severe level that is logged",
        ),
    ],
);
