//! The TCP front-end: one task a connection that reads, handles every complete command as a batch, pulls what RDY allows,
//! and writes once.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`listener`] | accepts connections, ends them at shutdown |
//! | `conn` | a connection's loop: sockets and timers |
//! | `session` | a connection's commands: what they do to the engine and what is answered |
//! | `replies` | answers in order, some of them not known yet |

mod conn;
mod listener;
mod replies;
mod session;

use std::time::Duration;

pub use listener::serve;

use crate::protocol::command::Limits;
use crate::protocol::identify::{Offer, Settings};

/// The front-end's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}
