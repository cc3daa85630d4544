//! The TCP front-end: one task a connection that reads, handles every complete command as a batch, pulls what RDY allows,
//! and writes once.
//!
//! | file | what it is |
//! | --- | --- |
//! | `address` | where to listen: ports and unix sockets |
//! | [`listener`] | accepts connections, ends them at shutdown |
//! | `workers` | the threads that connections are shared out over |
//! | `rider` | a connection's task, which goes from thread to thread if it is heavy |
//! | `linger` | when a thread looks for more work for a moment before it sleeps |
//! | `conn` | a connection's loop: sockets and timers |
//! | `buffers` | what a thread's connections read into and write from |
//! | `hold` | when deliveries wait for a moment, to go out together |
//! | `stream` | a connection's bytes: plain, in TLS, compressed |
//! | `session` | a connection's commands: what they do to the engine and what is answered |
//! | `replies` | answers in order, some of them not known yet |
//! | `tls`, `certificate` | TLS from its files, and what a handshake tells of a client |
//! | `auth` | AUTH: the auth servers and what their answers allow |

mod address;
mod auth;
mod buffers;
mod certificate;
mod conn;
mod hold;
mod linger;
mod listener;
mod replies;
mod rider;
mod session;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod workers;

use std::sync::Arc;
use std::time::Duration;

pub use address::{Accepted, Address, Listener, SocketFile, UNIX_PEER};
pub use auth::{AnswerError, AuthMethod, AuthOptions, AuthServers, SetupError};
pub use listener::serve;
pub use tls::{ClientAuth, Tls, TlsError, TlsOptions};
pub use workers::Workers;

use crate::protocol::command::Limits;
use crate::protocol::identify::{Offer, Settings};

/// The front-end's settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// What clients may send.
    pub limits: Limits,
    /// What IDENTIFY offers.
    pub offer: Offer,
    /// What holds for a client that does not identify.
    pub defaults: Settings,
    /// Whether consumers of the node's zone and region come before others.
    pub topology_aware: bool,
    /// `--max-channel-consumers`; 0 for no limit.
    pub max_channel_consumers: usize,
    /// How long open publishes may take to be answered once the node shuts down.
    pub shutdown_timeout: Duration,
    /// TLS and AUTH.
    pub secure: Secure,
}

/// TLS and AUTH; neither by default.
#[derive(Clone, Debug, Default)]
pub struct Secure {
    /// The TLS that IDENTIFY offers; the offer says whether it does.
    pub tls: Option<Tls>,
    /// Whether nothing but IDENTIFY is let through before TLS.
    pub tls_required: bool,
    /// Who says what clients may do; everybody may do everything without.
    pub auth: Option<Arc<AuthServers>>,
}

/// The host of a client's address; empty for a unix socket's.
fn host(peer: &str) -> &str {
    peer.rsplit_once(':').map_or("", |(host, _)| host.trim_matches(['[', ']']))
}
