//! The table of nsqd's flags: what may be given, and what `--help` and the config file make of it.

use super::super::goflags::{Flag, Kind};

const fn flag(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind, default, help }
}

/// The versions that `--tls-min-version` takes; nothing is the default.
const TLS_VERSIONS: &[&str] = &["", "tls1.0", "tls1.1", "tls1.2", "tls1.3"];

/// All of them, in the order of their names.
pub const FLAGS: &[Flag] = &[
    flag(
        "auth-http-address",
        Kind::Texts,
        "",
        "<addr>:<port> or a full url to query auth server (may be given multiple times)",
    ),
    flag(
        "auth-http-request-method",
        Kind::Text,
        "\"get\"",
        "HTTP method to use for auth server requests",
    ),
    flag(
        "auth-stale-if-error",
        Kind::Duration,
        "",
        "duration for which an expired answer is used while no auth server can be reached (not in nsqd)",
    ),
    flag(
        "broadcast-address",
        Kind::Text,
        "the hostname",
        "address that will be registered with lookupd",
    ),
    flag(
        "broadcast-http-port",
        Kind::Int,
        "",
        "HTTP port that will be registered with lookupd (defaults to the HTTP port that this nsqd is listening on)",
    ),
    flag(
        "broadcast-tcp-port",
        Kind::Int,
        "",
        "TCP port that will be registered with lookupd (defaults to the TCP port that this nsqd is listening on)",
    ),
    flag("config", Kind::Text, "", "path to config file"),
    flag("data-path", Kind::Text, "", "path to store disk-backed messages"),
    flag("deflate", Kind::Bool, "true", "enable deflate feature negotiation (client compression)"),
    flag(
        "drain-timeout",
        Kind::Duration,
        "0s",
        "[leveret] duration for which SIGTERM waits for messages in flight, and a drain for all of them",
    ),
    flag(
        "durability",
        Kind::Text,
        "",
        "[leveret] what a message outlives once its publish is answered: memory, disk (the process), or fsync (the machine)",
    ),
    flag(
        "e2e-processing-latency-percentile",
        Kind::Floats,
        "",
        "message processing time percentiles (as float (0, 1.0]) to track (can be specified multiple times or comma separated '1.0,0.99,0.95', default none)",
    ),
    flag(
        "e2e-processing-latency-window-time",
        Kind::Duration,
        "10m0s",
        "calculate end to end latency quantiles for this duration of time (ie: 60s would only show quantile calculations from the past 60 seconds)",
    ),
    flag("enable-experiment", Kind::Texts, "", "enable experimental feature"),
    flag(
        "explain-errors",
        Kind::Bool,
        "",
        "[leveret] errors about a limit name the flag that sets it",
    ),
    flag(
        "http-address",
        Kind::Text,
        "\"0.0.0.0:4151\"",
        "address to listen on for HTTP clients; empty disables it",
    ),
    flag("http-client-connect-timeout", Kind::Duration, "2s", "timeout for HTTP connect"),
    flag("http-client-request-timeout", Kind::Duration, "5s", "timeout for HTTP request"),
    flag("https-address", Kind::Text, "\"0.0.0.0:4152\"", "address to listen on for HTTPS clients"),
    flag(
        "log-level",
        Kind::Level,
        "\"info\"",
        "set log verbosity: debug, info, warn, error, or fatal",
    ),
    flag("log-prefix", Kind::Text, "\"[nsqd] \"", "log message prefix"),
    flag(
        "lookupd-tcp-address",
        Kind::Texts,
        "",
        "lookupd TCP address (may be given multiple times)",
    ),
    flag("max-body-size", Kind::Int, "5242880", "maximum size of a single command body"),
    flag(
        "max-bytes-per-file",
        Kind::Int,
        "104857600",
        "number of bytes per diskqueue file before rolling",
    ),
    flag(
        "max-channel-consumers",
        Kind::Int,
        "0",
        "maximum channel consumer connection count per nsqd instance (default 0, i.e., unlimited)",
    ),
    flag(
        "max-defer-time",
        Kind::Duration,
        "that of --max-req-timeout",
        "[leveret] maximum time that a message can be deferred when it is published",
    ),
    flag(
        "max-deflate-level",
        Kind::Int,
        "6",
        "max deflate compression level a client can negotiate",
    ),
    flag(
        "max-heartbeat-interval",
        Kind::Duration,
        "1m0s",
        "maximum client configurable duration of time between client heartbeats",
    ),
    flag("max-msg-size", Kind::Int, "1048576", "maximum size of a single message in bytes"),
    flag(
        "max-msg-timeout",
        Kind::Duration,
        "15m0s",
        "maximum duration before a message will timeout",
    ),
    flag(
        "max-output-buffer-size",
        Kind::Int,
        "65536",
        "maximum client configurable size (in bytes) for a client output buffer",
    ),
    flag(
        "max-output-buffer-timeout",
        Kind::Duration,
        "30s",
        "maximum client configurable duration of time between flushing to a client",
    ),
    flag("max-rdy-count", Kind::Int, "2500", "maximum RDY count for a client"),
    flag("max-req-timeout", Kind::Duration, "1h0m0s", "maximum requeuing timeout for a message"),
    flag(
        "mem-queue-size",
        Kind::Int,
        "10000",
        "number of messages to keep in memory (per topic/channel)",
    ),
    flag(
        "min-free-bytes",
        Kind::Int,
        "16777216",
        "[leveret] refuse what has to be written down while the disk has less free space",
    ),
    flag(
        "min-output-buffer-timeout",
        Kind::Duration,
        "25ms",
        "minimum client configurable duration of time between flushing to a client",
    ),
    flag(
        "msg-timeout",
        Kind::Duration,
        "1m0s",
        "default duration to wait before auto-requeing a message",
    ),
    flag(
        "node-id",
        Kind::Int,
        "a hash of the hostname",
        "unique part for message IDs, (int) in range [0,1024)",
    ),
    flag(
        "output-buffer-timeout",
        Kind::Duration,
        "250ms",
        "default duration of time between flushing data to clients",
    ),
    flag(
        "queue-scan-selection-count",
        Kind::Int,
        "20",
        "number of channels to check per cycle (every 100ms) for in-flight and deferred timeouts",
    ),
    flag(
        "queue-scan-worker-pool-max",
        Kind::Int,
        "4",
        "max concurrency for checking in-flight and deferred message timeouts",
    ),
    flag("snappy", Kind::Bool, "true", "enable snappy feature negotiation (client compression)"),
    flag(
        "statsd-address",
        Kind::Text,
        "",
        "UDP <addr>:<port> of a statsd daemon for pushing stats",
    ),
    flag(
        "statsd-exclude-ephemeral",
        Kind::Bool,
        "",
        "skip ephemeral topics and channels when sending stats to statsd",
    ),
    flag("statsd-interval", Kind::Duration, "1m0s", "duration between pushing to statsd"),
    flag("statsd-mem-stats", Kind::Bool, "true", "toggle sending memory and GC stats to statsd"),
    flag(
        "statsd-prefix",
        Kind::Text,
        "\"nsq.%s\"",
        "prefix used for keys sent to statsd (%s for host replacement)",
    ),
    flag("statsd-udp-packet-size", Kind::Int, "508", "the size in bytes of statsd UDP packets"),
    flag("sync-every", Kind::Int, "2500", "number of messages per diskqueue fsync"),
    flag("sync-timeout", Kind::Duration, "2s", "duration of time per diskqueue fsync"),
    flag("tcp-address", Kind::Text, "\"0.0.0.0:4150\"", "address to listen on for TCP clients"),
    flag("tls-cert", Kind::Text, "", "path to certificate file"),
    flag(
        "tls-client-auth-policy",
        Kind::Text,
        "",
        "client certificate auth policy ('require' or 'require-verify')",
    ),
    flag("tls-key", Kind::Text, "", "path to key file"),
    flag(
        "tls-min-version",
        Kind::Word(TLS_VERSIONS),
        "",
        "minimum SSL/TLS version acceptable ('tls1.0', 'tls1.1', 'tls1.2', or 'tls1.3')",
    ),
    flag(
        "tls-required",
        Kind::BoolOr("tcp-https"),
        "",
        "require TLS for client connections (true, false, tcp-https)",
    ),
    flag("tls-root-ca-file", Kind::Text, "", "path to certificate authority file"),
    flag(
        "topology-region",
        Kind::Text,
        "",
        "A region represents a larger domain, made up of one or more zones",
    ),
    flag("topology-zone", Kind::Text, "", "A zone represents a logical failure domain"),
    flag("verbose", Kind::Bool, "", "[deprecated] has no effect, use --log-level"),
    flag("version", Kind::Bool, "", "print version string"),
    flag("worker-id", Kind::Bool, "", "[deprecated] use --node-id"),
];

/// Flags that nsqd has and that do nothing here, and why: they are accepted, and named once at start.
pub(super) const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("lookupd-tcp-address", "nodes do not announce themselves yet"),
    ("max-bytes-per-file", "the log has files of its own"),
    ("queue-scan-selection-count", "timeouts are on time without a scan"),
    ("queue-scan-worker-pool-max", "timeouts are on time without a scan"),
    (
        "sync-every",
        "--durability=fsync syncs before a publish is answered, --sync-timeout bounds the rest",
    ),
    ("verbose", "see --log-level"),
    ("worker-id", "see --node-id"),
];
