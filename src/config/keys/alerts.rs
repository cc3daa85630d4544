//! The keys of `alerts` in the node's file.

use std::time::Duration;

use super::*;

/// `alerts`.
pub(in crate::config) const ALERTS: &Keys = &Keys::new(
    "alerts",
    &[
        key(
            "defaults",
            Kind::Boolean,
            "`true`",
            "whether the rules are there that [alerts](alerts.md#rules-that-are-there) lists. A rule of the same name takes the place of one",
        ),
        key("interval", Kind::Duration(SECOND, HOUR), "`10s`", "how often figures are looked at"),
        key(
            "rules",
            Kind::List("list", &Kind::Mapping(RULE)),
            "none",
            "see [alerts.rules](#alertsrules)",
        ),
        key(
            "webhooks",
            Kind::List("list", &Kind::Mapping(WEBHOOK)),
            "none",
            "whom alerts are told to, beside the log, see [alerts.webhooks](#alertswebhooks)",
        ),
    ],
);

const LABELS: Kind = Kind::Named(&SHORT_TEXT);

/// `alerts.rules`.
pub(in crate::config) const RULE: &Keys = &Keys::new(
    "alerts.rules",
    &[
        key(
            "for",
            Kind::Duration(Duration::ZERO, DAY),
            "`0`",
            "for how long it has to hold before it is told",
        ),
        key(
            "keep_firing_for",
            Kind::Duration(Duration::ZERO, DAY),
            "`0`",
            "for how long it goes on when it no longer holds, so that what comes and goes is told once",
        ),
        key("labels", LABELS, "none", "labels beside those of the series"),
        key(
            "message",
            TEXT,
            "what it says, with value and labels",
            "what is said; `{{ value }}` and `{{ LABEL }}` are filled in",
        ),
        needed("name", SHORT_TEXT, "its name"),
        key(
            "severity",
            Kind::Choice(&["info", "warning", "critical"]),
            "`warning`",
            "how urgent it is",
        ),
        needed("when", TEXT, "what it complains of, see [expressions](#expressions)"),
    ],
);

/// `alerts.webhooks`.
pub(in crate::config) const WEBHOOK: &Keys = &Keys::new(
    "alerts.webhooks",
    &[
        key(
            "secret_file",
            PATH,
            "none",
            "a file with the key of the signature; it is read at each notice. Nothing is signed without it",
        ),
        needed("url", Kind::Text("URL", "^https?://[^ ]+$"), "where alerts are POSTed"),
    ],
);
