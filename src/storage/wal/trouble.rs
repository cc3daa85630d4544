//! Why something is not written, and what became of what was to be.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the log takes no publishes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The disk is full.
    #[error(
        "no space left on the disk of {folder} ({reason}): free some; publishing goes on by itself then"
    )]
    NoSpace {
        /// The log's folder.
        folder: PathBuf,
        /// The system's words.
        reason: Arc<str>,
    },
    /// The disk has less space than the reserve.
    #[error(
        "only {free} bytes are free on the disk of {folder}, less than the reserve of {reserve} (min_free_bytes): free some; publishing goes on by itself then"
    )]
    Reserve {
        /// The log's folder.
        folder: PathBuf,
        /// Free bytes.
        free: u64,
        /// The reserve, bytes.
        reserve: u64,
    },
    /// The process has no file descriptors left.
    #[error(
        "no file descriptors left for the log ({reason}): raise the limit (ulimit -n); publishing goes on by itself then"
    )]
    NoDescriptors {
        /// The system's words.
        reason: Arc<str>,
    },
    /// A write or a sync failed. Nothing more is written until the next start.
    #[error(
        "the log in {folder} failed ({reason}): nothing is written to it any more; see to the disk and restart"
    )]
    Failed {
        /// The log's folder.
        folder: PathBuf,
        /// The system's words.
        reason: Arc<str>,
    },
}

impl Trouble {
    /// What an error means if it goes away by itself.
    pub(super) fn passing(error: &io::Error, folder: &Path) -> Option<Self> {
        /// `ENFILE` and `EMFILE`: the system's table and the process' limit.
        const NO_DESCRIPTORS: [i32; 2] = [23, 24];
        let reason: Arc<str> = error.to_string().into();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Some(Self::NoSpace { folder: folder.into(), reason })
            }
            _ if error.raw_os_error().is_some_and(|code| NO_DESCRIPTORS.contains(&code)) => {
                Some(Self::NoDescriptors { reason })
            }
            _ => None,
        }
    }
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not known yet.
    Pending,
    /// It is as safe as was asked for.
    Done,
    /// It is not, and whoever waits should be told.
    Failed(Trouble),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_away_by_itself_is_told_from_what_does_not() {
        let of = |code| Trouble::passing(&io::Error::from_raw_os_error(code), Path::new("/x"));
        assert!(matches!(of(28), Some(Trouble::NoSpace { .. })));
        assert!(matches!(of(122), Some(Trouble::NoSpace { .. })));
        assert!(matches!(of(24), Some(Trouble::NoDescriptors { .. })));
        assert_eq!(of(5), None);
    }
}
