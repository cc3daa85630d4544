//! Where the registry is, and how it is reached.

use std::path::PathBuf;
use std::time::Duration;

/// The prefix of all keys unless another is given.
pub const PREFIX: &str = "/leveret";
/// How long a node that is gone is taken for a live one, unless another time is given.
pub const LEASE: Duration = Duration::from_secs(6);

/// An etcd, and what of it is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdOptions {
    /// `http://host:port` or `https://host:port` of the members; one at least. Tried one after the other.
    pub endpoints: Vec<String>,
    /// What all keys begin with, without a slash at the end.
    pub prefix: String,
    /// TLS, for endpoints that begin with `https`.
    pub tls: EtcdTls,
    /// Who logs in; nobody if `None`.
    pub auth: Option<EtcdAuth>,
    /// After so long without a word from a node, others take over what it had. Whole seconds, 3 s to 5 min.
    pub lease: Duration,
}

/// TLS towards etcd. The files are read at each connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcdTls {
    /// PEM, who stands for the members' certificates; the system's authorities if `None`.
    pub ca_file: Option<PathBuf>,
    /// PEM, the node's own certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the members' certificates are to have; the endpoint's host if `None`.
    pub server_name: Option<String>,
}

/// A user of etcd. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdAuth {
    /// The user's name.
    pub username: String,
    /// The password, if it does not stand in a file.
    pub password: String,
    /// Where the password is read at each connect, in place of the other.
    pub password_file: Option<PathBuf>,
}

impl std::fmt::Debug for EtcdAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdAuth").field("username", &self.username).finish_non_exhaustive()
    }
}

impl EtcdOptions {
    /// How long one call may take.
    #[must_use]
    pub fn call_limit(&self) -> Duration {
        self.lease / 6
    }
}
