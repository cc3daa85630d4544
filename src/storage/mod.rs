//! What lies on disk: the data folder's lock, nsqd's metadata file, the write-ahead log, segments and checkpoints, and
//! nsqd's own disk queues, read and written to move from nsqd and back.
//!
//! It knows no engine and no protocol: it is handed plain records and hands them back. Errors say which file, what was
//! tried and what to do.

pub(crate) mod checkpoint;
pub(crate) mod disk;
mod error;
pub mod image;
mod io;
mod lock;
pub mod metadata;
pub mod nsqd;
pub mod pauses;
#[cfg(test)]
mod power_tests;
pub mod ranges;
pub mod segment;
#[cfg(test)]
pub(crate) mod sim;
pub(crate) mod store;
pub mod wal;

pub use disk::free_bytes;
pub use error::StorageError;
pub use io::{read as read_file, remove as remove_file, replace_text};
pub use lock::DataLock;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    /// A fresh folder for a test.
    pub(super) fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("leveret-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&folder).unwrap_or_default();
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }
}
