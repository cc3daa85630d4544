//! Puts nsqd's files aside once they are imported: all of them or, as far as the next start can tell, none.
//!
//! What decides is a marker in the data folder with the name of the archive. Without it the import has not happened; with
//! it, it has, and whatever was not moved yet is moved.

use std::path::{Path, PathBuf};

use super::diskqueue::parse_file_name;
use super::{is_missing, list, read_whole, sync_folder, write_whole};
use crate::storage::StorageError;
use crate::storage::disk::Disk;
use crate::storage::io::failed;
use crate::storage::metadata;

const MARKER: &str = "nsqd-imported.moving";
const ARCHIVE: &str = "nsqd-imported";

/// The archive's name at the n-th import, from 1.
fn archive_name(number: u32) -> String {
    if number == 1 { ARCHIVE.into() } else { format!("{ARCHIVE}.{number}") }
}

/// The name in a marker; `None` if the marker was not written to its end, and so means nothing.
fn parse_marker(bytes: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let number = match name.strip_prefix(ARCHIVE)? {
        "" => 1,
        rest => rest.strip_prefix('.')?.parse().ok()?,
    };
    (archive_name(number) == name).then_some(name)
}

/// Moves the files of all queues, and a copy of `nsqd.dat` (`metadata`), to an archive, and returns its path.
pub(super) fn run(
    disk: &dyn Disk,
    folder: &Path,
    metadata: &[u8],
) -> Result<PathBuf, StorageError> {
    let name = unused(disk, folder)?;
    let archive = folder.join(&name);
    disk.create_folder(&archive).map_err(|error| failed("create", &archive, error))?;
    sync_folder(disk, folder)?;
    let copy = metadata::path(&archive);
    remove(disk, &copy)?;
    write_whole(disk, &copy, metadata)?;
    sync_folder(disk, &archive)?;
    write_whole(disk, &folder.join(MARKER), format!("{name}\n").as_bytes())?;
    sync_folder(disk, folder)?;
    finish(disk, folder, &archive)?;
    Ok(archive)
}

/// Ends a move that was begun; nothing if none was.
pub(super) fn resume(disk: &dyn Disk, folder: &Path) -> Result<(), StorageError> {
    let path = folder.join(MARKER);
    let Some(bytes) = read_whole(disk, &path)? else {
        return Ok(());
    };
    match parse_marker(&bytes) {
        Some(name) => finish(disk, folder, &folder.join(name)),
        None => {
            remove(disk, &path)?;
            sync_folder(disk, folder)
        }
    }
}

/// The first archive that has no queue's files. It may have the `nsqd.dat` of an attempt that came no further.
fn unused(disk: &dyn Disk, folder: &Path) -> Result<String, StorageError> {
    let mut number = 1;
    loop {
        let name = archive_name(number);
        let is_used = match list(disk, &folder.join(&name)) {
            Ok(names) => names.iter().any(|name| parse_file_name(name).is_some()),
            Err(StorageError::Missing { .. }) => false,
            Err(error) => return Err(error),
        };
        if !is_used {
            return Ok(name);
        }
        number += 1;
    }
}

fn finish(disk: &dyn Disk, folder: &Path, archive: &Path) -> Result<(), StorageError> {
    for name in list(disk, folder)? {
        if parse_file_name(&name).is_some() {
            let path = folder.join(&name);
            disk.rename(&path, &archive.join(&name))
                .map_err(|error| failed("move to the archive", &path, error))?;
        }
    }
    // The marker goes when no file can come back.
    sync_folder(disk, archive)?;
    sync_folder(disk, folder)?;
    remove(disk, &folder.join(MARKER))?;
    sync_folder(disk, folder)
}

/// Takes a file away that may not be there.
fn remove(disk: &dyn Disk, path: &Path) -> Result<(), StorageError> {
    match disk.remove(path) {
        Err(error) if !is_missing(&error) => Err(failed("remove", path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_names_an_archive_to_the_last_byte() {
        for number in [1, 2, 10] {
            let name = archive_name(number);
            assert_eq!(parse_marker(format!("{name}\n").as_bytes()), Some(name.as_str()));
            assert_eq!(parse_marker(name.as_bytes()), None, "cut short");
        }
        for bad in
            ["", "\n", "nsqd-imported.\n", "nsqd-imported.x\n", "nsqd-imported.1\n", "../x\n"]
        {
            assert_eq!(parse_marker(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
