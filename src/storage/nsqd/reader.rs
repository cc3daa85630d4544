//! The messages of one disk queue, in order, whatever state nsqd left it in.
//!
//! Which files are read and from where is decided by [`plan`] from the positions and the files that are there; a file is
//! read to its real end, as nsqd does when the positions are behind. A damaged file is given up from the damage on and the
//! next one read. An error of the system is none of these: it ends the reading, and nothing is decided by it.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diskqueue::{self, Metadata, PREFIX};
use super::problem::{Damage, Problem};
use super::{Message, is_missing, read_whole};
use crate::storage::StorageError;
use crate::storage::disk::{Disk, DiskFile};
use crate::storage::io::failed;

/// Bytes that are read at a time.
const CHUNK: usize = 256 * 1024;

/// A queue's files, as the folder lists them.
#[derive(Clone, Debug, Default)]
pub(in crate::storage) struct QueueFiles {
    /// The numbers of its data files.
    pub(in crate::storage) data: BTreeSet<u64>,
    /// Whether there is a metadata file.
    pub(in crate::storage) has_metadata: bool,
}

/// A file to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    number: u64,
    /// The read position, for the file that it is in; else 0.
    from: u64,
    /// The file is at least so long, if nothing was lost.
    written: u64,
}

/// Decides what is read of a queue, and what is wrong with it at first sight.
fn plan(
    queue: &str,
    data: &BTreeSet<u64>,
    metadata: Option<Metadata>,
) -> (VecDeque<Span>, Vec<Problem>) {
    let name = || queue.to_owned();
    let mut problems = Vec::new();
    let Some(Metadata { read, write, .. }) = metadata else {
        if !data.is_empty() {
            let file = diskqueue::metadata_file(queue);
            problems.push(Problem::NoPositions { queue: name(), file });
        }
        let whole = |&number: &u64| Span { number, from: 0, written: 0 };
        return (data.iter().map(whole).collect(), problems);
    };
    if read > write {
        problems.push(Problem::ReadBeyondWrite { queue: name() });
    }
    let mut spans = VecDeque::new();
    if read.file <= write.file {
        // Where nothing is written yet, nsqd has made no file.
        let mut wanted = read.file;
        let mut gap = |wanted: u64, next: u64| {
            if wanted < next {
                let (first, last) = (wanted, next - 1);
                problems.push(Problem::Missing { queue: name(), first, last });
            }
        };
        for &number in data.range(read.file..=write.file) {
            gap(wanted, number);
            wanted = number.saturating_add(1);
            spans.push_back(Span {
                number,
                from: if number == read.file { read.offset } else { 0 },
                written: if number == write.file { write.offset } else { 0 },
            });
        }
        let is_needed = write.offset > 0 && read < write;
        gap(wanted, write.file.saturating_add(u64::from(is_needed)));
    }
    let behind = read.file.max(write.file).saturating_add(1);
    if let Some(&first) = data.range(behind..).next() {
        problems.push(Problem::BeyondWrite { queue: name(), first });
    }
    (spans, problems)
}

/// Reads a queue: an iterator over its messages. It ends at the queue's end, or after the first error of the system.
#[derive(Debug)]
pub struct QueueReader {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    queue: String,
    spans: VecDeque<Span>,
    current: Option<DataFile>,
    problems: Vec<Problem>,
    expected: Option<i64>,
}

impl QueueReader {
    pub(in crate::storage) fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        queue: &str,
        files: &QueueFiles,
    ) -> Result<Self, StorageError> {
        let path = folder.join(diskqueue::metadata_file(queue));
        let bytes = if files.has_metadata { read_whole(&*disk, &path)? } else { None };
        let metadata = bytes.and_then(|bytes| Metadata::parse(&bytes));
        let (spans, problems) = plan(queue, &files.data, metadata);
        Ok(Self {
            disk,
            folder: folder.into(),
            queue: queue.into(),
            spans,
            current: None,
            problems,
            expected: metadata.map(|metadata| metadata.depth),
        })
    }

    /// How many messages the queue's metadata promises. Only after a clean stop of nsqd is that what will come.
    #[must_use]
    pub fn promised(&self) -> Option<i64> {
        self.expected
    }

    /// What was wrong with the queue so far; all of it once the iterator has ended.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Takes what was wrong with the queue.
    #[must_use]
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    fn next_message(&mut self) -> Result<Option<Message>, StorageError> {
        loop {
            let Some(file) = &mut self.current else {
                let Some(span) = self.spans.pop_front() else {
                    return Ok(None);
                };
                self.current = self.start(span)?;
                continue;
            };
            match file.next() {
                Ok(Next::Message(message)) => return Ok(Some(message)),
                Ok(Next::End) => self.current = None,
                Ok(Next::Damaged(damage)) => {
                    self.problems.push(Problem::Damaged {
                        path: file.path.clone(),
                        offset: file.at,
                        given_up: file.length.saturating_sub(file.at),
                        damage,
                    });
                    self.current = None;
                }
                Err(error) => return Err(failed("read", &file.path, error)),
            }
        }
    }

    /// Opens a file where its first message begins; `None` if there is nothing to be read.
    fn start(&mut self, span: Span) -> Result<Option<DataFile>, StorageError> {
        let Span { number, from, written } = span;
        let path = self.folder.join(diskqueue::data_file(&self.queue, number));
        let handle = match self.disk.open(&path) {
            Ok(handle) => handle,
            Err(error) if is_missing(&error) => {
                let queue = self.queue.clone();
                self.problems.push(Problem::Missing { queue, first: number, last: number });
                return Ok(None);
            }
            Err(error) => return Err(failed("open", &path, error)),
        };
        let length = handle.len().map_err(|error| failed("read", &path, error))?;
        let position = from.max(written);
        if length < position {
            self.problems.push(Problem::Short { path: path.clone(), length, position });
        }
        if from >= length {
            return Ok(None);
        }
        let mut file = DataFile { handle, path, length, at: 0, buffer: Vec::new(), start: 0 };
        let resumed = file.seek(from).map_err(|error| failed("read", &file.path, error))?;
        if resumed != from {
            let path = file.path.clone();
            self.problems.push(Problem::MidRecord { path, position: from, resumed });
        }
        Ok(Some(file))
    }
}

impl Iterator for QueueReader {
    type Item = Result<Message, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_message();
        if next.is_err() {
            self.current = None;
            self.spans.clear();
        }
        next.transpose()
    }
}

/// What comes next in a file.
enum Next {
    Message(Message),
    End,
    Damaged(Damage),
}

/// A data file that is read from front to back.
#[derive(Debug)]
struct DataFile {
    handle: Box<dyn DiskFile>,
    path: PathBuf,
    length: u64,
    /// Where the next record begins.
    at: u64,
    /// Bytes of the file from `start` on.
    buffer: Vec<u8>,
    start: u64,
}

impl DataFile {
    /// `count` bytes from `at + skip` on; `None` if the file ends before.
    fn peek(&mut self, skip: usize, count: usize) -> io::Result<Option<&[u8]>> {
        let begin = self.at.saturating_add(skip as u64);
        if begin.saturating_add(count as u64) > self.length {
            return Ok(None);
        }
        let has = |start: u64, buffer: &[u8]| {
            let skipped = usize::try_from(begin.checked_sub(start)?).ok()?;
            Some(skipped..skipped.checked_add(count)?).filter(|range| range.end <= buffer.len())
        };
        let mut range = has(self.start, &self.buffer);
        if range.is_none() {
            let ahead = usize::try_from(self.length - begin).unwrap_or(usize::MAX);
            self.buffer.resize(count.max(CHUNK).min(ahead), 0);
            let filled = self.handle.read_at(&mut self.buffer, begin)?;
            self.buffer.truncate(filled);
            self.start = begin;
            range = has(begin, &self.buffer);
        }
        Ok(range.and_then(|range| self.buffer.get(range)))
    }

    /// The length of the record at `at`, without its prefix; or what is wrong there.
    fn next_length(&mut self) -> io::Result<Result<usize, Damage>> {
        let left = self.length - self.at;
        let Some(&prefix) = self.peek(0, PREFIX)?.and_then(|bytes| bytes.first_chunk()) else {
            return Ok(Err(Damage::CutShort));
        };
        let Some(length) = diskqueue::message_length(prefix) else {
            return Ok(Err(Damage::Length(i32::from_be_bytes(prefix))));
        };
        let fits = (length as u64).saturating_add(PREFIX as u64) <= left;
        Ok(if fits { Ok(length) } else { Err(Damage::CutShort) })
    }

    fn next(&mut self) -> io::Result<Next> {
        if self.at >= self.length {
            return Ok(Next::End);
        }
        let length = match self.next_length()? {
            Ok(length) => length,
            Err(damage) => return Ok(Next::Damaged(damage)),
        };
        let message = self.peek(PREFIX, length)?.map(diskqueue::decode);
        Ok(match message {
            Some(Some(message)) => {
                self.at += (PREFIX + length) as u64;
                Next::Message(message)
            }
            Some(None) => Next::Damaged(Damage::NoMessage),
            None => Next::Damaged(Damage::CutShort),
        })
    }

    /// Goes to the record that begins at `position`, or that `position` lies within, and says where that is. Since only
    /// the records before tell, they are walked through; if that fails, the position has to be believed.
    fn seek(&mut self, position: u64) -> io::Result<u64> {
        while self.at < position {
            let Ok(length) = self.next_length()? else {
                self.at = position;
                break;
            };
            let end = self.at + (PREFIX + length) as u64;
            if end > position {
                break;
            }
            self.at = end;
        }
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::nsqd::diskqueue::Position;

    fn planned(
        data: &[u64],
        read: (u64, u64),
        write: (u64, u64),
    ) -> (Vec<(u64, u64, u64)>, Vec<Problem>) {
        let at = |(file, offset)| Position { file, offset };
        let metadata = Metadata { depth: 1, read: at(read), write: at(write) };
        let (spans, problems) = plan("q", &data.iter().copied().collect(), Some(metadata));
        (spans.iter().map(|span| (span.number, span.from, span.written)).collect(), problems)
    }

    fn missing(first: u64, last: u64) -> Problem {
        Problem::Missing { queue: "q".into(), first, last }
    }

    #[test]
    fn what_is_read_follows_from_the_positions_and_the_files() {
        for (data, read, write, spans, problems) in [
            (vec![0], (0, 0), (0, 60), vec![(0, 0, 60)], vec![]),
            (vec![3, 4, 5], (3, 30), (5, 60), vec![(3, 30, 0), (4, 0, 0), (5, 0, 60)], vec![]),
            // Below the read position: done with.
            (vec![1, 3], (3, 30), (3, 60), vec![(3, 30, 60)], vec![]),
            // Rolled, and nothing written to the new file yet.
            (vec![0], (0, 60), (1, 0), vec![(0, 60, 0)], vec![]),
            (vec![], (0, 0), (0, 0), vec![], vec![]),
            // Emptied: the numbers go on.
            (vec![], (7, 0), (7, 0), vec![], vec![]),
            (vec![], (0, 60), (0, 60), vec![], vec![]),
            (vec![], (0, 0), (0, 60), vec![], vec![missing(0, 0)]),
            (vec![4], (3, 0), (4, 60), vec![(4, 0, 60)], vec![missing(3, 3)]),
            (vec![3, 9], (3, 0), (9, 60), vec![(3, 0, 0), (9, 0, 60)], vec![missing(4, 8)]),
            (vec![3], (3, 0), (u64::MAX, 0), vec![(3, 0, 0)], vec![missing(4, u64::MAX - 1)]),
        ] {
            let case = format!("{data:?} {read:?} {write:?}");
            assert_eq!(planned(&data, read, write), (spans, problems), "{case}");
        }
    }

    #[test]
    fn positions_that_cannot_be_are_told() {
        let queue = || "q".to_owned();
        let beyond = Problem::ReadBeyondWrite { queue: queue() };
        let behind = |first| Problem::BeyondWrite { queue: queue(), first };
        assert_eq!(planned(&[0, 1], (1, 0), (0, 9)), (vec![], vec![beyond.clone()]));
        assert_eq!(planned(&[0], (0, 60), (0, 30)), (vec![(0, 60, 30)], vec![beyond]));
        assert_eq!(planned(&[0, 1, 2], (0, 0), (0, 30)), (vec![(0, 0, 30)], vec![behind(1)]));
    }

    #[test]
    fn without_positions_every_file_is_read() {
        let (spans, problems) = plan("q", &BTreeSet::from([2, 5]), None);
        assert_eq!(spans, [2, 5].map(|number| Span { number, from: 0, written: 0 }));
        assert!(matches!(&problems[..], [Problem::NoPositions { .. }]), "{problems:?}");
        assert_eq!(plan("q", &BTreeSet::new(), None), (VecDeque::new(), Vec::new()));
    }
}
