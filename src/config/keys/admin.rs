//! The keys of `admin` in the node's file.

use std::time::Duration;

use super::*;

/// `admin`.
pub(in crate::config) const ADMIN: &Keys = &Keys::new(
    "admin",
    &[
        key("base_path", TEXT, "`/`", "what stands before every path of it, behind a proxy"),
        key("graphite_url", TEXT, "none", "a graphite server, for pictures of nsqd's figures"),
        needed("listen", ADDRESS, "where browsers reach it, such as `127.0.0.1:4171`"),
        key(
            "notification_http_endpoint",
            TEXT,
            "none",
            "a URL that each action is POSTed to, as nsqadmin does it",
        ),
        key(
            "nsqd_http_addresses",
            Kind::List("list", &ADDRESS),
            "this node",
            "the nsqds that are shown, where no nsqlookupd says which there are",
        ),
        key(
            "nsqlookupd_http_addresses",
            Kind::List("list", &ADDRESS),
            "the node's own `lookupd`, if it has one",
            "the nsqlookupds that say which nodes there are",
        ),
        key(
            "proxy",
            Kind::Mapping(PROXY),
            "none",
            "a proxy that says who is there, see [admin.proxy](admin.md#adminproxy)",
        ),
        key(
            "proxy_graphite",
            Kind::Boolean,
            "`false`",
            "whether graphite's pictures are fetched here, for browsers that cannot reach it",
        ),
        key(
            "session_timeout",
            Kind::Duration(Duration::from_secs(60), DAY),
            "`8h`",
            "how long a login lasts without a request; a week at most in any case",
        ),
        key(
            "statsd_prefix",
            TEXT,
            "`nsq.%s`",
            "what nsqds put before their names at graphite; `%s` is the node",
        ),
        key("tls_cert", PATH, "none", "its certificate, PEM: it is served by HTTPS then"),
        key("tls_key", PATH, "none", "the certificate's key"),
        key(
            "users",
            Kind::List("list", &Kind::Mapping(USER)),
            "none",
            "who may log in, see [admin.users](admin.md#adminusers). Needed, or `proxy`, where `listen` is not of the loopback",
        ),
    ],
);

/// `admin.users`.
pub(in crate::config) const USER: &Keys = &Keys::new(
    "admin.users",
    &[
        needed("name", SHORT_TEXT, "the name"),
        key("password_hash", TEXT, "", "an argon2 hash, as `leveret password` prints it"),
        key("password_hash_file", PATH, "", "a file that holds it, in place of `password_hash`"),
        key(
            "role",
            Kind::Choice(&["view", "operate"]),
            "`view`",
            "`view` sees everything, `operate` changes things as well",
        ),
    ],
);

/// `admin.proxy`.
pub(in crate::config) const PROXY: &Keys = &Keys::new(
    "admin.proxy",
    &[
        needed(
            "from",
            Kind::List("list", &NETWORK),
            "the proxy's addresses, such as `10.0.0.0/8`. The header of anybody else says nothing",
        ),
        key("header", SHORT_TEXT, "`X-Forwarded-User`", "the header in which it says who is there"),
        key(
            "operators",
            Kind::List("list", &SHORT_TEXT),
            "none",
            "who of those may change things; the others look",
        ),
    ],
);

const NETWORK: Kind = Kind::Text("network in CIDR notation", "^[0-9a-fA-F.:]+/[0-9]{1,3}$");
