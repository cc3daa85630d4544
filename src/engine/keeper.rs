//! The thread that moves what is owed out of the log's full files: into segments, then a checkpoint, then the files go.
//!
//! Whatever goes wrong here loses nothing: the files stay, the writer waits before there are too many of them, and the
//! keeper tries again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Engine;
use super::feed::Feed;
use super::journal::{Entry, Journal};
use super::topic::Topic;
use crate::clock;
use crate::storage::StorageError;
use crate::storage::image::{Image, TopicImage};
use crate::storage::ranges::RangeSet;
use crate::storage::segment::{Home, encode};
use crate::storage::wal::Lsn;
use crate::storage::wal::record::TopicId;

/// How long to wait before another try.
const RETRY: Duration = Duration::from_secs(1);
/// How often consumed segments are looked for.
const TIDY_INTERVAL: Duration = Duration::from_secs(5);
/// Free bytes at which it is worth while to look what a move will take.
const TIGHT: u64 = 256 << 20;

/// Starts the thread.
pub(super) fn start(engine: &Arc<Engine>, journal: &Arc<Journal>) -> io::Result<()> {
    let (engine, journal) = (Arc::downgrade(engine), Arc::clone(journal));
    std::thread::Builder::new()
        .name("log-keeper".into())
        .spawn(move || run(&engine, &journal))
        .map(drop)
}

fn run(engine: &Weak<Engine>, journal: &Journal) {
    // A disk without space fails every try until there is some: it is said once.
    let mut is_told = false;
    while let Some(cut) = journal.keeper.wait_at_most(TIDY_INTERVAL, |calls| calls.cut.take()) {
        let Some(engine) = engine.upgrade() else { return };
        let kept = match cut {
            Some(cut) => move_out(&engine, journal, cut),
            None => tidy(&engine, journal),
        };
        let Err(error) = kept else {
            is_told = false;
            continue;
        };
        if is_told {
            tracing::debug!(%error, "what is owed still cannot be moved out of the log");
        } else {
            tracing::warn!(%error, "what is owed could not be moved out of the log; trying again");
        }
        is_told = true;
        let mut calls = journal.keeper.state.lock();
        calls.cut = calls.cut.max(cut);
        drop(calls);
        drop(engine);
        if !journal.keeper.pause(RETRY) {
            return;
        }
    }
}

/// Lets segments go that have been consumed, though the log's current file is not full yet.
fn tidy(engine: &Engine, journal: &Journal) -> Result<(), StorageError> {
    let segments = journal.store.segments.count();
    if segments == 0 {
        return Ok(());
    }
    let _alone = journal.keeping.lock();
    let topics = engine.topics();
    let homes = topics.iter().flat_map(|topic| topic.read().log.homes());
    let needed: BTreeSet<u64> = homes.map(|home| home.home.file).collect();
    if needed.len() >= segments || journal.is_closed() {
        return Ok(());
    }
    checkpoint(engine, journal)
}

/// Writes what is owed of the log before `cut` to segments and makes a checkpoint.
fn move_out(engine: &Engine, journal: &Journal, cut: Lsn) -> Result<(), StorageError> {
    let _alone = journal.keeping.lock();
    if journal.is_closed() {
        return Ok(());
    }
    let wrong = |source| StorageError::Io { what: "write", path: "segment".into(), source };
    has_room(engine, journal, cut).map_err(wrong)?;
    let mut writer = journal.store.segments.writer();
    let mut moved: Vec<(Arc<Topic>, u64, Home)> = Vec::new();
    let mut block = Vec::new();
    for topic in engine.topics().into_iter().filter(|topic| !topic.is_ephemeral()) {
        let homeless = topic.write().log.homeless(cut);
        for range in homeless {
            block.clear();
            let feed = topic.read();
            let Some(Entry { id: Some(id), .. }) = &feed.journal else { break };
            let owed = feed.owed_of(&range);
            encode(&mut block, *id, range.start, feed.log.block_messages(range.start, &owed));
            drop(feed);
            let home = writer.add(&block).map_err(wrong)?;
            moved.push((Arc::clone(&topic), range.start, home));
        }
    }
    writer.finish().map_err(wrong)?;
    for (topic, base, home) in moved {
        topic.write().log.set_home(base, home);
    }
    let mut wal_from = journal.wal_from.lock();
    *wal_from = cut.max(*wal_from);
    drop(wal_from);
    checkpoint(engine, journal)?;
    for topic in engine.topics() {
        topic.send_away();
    }
    Ok(())
}

/// Whether there is space for what is to be moved. Trying costs the space that others need meanwhile.
fn has_room(engine: &Engine, journal: &Journal, cut: Lsn) -> io::Result<()> {
    let free = journal.store.segments.free_bytes()?;
    if free > TIGHT {
        return Ok(());
    }
    let mut needed = 0;
    for topic in engine.topics().into_iter().filter(|topic| !topic.is_ephemeral()) {
        let homeless = topic.write().log.homeless(cut);
        for range in homeless {
            let feed = topic.read();
            let owed = feed.owed_of(&range);
            let messages = feed.log.block_messages(range.start, &owed);
            needed += messages.map(|(_, body)| body.map_or(0, <[u8]>::len) as u64).sum::<u64>();
        }
    }
    // The log itself goes on meanwhile.
    if needed + journal.wal().reserve() / 2 <= free {
        return Ok(());
    }
    let text = format!("{needed} bytes are to be moved, {free} are free");
    Err(io::Error::new(io::ErrorKind::StorageFull, text))
}

/// Makes a checkpoint of everything that is written down, and lets the files go that it makes superfluous. Called with
/// `keeping` locked.
pub(super) fn checkpoint(engine: &Engine, journal: &Journal) -> Result<(), StorageError> {
    let wal_from = *journal.wal_from.lock();
    let mut topics: BTreeMap<TopicId, TopicImage> = BTreeMap::new();
    for topic in engine.topics() {
        // Whoever holds the feed for writing sees each change together with its record, or neither.
        let feed = topic.write();
        if let Some(Entry { id: Some(id), last_channel, .. }) = &feed.journal {
            let image = TopicImage {
                name: topic.name().to_string(),
                lsn: journal.wal().end(),
                last_channel: *last_channel,
                ..feed.image()
            };
            topics.insert(*id, image);
        }
    }
    if engine.topics.read().exiting {
        // Topics that are closed owe nothing any more as far as this can be seen.
        return Ok(());
    }
    let image = Image { wal_from, last_topic: journal.last_topic(), topics };
    // The image is ahead of what is written: a crash between the two must find the records that it builds on.
    journal.wal().sync_to(image.lsn()).map_err(|trouble| StorageError::Io {
        what: "sync",
        path: "the log".into(),
        source: io::Error::other(trouble.to_string()),
    })?;
    journal.store.save(&image)
}

impl Feed {
    /// Which messages of `range` anybody is owed.
    pub(super) fn owed_of(&self, range: &Range<u64>) -> RangeSet {
        let mut owed = RangeSet::new();
        owed.insert(range.start.max(self.released)..range.end.max(self.released));
        if let Some(from) = self.retained {
            owed.insert(range.start.max(from)..range.end.max(from));
        }
        for channel in &self.channels {
            owed.extend(&channel.owed(range, self.released));
        }
        owed
    }

    /// What is written down of the topic, as it is now; its name and place in the log are the caller's.
    fn image(&self) -> TopicImage {
        let mut logged = self.log.logged_ranges();
        logged.extend(&self.written);
        let among_logged = |set: &RangeSet| -> RangeSet {
            set.iter().flat_map(|range| logged.within(range).collect::<Vec<_>>()).collect()
        };
        let next = self.log.next();
        let held = self.held.iter().filter(|held| logged.contains(held.seq));
        let delay = |delay: Duration| u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        let (now, wall) = (clock::now(), clock::unix_nanos());
        let channels = self.channels.iter().filter_map(|channel| {
            let mut image = channel.image(self.released, now, wall);
            image.owed = among_logged(&image.owed);
            image.details.retain(|seq, _| logged.contains(*seq));
            Some((channel.number()?, image))
        });
        TopicImage {
            paused: self.paused,
            next,
            unreleased: logged.within(self.released..next).collect(),
            held: held.map(|held| (held.seq, delay(held.delay))).collect(),
            retained: self.retained.map(|from| logged.within(from..next).collect()),
            homes: self.log.homes(),
            channels: channels.collect(),
            ..TopicImage::default()
        }
    }
}

impl Topic {
    /// Gives up the memory of messages that segments have and that no channel is near.
    pub(super) fn send_away(&self) {
        let mut feed = self.write();
        let near: Vec<Range<u64>> =
            feed.channels.iter().flat_map(|channel| channel.near(&feed.log)).collect();
        feed.log.send_away(&near);
    }
}
