//! What is wrong, or odd, and where: findings with file, line, column and the key's path.

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A position in a file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One error or warning. Prints as `file:line:column: path: message`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file as it was named or found.
    pub file: String,
    /// Where in it; `None` if the file as a whole is meant.
    pub place: Option<Place>,
    /// The key's path, such as `routes[2].to.amqp.exchange`; empty if no key is meant.
    pub path: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(place) = self.place {
            write!(f, ":{place}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Everything that is wrong with a configuration, sorted by file and place. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// The errors.
    pub errors: Vec<Finding>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

/// A place that a finding may be about: kept beside a value as long as rules may still complain of it.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    file: Rc<str>,
    place: Option<Place>,
    path: String,
}

impl Spot {
    /// A file as a whole.
    pub(super) fn file(file: &str) -> Self {
        Self { file: file.into(), place: None, path: String::new() }
    }

    /// The file that it is in.
    pub(super) fn file_name(&self) -> &str {
        &self.file
    }

    /// The same path at another place.
    pub(super) fn at(&self, place: Place) -> Self {
        Self { place: Some(place), ..self.clone() }
    }

    /// The key `key` below this one.
    pub(super) fn key(&self, key: &str, place: Place) -> Self {
        let separator = if self.path.is_empty() { "" } else { "." };
        Self {
            file: Rc::clone(&self.file),
            place: Some(place),
            path: format!("{}{separator}{key}", self.path),
        }
    }

    /// The element `index` of the list here.
    pub(super) fn index(&self, index: usize, place: Place) -> Self {
        Self {
            file: Rc::clone(&self.file),
            place: Some(place),
            path: format!("{}[{index}]", self.path),
        }
    }

    /// The folder that the file is in: paths in it are relative to that.
    pub(super) fn folder(&self) -> PathBuf {
        Path::new(&*self.file).parent().unwrap_or_else(|| Path::new("")).to_owned()
    }

    /// Where this is, for use inside the message about another place.
    pub(super) fn whereabouts(&self) -> String {
        match self.place {
            Some(place) => format!("{}:{place}", self.file),
            None => self.file.to_string(),
        }
    }

    fn finding(&self, message: String) -> Finding {
        Finding { file: self.file.to_string(), place: self.place, path: self.path.clone(), message }
    }
}

/// Findings as they are collected.
#[derive(Debug, Default)]
pub(super) struct Report {
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Report {
    pub(super) fn error(&mut self, spot: &Spot, message: impl Into<String>) {
        self.errors.push(spot.finding(message.into()));
    }

    pub(super) fn warn(&mut self, spot: &Spot, message: impl Into<String>) {
        self.warnings.push(spot.finding(message.into()));
    }

    /// Takes over what `other` found.
    pub(super) fn append(&mut self, mut other: Self) {
        self.errors.append(&mut other.errors);
        self.warnings.append(&mut other.warnings);
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// The warnings, sorted; or the errors, if there are any.
    pub(super) fn finish(mut self) -> Result<Vec<Finding>, ConfigErrors> {
        self.errors.sort();
        self.errors.dedup();
        self.warnings.sort();
        self.warnings.dedup();
        if self.errors.is_empty() {
            Ok(self.warnings)
        } else {
            Err(ConfigErrors { errors: self.errors })
        }
    }
}
