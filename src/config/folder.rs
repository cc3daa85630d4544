//! What the folder of route files looks like from outside, for whoever waits for a change.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::storage;

/// The files of a folder with what tells one state of it from another. A folder that cannot be read is like an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderState(BTreeMap<PathBuf, (u64, Option<SystemTime>)>);

impl FolderState {
    /// The state of this moment.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let files = entries.filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((entry.path(), (metadata.len(), metadata.modified().ok())))
        });
        Self(files.collect())
    }
}

/// The text of a route file as it stands there.
///
/// # Errors
/// The system's.
pub fn route_text(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path)
}

/// The route files that a path means: the file itself, or those of a folder.
///
/// # Errors
/// The system's.
pub fn route_paths(path: &Path) -> io::Result<Vec<PathBuf>> {
    if path.is_dir() { super::route_files(path) } else { Ok(vec![path.to_owned()]) }
}

/// Writes a route file, whole or not at all.
///
/// # Errors
/// The system's.
pub fn write_route(path: &Path, text: &str) -> io::Result<()> {
    storage::replace_text(path, text).map_err(io::Error::other)
}
