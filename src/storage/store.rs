//! The store: log, segments and checkpoint of one folder, and how they come together at start.
//!
//! At start the checkpoint says what was owed when it was made, the log behind it what has changed since; bodies come from
//! the log unless a segment has them. Nothing that is found is rewritten: a start that is cut short is started again.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StorageError;
use super::checkpoint;
use super::disk::{Disk, read_whole};
use super::image::{Image, TopicImage};
use super::io::failed;
use super::ranges::RangeSet;
use super::segment::Segments;
use super::wal::Lsn;
use super::wal::reader::{Damage, scan};
use super::wal::record::{Record, TopicId};
use super::wal::writer::{Wal, WalOptions};

/// The folder's files, open.
#[derive(Debug)]
pub(crate) struct Store {
    /// The log.
    pub(crate) wal: Wal,
    /// The segments.
    pub(crate) segments: Segments,
    disk: Arc<dyn Disk>,
    folder: PathBuf,
}

/// Consecutive messages that the log has the bodies of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// When they were published, nanoseconds since the Unix epoch.
    pub(crate) timestamp: i64,
    /// Where each body ends.
    pub(crate) ends: Vec<usize>,
    /// The bodies.
    pub(crate) bodies: Vec<u8>,
}

impl Batch {
    fn push(&mut self, body: &[u8]) {
        self.bodies.extend_from_slice(body);
        self.ends.push(self.bodies.len());
    }

    /// Body number `at`.
    pub(crate) fn body(&self, at: usize) -> Option<&[u8]> {
        let start = at.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.bodies.get(start..*self.ends.get(at)?)
    }
}

/// A topic as it was found.
#[derive(Debug)]
pub(crate) struct RecoveredTopic {
    /// Its number in the log.
    pub(crate) id: TopicId,
    /// What it owes.
    pub(crate) image: TopicImage,
    /// The bodies that no segment has, by the number of each batch's first message.
    pub(crate) batches: BTreeMap<u64, Batch>,
    /// Messages that it owed and that are lost.
    pub(crate) lost: Vec<Range<u64>>,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The topics.
    pub(crate) topics: Vec<RecoveredTopic>,
    /// The largest topic number ever given.
    pub(crate) last_topic: TopicId,
    /// The log is needed from here on.
    pub(crate) wal_from: Lsn,
    /// Parts of the log that could not be read.
    pub(crate) damage: Vec<Damage>,
}

impl Store {
    /// Opens the folder, making it if it is not there.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        options: WalOptions,
        turned: Arc<dyn Fn(Lsn) + Send + Sync>,
    ) -> Result<(Self, Recovered), StorageError> {
        let folder = options.folder.clone();
        let wrong = |what| {
            let folder = folder.clone();
            move |error| failed(what, &folder, error)
        };
        disk.create_folder(&folder).map_err(wrong("create"))?;
        // What is synced in a folder is lost with the folder's own name.
        let above = folder.parent().unwrap_or_else(|| Path::new(""));
        disk.sync_folder(above).map_err(wrong("sync the folder above"))?;
        let mut image = load(&*disk, &folder)?;
        let mut batches: BTreeMap<TopicId, BTreeMap<u64, Batch>> = BTreeMap::new();
        let found = scan(&*disk, &folder, image.wal_from, &mut |lsn, record| {
            image.apply(lsn, &record);
            keep_bodies(&mut batches, &image, &record);
        })?;
        let first = image.lsn();
        let segments = Segments::open(Arc::clone(&disk), &folder).map_err(wrong("list"))?;
        let wal = Wal::open(Arc::clone(&disk), options, &found, first, turned)
            .map_err(wrong("write to"))?;
        let Image { wal_from, last_topic, mut topics } = image;
        forget_replaced(&mut topics);
        let topics = topics.into_iter().map(|(id, image)| {
            let batches = batches.remove(&id).unwrap_or_default();
            let never_written = found.damage.is_empty();
            recover(id, image, batches, never_written)
        });
        let topics = topics.collect();
        let recovered = Recovered { topics, last_topic, wal_from, damage: found.damage };
        Ok((Self { wal, segments, disk, folder }, recovered))
    }

    fn replace(&self, path: &Path, draft: &Path, bytes: &[u8]) -> io::Result<()> {
        match self.disk.remove(draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.disk.create(draft)?;
        file.write_at(bytes, 0)?;
        file.sync_data()?;
        self.disk.rename(draft, path)?;
        self.disk.sync_folder(&self.folder)
    }

    /// Replaces the checkpoint and its copy, then lets go of the files that it makes superfluous.
    pub(crate) fn save(&self, image: &Image) -> Result<(), StorageError> {
        let bytes = checkpoint::encode(image);
        for file in checkpoint::FILES {
            let (path, draft) = (self.folder.join(file), self.folder.join(checkpoint::DRAFT));
            self.replace(&path, &draft, &bytes).map_err(|error| failed("write", &path, error))?;
        }
        let homes = image.topics.values().flat_map(|topic| &topic.homes);
        let needed = homes.map(|home| home.home.file).collect();
        self.segments
            .keep(&needed)
            .and_then(|()| self.wal.release_before(image.wal_from))
            .map_err(|error| failed("clean up", &self.folder, error))
    }
}

/// The image of the first checkpoint that is whole; nothing if there is none at all.
fn load(disk: &dyn Disk, folder: &Path) -> Result<Image, StorageError> {
    let mut damaged = None;
    for file in checkpoint::FILES {
        let path = folder.join(file);
        let bytes = match read_whole(disk, &path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed("read", &path, error)),
        };
        if let Some(image) = checkpoint::decode(&bytes) {
            if let Some(error) = damaged {
                tracing::error!(%error, instead = %path.display(), "a copy is used");
            }
            return Ok(image);
        }
        damaged.get_or_insert_with(|| StorageError::Damaged {
            path: path.clone(),
            offset: 0,
            reason: "its checksum is wrong or it is of another version".into(),
        });
    }
    damaged.map_or_else(|| Ok(Image::default()), Err)
}

/// A topic that is made anew was deleted before, even if the record of that is lost with a part of the log.
fn forget_replaced(topics: &mut BTreeMap<TopicId, TopicImage>) {
    let mut newest: BTreeMap<String, TopicId> = BTreeMap::new();
    for (id, topic) in &*topics {
        newest.insert(topic.name.clone(), *id);
    }
    topics.retain(|id, topic| newest.get(&topic.name) == Some(id));
}

/// Keeps what a publish has brought. Of a topic whose own record was lost nothing is owed.
fn keep_bodies(
    batches: &mut BTreeMap<TopicId, BTreeMap<u64, Batch>>,
    image: &Image,
    record: &Record<'_>,
) {
    let Some(topic) = record.topic() else { return };
    if !image.topics.contains_key(&topic) {
        batches.remove(&topic);
        return;
    }
    match *record {
        Record::Publish { first, timestamp, bodies, .. } => {
            let mut batch = Batch { timestamp, ..Batch::default() };
            bodies.for_each(|body| batch.push(body));
            batches.entry(topic).or_default().insert(first, batch);
        }
        Record::PublishDeferred { seq, timestamp, body, .. } => {
            let mut batch = Batch { timestamp, ..Batch::default() };
            batch.push(body);
            batches.entry(topic).or_default().insert(seq, batch);
        }
        _ => {}
    }
}

/// Brings what a topic owes together with the bodies that there are.
fn recover(
    id: TopicId,
    mut image: TopicImage,
    mut batches: BTreeMap<u64, Batch>,
    never_written: bool,
) -> RecoveredTopic {
    let owed = image.owed();
    image
        .homes
        .retain(|home| owed.within(home.base..home.base + u64::from(home.count)).next().is_some());
    batches.retain(|first, batch| {
        owed.within(*first..first + batch.ends.len() as u64).next().is_some()
    });
    let mut missing = owed;
    for home in &image.homes {
        missing.remove(home.base..home.base + u64::from(home.count));
    }
    for (first, batch) in &batches {
        missing.remove(*first..first + batch.ends.len() as u64);
    }
    forget(&mut image, &missing);
    // The checkpoint may know of messages whose records never reached the disk: nobody was told that they were taken.
    let lost = if never_written { Vec::new() } else { missing.iter().collect() };
    RecoveredTopic { id, image, batches, lost }
}

fn forget(image: &mut TopicImage, missing: &RangeSet) {
    for range in missing.iter() {
        image.unreleased.remove(range.clone());
        image.held.retain(|seq, _| !range.contains(seq));
        if let Some(retained) = &mut image.retained {
            retained.remove(range.clone());
        }
        for channel in image.channels.values_mut() {
            channel.owed.remove(range.clone());
            channel.details.retain(|seq, _| !range.contains(seq));
        }
    }
}
