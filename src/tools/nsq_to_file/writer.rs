//! The file that a topic is written to: opened, turned over, synced, moved.
//!
//! With a work folder a file is moved when it is closed, by a hard link that never takes another's place. Blocking code.
#![allow(clippy::disallowed_types, reason = "files are what this utility is about")]

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::ZonedDateTime;

use super::naming::{Naming, revised};
use crate::clock::{self, Instant};

/// Bytes that are gathered before they are written.
const BUFFER: usize = 64 * 1024;

/// How a topic is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WriterOptions {
    pub(super) output_dir: PathBuf,
    /// Where a file is while it is written; the output folder itself if it is the same.
    pub(super) work_dir: PathBuf,
    /// The level, 1 to 9, if files are packed.
    pub(super) gzip: Option<u32>,
    /// A file that has more bytes (before they are packed) is turned over; 0 for never.
    pub(super) rotate_size: u64,
    /// A file that was open for longer is turned over; zero for never.
    pub(super) rotate_interval: Duration,
}

/// A failed step.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}: {source}", path.display())]
pub(super) struct WriteError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.to_owned();
    move |source| WriteError { what, path, source }
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Writer {
    naming: Naming,
    options: WriterOptions,
    open: Option<Open>,
    /// The name that the last file had, and its revision.
    last: Option<(String, u32)>,
}

#[derive(Debug)]
struct Open {
    sink: Sink,
    /// With the revision still open.
    name: String,
    revision: u32,
    path: PathBuf,
    since: Instant,
    /// Bytes in it, before they were packed.
    size: u64,
}

/// A file, packed or not. Each sync ends a member of a packed one, and the next one begins with the next byte.
#[derive(Debug)]
enum Sink {
    Plain(BufWriter<File>),
    Packed { file: File, level: u32, member: Option<Box<GzEncoder<BufWriter<File>>>> },
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.write_all(bytes),
            Self::Packed { file, level, member } => {
                let member = match member {
                    Some(member) => member,
                    None => {
                        let file = BufWriter::with_capacity(BUFFER, file.try_clone()?);
                        let begun = GzEncoder::new(file, Compression::new(*level));
                        member.insert(Box::new(begun))
                    }
                };
                member.write_all(bytes)
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => {
                file.flush()?;
                file.get_ref().sync_all()
            }
            Self::Packed { file, member, .. } => {
                if let Some(member) = member.take() {
                    member.finish()?.flush()?;
                }
                file.sync_all()
            }
        }
    }
}

impl Writer {
    pub(super) const fn new(naming: Naming, options: WriterOptions) -> Self {
        Self { naming, options, open: None, last: None }
    }

    /// Whether there is a file.
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether the next message belongs into another file than there is.
    pub(super) fn needs_rotation(&self, time: &ZonedDateTime) -> bool {
        let Some(open) = &self.open else { return true };
        let options = &self.options;
        self.naming.at(time) != open.name
            || (!options.rotate_interval.is_zero()
                && clock::since(open.since) > options.rotate_interval)
            || (options.rotate_size > 0 && open.size > options.rotate_size)
    }

    /// Writes a message and the end of its line, into the next file if it is time for that.
    pub(super) fn write(&mut self, body: &[u8], time: &ZonedDateTime) -> Result<(), WriteError> {
        if self.needs_rotation(time) {
            self.rotate(time)?;
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let written = open.sink.write(body).and_then(|()| open.sink.write(b"\n"));
        written.map_err(failed("writing message to", &open.path))?;
        open.size += body.len() as u64 + 1;
        Ok(())
    }

    /// Has everything that was written on disk.
    pub(super) fn sync(&mut self) -> Result<(), WriteError> {
        match &mut self.open {
            Some(open) => open.sink.sync().map_err(failed("syncing", &open.path)),
            None => Ok(()),
        }
    }

    /// Closes the file, and begins the next one.
    pub(super) fn rotate(&mut self, time: &ZonedDateTime) -> Result<(), WriteError> {
        self.close()?;
        let name = self.naming.at(time);
        let mut revision = match &self.last {
            Some((last, revision)) if *last == name => revision + 1,
            _ => 0,
        };
        loop {
            let file = revised(&name, revision);
            let path = self.options.work_dir.join(&file);
            make_folder(&path)?;
            if self.is_moved() && self.options.output_dir.join(&file).exists() {
                revision += 1;
                continue;
            }
            if let Some((sink, size)) = self.open_file(&path)? {
                let since = clock::now();
                self.last = Some((name.clone(), revision));
                tracing::info!("opening {}", path.display());
                self.open = Some(Open { sink, name, revision, path, since, size });
                return Ok(());
            }
            revision += 1;
        }
    }

    /// The file at `path` and how much is in it; `None` if it is not to be written to.
    fn open_file(&self, path: &Path) -> Result<Option<(Sink, u64)>, WriteError> {
        let options = &self.options;
        let is_exclusive = options.gzip.is_some() || !options.rotate_interval.is_zero();
        let mut opening = OpenOptions::new();
        opening.write(true).mode(0o666);
        if is_exclusive {
            opening.create_new(true);
        } else {
            opening.create(true).append(true).read(true);
        }
        let mut file = match opening.open(path) {
            Err(error) if is_exclusive && error.kind() == ErrorKind::AlreadyExists => {
                return Ok(None);
            }
            opened => opened.map_err(failed("opening", path))?,
        };
        let mut size = file.metadata().map_err(failed("opening", path))?.len();
        if options.rotate_size > 0 && size > options.rotate_size {
            return Ok(None);
        }
        if size > 0 && !is_exclusive {
            size += end_line(&mut file).map_err(failed("opening", path))?;
        }
        sync_folder(path)?;
        let sink = match options.gzip {
            None => Sink::Plain(BufWriter::with_capacity(BUFFER, file)),
            Some(level) => Sink::Packed { file, level, member: None },
        };
        Ok(Some((sink, size)))
    }

    /// Syncs and closes the file, and moves it to where it belongs.
    pub(super) fn close(&mut self) -> Result<(), WriteError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.sink.sync().map_err(failed("syncing", &open.path))?;
        drop(open.sink);
        if !self.is_moved() {
            return Ok(());
        }
        let mut revision = open.revision;
        loop {
            let to = self.options.output_dir.join(revised(&open.name, revision));
            make_folder(&to)?;
            match std::fs::hard_link(&open.path, &to) {
                Ok(()) => {
                    sync_folder(&to)?;
                    std::fs::remove_file(&open.path).map_err(failed("removing", &open.path))?;
                    tracing::info!("moved {} to {}", open.path.display(), to.display());
                    break;
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => revision += 1,
                Err(error) => return Err(failed("moving to", &to)(error)),
            }
        }
        self.last = Some((open.name, revision));
        Ok(())
    }

    fn is_moved(&self) -> bool {
        self.options.work_dir != self.options.output_dir
    }
}

/// A line that a crash cut off ends here, so that the next message begins one of its own; it comes again as a whole, since it
/// was not finished. Returns the bytes written.
fn end_line(file: &mut File) -> io::Result<u64> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok(0);
    }
    file.write_all(b"\n")?;
    Ok(1)
}

/// Makes the folder of a file.
fn make_folder(path: &Path) -> Result<(), WriteError> {
    let Some(folder) = path.parent() else { return Ok(()) };
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o770).create(folder);
    made.map_err(failed("making the folder", folder))
}

/// Has a file's name on disk.
fn sync_folder(path: &Path) -> Result<(), WriteError> {
    let Some(folder) = path.parent() else { return Ok(()) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(failed("syncing the folder", folder))
}

#[cfg(test)]
mod tests;
