//! Blocks on their way to segments and back, and as a recovery finds them.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::{Block, Entry, Log};
use crate::storage::image::HomeImage;
use crate::storage::ranges::RangeSet;
use crate::storage::segment::{BlockData, Home};
use crate::storage::store::Batch;
use crate::storage::wal::Lsn;

/// Blocks that are kept in memory however far everybody is from them.
const KEPT_BLOCKS: usize = 16;

/// What there is to know of a block without its messages.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) numbers: Range<u64>,
    /// Bytes of bodies, or those of the segment's block.
    pub(crate) bytes: u64,
    /// The publish time of its latest message.
    pub(crate) latest: i64,
}

impl Log {
    fn block(&self, base: u64) -> Option<&Block> {
        self.blocks.get(self.index_of(base)?).filter(|block| block.base == base)
    }

    fn block_mut(&mut self, base: u64) -> Option<&mut Block> {
        let at = self.index_of(base)?;
        self.blocks.get_mut(at).filter(|block| block.base == base)
    }

    /// How far from `from` on, up to `end`, nothing is away.
    pub(crate) fn present_until(&self, from: u64, end: u64) -> u64 {
        if self.away == 0 {
            return end;
        }
        let range = from..end;
        let mut blocks = self.overlapping(&range);
        blocks.find(|block| block.away).map_or(end, |block| block.base.max(from))
    }

    /// Whether the message is in a block that is away.
    pub(crate) fn is_away(&self, seq: u64) -> bool {
        let block = || self.blocks.get(self.index_of(seq)?);
        self.away > 0 && block().is_some_and(|block| block.away)
    }

    /// The block that the message is in, if that is away.
    pub(crate) fn away_block(&self, seq: u64) -> Option<u64> {
        let block = self.blocks.get(self.index_of(seq)?)?;
        block.away.then_some(block.base)
    }

    /// The blocks that are away among the first `blocks` from `from` on and were not asked for since they went.
    pub(crate) fn want(&self, from: u64, blocks: usize) -> Vec<u64> {
        if self.away == 0 {
            return Vec::new();
        }
        let at = self.blocks.partition_point(|block| block.end() <= from);
        let ahead = self.blocks.iter().skip(at).take(blocks).filter(|block| block.away);
        let wanted = ahead.filter(|block| !block.wanted.swap(true, Ordering::AcqRel));
        wanted.map(|block| block.base).collect()
    }

    /// Where the block that begins with `base` is, if it is away.
    pub(crate) fn home_of(&self, base: u64) -> Option<Home> {
        self.block(base).filter(|block| block.away)?.home
    }

    /// Whether the message is in the write-ahead log.
    pub(crate) fn is_logged(&self, seq: u64) -> bool {
        let block = || self.blocks.get(self.index_of(seq)?);
        self.logged > 0 && block().is_some_and(|block| block.logged.is_some())
    }

    /// Whether any message of `range` is in the write-ahead log.
    pub(crate) fn has_logged(&self, range: &Range<u64>) -> bool {
        self.logged > 0 && self.overlapping(range).any(|block| block.logged.is_some())
    }

    /// The numbers of all messages that are in the write-ahead log or in a segment.
    pub(crate) fn logged_ranges(&self) -> RangeSet {
        let logged = self.blocks.iter().filter(|block| block.logged.is_some());
        logged.map(|block| block.base..block.end()).collect()
    }

    /// How many messages of `range` the disk has.
    pub(crate) fn logged_count(&self, range: &Range<u64>) -> u64 {
        if self.logged == 0 {
            return 0;
        }
        let logged = self.overlapping(range).filter(|block| block.logged.is_some());
        logged.map(|block| block.overlap(range)).sum()
    }

    /// Seals what the write-ahead log has from before `cut`, and says which blocks of it have no home and are owed.
    pub(crate) fn homeless(&mut self, cut: Lsn) -> Vec<Range<u64>> {
        if self.logged == 0 {
            return Vec::new();
        }
        let blocks = self.blocks.iter_mut().filter(|block| {
            block.home.is_none() && block.logged.is_some_and(|lsn| lsn < cut) && block.count > 0
        });
        let owed = blocks.filter_map(|block| {
            block.sealed = true;
            (*block.owed.get_mut() > 0).then(|| block.base..block.end())
        });
        owed.collect()
    }

    /// The messages of a block, each with its publish time; the body only of those that are `owed`. Nothing if the block
    /// is gone.
    pub(crate) fn block_messages<'a>(
        &'a self,
        base: u64,
        owed: &'a RangeSet,
    ) -> impl Iterator<Item = (i64, Option<&'a [u8]>)> + Clone {
        let block = self.block(base);
        let entries = block.into_iter().flat_map(|block| {
            block.entries.iter().map(move |entry| {
                (entry.timestamp, block.bodies.get(entry.start as usize..entry.end as usize))
            })
        });
        (base..)
            .zip(entries)
            .map(|(seq, (timestamp, body))| (timestamp, body.filter(|_| owed.contains(seq))))
    }

    /// Notes where a block is kept from now on. `false` if it is gone.
    pub(crate) fn set_home(&mut self, base: u64, home: Home) -> bool {
        self.block_mut(base).map(|block| block.home = Some(home)).is_some()
    }

    /// The homes of everything that is owed.
    pub(crate) fn homes(&self) -> Vec<HomeImage> {
        let owed = self.blocks.iter().filter(|block| block.owed.load(Ordering::Acquire) > 0);
        let homes = owed.filter_map(|block| {
            let count = u32::try_from(block.count).ok()?;
            Some(HomeImage { base: block.base, count, home: block.home? })
        });
        homes.collect()
    }

    /// Gives up the memory of blocks that have a home and that nobody is near; `near` says where everybody is.
    pub(crate) fn send_away(&mut self, near: &[Range<u64>]) {
        let present =
            self.blocks.iter().filter(|block| block.home.is_some() && !block.away).count();
        let Some(mut surplus) = present.checked_sub(KEPT_BLOCKS) else { return };
        let Self { blocks, away, .. } = self;
        for block in blocks.iter_mut().rev() {
            let is_near = |at: &Range<u64>| at.start < block.end() && block.base < at.end;
            if surplus == 0 {
                return;
            }
            if block.home.is_none() || block.away || near.iter().any(is_near) {
                continue;
            }
            block.entries = Vec::new();
            block.bodies = Vec::new();
            block.away = true;
            block.wanted.store(false, Ordering::Release);
            *away += 1;
            surplus -= 1;
        }
    }

    /// The range of messages that reading on from `from` comes to within so many blocks.
    pub(crate) fn ahead(&self, from: u64, blocks: usize) -> Range<u64> {
        let at = self.blocks.partition_point(|block| block.end() <= from);
        let last = self.blocks.iter().skip(at).take(blocks).last();
        from..last.map_or(from, Block::end)
    }

    /// Puts a block's messages back.
    pub(crate) fn bring_back(&mut self, data: BlockData) {
        let Some(block) = self.block_mut(data.base).filter(|block| block.away) else {
            return;
        };
        block.latest = data.index.iter().map(|(timestamp, _)| *timestamp).max().unwrap_or(0);
        let mut at = 0;
        block.entries = data
            .index
            .into_iter()
            .map(|(timestamp, length)| {
                let start = at;
                at += length.unwrap_or(0);
                match length {
                    Some(_) => Entry { start, end: at, timestamp },
                    // An empty range from the end on backwards: no body.
                    None => Entry { start: u32::MAX, end: 0, timestamp },
                }
            })
            .collect();
        block.bodies = data.bodies;
        block.away = false;
        self.away -= 1;
    }

    /// Forgets a block that cannot be read, and returns what it held. Whoever owes any of it must forget it as well.
    pub(crate) fn lose(&mut self, base: u64) -> Option<Range<u64>> {
        let at = self.index_of(base)?;
        let mut block = self.blocks.remove(at)?;
        self.away -= usize::from(block.away);
        self.logged -= usize::from(block.logged.is_some());
        *self.owed.get_mut() -= block.owed.get_mut().cast_signed();
        Some(block.base..block.end())
    }

    /// Begins a recovery of an empty log: its blocks have smaller numbers than new messages get.
    pub(crate) fn begin_restore(&mut self) {
        self.next = 0;
    }

    /// Adds a block that a recovery found in a segment. To be called in the order of the numbers, without claims.
    pub(crate) fn restore_home(&mut self, found: HomeImage) {
        let HomeImage { base, count, home } = found;
        self.next = self.next.max(base + u64::from(count));
        self.away += 1;
        self.logged += 1;
        self.blocks.push_back(Block {
            base,
            count: count.into(),
            logged: Some(0),
            home: Some(home),
            // Not known before it is read: young enough for whoever asks.
            latest: i64::MAX,
            sealed: true,
            away: true,
            ..Block::default()
        });
    }

    /// Adds the messages `run` of those that a recovery found in the write-ahead log, `batch` beginning with `first`. To be
    /// called in the order of the numbers.
    pub(crate) fn restore_batch(&mut self, first: u64, batch: &Batch, run: Range<u64>) {
        for seq in run {
            let at = usize::try_from(seq - first).unwrap_or(usize::MAX);
            if let Some(body) = batch.body(at) {
                self.next = self.next.max(seq);
                self.append(body, batch.timestamp, Some(0));
            }
        }
    }

    /// Ends a recovery: the claims are counted anew from here, and new messages get numbers of their own.
    pub(crate) fn finish_restore(&mut self, next: u64) {
        for block in &mut self.blocks {
            *block.owed.get_mut() = 0;
            block.sealed = true;
        }
        *self.owed.get_mut() = 0;
        self.next = self.next.max(next);
    }

    /// Adds a claim to each message of `set`.
    pub(crate) fn claim_all(&self, set: &RangeSet) {
        for range in set.iter() {
            self.claim(&range, 1);
        }
    }

    /// Marks everything in memory as logged: it was written to the write-ahead log behind `lsn`.
    pub(crate) fn mark_logged(&mut self, lsn: Lsn) {
        for block in self.blocks.iter_mut().filter(|block| block.logged.is_none()) {
            block.logged = Some(lsn);
            self.logged += 1;
        }
    }

    /// The blocks from `from` on that take no further message, in order.
    pub(crate) fn sealed_blocks(&self, from: u64) -> Vec<Summary> {
        let open = self.blocks.len().saturating_sub(1);
        let at = self.blocks.partition_point(|block| block.end() <= from);
        let sealed = self.blocks.iter().enumerate().skip(at).filter(|(at, _)| *at < open);
        let summaries = sealed.map(|(_, block)| Summary {
            numbers: block.base.max(from)..block.end(),
            bytes: block.bodies.len().max(block.home.map_or(0, |home| home.length as usize)) as u64,
            latest: block.latest,
        });
        summaries.collect()
    }

    /// The number of the first message published at `time` or later.
    pub(crate) fn first_since(&self, time: i64) -> u64 {
        let Some(block) = self.blocks.iter().find(|block| block.latest >= time) else {
            return self.next;
        };
        let before = block.entries.iter().take_while(|entry| entry.timestamp < time).count();
        block.base + before as u64
    }

    /// The numbers of the messages that only memory has.
    pub(crate) fn unlogged_ranges(&self) -> RangeSet {
        let unlogged = self.blocks.iter().filter(|block| block.logged.is_none());
        unlogged.map(|block| block.base..block.end()).collect()
    }
}
