//! Which routes are paused: a restart does not undo what an operator has decided.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{StorageError, io};

/// The file, in the data folder.
const FILE: &str = "leveret.routes.json";

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    /// Names of the routes.
    #[serde(default)]
    paused: BTreeSet<String>,
}

/// What was kept last in the data folder.
///
/// # Errors
/// The system's, or that the file is not what was written: nobody knows then which routes may run.
pub fn load(folder: &Path) -> Result<BTreeSet<String>, StorageError> {
    let path = folder.join(FILE);
    let Some(bytes) = io::read(&path)? else { return Ok(BTreeSet::new()) };
    match serde_json::from_slice::<Content>(&bytes) {
        Ok(content) => Ok(content.paused),
        Err(error) => {
            let reason =
                format!("{error}; delete it to have all routes run, also those that were paused");
            Err(StorageError::Metadata { path, reason })
        }
    }
}

/// Keeps `paused` in the data folder, for good when this returns.
///
/// # Errors
/// The system's.
pub fn save(folder: &Path, paused: BTreeSet<String>) -> Result<(), StorageError> {
    io::replace(&folder.join(FILE), |out| {
        serde_json::to_writer(&mut *out, &Content { paused })?;
        out.write_all(b"\n")
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::folder;
    use super::*;

    #[test]
    fn what_is_kept_is_found_again_and_what_is_not_understood_is_said() {
        let folder = folder("pauses");
        assert_eq!(load(&folder).unwrap(), BTreeSet::new());
        let names = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        save(&folder, names.clone()).unwrap();
        assert_eq!(load(&folder).unwrap(), names);
        std::fs::write(folder.join(FILE), "{\"paused\": [").unwrap();
        let error = load(&folder).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("delete it"), "{error}");
    }
}
