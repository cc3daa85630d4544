//! The keys of `lookupd` in the node's file: nsqlookupd's own options and those beside them.

use std::time::Duration;

use super::*;

/// `lookupd`.
pub(in crate::config) const LOOKUPD: &Keys = &Keys::new(
    "lookupd",
    &[
        key(
            "broadcast_address",
            TEXT,
            "the host's name",
            "the host under which nodes are to ask it over HTTP",
        ),
        key("http_address", ADDRESS, "`127.0.0.1:4161`", "where it is asked; `\"\"` is nowhere"),
        key(
            "inactive_producer_timeout",
            Kind::Duration(SECOND, DAY),
            "`5m`",
            "a node that has sent no sign of life for longer is not told of; nodes send one each 15 s",
        ),
        key("listen", ADDRESS, "`127.0.0.1:4160`", "where nodes register"),
        key("tls_cert", PATH, "none", "its certificate, PEM: both its ports are TLS then"),
        key("tls_key", PATH, "none", "the certificate's key"),
        key(
            "tls_root_ca_file",
            PATH,
            "none",
            "who has to stand for the certificates of nodes and of whoever asks; none is asked for without it",
        ),
        key(
            "tombstone_lifetime",
            Kind::Duration(Duration::ZERO, DAY),
            "`45s`",
            "for so long a node is not told of for a topic that was taken from it",
        ),
    ],
);
