//! nsqd's sharp edges, each a test with the number that it has in the list of them: `edge_NNN_what_happens`.
//!
//! All of them run against Leveret and, with `NSQD=/path/to/nsqd` set, against that nsqd. Where Leveret does better on
//! purpose, the test says so and asks each for its own.

mod closing;
mod connection;
mod delivery;
mod ephemeral;
mod identify;
mod persistence;
mod publishing;
mod restart;
mod settling;
mod timeouts;
mod topics;
