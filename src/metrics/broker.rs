//! How a connection to a broker is, as `/v1/routes`, `/health/ready` and `/metrics` show it.

use serde::Serialize;

/// What a connection to a broker is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BrokerState {
    /// Not up yet, or not up any more: it is tried again by itself.
    #[default]
    Connecting,
    /// It works.
    Up,
    /// It is up, and the broker takes nothing from publishers for now.
    Blocked,
    /// The broker refused in a way that somebody has to mend. It is tried again at a slow pace.
    Failed,
}

impl BrokerState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Connecting, Self::Up, Self::Blocked, Self::Failed];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Blocked => "blocked",
            Self::Failed => "failed",
        }
    }
}

/// One connection to a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BrokerStatus {
    /// The broker's name in the configuration.
    pub name: String,
    /// What the connection is for: `publish` or `consume`.
    pub role: &'static str,
    /// `host:port`, without credentials.
    pub address: String,
    /// What it is doing.
    pub state: BrokerState,
    /// Since when, Unix seconds.
    pub since: i64,
    /// Routes that use it; each has channels of its own.
    pub routes: usize,
    /// Attempts to connect since it was last up.
    pub attempt: u32,
    /// The broker's or the network's own words, if something is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
