//! What a node says of the registry that it shares with others.

use std::collections::BTreeMap;

use serde::Serialize;

/// The registry as a node sees it at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RegistryStatus {
    /// The name under which the node is registered.
    pub node: String,
    /// `connecting`, `up` or `down`.
    pub state: &'static str,
    /// The member that it is connected to.
    pub endpoint: Option<String>,
    /// Why it is not connected.
    pub error: Option<String>,
    /// Since when it is not, seconds since the Unix epoch.
    pub down_since: Option<i64>,
    /// How many of the shared routes are in force as they stand there.
    pub applied: usize,
    /// Those that are not, and why: one finding each.
    pub refused: BTreeMap<String, Vec<String>>,
    /// Of the routes of which there is one, those that this node owns.
    pub owned: Vec<String>,
}
