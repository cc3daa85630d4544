//! The keys of `metrics` in the node's file.

use super::*;

/// `metrics`.
pub(in crate::config) const METRICS: &Keys = &Keys::new(
    "metrics",
    &[key(
        "opentsdb",
        Kind::Mapping(OPENTSDB),
        "none",
        "figures are pushed there, see [metrics.opentsdb](#metricsopentsdb)",
    )],
);

/// `metrics.opentsdb`.
pub(in crate::config) const OPENTSDB: &Keys = &Keys::new(
    "metrics.opentsdb",
    &[
        key("batch", Kind::Integer(1, 10_000), "`50`", "points of one request"),
        key(
            "bosun",
            Kind::Boolean,
            "`false`",
            "whether the server is told at `/api/metadata/put` what each metric means, as Bosun takes it",
        ),
        key("gzip", Kind::Boolean, "`true`", "whether requests are packed"),
        key(
            "interval",
            Kind::Duration(SECOND, HOUR),
            "`15s`",
            "the time between two looks at the figures",
        ),
        key(
            "queue",
            Kind::Integer(1, 10_000_000),
            "`100000`",
            "points that may wait while the server takes none; then the oldest make room",
        ),
        key(
            "tags",
            Kind::Named(&SHORT_TEXT),
            "none",
            "tags of every point, beside `host` and those of its labels",
        ),
        needed(
            "url",
            Kind::Text("URL", "^https?://[^ ]+$"),
            "such as `http://127.0.0.1:4242`; points go to `/api/put` below it",
        ),
    ],
);
