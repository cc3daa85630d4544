//! The keys of the node's file, besides `nsqd` and `topics`.

use std::time::Duration;

use super::admin::ADMIN;
use super::alerts::ALERTS;
use super::brokers::BROKER;
use super::log::LOG;
use super::lookupd::LOOKUPD;
use super::metrics::METRICS;
use super::nsqd::NSQD;
use super::registry::REGISTRY;
use super::topics::TOPIC;
use super::*;

/// `node file`.
pub(in crate::config) const ROOT: &Keys = &Keys::new(
    "node file",
    &[
        key(
            "admin",
            Kind::Mapping(ADMIN),
            "none",
            "nsqadmin in the same process: pages for browsers, see [admin](admin.md)",
        ),
        key(
            "alerts",
            Kind::Mapping(ALERTS),
            "none",
            "what the node complains of, and to whom, see [alerts](alerts.md)",
        ),
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
        key(
            "lookupd",
            Kind::Mapping(LOOKUPD),
            "none",
            "a nsqlookupd in the same process, see [lookupd](#lookupd)",
        ),
        key(
            "metrics",
            Kind::Mapping(METRICS),
            "",
            "where figures are pushed, see [metrics](metrics.md#opentsdb)",
        ),
        key("nsqd", Kind::Mapping(NSQD), "", "the NSQ side, see [nsqd](#nsqd)"),
        key(
            "registry",
            Kind::Mapping(REGISTRY),
            "none",
            "what this node shares with others: their routes, and who runs which, see [registry](registry.md)",
        ),
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
        key(
            "watch_bridges",
            Kind::Boolean,
            "`true`",
            "whether a change in the folder `bridges` is taken over by itself, see \
             [operations](operations.md#routes-while-running)",
        ),
    ],
);
