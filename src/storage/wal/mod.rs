//! The write-ahead log: one for the node, whatever the number of topics.
//!
//! What must outlast the process is appended as a [`record`] to one queue in memory. A thread takes what has gathered,
//! writes it as one [`frame`] under one checksum, syncs it if any record in it asks for that, moves the marks, and begins
//! anew: the group commit needs no timer, because whatever arrives during a write makes the next frame.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`record`] | what is written down: publishes, settled ranges, topics and channels |
//! | `subject` | which topic and channel a record is about |
//! | [`frame`] | many records under one checksum |
//! | [`files`] | the numbered files, their turning over and reuse |
//! | [`writer`] | the queue and the marks |
//! | [`thread`] | the thread that writes |
//! | [`trouble`] | why something is not written |
//! | [`reader`] | reading back: torn tails, damage, order |
//!
//! A position in the log is an [`Lsn`]: the number of record bytes before it since the log began. It never repeats.
//!
//! Files are `wal-<16 hex digits>.log`, numbered upwards, some 64 MiB each. Format version 1; integers are big endian.

pub(crate) mod files;
pub(crate) mod frame;
pub(crate) mod reader;
pub mod record;
mod subject;
mod thread;
mod trouble;
pub mod writer;

/// A position in the log: record bytes before it since the log began.
pub type Lsn = u64;

/// How safe a record is to be before somebody may rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Written when something else is; nobody waits.
    Lazy,
    /// Handed to the operating system: survives the process.
    Written,
    /// On the disk: survives a power cut.
    Synced,
}
