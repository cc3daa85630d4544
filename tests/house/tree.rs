//! The files the rules are about: read from disk, or made up by a fixture.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Path from the package's folder → text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
}

/// What is read: folder and ending.
const READ: &[(&str, &str)] = &[("src", "rs"), ("tests", "rs"), ("benches", "rs"), ("docs", "md")];

impl Tree {
    /// Reads the package in `root`.
    pub(crate) fn load(root: &Path) -> Self {
        let mut tree = Self::default();
        for (folder, ending) in READ {
            tree.read(root, folder, ending);
        }
        tree
    }

    fn read(&mut self, root: &Path, folder: &str, ending: &str) {
        let Ok(entries) = fs::read_dir(root.join(folder)) else {
            return;
        };
        for entry in entries {
            let entry = entry.expect("a folder's entry can be read");
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{folder}/{name}");
            if entry.path().is_dir() {
                self.read(root, &path, ending);
            } else if name.ends_with(&format!(".{ending}")) {
                let text = fs::read_to_string(entry.path()).expect("a source file is UTF-8");
                self.files.insert(path, text);
            }
        }
    }

    /// The tree with a file put in or replaced.
    pub(crate) fn with(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), text.to_owned());
        self
    }

    pub(crate) fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Files under a folder, given with its slash.
    pub(crate) fn under(&self, folder: &str) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter(move |(path, _)| path.starts_with(folder))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

/// The module that a file under `src/` is: `src/bridge/amqp/link.rs` → `["bridge", "amqp", "link"]`.
/// The crate's root is `[]`, and the program is `["main"]`.
pub(crate) fn module_of(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    match inner {
        "lib" => Vec::new(),
        other => other.split('/').map(str::to_owned).collect(),
    }
}

#[test]
fn files_are_modules() {
    assert_eq!(module_of("src/lib.rs"), Vec::<String>::new());
    assert_eq!(module_of("src/main.rs"), ["main"]);
    assert_eq!(module_of("src/clock.rs"), ["clock"]);
    assert_eq!(module_of("src/bridge/mod.rs"), ["bridge"]);
    assert_eq!(module_of("src/bridge/amqp/link.rs"), ["bridge", "amqp", "link"]);
}
