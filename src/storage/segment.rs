//! Segments: blocks of messages that somebody is still owed, written when the log's file that holds them is to go.
//!
//! A file is `seg-<16 hex digits>.dat`: `LVRSEG01`, then blocks. A block is `LVB1, topic u32, base u64, count u32, bodies
//! u32, crc u32`, an index of `timestamp i64, length u32` a message, and the bodies. A length of `0xFFFF_FFFF` marks a
//! message that nobody was owed any more: its body is not there. The checksum (CRC-32) covers all but itself. A block is
//! written once and never changed; a file goes when no block in it is needed. Integers are big endian.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile};
use super::wal::record::{Fields, TopicId};

const FILE_MAGIC: &[u8; 8] = b"LVRSEG01";
const MAGIC: &[u8; 4] = b"LVB1";
/// Bytes of a block before its index.
const HEADER: usize = 28;
/// Where the checksum is in the header.
const CRC_AT: usize = 24;
/// Bytes of the index for a message.
const INDEXED: usize = 12;
/// The length of a message that is not there.
const DEAD: u32 = u32::MAX;
/// A file takes no further block once it has this many bytes.
const FILE_BYTES: u64 = 64 << 20;
/// Open files that are remembered for reading.
const OPEN_MAX: usize = 64;

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// The file's number.
    pub file: u64,
    /// Where in the file, bytes.
    pub offset: u64,
    /// Bytes that it takes.
    pub length: u32,
}

/// A message of a block: its publish time (nanoseconds since the Unix epoch) and its body, unless nobody was owed it.
pub type BlockMessage<'a> = (i64, Option<&'a [u8]>);

/// A block that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockData {
    /// The number of the first message.
    pub base: u64,
    /// Each message's publish time and length; `None` for one that is not there.
    pub index: Vec<(i64, Option<u32>)>,
    /// The bodies, one behind the other.
    pub bodies: Vec<u8>,
}

/// Appends a block to `out`.
pub(crate) fn encode<'a>(
    out: &mut Vec<u8>,
    topic: TopicId,
    base: u64,
    messages: impl Iterator<Item = BlockMessage<'a>> + Clone,
) {
    let start = out.len();
    out.extend(MAGIC);
    out.extend(topic.to_be_bytes());
    out.extend(base.to_be_bytes());
    let (mut count, mut bodies) = (0_u32, 0_usize);
    for (_, body) in messages.clone() {
        count += 1;
        bodies += body.map_or(0, <[u8]>::len);
    }
    out.extend(count.to_be_bytes());
    // A block holds 256 KiB or one body of at most two gibibytes.
    out.extend(u32::try_from(bodies).unwrap_or(u32::MAX).to_be_bytes());
    out.extend([0; 4]);
    for (timestamp, body) in messages.clone() {
        out.extend(timestamp.to_be_bytes());
        let length = body.map_or(DEAD, |body| u32::try_from(body.len()).unwrap_or(DEAD));
        out.extend(length.to_be_bytes());
    }
    for (_, body) in messages {
        out.extend_from_slice(body.unwrap_or_default());
    }
    let crc = checksum(out.get(start..).unwrap_or_default()).to_be_bytes();
    if let Some(place) = out.get_mut(start + CRC_AT..start + HEADER) {
        place.copy_from_slice(&crc);
    }
}

fn checksum(block: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(block.get(..CRC_AT).unwrap_or_default());
    crc.update(block.get(HEADER..).unwrap_or_default());
    crc.finalize()
}

/// The block that `bytes` are, if they are one whole.
pub(crate) fn decode(bytes: &[u8]) -> Option<(TopicId, BlockData)> {
    let mut fields = Fields(bytes.strip_prefix(MAGIC)?);
    let (topic, base) = (fields.u32()?, fields.u64()?);
    let (count, bodies, crc) = (fields.u32()? as usize, fields.u32()? as usize, fields.u32()?);
    let length = HEADER.checked_add(count.checked_mul(INDEXED)?)?.checked_add(bodies)?;
    if bytes.len() != length || checksum(bytes) != crc {
        return None;
    }
    let mut index = Vec::with_capacity(count);
    let mut sum = 0_usize;
    for _ in 0..count {
        let (timestamp, length) = (fields.i64()?, fields.u32()?);
        let length = (length != DEAD).then_some(length);
        sum += length.unwrap_or(0) as usize;
        index.push((timestamp, length));
    }
    (sum == bodies).then(|| (topic, BlockData { base, index, bodies: fields.0.to_vec() }))
}

fn name(number: u64) -> String {
    format!("seg-{number:016x}.dat")
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("seg-")?.strip_suffix(".dat")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// All segment files of a folder.
#[derive(Debug)]
pub struct Segments {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    files: BTreeSet<u64>,
    open: BTreeMap<u64, Arc<dyn DiskFile>>,
    /// Files in which a block was found damaged: moved aside instead of being deleted.
    damaged: BTreeSet<u64>,
}

impl Segments {
    /// The segments of `folder`.
    ///
    /// # Errors
    /// It cannot be listed.
    pub(crate) fn open(disk: Arc<dyn Disk>, folder: &Path) -> io::Result<Self> {
        let names = disk.list(folder)?;
        let files: BTreeSet<u64> = names.iter().filter_map(|name| number_of(name)).collect();
        let next = files.last().map_or(1, |last| last + 1);
        let held = Held { next, files, ..Held::default() };
        Ok(Self { disk, folder: folder.into(), held: Mutex::new(held) })
    }

    /// Begins to write blocks.
    #[must_use]
    pub(crate) const fn writer(&self) -> SegmentWriter<'_> {
        SegmentWriter { segments: self, current: None, full: Vec::new(), is_done: false }
    }

    /// Bytes that may still be written on the disk.
    ///
    /// # Errors
    /// The disk does not say.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes(&self.folder)
    }

    /// The block at `home`.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if the block is damaged or its file is gone; whatever else keeps it from being read.
    pub(crate) fn read(&self, home: Home) -> io::Result<(TopicId, BlockData)> {
        let file = self.file(home.file)?;
        let mut bytes = vec![0; home.length as usize];
        file.read_at(&mut bytes, home.offset)?;
        decode(&bytes).ok_or_else(|| {
            self.held.lock().damaged.insert(home.file);
            let text = format!("{} is damaged at byte {}", name(home.file), home.offset);
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    fn file(&self, number: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut held = self.held.lock();
        if let Some(file) = held.open.get(&number) {
            return Ok(Arc::clone(file));
        }
        let opened = self.disk.open(&self.folder.join(name(number)));
        let file: Arc<dyn DiskFile> = opened
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    io::Error::new(io::ErrorKind::InvalidData, format!("{} is gone", name(number)))
                }
                _ => error,
            })?
            .into();
        if held.open.len() >= OPEN_MAX {
            held.open.pop_first();
        }
        held.open.insert(number, Arc::clone(&file));
        Ok(file)
    }

    /// How many files there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.held.lock().files.len()
    }

    /// Deletes the files that are not `needed`; a damaged one is moved aside instead.
    ///
    /// # Errors
    /// The first that could not be deleted; it is tried again the next time.
    pub(crate) fn keep(&self, needed: &BTreeSet<u64>) -> io::Result<()> {
        let held = self.held.lock();
        let dead: Vec<u64> = held.files.difference(needed).copied().collect();
        drop(held);
        for number in dead {
            let path = self.folder.join(name(number));
            let mut held = self.held.lock();
            held.open.remove(&number);
            let gone = if held.damaged.contains(&number) {
                self.disk.rename(&path, &self.folder.join(format!("{}.bad", name(number))))
            } else {
                self.disk.remove(&path)
            };
            match gone {
                // One whose making failed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
            held.files.remove(&number);
        }
        Ok(())
    }

    /// Deletes a file that nothing refers to. One that cannot be is deleted with those that are not needed any more.
    fn discard(&self, number: u64) {
        if self.disk.remove(&self.folder.join(name(number))).is_ok() {
            self.held.lock().files.remove(&number);
        }
    }

    fn create(&self) -> io::Result<Current> {
        let mut held = self.held.lock();
        let number = held.next;
        held.next += 1;
        held.files.insert(number);
        drop(held);
        let file = self.disk.create(&self.folder.join(name(number)))?;
        file.write_at(FILE_MAGIC, 0)?;
        Ok(Current { number, file, at: FILE_MAGIC.len() as u64 })
    }
}

#[derive(Debug)]
struct Current {
    number: u64,
    file: Box<dyn DiskFile>,
    at: u64,
}

/// Writes blocks into files; they are on the disk once [`SegmentWriter::finish`] returns.
#[derive(Debug)]
pub(crate) struct SegmentWriter<'a> {
    segments: &'a Segments,
    current: Option<Current>,
    full: Vec<Current>,
    is_done: bool,
}

impl SegmentWriter<'_> {
    /// Writes a block as [`encode`] made it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn add(&mut self, block: &[u8]) -> io::Result<Home> {
        if let Some(full) = self.current.take_if(|current| current.at >= FILE_BYTES) {
            self.full.push(full);
        }
        let current = match &mut self.current {
            Some(current) => current,
            place => place.insert(self.segments.create()?),
        };
        current.file.write_at(block, current.at)?;
        let length = u32::try_from(block.len()).map_err(io::Error::other)?;
        let home = Home { file: current.number, offset: current.at, length };
        current.at += u64::from(length);
        Ok(home)
    }

    /// Syncs what was written. Nothing must refer to it before.
    ///
    /// # Errors
    /// It cannot be synced.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let mut wrote = false;
        for written in self.full.iter().chain(&self.current) {
            written.file.sync_data()?;
            wrote = true;
        }
        if wrote {
            self.segments.disk.sync_folder(&self.segments.folder)?;
        }
        self.is_done = true;
        Ok(())
    }
}

impl Drop for SegmentWriter<'_> {
    /// A disk that is full does not get emptier by what could not be written to its end.
    fn drop(&mut self) {
        let written = self.full.drain(..).chain(self.current.take());
        let numbers: Vec<u64> = written.map(|written| written.number).collect();
        if !self.is_done {
            numbers.into_iter().for_each(|number| self.segments.discard(number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_and_no_flipped_bit_passes() {
        let messages = [(1, Some(&b"first"[..])), (2, None), (3, Some(&b""[..])), (-4, Some(b"x"))];
        let mut bytes = Vec::new();
        encode(&mut bytes, 9, 100, messages.iter().copied());
        let (topic, data) = decode(&bytes).unwrap();
        assert_eq!((topic, data.base), (9, 100));
        assert_eq!(data.index, [(1, Some(5)), (2, None), (3, Some(0)), (-4, Some(1))]);
        assert_eq!(data.bodies, b"firstx");
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 4;
            assert_eq!(decode(&bad), None, "byte {at}");
            assert_eq!(decode(&bytes[..at]), None, "cut at {at}");
        }
    }
}
