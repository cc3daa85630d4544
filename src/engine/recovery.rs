//! The engine at its start, from what the store has kept, and at its clean exit, when the store is given the rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::channel::{Channel, Place};
use super::feed::{Feed, Held};
use super::journal::{Bell, Entry, Journal, Level, Trouble};
use super::topic::Topic;
use super::{Engine, Options, keeper, loader};
use crate::clock;
use crate::storage::StorageError;
use crate::storage::disk::{Disk, RealDisk};
use crate::storage::image::{ChannelImage, HomeImage};
use crate::storage::ranges::RangeSet;
use crate::storage::store::{Batch, RecoveredTopic, Store};
use crate::storage::wal::record::{ChannelId, Write as _};
use crate::storage::wal::writer::WalOptions;

/// With more files of the log than this at a start, what is owed of them is moved out at once: short lives leave short files,
/// and each start reads them all.
const FILES_AT_START: usize = 4;

impl Engine {
    /// An engine that owes what the folder of `wal` says, and writes down there what has to outlast the process.
    ///
    /// # Errors
    /// The folder cannot be read or written, or what it says cannot be understood.
    pub fn open(options: Options, wal: WalOptions) -> Result<Arc<Self>, StorageError> {
        Self::open_on(Arc::new(RealDisk), options, wal)
    }

    /// As [`Engine::open`], on a disk that a test can make lose what was not synced.
    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        options: Options,
        wal: WalOptions,
    ) -> Result<Arc<Self>, StorageError> {
        let bell = Arc::<Bell>::default();
        let called = Arc::clone(&bell);
        let turned = Arc::new(move |cut| {
            called.state.lock().cut = Some(cut);
            called.called.notify_one();
        });
        let (store, found) = Store::open(disk, wal, turned)?;
        for damage in &found.damage {
            tracing::error!(?damage, "a part of the log cannot be read; the rest is used");
        }
        let journal = Arc::new(Journal::new(store, bell, found.last_topic, found.wal_from));
        let engine = Self::build(options, Some(Arc::clone(&journal)));
        for topic in found.topics {
            engine.adopt(topic, &journal);
        }
        if journal.wal().files() > FILES_AT_START {
            journal.keeper.state.lock().cut = Some(journal.wal().end());
        }
        keeper::start(&engine, &journal).and_then(|()| loader::start(&journal)).map_err(
            |source| StorageError::Io {
                what: "start a thread for",
                path: "the log".into(),
                source,
            },
        )?;
        Ok(engine)
    }

    /// Makes a topic as it was found.
    fn adopt(&self, found: RecoveredTopic, journal: &Arc<Journal>) {
        let RecoveredTopic { id, mut image, batches, lost } = found;
        for range in &lost {
            tracing::error!(
                topic = image.name,
                ?range,
                "messages were lost with a damaged part of the log"
            );
        }
        let topic = self.make(image.name.as_str().into(), image.next);
        // What is configured now holds: retention may have come or gone since.
        if !topic.retains() {
            image.retained = None;
        }
        let owed = image.owed();
        let mut feed = topic.write();
        feed.journal = Some(Entry {
            journal: Arc::clone(journal),
            durability: self.durability(&image.name),
            id: Some(id),
            last_channel: image.last_channel,
        });
        let next = feed.log.next();
        feed.log.begin_restore();
        fill(&mut feed, &owed, image.homes, &batches, next);
        feed.log.claim_all(&image.unreleased);
        if let Some(retained) = &image.retained {
            feed.log.claim_all(retained);
        }
        for channel in image.channels.values() {
            feed.log.claim_all(&channel.owed);
        }
        feed.released = image.unreleased.first().unwrap_or_else(|| feed.log.next());
        feed.paused = image.paused;
        feed.retained =
            image.retained.as_ref().map(|kept| kept.first().unwrap_or_else(|| feed.log.next()));
        if topic.retains() && feed.retained.is_none() {
            feed.begin_retention();
        }
        let held = image.held.iter();
        feed.held =
            held.map(|(&seq, &delay)| Held { seq, delay: Duration::from_nanos(delay) }).collect();
        for (number, channel) in image.channels {
            let place = Place {
                feed: topic.feed(),
                topic: Arc::downgrade(&topic),
                shared: Arc::clone(&self.shared),
                this: std::sync::Weak::new(),
            };
            let channel = Channel::restored(&channel, number, topic.name(), place, feed.released);
            feed.channels.push(channel);
        }
        feed.channels.sort_by(|one, other| one.name().cmp(other.name()));
        drop(feed);
        self.list(topic);
    }

    /// Writes down everything that only memory has, and closes the store. Nothing may be published or settled any more.
    ///
    /// # Errors
    /// Something could not be written: it is lost with the process.
    pub fn save(&self) -> Result<(), StorageError> {
        let Some(journal) = &self.shared.journal else {
            return Ok(());
        };
        let lasting = self.topics().into_iter().filter(|topic| !topic.is_ephemeral());
        let mut written = Ok(());
        for topic in lasting {
            written = written.and_then(|()| topic.write_down());
        }
        // To the end: the keeper has nothing more to do once the journal is closed. Not before: what was written
        // down just now may need it to make room in the log.
        let alone = journal.keeping.lock();
        let saved = written
            .map_err(|trouble| StorageError::Io {
                what: "write",
                path: "the log".into(),
                source: std::io::Error::other(trouble.to_string()),
            })
            .and_then(|()| keeper::checkpoint(self, journal));
        journal.close();
        drop(alone);
        journal.wal().close();
        saved
    }
}

impl Topic {
    /// Writes down what only memory has.
    fn write_down(&self) -> Result<(), Trouble> {
        let mut feed = self.write();
        let mut detached: BTreeMap<u64, (i64, Bytes)> = BTreeMap::new();
        for channel in feed.channels.iter().filter(|channel| !channel.is_ephemeral()) {
            let of_channel = channel.detached().into_iter();
            detached.extend(of_channel.map(|(seq, timestamp, body)| (seq, (timestamp, body))));
        }
        let mut owed = RangeSet::new();
        for range in feed.log.unlogged_ranges().iter() {
            owed.extend(&feed.owed_of(&range));
        }
        if detached.is_empty() && owed.is_empty() {
            return Ok(());
        }
        feed.register(self.name());
        let Some(Entry { journal, id: Some(id), .. }) = &feed.journal else {
            return Ok(());
        };
        let lsn = journal.wal().end();
        let write = |first: u64, timestamp: i64, body: &[u8]| {
            let end = journal.wal().append(Level::Written, |out| {
                out.publish(*id, first, timestamp, std::iter::once(body));
            });
            if journal.is_congested() { journal.wal().wait(end, Level::Written) } else { Ok(()) }
        };
        for range in owed.iter() {
            for stored in feed.log.iter(range.start, range.end) {
                write(stored.seq, stored.timestamp, stored.body)?;
            }
        }
        for (seq, (timestamp, body)) in &detached {
            write(*seq, *timestamp, body)?;
        }
        feed.log.mark_logged(lsn);
        feed.written = detached.keys().map(|seq| *seq..seq + 1).collect();
        Ok(())
    }
}

/// Puts the blocks and batches that are owed into the log, in the order of their numbers.
fn fill(
    feed: &mut Feed,
    owed: &RangeSet,
    homes: Vec<HomeImage>,
    batches: &BTreeMap<u64, Batch>,
    next: u64,
) {
    enum Item<'a> {
        Home(HomeImage),
        Batch(u64, &'a Batch, std::ops::Range<u64>),
    }
    let mut bodiless = owed.clone();
    for home in &homes {
        bodiless.remove(home.base..home.base + u64::from(home.count));
    }
    let mut items: Vec<(u64, Item<'_>)> = Vec::new();
    for (&first, batch) in batches {
        for run in bodiless.within(first..first + batch.ends.len() as u64) {
            items.push((run.start, Item::Batch(first, batch, run)));
        }
    }
    items.extend(homes.into_iter().map(|home| (home.base, Item::Home(home))));
    items.sort_by_key(|(base, _)| *base);
    for (_, item) in items {
        match item {
            Item::Home(home) => feed.log.restore_home(home),
            Item::Batch(first, batch, run) => feed.log.restore_batch(first, batch, run),
        }
    }
    feed.log.finish_restore(next);
}

impl Channel {
    /// A channel as it was found. Called with the feed locked.
    fn restored(
        found: &ChannelImage,
        number: ChannelId,
        topic: &str,
        place: Place,
        released: u64,
    ) -> Arc<Self> {
        let channel = Arc::new_cyclic(|this| {
            let place = Place { this: this.clone(), ..place };
            let policy = place.shared.options.policies.channel(topic, &found.name);
            Self::new(found.name.as_str().into(), place, released, 0, policy)
        });
        channel.register(number);
        channel.restore(found, released, clock::now(), clock::unix_nanos());
        channel
    }
}
