//! What can go wrong on disk.

use std::io;
use std::path::PathBuf;

/// Why a file operation failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The data folder is not there.
    #[error("data path {path} does not exist: create it or set --data-path / data_path")]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// The data folder is something else.
    #[error("data path {path} is not a folder: set --data-path / data_path to one")]
    NotFolder {
        /// What is there.
        path: PathBuf,
    },
    /// Another process has the data folder.
    #[error(
        "data path {path} is locked by another process (a running nsqd or leveret): stop it or use another folder"
    )]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{path} is damaged at byte {offset}: {reason}; move it away to start without it")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How far it was good.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// nsqd's metadata does not parse.
    #[error("failed to parse metadata in {path} - {reason}")]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Files are to be written to a folder that has some.
    #[error("{path} is not empty: name a new or an empty folder")]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
}
