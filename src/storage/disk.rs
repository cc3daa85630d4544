//! What the log asks of a disk: the seam at which a test puts one that loses what was not synced.

use std::fmt::Debug;
use std::io;
use std::path::Path;

/// A folder of files.
pub(crate) trait Disk: Send + Sync + Debug {
    /// A new file for reading and writing.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// A file that is there, for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// The names of a folder's files.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Makes a folder and those above it.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// Gives a file another name, replacing what has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes what was created, renamed and removed in a folder last.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Bytes that may still be written.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;
}

/// An open file.
pub(crate) trait DiskFile: Send + Sync + Debug {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads what is there at `offset`, at most the buffer's length.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Its length.
    fn len(&self) -> io::Result<u64>;
    /// Makes what was written last.
    fn sync_data(&self) -> io::Result<()>;
}
