//! The configuration of nsqadmin within a node, typed.

use std::path::PathBuf;

use crate::admin::AdminOptions;

/// nsqadmin in the same process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// `host:port` where browsers reach it; port 0 takes a free one.
    pub listen: String,
    /// PEM, its certificate and its key; it is served by HTTPS then.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Everything else. Without nsqlookupds and nsqds it asks this node.
    pub options: AdminOptions,
}
