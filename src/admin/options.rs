//! What nsqadmin can be told. The defaults are its own.

use std::path::PathBuf;
use std::time::Duration;

use super::access::network::Network;
use super::access::password::PasswordHash;
use crate::tls::ClientTls;

/// nsqadmin's options under nsqadmin's names, and those of logins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminOptions {
    /// What stands before every path, without a slash at its end; empty for none.
    pub base_path: String,
    /// A folder whose files are served instead of those in the binary.
    pub dev_static_dir: Option<PathBuf>,
    /// A graphite server, `http://host:port`.
    pub graphite_url: Option<String>,
    /// Whether graphite's pictures are fetched here for browsers that cannot reach it.
    pub proxy_graphite: bool,
    /// How statsd names a counter at graphite; `%s` is the key.
    pub statsd_counter_format: String,
    /// How it names a gauge.
    pub statsd_gauge_format: String,
    /// What nsqds put before their names; `%s` is the node.
    pub statsd_prefix: String,
    /// How often nsqds push.
    pub statsd_interval: Duration,
    /// Where each action is told, as JSON.
    pub notification_endpoint: Option<String>,
    /// For a connection to be open.
    pub connect_timeout: Duration,
    /// For a whole answer.
    pub request_timeout: Duration,
    /// How nodes that want TLS are asked.
    pub tls: ClientTls,
    /// Who may use `/config`; everybody if `None`.
    pub allow_config_from: Option<Network>,
    /// The header in which a proxy says who is there.
    pub acl_http_header: String,
    /// Who may operate, by that header; everybody if there are none.
    pub admin_users: Vec<String>,
    /// Proxies whose header counts; any if there are none.
    pub trusted_proxies: Vec<Network>,
    /// Who may log in; nobody has to if there are none.
    pub users: Vec<User>,
    /// Whether it is served by HTTPS itself: cookies are for that alone then.
    pub is_https: bool,
    /// How long a login lasts without a request.
    pub session_timeout: Duration,
    /// nsqlookupds' HTTP, `host:port`.
    pub lookupds: Vec<String>,
    /// nsqds' HTTP, `host:port`, where there are no nsqlookupds.
    pub nsqds: Vec<String>,
}

impl Default for AdminOptions {
    fn default() -> Self {
        Self {
            base_path: String::new(),
            dev_static_dir: None,
            graphite_url: None,
            proxy_graphite: false,
            statsd_counter_format: "stats.counters.%s.count".into(),
            statsd_gauge_format: "stats.gauges.%s".into(),
            statsd_prefix: "nsq.%s".into(),
            statsd_interval: Duration::from_secs(60),
            notification_endpoint: None,
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            tls: ClientTls::default(),
            allow_config_from: Network::parse("127.0.0.1/8"),
            acl_http_header: "X-Forwarded-User".into(),
            admin_users: Vec::new(),
            trusted_proxies: Vec::new(),
            users: Vec::new(),
            is_https: false,
            session_timeout: Duration::from_secs(8 * 3600),
            lookupds: Vec::new(),
            nsqds: Vec::new(),
        }
    }
}

/// Somebody who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// What the password is checked against.
    pub password: PasswordHash,
    /// What that allows.
    pub role: Role,
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look at everything.
    View,
    /// Change things as well.
    Operate,
}

impl Role {
    /// As one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Operate => "operate",
        }
    }
}

/// A base path as it is kept: with a slash before it and none behind.
#[must_use]
pub fn base_path(given: &str) -> String {
    let bare = given.trim_matches('/');
    if bare.is_empty() { String::new() } else { format!("/{bare}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_has_one_slash_before_it() {
        let paths = ["", "/", "admin", "/admin/", "/a/b/"].map(base_path);
        assert_eq!(paths, ["", "", "/admin", "/admin", "/a/b"]);
    }
}
