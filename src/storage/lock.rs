//! The data folder's lock: nsqd's own, so that neither runs over the other.

use std::path::Path;

use super::io::{File, open_folder};
use super::{StorageError, io};

/// Holds the data folder until it is dropped.
#[derive(Debug)]
pub struct DataLock {
    /// `flock(2)` on the folder itself; released when it is closed.
    _folder: File,
}

impl DataLock {
    /// As [`DataLock::acquire`], and makes the folder first if it is missing.
    ///
    /// # Errors
    /// The folder cannot be made, is locked by another process, or cannot be written.
    pub fn acquire_or_create(folder: &Path) -> Result<Self, StorageError> {
        if !folder.exists() {
            io::create_folder(folder)?;
        }
        Self::acquire(folder)
    }

    /// Locks the folder and makes sure that files can be written there.
    ///
    /// # Errors
    /// The folder is missing, is none, is locked by another process, or cannot be written.
    pub fn acquire(folder: &Path) -> Result<Self, StorageError> {
        let handle = open_folder(folder)?;
        if !folder.is_dir() {
            return Err(StorageError::NotFolder { path: folder.into() });
        }
        io::lock(&handle, folder)?;
        let probe = folder.join("leveret.probe");
        io::replace(&probe, |_| Ok(()))?;
        io::remove(&probe)?;
        Ok(Self { _folder: handle })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once_and_a_missing_one_is_named() {
        let folder = crate::storage::tests::folder("lock");
        let first = DataLock::acquire(&folder).unwrap();
        let second = DataLock::acquire(&folder).unwrap_err();
        assert!(matches!(second, StorageError::Locked { .. }), "{second}");
        drop(first);
        DataLock::acquire(&folder).unwrap();
        let missing = DataLock::acquire(&folder.join("none")).unwrap_err();
        assert!(matches!(missing, StorageError::Missing { .. }), "{missing}");
        let file = folder.join("file");
        io::replace(&file, |_| Ok(())).unwrap();
        for refused in [DataLock::acquire(&file), DataLock::acquire_or_create(&file)] {
            assert!(matches!(refused, Err(StorageError::NotFolder { .. })), "{refused:?}");
        }
    }
}
