//! nsqlookupd, and a node's side of it: who has which topics and channels.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`peer`] | one nsqd as it tells of itself |
//! | [`registrations`] | what all of them have registered: pure state, its time given from outside |
//! | [`command`] | the lines that nsqds send, read without a socket |
//! | [`daemon`] | the TCP side of nsqlookupd |
//! | [`announce`] | a node's side: what it has is registered at every nsqlookupd, for as long as it has it |
//!
//! The HTTP side of nsqlookupd is `http::lookupd`. Nothing is kept on disk and nsqlookupds do not know of each other, as
//! it is with the original.

pub mod announce;
pub mod command;
pub mod daemon;
pub mod peer;
pub mod registrations;

pub use daemon::{Daemon, Options};
pub use peer::PeerInfo;
