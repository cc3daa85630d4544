//! The keys of `log` in the node's file.

use std::time::Duration;

use super::*;

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
        key(
            "outputs",
            Kind::List("list", &Kind::Mapping(OUTPUT)),
            "standard error",
            "where lines go, see [log.outputs](#logoutputs)",
        ),
    ],
);

/// `log.outputs`.
pub(in crate::config) const OUTPUT: &Keys = &Keys::new(
    "log.outputs",
    &[
        key(
            "file",
            Kind::Mapping(FILE),
            "",
            "a file that is rolled, see [log.outputs.file](#logoutputsfile)",
        ),
        key("format", Kind::Choice(&["text", "json"]), "`log.format`", "how a line looks there"),
        key("journald", Kind::Boolean, "", "`true`: systemd's journal"),
        key(
            "level",
            TEXT,
            "`log.level`",
            "its own level, or directives for single modules such as `warn,leveret::bridge=debug`. It stays when the level is changed while the node runs",
        ),
        key("stderr", Kind::Boolean, "", "`true`: standard error, by way of the queue"),
        key(
            "syslog",
            Kind::Mapping(SYSLOG),
            "",
            "syslog (RFC 5424), see [log.outputs.syslog](#logoutputssyslog)",
        ),
    ],
);

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// `log.outputs.file`.
pub(in crate::config) const FILE: &Keys = &Keys::new(
    "log.outputs.file",
    &[
        key("gzip", Kind::Boolean, "`true`", "whether old files are packed"),
        key("keep", Kind::Integer(0, 100_000), "`10`", "how many old files are kept"),
        key(
            "keep_bytes",
            Kind::Size(0, u64::MAX),
            "`0`",
            "how much of them is kept; 0: any amount",
        ),
        key(
            "keep_for",
            Kind::Duration(Duration::ZERO, YEAR),
            "`0`",
            "how long they are kept; 0: for ever",
        ),
        key(
            "max_age",
            Kind::Duration(Duration::ZERO, YEAR),
            "`0`",
            "an older file is rolled; 0: never",
        ),
        key("max_size", Kind::Size(0, u64::MAX), "`100MiB`", "a larger file is rolled; 0: never"),
        needed("path", PATH, "the file; old ones have the moment behind their names, in UTC"),
    ],
);

/// `log.outputs.syslog`.
pub(in crate::config) const SYSLOG: &Keys = &Keys::new(
    "log.outputs.syslog",
    &[
        key(
            "address",
            SHORT_TEXT,
            "`/dev/log`",
            "`host:port` of a server, by UDP, or a socket's path",
        ),
        key(
            "facility",
            Kind::Integer(0, 23),
            "`3`",
            "syslog's number of the facility; 3 is daemons, 16 is local0",
        ),
        key("tag", SHORT_TEXT, "`leveret`", "the program's name in each line"),
    ],
);
