//! How the connections to brokers are.

use serde::Serialize;

/// The state of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BrokerState {
    /// Not up (yet); it is being tried.
    Connecting,
    /// Up.
    Up,
    /// Up, but the broker takes nothing from publishers (a memory or disk alarm).
    Blocked,
    /// Refused in a way that somebody has to mend; it is tried again at a slow pace.
    Failed,
}

/// One connection, as `/v1/routes` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BrokerStatus {
    /// The broker's name in the configuration.
    pub name: String,
    /// What the connection is for: `publish` or `consume`.
    pub role: &'static str,
    /// `host:port`.
    pub address: String,
    /// How it is.
    pub state: BrokerState,
    /// Since when, Unix seconds.
    pub since: i64,
    /// Attempts to connect since it was last up.
    pub attempt: u32,
    /// The last error, or why it is blocked.
    pub error: Option<String>,
}
