//! Reading a folder of nsqd: which topics and channels it has, and what each still owes.
//!
//! [`open`] looks, [`Import::visit`] reads without changing anything, and once the messages are safe
//! elsewhere [`Import::archive`] puts nsqd's files aside, so that they are imported once. A crash before that means that all
//! is read again; a crash within it is made good by the next [`open`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diskqueue::{self, FileKind};
use super::reader::QueueFiles;
use super::{Message, Problem, QueueReader, archive, list, read_whole};
use crate::names::is_ephemeral;
use crate::storage::StorageError;
use crate::storage::disk::{Disk, RealDisk};
use crate::storage::metadata::{self, TopicMeta};

/// A folder of nsqd that has queues to be read.
#[derive(Debug)]
pub struct Import {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    /// `nsqd.dat` as it was read.
    metadata: Vec<u8>,
    topics: Vec<TopicMeta>,
    queues: BTreeMap<String, QueueFiles>,
    problems: Vec<Problem>,
}

/// Looks for queues of nsqd in a data folder that nobody else writes to (see [`crate::storage::DataLock`]). `None` if
/// there are none: a fresh folder, one of Leveret's own, or one that was imported before.
///
/// # Errors
/// The folder or a file cannot be read, `nsqd.dat` is not nsqd's, or an earlier archiving cannot be ended.
pub fn open(folder: &Path) -> Result<Option<Import>, StorageError> {
    open_on(Arc::new(RealDisk), folder)
}

/// As [`open`], on any disk.
pub(in crate::storage) fn open_on(
    disk: Arc<dyn Disk>,
    folder: &Path,
) -> Result<Option<Import>, StorageError> {
    archive::resume(&*disk, folder)?;
    let mut queues: BTreeMap<String, QueueFiles> = BTreeMap::new();
    for name in list(&*disk, folder)? {
        match diskqueue::parse_file_name(&name) {
            Some((queue, FileKind::Data(number))) => {
                queues.entry(queue.into()).or_default().data.insert(number);
            }
            Some((queue, FileKind::Metadata)) => {
                queues.entry(queue.into()).or_default().has_metadata = true;
            }
            Some((_, FileKind::Leftover)) | None => {}
        }
    }
    if queues.is_empty() {
        return Ok(None);
    }
    let path = metadata::path(folder);
    let bytes = read_whole(&*disk, &path)?.unwrap_or_else(|| b"{}".to_vec());
    let (topics, invalid) = metadata::parse(&path, &bytes)?;
    let mut problems: Vec<Problem> =
        invalid.into_iter().map(|name| Problem::InvalidName { name }).collect();
    problems.extend(unlisted(&queues, &topics));
    Ok(Some(Import { disk, folder: folder.into(), metadata: bytes, topics, queues, problems }))
}

/// The queues that have data and belong to nobody.
fn unlisted(queues: &BTreeMap<String, QueueFiles>, topics: &[TopicMeta]) -> Vec<Problem> {
    let mut rest: BTreeMap<&str, &QueueFiles> =
        queues.iter().map(|(name, files)| (name.as_str(), files)).collect();
    for topic in topics {
        let channels = topic.channels.iter().map(|channel| Some(channel.name.as_str()));
        for channel in channels.chain([None]) {
            rest.remove(find(queues, &topic.name, channel).as_str());
        }
    }
    rest.retain(|_, files| !files.data.is_empty());
    rest.into_iter()
        .map(|(queue, files)| Problem::Unlisted { queue: queue.into(), files: files.data.len() })
        .collect()
}

/// The name of a queue, as the folder has it: on Windows nsqd parts topic and channel by a semicolon.
fn find(queues: &BTreeMap<String, QueueFiles>, topic: &str, channel: Option<&str>) -> String {
    let name = diskqueue::queue_name(topic, channel);
    let other = name.replace(':', ";");
    if !queues.contains_key(&name) && queues.contains_key(&other) { other } else { name }
}

impl Import {
    /// The topics and channels of `nsqd.dat`, with their pause flags; invalid names are left out.
    #[must_use]
    pub fn topics(&self) -> &[TopicMeta] {
        &self.topics
    }

    /// What is wrong with the folder as a whole. The queues' own problems come with their readers.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Reads what a topic has not handed to its channels yet, or what a channel owes. A queue without files is empty.
    ///
    /// # Errors
    /// The queue's positions cannot be read.
    fn queue(&self, topic: &str, channel: Option<&str>) -> Result<QueueReader, StorageError> {
        let none = QueueFiles::default();
        let name = find(&self.queues, topic, channel);
        let is_kept = !is_ephemeral(topic) && !channel.is_some_and(is_ephemeral);
        let files = self.queues.get(&name).filter(|_| is_kept).unwrap_or(&none);
        QueueReader::open(Arc::clone(&self.disk), &self.folder, &name, files)
    }

    /// Reads everything: of each topic what its channels owe, then its own messages, which come behind those; each in order. `sink` gets the topic, the
    /// channel if they are a channel's, and some messages: as many as have about `batch_bytes` bytes, at least one. Nothing
    /// is changed, so after an error all can be read again. Returns what was wrong, the folder's own problems first.
    ///
    /// # Errors
    /// `sink` failed, or the system: a file cannot be opened or read. A damaged file is no error but a problem.
    pub fn visit<E: From<StorageError>>(
        &self,
        batch_bytes: usize,
        mut sink: impl FnMut(&str, Option<&str>, Vec<Message>) -> Result<(), E>,
    ) -> Result<Vec<Problem>, E> {
        let mut problems = self.problems.clone();
        for topic in &self.topics {
            let channels = topic.channels.iter().map(|channel| Some(channel.name.as_str()));
            for channel in channels.chain([None]) {
                let mut reader = self.queue(&topic.name, channel)?;
                loop {
                    let batch = take_batch(&mut reader, batch_bytes)?;
                    if batch.is_empty() {
                        break;
                    }
                    sink(&topic.name, channel, batch)?;
                }
                problems.extend(reader.into_problems());
            }
        }
        Ok(problems)
    }

    /// Moves every file of every queue, and a copy of `nsqd.dat`, to a folder `nsqd-imported` beside them (or
    /// `nsqd-imported.2`, and so on, if that is in use), and returns its path. Call it once the messages are safe.
    ///
    /// # Errors
    /// A file cannot be moved. The next [`open`] imports all again or ends the moving, but never a part of the messages.
    pub fn archive(self) -> Result<PathBuf, StorageError> {
        archive::run(&*self.disk, &self.folder, &self.metadata)
    }
}

fn take_batch(reader: &mut QueueReader, bytes: usize) -> Result<Vec<Message>, StorageError> {
    let mut batch = Vec::new();
    let mut room = bytes;
    while room > 0 || batch.is_empty() {
        let Some(message) = reader.next().transpose()? else {
            break;
        };
        room = room.saturating_sub(size_of::<Message>().saturating_add(message.body.len()));
        batch.push(message);
    }
    Ok(batch)
}
