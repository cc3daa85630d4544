//! A topic's messages: one log of blocks, however many channels read it.
//!
//! A message is copied once, behind the last one in the open block, and addressed by its sequence number. A block
//! counts what is still *owed* of it: one claim a message while the topic itself has not handed it on, then one claim
//! a message and channel until that channel has settled it. A block owed nothing is recycled. The log knows no locks,
//! no channels and no clock: [`super::topic`] guards it.
//!
//! Blocks are born in memory. One whose messages were written to the node's write-ahead log as well is *logged*; when the
//! file of that log is to go, what is owed of the block is written to a segment, its *home*. From then on its memory can be
//! given up: the block is *away* until somebody needs it ([`paging`]).

mod paging;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::storage::segment::Home;
use crate::storage::wal::Lsn;

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
    /// Less than `start` for a message that nobody was owed any more when the block was written to its segment.
    end: u32,
    timestamp: i64,
}

#[derive(Debug, Default)]
struct Block {
    /// Sequence number of the first entry; entry `i` is `base + i`.
    base: u64,
    /// How many messages it has, whether they are in memory or not.
    count: u64,
    entries: Vec<Entry>,
    bodies: Vec<u8>,
    /// Bytes of all bodies before this block's.
    offset: u64,
    /// Claims on the block; atomic, so that settling needs the log for reading only.
    owed: AtomicU64,
    /// For a logged block, a position in the write-ahead log before its first message.
    logged: Option<Lsn>,
    home: Option<Home>,
    /// The publish time of its latest message, nanoseconds since the Unix epoch.
    latest: i64,
    /// Whether it takes no further message.
    sealed: bool,
    /// Whether its messages are in its home only.
    away: bool,
    /// Whether it was asked for since it went away.
    wanted: AtomicBool,
}

impl Block {
    const fn end(&self) -> u64 {
        self.base + self.count
    }

    fn has_room(&self, body: usize) -> bool {
        !self.sealed
            && (self.entries.is_empty()
                || (self.entries.len() < BLOCK_ENTRIES && self.bodies.len() + body <= BLOCK_BYTES))
    }

    /// Grows the buffer by doubling only as long as it is small: a full block is not to cost twice its size.
    fn make_room(&mut self, body: usize) {
        let needed = self.bodies.len() + body;
        if needed > self.bodies.capacity() && needed > BLOCK_BYTES / 4 {
            self.bodies.reserve_exact(BLOCK_BYTES.max(needed) - self.bodies.len());
        }
    }

    /// Makes room for as much as `full` has at once: a queue that has filled a block most likely fills the next one, and
    /// growing step by step touches twice the memory. What is not written to takes none.
    fn grow_as(&mut self, full: &Self) {
        // A large body that has a block of its own tells nothing.
        if full.away || full.entries.len() < 2 {
            return;
        }
        let bodies = full.bodies.len();
        self.bodies.reserve_exact(if bodies > BLOCK_BYTES / 2 { BLOCK_BYTES } else { bodies });
        self.entries
            .reserve_exact((full.entries.len() + full.entries.len() / 8).min(BLOCK_ENTRIES));
    }

    fn reset(&mut self, base: u64, offset: u64, logged: Option<Lsn>) {
        self.base = base;
        self.offset = offset;
        self.count = 0;
        self.entries.clear();
        self.bodies.clear();
        self.owed.store(0, Ordering::Relaxed);
        self.logged = logged;
        self.home = None;
        self.sealed = false;
        self.away = false;
        self.wanted.store(false, Ordering::Relaxed);
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
    /// All claims together.
    owed: AtomicI64,
    /// How many blocks are away.
    away: usize,
    /// How many blocks are logged.
    logged: usize,
    /// Bytes of all bodies so far.
    bytes: u64,
}

impl Log {
    /// An empty log whose first message gets the sequence number `first`.
    pub(crate) const fn new(first: u64) -> Self {
        Self {
            blocks: VecDeque::new(),
            spare: Vec::new(),
            next: first,
            owed: AtomicI64::new(0),
            away: 0,
            logged: 0,
            bytes: 0,
        }
    }

    /// The sequence number that the next message gets.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// All claims together: a message counts once for the topic or once for each channel that has not settled it.
    pub(crate) fn owed(&self) -> u64 {
        u64::try_from(self.owed.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Appends one message with one claim on it and returns its sequence number. `logged` is a position in the
    /// write-ahead log before it, if it is written there.
    pub(crate) fn append(&mut self, body: &[u8], timestamp: i64, logged: Option<Lsn>) -> u64 {
        let seq = self.next;
        self.open_block(body.len(), logged);
        if let Some(block) = self.blocks.back_mut() {
            // A body is bounded by the protocol's 2 GiB and a block by BLOCK_BYTES or one body, so both fit.
            let start = u32::try_from(block.bodies.len()).unwrap_or(u32::MAX);
            block.make_room(body.len());
            block.bodies.extend_from_slice(body);
            let end = u32::try_from(block.bodies.len()).unwrap_or(u32::MAX);
            block.entries.push(Entry { start, end, timestamp });
            block.count += 1;
            block.latest = timestamp;
            *block.owed.get_mut() += 1;
        }
        *self.owed.get_mut() += 1;
        self.next += 1;
        self.bytes += body.len() as u64;
        seq
    }

    fn open_block(&mut self, body: usize, logged: Option<Lsn>) {
        if let Some(last) = self.blocks.back_mut() {
            if last.count > 0 && *last.owed.get_mut() == 0 && last.home.is_none() {
                // Everything in it is settled: start over in the same, warm memory.
                self.logged -= usize::from(last.logged.is_some());
                last.reset(self.next, self.bytes, logged);
                self.logged += usize::from(logged.is_some());
            }
            if last.end() == self.next
                && last.logged.is_some() == logged.is_some()
                && last.has_room(body)
            {
                return;
            }
        }
        let mut block = self.spare.pop().unwrap_or_default();
        block.reset(self.next, self.bytes, logged);
        if let Some(last) = self.blocks.back().filter(|last| !last.has_room(body)) {
            block.grow_as(last);
        }
        self.logged += usize::from(logged.is_some());
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

    /// Messages from `from` on, in order, up to but not including `end`; gaps in the numbering are passed over. Those of
    /// blocks that are away are passed over too: see [`Log::present_until`].
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
        let mut added = 0;
        for block in self.overlapping(range) {
            let claimed = block.overlap(range) * claims;
            block.owed.fetch_add(claimed, Ordering::AcqRel);
            added += claimed;
        }
        self.owed.fetch_add(added.cast_signed(), Ordering::Relaxed);
    }

    /// Takes one claim from each message of `range` (gaps in the numbering carry none), and says whether that left
    /// a sealed block owed nothing, so that [`Log::reclaim`] would free memory.
    pub(crate) fn settle(&self, range: &Range<u64>) -> bool {
        let open = self.blocks.back().map_or(0, |block| block.base);
        let (mut empty, mut taken) = (false, 0);
        for block in self.overlapping(range) {
            let settled = block.overlap(range);
            let before = block.owed.fetch_sub(settled, Ordering::AcqRel);
            let place = block.base..block.end();
            debug_assert!(before >= settled, "{range:?} settled twice, {before} owed of {place:?}");
            empty |= before == settled && block.base != open;
            taken += settled;
        }
        self.owed.fetch_sub(taken.cast_signed(), Ordering::Relaxed);
        empty
    }

    /// The oldest sealed block that ends well before `seq` (everybody's read position) and is owed so little that its
    /// survivors are better kept one by one. Without this, one stuck message in every block would pin them all.
    pub(crate) fn sparse_before(&self, seq: u64) -> Option<Range<u64>> {
        let read = self.blocks.partition_point(|block| block.end() <= seq);
        self.blocks.iter().take(read.saturating_sub(SPARSE_AFTER_BLOCKS)).find_map(|block| {
            let owed = block.owed.load(Ordering::Acquire);
            // What is logged is freed by going away instead.
            let is_sparse = block.logged.is_none() && owed <= block.count / 16;
            is_sparse.then(|| block.base..block.end())
        })
    }

    /// Drops the messages from `seq` on, whatever is owed of them; their numbers are not used again.
    pub(crate) fn truncate(&mut self, seq: u64) {
        while let Some(block) = self.blocks.back_mut() {
            if block.end() <= seq {
                return;
            }
            let kept = seq.saturating_sub(block.base);
            let at = usize::try_from(kept).unwrap_or(usize::MAX);
            let start = block.entries.get(at).map_or(0, |entry| u64::from(entry.start));
            self.bytes = block.offset + start;
            if kept > 0 {
                block.entries.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
                block.count = kept;
                return;
            }
            self.away -= usize::from(block.away);
            self.logged -= usize::from(block.logged.is_some());
            self.blocks.pop_back();
        }
    }

    /// Frees the sealed blocks that are owed nothing.
    pub(crate) fn reclaim(&mut self) {
        let open = self.blocks.len().saturating_sub(1);
        let mut at = 0;
        let Self { blocks, spare, away, logged, .. } = self;
        let mut freed = Vec::new();
        blocks.retain_mut(|block| {
            let keep = at == open || *block.owed.get_mut() > 0;
            at += 1;
            if !keep {
                *away -= usize::from(block.away);
                *logged -= usize::from(block.logged.is_some());
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

    /// Drops the spare blocks, and says how many bytes they took.
    pub(crate) fn drop_spare(&mut self) -> usize {
        let before = self.memory();
        self.spare = Vec::new();
        before - self.memory()
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
    // Nothing for a block that is away, nor for a message whose body was not worth keeping.
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
            assert_eq!(log.append(&n.to_be_bytes(), i64::from(n), None), 100 + u64::from(n));
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
            log.append(b"x", 0, None);
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
            assert_eq!(log.append(b"body", 0, None), 7 + round);
            assert!(!log.settle(&(7 + round..8 + round)));
        }
        assert_eq!(log.blocks.len(), 1);
        assert!(log.memory() < 64 * 1024, "{}", log.memory());
    }

    #[test]
    fn a_nearly_empty_block_is_found_once_readers_are_past_it() {
        let mut log = Log::new(0);
        for _ in 0..8 * BLOCK_ENTRIES {
            log.append(b"x", 0, None);
        }
        log.settle(&(1..BLOCK_ENTRIES as u64));
        assert_eq!(log.sparse_before(BLOCK_ENTRIES as u64), None);
        let past = (SPARSE_AFTER_BLOCKS as u64 + 1) * BLOCK_ENTRIES as u64;
        assert_eq!(log.sparse_before(past), Some(0..BLOCK_ENTRIES as u64));
    }

    #[test]
    fn a_block_behind_a_full_one_is_as_large_from_its_first_message_on() {
        for size in [1, 200] {
            let mut log = Log::new(0);
            while log.blocks.len() < 2 {
                log.append(&vec![b'x'; size], 0, None);
            }
            let first = log.memory();
            let full = log.blocks[0].count;
            for _ in 1..full {
                log.append(&vec![b'x'; size], 0, None);
            }
            assert_eq!((log.blocks.len(), log.blocks[1].count), (2, full));
            assert_eq!(log.memory(), first, "{size} bytes");
        }
    }

    #[test]
    fn truncation_drops_the_tail_and_burns_its_numbers() {
        let mut log = Log::new(0);
        for _ in 0..BLOCK_ENTRIES + 10 {
            log.append(b"x", 0, None);
        }
        let end = log.next();
        log.truncate(5);
        assert_eq!(log.count(&(0..u64::MAX)), 5);
        assert_eq!(log.append(b"y", 0, None), end);
        assert_eq!(bodies(&log, 4, u64::MAX), [b"x".to_vec(), b"y".to_vec()]);
    }

    #[test]
    fn bytes_are_those_of_the_bodies_in_between() {
        let mut log = Log::new(7);
        let size = |n: u64| usize::try_from(n * 37 % 900).unwrap();
        for n in 0..3000 {
            log.append(&vec![1; size(n)], 0, None);
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
        log.append(b"four", 0, None);
        assert_eq!(log.bytes(&(2400..u64::MAX)), sum(2393, 2493) + 4);
        assert_eq!(log.bytes(&(2500..log.next())), 4);
    }

    #[test]
    fn a_large_body_has_a_block_of_its_own() {
        let mut log = Log::new(0);
        log.append(b"small", 0, None);
        log.append(&vec![1; 3 * BLOCK_BYTES], 0, None);
        log.append(b"small", 0, None);
        assert_eq!(log.blocks.len(), 3);
        assert_eq!(log.get(1).map(|s| s.body.len()), Some(3 * BLOCK_BYTES));
    }
}
