//! The house rules, one table a kind. To change a rule, change its row and say why in the commit.

/// Modules by level; the ground is 0. An arrow points down, or is written in [`ARROWS`] and [`SIDEWAYS`].
pub(crate) const LEVELS: &[&[&str]] = &[
    &["protocol", "storage", "names", "clock", "metrics", "task", "stream", "tls"],
    &["engine", "limit"],
    &["server", "client"],
    &["bridge", "lookup", "registry"],
    &["http", "telemetry", "config", "admin"],
    &["node", "tools"],
    &["cli", "main"],
];

/// Who may use whom. The longest first part that fits a module speaks for it, in addition to its parents' rows.
/// A target may be a part of a module: `bridge::route` allows that and nothing else of the bridge.
pub(crate) const ARROWS: &[(&str, &[&str])] = &[
    ("protocol", &["names"]),
    ("storage", &["names", "clock", "metrics"]),
    ("names", &[]),
    ("clock", &[]),
    ("metrics", &["names", "clock"]),
    ("task", &["names", "clock"]),
    // What both sides of a connection are made of: they know bytes and files.
    ("stream", &[]),
    ("tls", &[]),
    // Neither sockets nor frames: the engine's words are its own.
    ("engine", &["storage", "names", "clock", "metrics", "task"]),
    ("limit", &["names", "clock", "metrics"]),
    // A channel's limit on deliveries is spent under the channel's lock, message by message.
    ("engine::channel::gate", &["limit"]),
    ("engine::policy", &["limit"]),
    // Not the engine: the utilities are not to link a broker's insides.
    ("client", &["protocol", "names", "clock", "metrics", "task", "stream", "tls"]),
    // Not the bridge: a route reaches the server as a trait object that main hands in.
    (
        "server",
        &["protocol", "engine", "limit", "names", "clock", "metrics", "task", "stream", "tls"],
    ),
    ("bridge", &["engine", "client", "limit", "names", "clock", "metrics", "task", "tls"]),
    // Its ports are opened and secured as a node's are.
    ("lookup", &["server", "names", "clock", "metrics", "task"]),
    // The node's side of nsqlookupd hears of new topics and channels, and asks over HTTP.
    ("lookup::announce", &["engine", "client", "tls"]),
    ("registry", &["bridge::route", "names", "clock", "metrics", "task"]),
    (
        "http",
        &[
            "bridge",
            "lookup",
            "registry",
            "server",
            "client",
            "engine",
            "limit",
            "protocol",
            "storage",
            "names",
            "clock",
            "metrics",
            "task",
            "telemetry",
        ],
    ),
    (
        "telemetry",
        &[
            "tls", "bridge", "lookup", "registry", "server", "client", "engine", "limit",
            "storage", "names", "clock", "metrics", "task",
        ],
    ),
    // It answers in nsqd's envelope, by the code that makes it; of the bridge it needs base64 alone.
    ("admin", &["http", "client", "bridge::envelope", "protocol", "names", "clock", "task", "tls"]),
    // It composes every module's options; nobody below reads it.
    (
        "config",
        &[
            "http",
            "telemetry",
            "admin",
            "bridge",
            "lookup",
            "registry",
            "server",
            "client",
            "engine",
            "limit",
            "protocol",
            "storage",
            "names",
            "clock",
            "tls",
        ],
    ),
    (
        "tools",
        &[
            "config",
            "telemetry",
            "lookup",
            "client",
            "limit",
            "protocol",
            "storage",
            "names",
            "clock",
            "metrics",
            "task",
            "tls",
        ],
    ),
    // It wires: all that a node is made of.
    (
        "node",
        &[
            "config",
            "http",
            "telemetry",
            "admin",
            "bridge",
            "lookup",
            "registry",
            "server",
            "client",
            "engine",
            "limit",
            "protocol",
            "storage",
            "names",
            "clock",
            "metrics",
            "task",
            // It tells of its certificates' ends.
            "tls",
        ],
    ),
    // It reads command lines and starts what they ask for.
    ("cli", &["node", "tools", "config"]),
    // It asks brokers, and needs no node for it.
    ("cli::plan", &["bridge::plan"]),
    // A person's commands to etcd need no node either.
    ("cli::routes", &["registry"]),
    // Their options are made where their flags are read.
    ("cli::nsqadmin", &["admin"]),
    ("cli::password", &["admin::access"]),
    ("cli::compare", &["bridge::compare", "bridge::broker"]),
    ("main", &["cli", "node", "tools", "config"]),
];

/// Arrows between modules of one level, each written here once more because it is an exception.
pub(crate) const SIDEWAYS: &[(&str, &str)] = &[
    ("engine", "limit"),
    ("http", "telemetry"),
    ("admin", "http"),
    ("config", "http"),
    ("config", "telemetry"),
    ("config", "admin"),
    ("main", "cli"),
    ("registry", "bridge"),
    ("storage", "names"),
    ("storage", "clock"),
    ("storage", "metrics"),
    ("protocol", "names"),
    ("metrics", "names"),
    ("metrics", "clock"),
    ("task", "names"),
    ("task", "clock"),
];

/// What may be named only in some places: a path that occurs anywhere in code, where it may, and why.
/// Test code (`#[cfg(test)]`) is free of these. A place ending in `/` is a folder.
pub(crate) struct Only {
    pub(crate) paths: &'static [&'static str],
    pub(crate) within: &'static [&'static str],
    pub(crate) why: &'static str,
}

pub(crate) const ONLY: &[Only] = &[
    Only {
        paths: &["lapin"],
        within: &["src/bridge/amqp/", "src/bridge/amqp.rs"],
        why: "RabbitMQ's client is known to bridge/amqp alone",
    },
    Only {
        paths: &["axum"],
        within: &["src/http/", "src/http.rs", "src/admin/", "src/admin.rs"],
        why: "HTTP is served by http and admin alone",
    },
    Only {
        paths: &["governor"],
        within: &["src/limit/", "src/limit.rs"],
        why: "limits are spoken of in the words of crate::limit",
    },
    Only {
        paths: &["etcd_client"],
        within: &["src/registry/", "src/registry.rs"],
        why: "etcd is known to registry alone",
    },
    Only {
        paths: &["minijinja"],
        within: &["src/bridge/transform/", "src/bridge/transform.rs"],
        why: "templates are the transform's own matter",
    },
    Only {
        paths: &["std::fs", "tokio::fs"],
        within: &[
            "src/storage/io.rs",
            "src/storage/disk.rs",
            // Passwords are read again at each connect, long after the configuration was.
            "src/bridge/broker/secret.rs",
            "src/registry/secrets.rs",
            "src/config/",
            "src/config.rs",
            "src/tools/",
            "src/cli/",
            // The pages of a folder, while somebody works on them.
            "src/admin/pages.rs",
            "src/telemetry/logs/files.rs",
            "src/telemetry/logs/remote.rs",
            "src/telemetry/process.rs",
        ],
        why: "files are opened behind the seam that tests can replace",
    },
    Only {
        paths: &["Instant::now", "SystemTime::now"],
        within: &["src/clock.rs"],
        why: "time is read in crate::clock alone, so that tests can own it",
    },
    Only {
        paths: &["tokio::spawn", "tokio::task::spawn"],
        within: &["src/task.rs"],
        why: "crate::task::spawn names a task and reports its panic",
    },
    Only { paths: &["unsafe"], within: &[], why: "no file has a reason for unsafe code yet" },
];

/// What may not be named under a folder, in test code neither: the other way round.
pub(crate) struct Never {
    pub(crate) paths: &'static [&'static str],
    pub(crate) under: &'static [&'static str],
    pub(crate) why: &'static str,
}

pub(crate) const NEVER: &[Never] = &[
    Never {
        paths: &["tokio", "std::net", "std::fs", "std::thread"],
        under: &["src/protocol/"],
        why: "the protocol is pure functions over bytes",
    },
    Never {
        paths: &["tokio", "std::net", "async"],
        under: &["src/storage/"],
        why: "the log belongs to a thread, and its marks leave through callbacks",
    },
    Never {
        paths: &["tokio::net", "std::net", "serde", "serde_json"],
        under: &["src/engine/"],
        why: "the engine knows no sockets and no formats",
    },
];

/// Macros that say a thing is not done.
pub(crate) const UNDONE_MACROS: &[&str] = &["todo", "unimplemented"];

/// Words in comments that say the same.
pub(crate) const UNDONE_WORDS: &[&str] = &["FIXME", "XXX"];

/// Names that say nothing of what is in a file or folder.
pub(crate) const EMPTY_NAMES: &[&str] =
    &["common", "helper", "helpers", "misc", "types", "util", "utils"];

/// From here on a file has a second thing in it that wants out.
pub(crate) const LINES_MAX: usize = 500;

/// Files that may be longer, and why.
pub(crate) const LONG_FILES: &[(&str, &str)] = &[];

/// First letters of every metric's name.
pub(crate) const METRIC_PREFIX: &str = "leveret_";

/// Where every metric is described.
pub(crate) const METRIC_PAGE: &str = "docs/metrics.md";
