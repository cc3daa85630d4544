//! A topic's messages: one log of blocks, however many channels read it.
//!
//! A message is copied once, behind the last one in the open block, and addressed by its sequence number. A block
//! counts what is still *owed* of it: one claim a message while the topic itself has not handed it on, then one claim
//! a message and channel until that channel has settled it. A block owed nothing is recycled. The log knows no locks,
//! no channels and no clock: [`super::topic`] guards it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// A block takes no further message once it holds this many bytes of bodies. A larger body gets a block of its own.
const BLOCK_BYTES: usize = 256 * 1024;
/// A block takes no further message once it holds this many, so that the index of tiny bodies stays small.
const BLOCK_ENTRIES: usize = 8192;
/// Emptied blocks kept for reuse. Writing into warm memory is two to three times faster than into fresh pages.
const SPARE_BLOCKS: usize = 8;
/// A buffer larger than this is given back to the allocator instead of being kept.
const SPARE_BYTES: usize = 2 * BLOCK_BYTES;
/// A block is looked at for thinning once every reader is this many blocks past it: until then its last messages are
/// most likely just in flight.
const SPARSE_AFTER_BLOCKS: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    end: u32,
    timestamp: i64,
}

#[derive(Debug, Default)]
struct Block {
    /// Sequence number of the first entry; entry `i` is `base + i`.
    base: u64,
    entries: Vec<Entry>,
    bodies: Vec<u8>,
    /// Bytes of all bodies before this block's.
    offset: u64,
    /// Claims on the block; atomic, so that settling needs the log for reading only.
    owed: AtomicU64,
}

impl Block {
    fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    fn has_room(&self, body: usize) -> bool {
        self.entries.is_empty()
            || (self.entries.len() < BLOCK_ENTRIES && self.bodies.len() + body <= BLOCK_BYTES)
    }

    fn reset(&mut self, base: u64, offset: u64) {
        self.base = base;
        self.offset = offset;
        self.entries.clear();
        self.bodies.clear();
        self.owed.store(0, Ordering::Relaxed);
    }

    /// How many of `range` are in this block.
    fn overlap(&self, range: &Range<u64>) -> u64 {
        range.end.min(self.end()).saturating_sub(range.start.max(self.base))
    }
}

/// A message as it lies in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored<'a> {
    pub(crate) seq: u64,
    /// Publish time, nanoseconds since the Unix epoch.
    pub(crate) timestamp: i64,
    pub(crate) body: &'a [u8],
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Log {
    blocks: VecDeque<Block>,
    spare: Vec<Block>,
    next: u64,
    /// Bytes of all bodies so far.
    bytes: u64,
}

impl Log {
    /// An empty log whose first message gets the sequence number `first`.
    pub(crate) const fn new(first: u64) -> Self {
        Self { blocks: VecDeque::new(), spare: Vec::new(), next: first, bytes: 0 }
    }

    /// The sequence number that the next message gets.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// Appends one message with one claim on it and returns its sequence number.
    pub(crate) fn append(&mut self, body: &[u8], timestamp: i64) -> u64 {
        let seq = self.next;
        self.open_block(body.len());
        if let Some(block) = self.blocks.back_mut() {
            // A body is bounded by the protocol's 2 GiB and a block by BLOCK_BYTES or one body, so both fit.
            let start = u32::try_from(block.bodies.len()).unwrap_or(u32::MAX);
            block.bodies.extend_from_slice(body);
            let end = u32::try_from(block.bodies.len()).unwrap_or(u32::MAX);
            block.entries.push(Entry { start, end, timestamp });
            *block.owed.get_mut() += 1;
        }
        self.next += 1;
        self.bytes += body.len() as u64;
        seq
    }

    fn open_block(&mut self, body: usize) {
        if let Some(last) = self.blocks.back_mut() {
            if !last.entries.is_empty() && *last.owed.get_mut() == 0 {
                // Everything in it is settled: start over in the same, warm memory.
                last.reset(self.next, self.bytes);
            }
            if last.end() == self.next && last.has_room(body) {
                return;
            }
        }
        let mut block = self.spare.pop().unwrap_or_default();
        block.reset(self.next, self.bytes);
        self.blocks.push_back(block);
    }

    fn index_of(&self, seq: u64) -> Option<usize> {
        let at = self.blocks.partition_point(|block| block.end() <= seq);
        self.blocks.get(at).is_some_and(|block| block.base <= seq).then_some(at)
    }

    /// The message with this number, if the log still has it.
    pub(crate) fn get(&self, seq: u64) -> Option<Stored<'_>> {
        let block = self.blocks.get(self.index_of(seq)?)?;
        read(block, seq)
    }

    /// Messages from `from` on, in order, up to but not including `end`; gaps in the numbering are passed over.
    pub(crate) fn iter(&self, from: u64, end: u64) -> impl Iterator<Item = Stored<'_>> {
        let at = self.blocks.partition_point(|block| block.end() <= from);
        self.blocks.iter().skip(at).take_while(move |block| block.base < end).flat_map(
            move |block| {
                let range = block.base.max(from)..block.end().min(end);
                range.filter_map(move |seq| read(block, seq))
            },
        )
    }

    /// How many messages of `range` the log holds.
    pub(crate) fn count(&self, range: &Range<u64>) -> u64 {
        self.overlapping(range).map(|block| block.overlap(range)).sum()
    }

    /// Bytes of the bodies of `range`, as far as the log holds it. Costs as much as finding its two ends.
    pub(crate) fn bytes(&self, range: &Range<u64>) -> u64 {
        self.offset(range.end).saturating_sub(self.offset(range.start))
    }

    /// Bytes of all bodies before `seq`.
    fn offset(&self, seq: u64) -> u64 {
        let at = self.blocks.partition_point(|block| block.end() <= seq);
        let Some(block) = self.blocks.get(at) else { return self.bytes };
        let at = usize::try_from(seq.saturating_sub(block.base)).unwrap_or(usize::MAX);
        block.offset + block.entries.get(at).map_or(0, |entry| u64::from(entry.start))
    }

    fn overlapping(&self, range: &Range<u64>) -> impl Iterator<Item = &Block> {
        let at = self.blocks.partition_point(|block| block.end() <= range.start);
        let end = range.end;
        self.blocks.iter().skip(at).take_while(move |block| block.base < end)
    }

    /// Adds `claims` to each message of `range`.
    pub(crate) fn claim(&self, range: &Range<u64>, claims: u64) {
        for block in self.overlapping(range) {
            block.owed.fetch_add(block.overlap(range) * claims, Ordering::AcqRel);
        }
    }

    /// Takes one claim from each message of `range` (gaps in the numbering carry none), and says whether that left
    /// a sealed block owed nothing, so that [`Log::reclaim`] would free memory.
    pub(crate) fn settle(&self, range: &Range<u64>) -> bool {
        let open = self.blocks.back().map_or(0, |block| block.base);
        let mut empty = false;
        for block in self.overlapping(range) {
            let settled = block.overlap(range);
            let before = block.owed.fetch_sub(settled, Ordering::AcqRel);
            debug_assert!(before >= settled, "a claim was settled twice");
            empty |= before == settled && block.base != open;
        }
        empty
    }

    /// The oldest sealed block that ends well before `seq` (everybody's read position) and is owed so little that its
    /// survivors are better kept one by one. Without this, one stuck message in every block would pin them all.
    pub(crate) fn sparse_before(&self, seq: u64) -> Option<Range<u64>> {
        let read = self.blocks.partition_point(|block| block.end() <= seq);
        self.blocks.iter().take(read.saturating_sub(SPARSE_AFTER_BLOCKS)).find_map(|block| {
            let owed = block.owed.load(Ordering::Acquire);
            (owed <= block.entries.len() as u64 / 16).then(|| block.base..block.end())
        })
    }

    /// Drops the messages from `seq` on, whatever is owed of them; their numbers are not used again.
    pub(crate) fn truncate(&mut self, seq: u64) {
        while let Some(block) = self.blocks.back_mut() {
            if block.end() <= seq {
                return;
            }
            let kept = usize::try_from(seq.saturating_sub(block.base)).unwrap_or(usize::MAX);
            let start = block.entries.get(kept).map_or(0, |entry| u64::from(entry.start));
            self.bytes = block.offset + start;
            if kept > 0 {
                block.entries.truncate(kept);
                return;
            }
            self.blocks.pop_back();
        }
    }

    /// Frees the sealed blocks that are owed nothing.
    pub(crate) fn reclaim(&mut self) {
        let open = self.blocks.len().saturating_sub(1);
        let mut at = 0;
        let Self { blocks, spare, .. } = self;
        let mut freed = Vec::new();
        blocks.retain_mut(|block| {
            let keep = at == open || *block.owed.get_mut() > 0;
            at += 1;
            if !keep {
                freed.push(std::mem::take(block));
            }
            keep
        });
        for block in freed {
            if spare.len() < SPARE_BLOCKS && block.bodies.capacity() <= SPARE_BYTES {
                spare.push(block);
            }
        }
    }

    /// Whether nothing is owed of any message.
    #[cfg(test)]
    pub(crate) fn is_settled(&self) -> bool {
        self.blocks.iter().all(|block| block.owed.load(Ordering::Acquire) == 0)
    }

    /// Bytes of memory that the blocks take, spare ones included.
    pub(crate) fn memory(&self) -> usize {
        let of = |block: &Block| {
            block.bodies.capacity() + block.entries.capacity() * std::mem::size_of::<Entry>()
        };
        self.blocks.iter().map(of).sum::<usize>() + self.spare.iter().map(of).sum::<usize>()
    }
}

fn read(block: &Block, seq: u64) -> Option<Stored<'_>> {
    let at = usize::try_from(seq.checked_sub(block.base)?).ok()?;
    let entry = block.entries.get(at)?;
    let body = block.bodies.get(entry.start as usize..entry.end as usize)?;
    Some(Stored { seq, timestamp: entry.timestamp, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(log: &Log, from: u64, end: u64) -> Vec<Vec<u8>> {
        log.iter(from, end).map(|stored| stored.body.to_vec()).collect()
    }

    #[test]
    fn numbers_are_consecutive_and_bodies_come_back() {
        let mut log = Log::new(100);
        for n in 0..20_000_u32 {
            assert_eq!(log.append(&n.to_be_bytes(), i64::from(n)), 100 + u64::from(n));
        }
        assert_eq!(log.next(), 20_100);
        assert_eq!(log.get(100).map(|s| (s.timestamp, s.body)), Some((0, &[0, 0, 0, 0][..])));
        assert_eq!(log.get(20_099).map(|s| s.body), Some(&19_999_u32.to_be_bytes()[..]));
        assert_eq!(log.get(99), None);
        assert_eq!(log.get(20_100), None);
        assert_eq!(bodies(&log, 8_290, 8_295).len(), 5);
        assert_eq!(log.count(&(0..u64::MAX)), 20_000);
    }

    #[test]
    fn a_block_owed_nothing_is_freed_and_its_memory_used_again() {
        let mut log = Log::new(0);
        for _ in 0..3 * BLOCK_ENTRIES {
            log.append(b"x", 0);
        }
        let first = 0..BLOCK_ENTRIES as u64;
        log.claim(&first, 1);
        assert!(!log.settle(&first));
        assert!(!log.settle(&(0..first.end - 1)));
        assert!(log.settle(&(first.end - 1..first.end)));
        log.reclaim();
        assert_eq!(log.get(0), None);
        assert_eq!(log.iter(0, u64::MAX).next().map(|s| s.seq), Some(first.end));
        assert_eq!(log.spare.len(), 1);
    }

    #[test]
    fn the_open_block_starts_over_when_all_is_settled() {
        let mut log = Log::new(7);
        for round in 0..1000_u64 {
            assert_eq!(log.append(b"body", 0), 7 + round);
            assert!(!log.settle(&(7 + round..8 + round)));
        }
        assert_eq!(log.blocks.len(), 1);
        assert!(log.memory() < 64 * 1024, "{}", log.memory());
    }

    #[test]
    fn a_nearly_empty_block_is_found_once_readers_are_past_it() {
        let mut log = Log::new(0);
        for _ in 0..8 * BLOCK_ENTRIES {
            log.append(b"x", 0);
        }
        log.settle(&(1..BLOCK_ENTRIES as u64));
        assert_eq!(log.sparse_before(BLOCK_ENTRIES as u64), None);
        let past = (SPARSE_AFTER_BLOCKS as u64 + 1) * BLOCK_ENTRIES as u64;
        assert_eq!(log.sparse_before(past), Some(0..BLOCK_ENTRIES as u64));
    }

    #[test]
    fn truncation_drops_the_tail_and_burns_its_numbers() {
        let mut log = Log::new(0);
        for _ in 0..BLOCK_ENTRIES + 10 {
            log.append(b"x", 0);
        }
        let end = log.next();
        log.truncate(5);
        assert_eq!(log.count(&(0..u64::MAX)), 5);
        assert_eq!(log.append(b"y", 0), end);
        assert_eq!(bodies(&log, 4, u64::MAX), [b"x".to_vec(), b"y".to_vec()]);
    }

    #[test]
    fn bytes_are_those_of_the_bodies_in_between() {
        let mut log = Log::new(7);
        let size = |n: u64| usize::try_from(n * 37 % 900).unwrap();
        for n in 0..3000 {
            log.append(&vec![1; size(n)], 0);
        }
        let sum = |from: u64, end: u64| (from..end).map(size).sum::<usize>() as u64;
        for (from, end) in [(0, 3000), (0, 0), (10, 11), (5, 2990), (1400, 1500), (2999, 3000)] {
            assert_eq!(log.bytes(&(7 + from..7 + end)), sum(from, end), "{from}..{end}");
        }
        assert_eq!(log.bytes(&(0..u64::MAX)), sum(0, 3000));
        log.settle(&(7..2007));
        log.reclaim();
        assert_eq!(log.bytes(&(2007..3007)), sum(2000, 3000));
        log.truncate(2500);
        assert_eq!(log.bytes(&(2400..u64::MAX)), sum(2393, 2493));
        log.append(b"four", 0);
        assert_eq!(log.bytes(&(2400..u64::MAX)), sum(2393, 2493) + 4);
        assert_eq!(log.bytes(&(2500..log.next())), 4);
    }

    #[test]
    fn a_large_body_has_a_block_of_its_own() {
        let mut log = Log::new(0);
        log.append(b"small", 0);
        log.append(&vec![1; 3 * BLOCK_BYTES], 0);
        log.append(b"small", 0);
        assert_eq!(log.blocks.len(), 3);
        assert_eq!(log.get(1).map(|s| s.body.len()), Some(3 * BLOCK_BYTES));
    }
}
