//! The keys of a broker.

use std::time::Duration;

use super::*;

/// `brokers`.
pub(in crate::config) const BROKER: &Keys = &Keys::new(
    "brokers",
    &[
        key(
            "auth",
            Kind::Choice(&["plain", "external"]),
            "`plain`",
            "`external` logs in by the certificate of `tls` (RabbitMQ's plugin \
             `rabbitmq_auth_mechanism_ssl`); user and password of the address are of no meaning then",
        ),
        key(
            "connect_timeout",
            Kind::Duration(Duration::from_millis(100), Duration::from_secs(600)),
            "`10s`",
            "for a connection to one host to be open: TCP, TLS and login together",
        ),
        key(
            "connection_name",
            SHORT_TEXT,
            "`leveret`",
            "the name on RabbitMQ's own pages, with what the connection is for behind it: `leveret \
             (publish)`, `leveret (consume)`",
        ),
        key(
            "heartbeat",
            Kind::Duration(SECOND, Duration::from_secs(64_800)),
            "`10s`",
            "the interval agreed with the broker, whole seconds; after two without a sign of life the connection \
             counts as lost",
        ),
        key(
            "hosts",
            Kind::List("list of host or host:port", &Kind::Text("host or host:port", ".")),
            "none",
            "further nodes of the broker, beside the address's own; user, virtual host and TLS are \
             the same. Each connection begins with one of them by chance. A host that fails comes \
             last until the others have failed after it",
        ),
        key(
            "management",
            Kind::Text("`http://` or `https://` address", "^https?://."),
            "none",
            "RabbitMQ's management API, without a user: \
             [`leveret plan`](operations.md#plan-and-apply) asks it for bindings, as the user of \
             `uri`",
        ),
        key(
            "max_message_size",
            Kind::Size(1 << 10, 512 << 20),
            "`16MiB`",
            "the largest message that the broker takes (`max_message_size` of RabbitMQ, 16 MiB \
             since 4.0): a larger one is refused before it is sent, since it would close the \
             channel",
        ),
        key(
            "password_file",
            PATH,
            "",
            "a file that holds the password, in place of the address's. It is read again at each \
             connect: write the new password there, change it at the broker, and connections that \
             are made from then on use it",
        ),
        key(
            "tls",
            Kind::Mapping(TLS),
            "the system's authorities",
            "how the broker's certificate is checked, and which one we show, see \
             [brokers.tls](#brokerstls)",
        ),
        key(
            "uri",
            Kind::Text("address", "^[aA][mM][qQ][pP][sS]?://"),
            "needed, or `uri_file`",
            "`amqp://user:password@host:port/vhost`, or `amqps://` for TLS. User and password \
             default to `guest`, the port to 5672 (TLS: 5671), the virtual host to `/`, written \
             `%2f`. Parameters after `?` are refused: the keys here say the same",
        ),
        key(
            "uri_file",
            PATH,
            "",
            "a file that holds the address. It is read again at each connect",
        ),
    ],
);

/// `brokers.tls`.
pub(in crate::config) const TLS: &Keys = &Keys::new(
    "brokers.tls",
    &[
        key(
            "ca_file",
            PATH,
            "the system's",
            "the authorities that stand for the broker's certificate",
        ),
        key(
            "cert_file",
            PATH,
            "none",
            "our own certificate, and those that lead to its authority; with `key_file`",
        ),
        key("key_file", PATH, "none", "its key"),
        key(
            "server_name",
            SHORT_TEXT,
            "the host",
            "the name that the broker's certificate is for, and that it is asked by (SNI)",
        ),
    ],
);
