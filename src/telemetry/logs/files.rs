//! A log file that is rolled by size or time, and what is kept of the old ones.
//!
//! A rolled file is `NAME.20261123T194800Z`, and `.gz` behind it once it is packed. Packing writes to a name of its own and
//! renames it, so that what a crash cut off is found and done again at the next start.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a log is no message: what a power cut takes of it is taken"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::Mutex;

use crate::clock;

/// The end of a file that is being packed.
const UNDONE: &str = ".gz.tmp";

/// How a file is rolled, and what is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// Its path.
    pub path: PathBuf,
    /// A file that would be larger is rolled, bytes; 0: never.
    pub max_size: u64,
    /// A file that is older is rolled; zero: never.
    pub max_age: Duration,
    /// How many old files are kept.
    pub keep: u32,
    /// How long they are kept; zero: for ever.
    pub keep_for: Duration,
    /// How much of them is kept, bytes; 0: any amount.
    pub keep_bytes: u64,
    /// Whether they are packed.
    pub gzip: bool,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct RollingFile {
    options: FileOptions,
    file: File,
    size: u64,
    /// When the file was begun, Unix seconds.
    since: i64,
    /// Held by whoever packs and deletes old files: two would pack one file into one another's.
    tidying: Arc<Mutex<()>>,
}

/// An old file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Old {
    name: String,
    size: u64,
    /// Seconds since it was rolled.
    age: u64,
}

impl RollingFile {
    pub(super) fn open(options: FileOptions) -> io::Result<Self> {
        let with_path = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", options.path.display()))
        };
        let (file, size) = append(&options.path).map_err(with_path)?;
        let rolling =
            Self { options, file, size, since: clock::unix_seconds(), tidying: Arc::default() };
        rolling.tidy_aside();
        Ok(rolling)
    }

    /// Writes a line; the file is rolled before it if it is time.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let now = clock::unix_seconds();
        let age = u64::try_from(now.saturating_sub(self.since)).unwrap_or_default();
        if is_due(&self.options, self.size, line.len() as u64, age) {
            self.roll(now)?;
        }
        self.file.write_all(line)?;
        self.size += line.len() as u64;
        Ok(())
    }

    /// Opens the file anew: somebody has moved it away.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.size) = append(&self.options.path)?;
        self.since = clock::unix_seconds();
        Ok(())
    }

    fn roll(&mut self, now: i64) -> io::Result<()> {
        let path = &self.options.path;
        let stamp = stamp(now);
        let mut aside = with_end(path, &format!(".{stamp}"));
        let mut number = 1;
        while aside.exists() || with_end(&aside, ".gz").exists() {
            number += 1;
            aside = with_end(path, &format!(".{stamp}-{number:04}"));
        }
        fs::rename(path, &aside)?;
        (self.file, self.size) = append(path)?;
        self.since = now;
        self.tidy_aside();
        Ok(())
    }

    /// Packs and deletes old files in a thread of its own.
    fn tidy_aside(&self) {
        let options = self.options.clone();
        let thread = std::thread::Builder::new().name("logs-tidy".to_owned());
        let turn = Arc::clone(&self.tidying);
        let tidying = thread.spawn(move || {
            let _turn = turn.lock();
            if let Err(error) = tidy(&options) {
                tracing::warn!(path = %options.path.display(), %error, "old logs could not be tidied up");
            }
        });
        // Without a thread they are tidied up next time.
        tidying.map(drop).unwrap_or_default();
    }
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Whether a file of this size and age is rolled before `more` bytes.
const fn is_due(options: &FileOptions, size: u64, more: u64, age: u64) -> bool {
    let is_large = options.max_size > 0 && size > 0 && size + more > options.max_size;
    let is_old = !options.max_age.is_zero() && size > 0 && age >= options.max_age.as_secs();
    is_large || is_old
}

/// `20261123T194800Z`.
fn stamp(unix: i64) -> String {
    let moment = jiff::Timestamp::from_second(unix).unwrap_or_default();
    moment.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// When a file was rolled, by what is behind the name; `None` for a file that is none of ours.
fn rolled_at(end: &str) -> Option<i64> {
    let stamp = end.strip_suffix(".gz").unwrap_or(end);
    let stamp = stamp.split('-').next()?;
    let parsed = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", stamp).ok()?;
    Some(jiff::tz::TimeZone::UTC.to_timestamp(parsed).ok()?.as_second())
}

/// Packs what is to be packed, and deletes what is not kept.
fn tidy(options: &FileOptions) -> io::Result<()> {
    let folder = options.path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let Some(own) = options.path.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
    let prefix = format!("{own}.");
    let now = clock::unix_seconds();
    let mut old = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(end) = name.strip_prefix(&prefix) else { continue };
        if let Some(bare) = name.strip_suffix(UNDONE) {
            // The file that it was made of is still there.
            if folder.join(bare).exists() {
                fs::remove_file(entry.path())?;
            }
            continue;
        }
        let Some(at) = rolled_at(end) else { continue };
        let name = if options.gzip && !name.ends_with(".gz") {
            pack(&entry.path())?;
            format!("{name}.gz")
        } else {
            name
        };
        let size = fs::metadata(folder.join(&name))?.len();
        let age = u64::try_from(now.saturating_sub(at)).unwrap_or_default();
        old.push(Old { name, size, age });
    }
    for name in surplus(old, options) {
        fs::remove_file(folder.join(name))?;
    }
    Ok(())
}

fn pack(path: &Path) -> io::Result<()> {
    let undone = with_end(path, UNDONE);
    let mut encoder = GzEncoder::new(File::create(&undone)?, Compression::default());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    fs::rename(&undone, with_end(path, ".gz"))?;
    fs::remove_file(path)
}

/// The names of old files that are not kept: beyond the number, too old, or beyond the amount, the oldest first to go.
fn surplus(mut old: Vec<Old>, options: &FileOptions) -> Vec<String> {
    old.sort_by(|a, b| a.age.cmp(&b.age).then_with(|| b.name.cmp(&a.name)));
    let (mut kept, mut bytes, mut gone) = (0_u32, 0_u64, Vec::new());
    for file in old {
        let is_old = !options.keep_for.is_zero() && file.age > options.keep_for.as_secs();
        let is_much = options.keep_bytes > 0 && bytes + file.size > options.keep_bytes;
        if is_old || is_much || kept >= options.keep {
            gone.push(file.name);
        } else {
            kept += 1;
            bytes += file.size;
        }
    }
    gone
}

#[cfg(test)]
mod tests;
