//! A data folder of nsqd 1.x, in both directions: what it owes is read when Leveret takes its place, and written when
//! nsqd is to take over again.
//!
//! | module | what |
//! | --- | --- |
//! | [`import`] | a folder's topics and channels, their messages in order, and what was wrong with them |
//! | [`export`] | the same files, written anew for nsqd |
//! | `diskqueue` | the format: records, positions, file names |
//! | `reader` | one queue's messages |
//! | `archive` | read files put aside, once and for all |
//!
//! Everything here blocks, and takes as long as the disk does.

pub(super) mod archive;
pub(super) mod diskqueue;
pub mod export;
pub mod import;
mod problem;
pub(super) mod reader;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use problem::{Damage, Problem};
pub use reader::QueueReader;

use super::StorageError;
use super::disk::{self, Disk};
use super::io::failed;
use crate::names::MessageId;

/// A message as nsqd stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Publish time, nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// Deliveries so far; the next one counts one more.
    pub attempts: u16,
    /// 16 lower-case hexadecimal digits.
    pub id: [u8; MessageId::LEN],
    /// Its body.
    pub body: Vec<u8>,
}

/// The whole file, or `None` if it is not there.
fn read_whole(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    match disk::read_whole(disk, path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(failed("read", path, error)),
    }
}

/// Makes a file with these bytes, safe but for its name.
fn write_whole(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let write = || {
        let file = disk.create(path)?;
        file.write_at(bytes, 0)?;
        file.sync_data()
    };
    write().map_err(|error| failed("write", path, error))
}

fn is_missing(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
}

fn list(disk: &dyn Disk, folder: &Path) -> Result<Vec<String>, StorageError> {
    disk.list(folder).map_err(|error| match is_missing(&error) {
        true => StorageError::Missing { path: folder.into() },
        false => failed("list", folder, error),
    })
}

fn sync_folder(disk: &dyn Disk, folder: &Path) -> Result<(), StorageError> {
    disk.sync_folder(folder).map_err(|error| failed("sync", folder, error))
}

/// The folder that a folder's own name is in.
fn above(folder: &Path) -> PathBuf {
    folder.parent().map(Path::to_path_buf).unwrap_or_default()
}
