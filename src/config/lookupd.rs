//! nsqlookupd's configuration, typed.

use std::path::PathBuf;
use std::time::Duration;

/// nsqlookupd's options under nsqlookupd's names but for `listen`, which is its `tcp_address`. The defaults are its own but
/// for the addresses, which are of the loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupdConfig {
    /// `host:port` where nodes register; port 0 takes a free one.
    pub listen: String,
    /// `host:port` of its HTTP API. `None` switches it off.
    pub http_address: Option<String>,
    /// The host under which nodes are to ask it over HTTP; the host's name if `None`.
    pub broadcast_address: Option<String>,
    /// A node that has sent no PING for longer is not told of.
    pub inactive_producer_timeout: Duration,
    /// How long a node is not told of for a topic that was taken from it.
    pub tombstone_lifetime: Duration,
    /// PEM, its certificate and its key; both ports are TLS then.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// PEM, who has to stand for clients' certificates; none is asked for if `None`.
    pub tls_root_ca_file: Option<PathBuf>,
}

impl Default for LookupdConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:4160".into(),
            http_address: Some("127.0.0.1:4161".into()),
            broadcast_address: None,
            inactive_producer_timeout: Duration::from_secs(300),
            tombstone_lifetime: Duration::from_secs(45),
            tls: None,
            tls_root_ca_file: None,
        }
    }
}
