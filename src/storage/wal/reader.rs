//! Reading the log back, at start. Nothing is changed by it, so that it can be done again.
//!
//! Bytes at a file's end that are no frame are a torn write, or what an earlier life of the file left: the log ends there.
//! Bytes that are no frame with a frame behind them, or an end that comes before the position that the next file has noted
//! for it, are damage: the rest is read all the same, and what is missing is said.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::super::disk::{Disk, read_whole};
use super::super::error::StorageError;
use super::super::io::failed;
use super::Lsn;
use super::files::{self, Header};
use super::frame;
use super::record::{Record, Records};

/// A part of the log that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// The file's number.
    pub file: u64,
    /// Where in the file, bytes.
    pub offset: u64,
    /// The records that are missing lie between these positions.
    pub missing: std::ops::Range<Lsn>,
}

/// What a look through the log came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The position behind the last record.
    pub end: Lsn,
    /// The number that the next file gets.
    pub next_file: u64,
    /// Each file's number and the position of its first record.
    pub files: BTreeMap<u64, Lsn>,
    /// What could not be read.
    pub damage: Vec<Damage>,
}

impl Scan {
    /// The files that have damage.
    #[must_use]
    pub(crate) fn damaged_files(&self) -> BTreeSet<u64> {
        self.damage.iter().map(|damage| damage.file).collect()
    }
}

/// Reads the records of all files from `from` on, each with the position behind it.
///
/// # Errors
/// A file cannot be read for a reason other than its content: that is not damage.
pub(crate) fn scan(
    disk: &dyn Disk,
    folder: &Path,
    from: Lsn,
    visit: &mut dyn FnMut(Lsn, Record<'_>),
) -> Result<Scan, StorageError> {
    let numbers = files::numbers(disk, folder).map_err(|error| failed("list", folder, error))?;
    let mut scan = Scan { end: from, ..Scan::default() };
    scan.next_file = numbers.last().map_or(1, |last| last + 1);
    if numbers.is_empty() && from > 0 {
        scan.damage.push(Damage { file: 0, offset: 0, missing: from..from });
    }
    let mut last_file = None;
    for number in numbers {
        let path = folder.join(files::name(number));
        let bytes = read_whole(disk, &path).map_err(|error| failed("read", &path, error))?;
        match Header::decode(&bytes).filter(|header| header.number == number) {
            Some(header) => {
                scan.files.insert(number, header.first);
                // The file before this one must reach as far as it did when this one was begun.
                if let Some(before) = last_file
                    && scan.end < header.previous_end
                    && scan.end >= from
                {
                    let missing = scan.end..header.previous_end;
                    scan.damage.push(Damage { file: before, offset: 0, missing });
                }
                if last_file.is_none() && header.first > from {
                    let missing = from..header.first;
                    scan.damage.push(Damage { file: number, offset: 0, missing });
                }
                scan.end = scan.end.max(header.first);
                frames(&bytes, header, from, &mut scan, visit);
                last_file = Some(number);
            }
            // A file whose making was cut short: nothing was ever written behind its header. If there was something, the
            // next file says so.
            None if frame::find(&bytes, 0, number).is_none() => {
                scan.files.insert(number, scan.end);
                last_file = Some(number);
            }
            None => {
                scan.files.insert(number, scan.end);
                scan.damage.push(Damage { file: number, offset: 0, missing: scan.end..scan.end });
                let header = Header { number, first: scan.end, previous_end: scan.end };
                frames(&bytes, header, from, &mut scan, visit);
                last_file = Some(number);
            }
        }
    }
    Ok(scan)
}

/// Reads one file's frames.
fn frames(
    bytes: &[u8],
    header: Header,
    from: Lsn,
    scan: &mut Scan,
    visit: &mut dyn FnMut(Lsn, Record<'_>),
) {
    let mut at = files::HEADER.min(bytes.len());
    let mut expected = header.first;
    // Positions never go back: a frame that does is of an earlier life with the same number, which does not happen.
    while let Some((found, frame)) = frame::find(bytes, at, header.number) {
        if found != at || frame.first != expected {
            scan.damage.push(Damage {
                file: header.number,
                offset: at as u64,
                missing: expected..frame.first.max(expected),
            });
        }
        for (end, record) in Records::new(frame.records) {
            let lsn = frame.first + end;
            if lsn > from {
                visit(lsn, record);
            }
        }
        expected = frame.first + frame.records.len() as u64;
        scan.end = scan.end.max(expected);
        at = found + frame.size;
    }
}
