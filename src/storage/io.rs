//! The only place that opens, renames and deletes files of the data folder, and others that are to be whole.

use std::fs::TryLockError;
use std::io::{self, Write as _};
use std::path::Path;

use super::StorageError;

/// A file, opened here only.
#[allow(clippy::disallowed_types, reason = "this is where files are opened")]
pub(super) type File = std::fs::File;

pub(super) fn failed(what: &'static str, path: &Path, source: io::Error) -> StorageError {
    StorageError::Io { what, path: path.into(), source }
}

/// Opens a folder, to lock or sync it.
pub(super) fn open_folder(path: &Path) -> Result<File, StorageError> {
    File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => StorageError::Missing { path: path.into() },
        _ => failed("open", path, source),
    })
}

/// Locks an open folder for this process alone (`flock(2)`), until it is closed.
pub(super) fn lock(folder: &File, path: &Path) -> Result<(), StorageError> {
    folder.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => StorageError::Locked { path: path.into() },
        TryLockError::Error(error) => failed("lock", path, error),
    })
}

/// Makes a folder and those above it, where they are missing.
pub(super) fn create_folder(path: &Path) -> Result<(), StorageError> {
    std::fs::create_dir_all(path).map_err(|error| failed("create", path, error))
}

/// The whole file, or `None` if it is not there.
///
/// # Errors
/// The system's, with what was done to which file.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path, error)),
    }
}

/// Replaces a file by what `fill` writes, whole or not at all, even across a power cut.
pub(super) fn replace(
    path: &Path,
    fill: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> Result<(), StorageError> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let draft = folder.join(name);
    let file = File::create(&draft).map_err(|error| failed("create", &draft, error))?;
    let mut writer = io::BufWriter::with_capacity(1 << 16, file);
    fill(&mut writer)
        .and_then(|()| writer.flush())
        .map_err(|error| failed("write", &draft, error))?;
    let file = writer.into_inner().map_err(|error| failed("write", &draft, error.into_error()))?;
    file.sync_all().map_err(|error| failed("sync", &draft, error))?;
    #[allow(clippy::disallowed_methods, reason = "the folder is synced right below")]
    std::fs::rename(&draft, path).map_err(|error| failed("rename", &draft, error))?;
    sync_folder(folder)
}

/// Replaces a file by `text`, whole or not at all, even across a power cut.
///
/// # Errors
/// The system's, with what was done to which file.
pub fn replace_text(path: &Path, text: &str) -> Result<(), StorageError> {
    replace(path, |out| out.write_all(text.as_bytes()))
}

/// Deletes a file for good.
///
/// # Errors
/// The system's.
pub fn remove(path: &Path) -> Result<(), StorageError> {
    std::fs::remove_file(path).map_err(|error| failed("remove", path, error))?;
    sync_folder(path.parent().unwrap_or_else(|| Path::new(".")))
}

fn sync_folder(folder: &Path) -> Result<(), StorageError> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    open_folder(folder)?.sync_all().map_err(|error| failed("sync", folder, error))
}
