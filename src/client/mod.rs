//! A client of NSQ: producers and consumers over any number of nsqds, named or found by nsqlookupd.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`error`] | why there is no connection, and why a publish was refused |
//! | [`connect`] | a connection's beginning: IDENTIFY, TLS, compression, AUTH |
//! | [`connection`] | a connection's bytes, both ways at once |
//! | [`http`], [`lookupd`], [`nsqd_stats`] | what nsqlookupds and nsqds tell over HTTP |
//! | [`discovery`] | which nsqds there are |
//! | `pool` | one task for each nsqd, which connects again for ever |
//! | [`producer`] | pipelined publishes over all of them |
//! | [`consumer`] | messages from all of them, bounded together |
//! | [`backoff`], [`share`] | how a consumer's bound is spread over connections, and when it shrinks: pure decisions |

pub mod backoff;
pub mod connect;
pub mod connection;
pub mod consumer;
pub mod discovery;
pub mod error;
pub mod http;
pub mod lookupd;
pub mod nsqd_stats;
mod pool;
pub mod producer;
pub mod share;

pub use crate::stream::PackingKind;
pub use connect::{ConnectOptions, Secret};
pub use connection::Connection;
pub use consumer::{Consumer, ConsumerOptions, Delivery, Tag};
pub use discovery::{Addresses, Lookup};
pub use error::{ConnectError, Refusal};
pub use http::{Answered, Call, HttpClient, HttpError};
pub use pool::{Health, Work};
pub use producer::{Answer, Job, Producer, ProducerOptions};
