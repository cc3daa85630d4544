//! Programs beside the node.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`bench`] | `leveret bench` |
//! | [`to_nsq`], [`nsq_tail`], [`nsq_stat`], [`nsq_to_file`], [`nsq_to_nsq`], [`nsq_to_http`] | NSQ's utilities, each as it is called there |
//! | [`top`] | `leveret top`: a live view |
//! | [`client`] | what all of those that are clients can be told of their connections |
//! | [`reader`] | how those that consume do it |
//! | [`program`] | how all of them begin and end: logs, signals, errors |
//! | `target` | one nsqd that is published to |
//! | `chance` | numbers by chance |
//! | `destinations` | to which of several destinations a message goes |
//! | `latencies` | how long requests took |
//! | `progress` | what long work shows of itself |
//!
//! Their flags are read by `cli::utilities`.

pub mod bench;
mod chance;
pub mod client;
mod destinations;
mod latencies;
pub mod nsq_stat;
pub mod nsq_tail;
pub mod nsq_to_file;
pub mod nsq_to_http;
pub mod nsq_to_nsq;
pub mod program;
mod progress;
pub mod reader;
mod target;
pub mod to_nsq;
pub mod top;

pub use destinations::Mode;
