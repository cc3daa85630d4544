//! Secrets in files. They are read again at each connect, so that a password can be changed under a running node.

use std::path::Path;

/// What stands in a file, without the line end.
///
/// # Errors
/// Why it is of no use, with its path and without its contents.
pub fn read_secret(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8 text"))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{shown} is empty")),
        secret => Ok(secret.to_owned()),
    }
}
