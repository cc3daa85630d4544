//! The keys of `registry` in the node's file.

use std::time::Duration;

use super::*;

/// `registry`.
pub(in crate::config) const REGISTRY: &Keys = &Keys::new(
    "registry",
    &[needed("etcd", Kind::Mapping(ETCD), "etcd, see [registry.etcd](#registryetcd)")],
);

/// `registry.etcd`.
pub(in crate::config) const ETCD: &Keys = &Keys::new(
    "registry.etcd",
    &[
        key("auth", Kind::Mapping(AUTH), "nobody", "who logs in, see below"),
        needed(
            "endpoints",
            Kind::List("list", &ENDPOINT),
            "the members: `http://host:port` or `https://host:port`. One is used at a time; if it fails, the next",
        ),
        key(
            "lease",
            Kind::Duration(Duration::from_secs(3), Duration::from_secs(300)),
            "`6s`",
            "whole seconds. After so long without a word from a node, others run what it had. A node that cannot \
             reach etcd stops routes with `instances: one` after two thirds of it",
        ),
        key(
            "prefix",
            Kind::Text("text without spaces that begins with `/`", "^/[!-~]{0,199}$"),
            "`/leveret`",
            "what all keys begin with. Nodes with one prefix share their routes",
        ),
        key("tls", Kind::Mapping(TLS), "", "for endpoints that begin with `https`, see below"),
    ],
);

const ENDPOINT: Kind = Kind::Text("address", "^https?://[^@?#/ ]+$");

/// `registry.etcd.auth`.
pub(in crate::config) const AUTH: &Keys = &Keys::new(
    "registry.etcd.auth",
    &[
        key("password", TEXT, "", "the password"),
        key(
            "password_file",
            PATH,
            "",
            "a file that holds it, in place of `password`. It is read at each connect",
        ),
        needed("username", SHORT_TEXT, "the user of etcd"),
    ],
);

/// `registry.etcd.tls`.
pub(in crate::config) const TLS: &Keys = &Keys::new(
    "registry.etcd.tls",
    &[
        key(
            "ca_file",
            PATH,
            "the system's",
            "the authorities that stand for the members' certificates",
        ),
        key("cert_file", PATH, "none", "the node's own certificate; with `key_file`"),
        key("key_file", PATH, "none", "its key"),
        key(
            "server_name",
            SHORT_TEXT,
            "the host",
            "the name that the members' certificates are for",
        ),
    ],
);
