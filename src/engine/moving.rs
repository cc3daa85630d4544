//! Messages that come from another broker's data folder, and all that is owed on its way into one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::channel::Channel;
use super::feed::Feed;
use super::journal::{Level, Trouble};
use super::topic::Topic;
use super::{Engine, PublishError};
use crate::clock;
use crate::names::MessageId;
use crate::storage::wal::record::Write as _;

/// A message that was published elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// When it was published, nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// Deliveries so far.
    pub attempts: u16,
    /// Its id here.
    pub id: MessageId,
    /// Its body.
    pub body: Vec<u8>,
}

impl Engine {
    /// Waits until everything that was taken so far is on the disk.
    ///
    /// # Errors
    /// It cannot be.
    pub fn sync(&self) -> Result<(), Trouble> {
        self.journal().map_or(Ok(()), |journal| journal.wal().sync_to(journal.wal().end()))
    }
}

impl Topic {
    /// Takes messages, in order, as if they had been published at their time. They are written down whatever the topic's
    /// durability is; their ids here are new.
    ///
    /// # Errors
    /// They cannot be written down.
    pub fn take_over(&self, messages: &[Moved]) -> Result<(), PublishError> {
        let mut feed = self.write();
        self.append_moved(&mut feed, messages);
        feed.release(u64::MAX, clock::now());
        drop(feed);
        self.hold_back()
    }

    /// As [`Topic::take_over`], for messages that `channel` alone is owed. Before any message of the topic itself.
    ///
    /// # Errors
    /// They cannot be written down.
    pub fn take_over_for(&self, channel: &Channel, messages: &[Moved]) -> Result<(), PublishError> {
        let mut feed = self.write();
        let range = self.append_moved(&mut feed, messages);
        let first = range.start;
        for other in feed.channels.iter().filter(|other| !std::ptr::eq(&***other, channel)) {
            other.skip(range.clone());
        }
        feed.released = range.end;
        if let (Some(entry), Some(number)) = (&feed.journal, channel.number()) {
            entry.note_soon(|out, id| {
                out.handed(id, number, range.clone());
                for (seq, message) in (first..).zip(messages) {
                    if message.attempts > 0 {
                        out.state(id, number, seq, message.attempts, 0);
                    }
                }
            });
        }
        for (seq, message) in (first..).zip(messages) {
            if message.attempts > 0 {
                channel.take_over(seq, message.attempts);
            }
        }
        drop(feed);
        self.hold_back()
    }

    /// Appends them, written down, and says which numbers they got.
    fn append_moved(&self, feed: &mut Feed, messages: &[Moved]) -> Range<u64> {
        let first = feed.log.next();
        for message in messages {
            let body = std::iter::once(&*message.body);
            feed.append(self.name(), body, message.timestamp, Some(Level::Written));
        }
        first..feed.log.next()
    }

    /// Lets the journal's writer come after.
    fn hold_back(&self) -> Result<(), PublishError> {
        let journal = self.read().journal.as_ref().map(|entry| Arc::clone(&entry.journal));
        if let Some(journal) = journal.filter(|journal| journal.is_congested()) {
            journal.wal().wait(journal.wal().end(), Level::Written)?;
        }
        Ok(())
    }

    /// The numbers of all that no channel has got yet, in order.
    #[must_use]
    pub fn own(&self) -> Vec<u64> {
        let feed = self.read();
        let range = feed.released..feed.log.next();
        feed.log.logged_ranges().within(range).flatten().collect()
    }

    /// The numbers of all that `channel` is owed, in order, and how often each was delivered.
    #[must_use]
    pub fn owed_to(&self, channel: &Channel) -> BTreeMap<u64, u16> {
        let feed = self.read();
        let image = channel.image(feed.released, clock::now(), clock::unix_nanos());
        let attempts = |seq: u64| image.details.get(&seq).map_or(0, |detail| detail.attempts);
        image.owed.iter().flatten().map(|seq| (seq, attempts(seq))).collect()
    }

    /// A copy of the message with this number, wherever it is. `None` if it cannot be read.
    #[must_use]
    pub fn copy_of(&self, seq: u64, attempts: u16) -> Option<Moved> {
        let feed = self.read();
        let Some(base) = feed.log.away_block(seq) else {
            let stored = feed.log.get(seq)?;
            return Some(self.moved(seq, stored.timestamp, attempts, stored.body));
        };
        let home = feed.log.home_of(base)?;
        let journal = Arc::clone(&feed.journal.as_ref()?.journal);
        drop(feed);
        let (_, data) = journal.store.segments.read(home).ok()?;
        let at = usize::try_from(seq.checked_sub(data.base)?).ok()?;
        let before: usize =
            data.index.iter().take(at).map(|(_, length)| length.unwrap_or(0) as usize).sum();
        let (timestamp, length) = data.index.get(at)?;
        let body = data.bodies.get(before..before + (*length)? as usize)?;
        Some(self.moved(seq, *timestamp, attempts, body))
    }

    fn moved(&self, seq: u64, timestamp: i64, attempts: u16, body: &[u8]) -> Moved {
        Moved { timestamp, attempts, id: MessageId(self.node() | seq), body: body.to_vec() }
    }
}
