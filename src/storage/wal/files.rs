//! The log's files: numbered, turned over when full, reused when nothing in them is needed any more.
//!
//! A file begins with `LVRWAL01`, its number, the position of its first record, and the position at which the log before it
//! ended as far as was known; a CRC-32 closes the header. Overwriting blocks that a file already has costs some half of
//! what growing it does, so a few old files are kept for reuse: they get a new header under a name that recovery passes
//! over, and their own name last.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::disk::{Disk, DiskFile};
use super::Lsn;

const MAGIC: &[u8; 8] = b"LVRWAL01";
/// Bytes of a file before its first frame.
pub(crate) const HEADER: usize = 36;
/// Files kept for reuse.
const SPARES: usize = 2;

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) number: u64,
    /// The position of its first record.
    pub(crate) first: Lsn,
    /// Where the log before it ended. Less than `first` if that end was found by a recovery.
    pub(crate) previous_end: Lsn,
}

impl Header {
    fn encode(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(self.first.to_be_bytes());
        bytes.extend(self.previous_end.to_be_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }

    /// The header that `bytes` begin with.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (covered, crc) = bytes.get(..HEADER)?.split_at_checked(HEADER - 4)?;
        let number = |at: usize| {
            let bytes = covered.get(at..at + 8)?.try_into().ok()?;
            Some(u64::from_be_bytes(bytes))
        };
        let is_good = covered.starts_with(MAGIC) && crc32fast::hash(covered).to_be_bytes() == crc;
        is_good.then_some(())?;
        Some(Self { number: number(8)?, first: number(16)?, previous_end: number(24)? })
    }
}

/// The name of a file.
pub(crate) fn name(number: u64) -> String {
    format!("wal-{number:016x}.log")
}

fn spare_name(number: u64) -> String {
    format!("spare-{number:016x}.log")
}

fn number_in(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(".log")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// The numbers of the files in `folder`, in order.
pub(crate) fn numbers(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<u64>> {
    let names = disk.list(folder)?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_in(name, "wal-")).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// What is not there any more need not be let go of.
fn gone_is_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[derive(Debug, Default)]
struct Held {
    /// Each file's number and the position of its first record, the current one included.
    files: BTreeMap<u64, Lsn>,
    spares: Vec<u64>,
    /// Files that were found damaged: moved aside instead of being reused.
    damaged: BTreeSet<u64>,
}

/// The folder's files, shared by the writer, which adds them, and by whoever knows when they can go.
#[derive(Debug)]
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    held: Mutex<Held>,
}

/// A file being written.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) number: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Where the next frame goes.
    pub(crate) at: u64,
}

impl Files {
    /// The files of `folder` as a recovery found them.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        files: BTreeMap<u64, Lsn>,
        damaged: BTreeSet<u64>,
    ) -> io::Result<Self> {
        let names = disk.list(&folder)?;
        let spares = names.iter().filter_map(|name| number_in(name, "spare-")).collect();
        Ok(Self { disk, folder, held: Mutex::new(Held { files, spares, damaged }) })
    }

    /// Makes safe what earlier lives wrote and may not have synced: what is written from now on builds on it.
    pub(crate) fn sync_all(&self) -> io::Result<()> {
        let numbers: Vec<u64> = self.held.lock().files.keys().copied().collect();
        numbers
            .into_iter()
            .try_for_each(|number| self.disk.open(&self.folder.join(name(number)))?.sync_data())
    }

    /// Bytes that may still be written on the disk.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes(&self.folder)
    }

    /// The position of the newest file's first record.
    pub(crate) fn newest(&self) -> Option<Lsn> {
        self.held.lock().files.last_key_value().map(|(_, first)| *first)
    }

    /// Gives up the files that are kept for reuse.
    pub(crate) fn drop_spares(&self) {
        let spares = std::mem::take(&mut self.held.lock().spares);
        for number in spares {
            if let Err(error) = self.disk.remove(&self.folder.join(spare_name(number))) {
                tracing::debug!(%error, "an old log file is not deleted");
            }
        }
    }

    /// How many files there are.
    pub(crate) fn count(&self) -> usize {
        self.held.lock().files.len()
    }

    /// Makes the next file.
    pub(crate) fn create(&self, header: Header) -> io::Result<Current> {
        let path = self.folder.join(name(header.number));
        let mut held = self.held.lock();
        let spare = held.spares.pop();
        drop(held);
        let reused = spare.and_then(|number| {
            let spare = self.folder.join(spare_name(number));
            let reused = self.reuse(&spare, &path, header);
            // Whatever it is that cannot be reused, a new file can be made instead.
            reused.map_err(|error| tracing::debug!(%error, "an old log file is not reused")).ok()
        });
        let file = match reused {
            Some(file) => file,
            None => {
                let file = self.create_or_open(&path)?;
                file.write_at(&header.encode(), 0)?;
                file.sync_data()?;
                file
            }
        };
        self.disk.sync_folder(&self.folder)?;
        held = self.held.lock();
        held.files.insert(header.number, header.first);
        Ok(Current { number: header.number, file: file.into(), at: HEADER as u64 })
    }

    /// A new file; or the one that an earlier try left, which found no space for its header.
    fn create_or_open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        match self.disk.create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.disk.open(path),
            made => made,
        }
    }

    fn reuse(&self, spare: &Path, path: &Path, header: Header) -> io::Result<Box<dyn DiskFile>> {
        // Its old name must be gone for good before it becomes another file.
        self.disk.sync_folder(&self.folder)?;
        let file = self.disk.open(spare)?;
        file.write_at(&header.encode(), 0)?;
        file.sync_data()?;
        self.disk.rename(spare, path)?;
        Ok(file)
    }

    /// Lets go of the files that hold nothing at or behind `needed`. A damaged one is moved aside.
    pub(crate) fn release_before(&self, needed: Lsn) -> io::Result<()> {
        loop {
            let mut held = self.held.lock();
            let mut files = held.files.iter();
            let (Some((&number, _)), Some((_, &next))) = (files.next(), files.next()) else {
                return Ok(());
            };
            if next > needed {
                return Ok(());
            }
            let path = self.folder.join(name(number));
            let keeps = held.spares.len() < SPARES;
            let gone = if held.damaged.contains(&number) {
                self.disk.rename(&path, &self.folder.join(format!("{}.bad", name(number))))
            } else if keeps {
                let renamed = self.disk.rename(&path, &self.folder.join(spare_name(number)));
                renamed.map(|()| held.spares.push(number))
            } else {
                self.disk.remove(&path)
            };
            gone_is_gone(gone)?;
            held.damaged.remove(&number);
            held.files.remove(&number);
        }
    }
}
