//! NSQ's protocol as pure functions over bytes: no sockets, no clocks, no files.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`command`] | what clients send, as the server reads it |
//! | [`encode`] | what clients send, as a client writes it |
//! | [`frame`] | what the server sends, in both directions |
//! | [`identify`] | IDENTIFY: the request, the negotiation, the reply |
//! | [`error`] | the error codes and their texts |
//! | [`json`] | JSON as Go writes it |

pub mod command;
pub mod encode;
pub mod error;
pub mod frame;
pub mod identify;
pub mod json;

pub use error::{ErrorCode, ProtocolError};
