//! Writing a folder that nsqd opens as its own: `nsqd.dat` and a disk queue for each topic and channel that owes messages.
//!
//! Files are rolled as nsqd rolls them. `nsqd.dat` comes last, when everything else is safe: a folder without it is an
//! export that was not finished, and nsqd finds nothing in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diskqueue::{self, Metadata, Position};
use super::{Message, above, list, sync_folder, write_whole};
use crate::names::{is_ephemeral, is_valid_name};
use crate::storage::StorageError;
use crate::storage::disk::{Disk, DiskFile, RealDisk};
use crate::storage::io::failed;
use crate::storage::metadata::{self, ChannelMeta, TopicMeta};

/// Bytes that are gathered for one write.
const CHUNK: usize = 256 * 1024;

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Topics and channels in `nsqd.dat`.
    pub topics: u64,
    /// See `topics`.
    pub channels: u64,
    /// Messages: a message that two channels owe counts twice.
    pub messages: u64,
    /// Bytes of the data files.
    pub bytes: u64,
    /// Bytes of the largest body. nsqd gives up a file with a body larger than its `--max-msg-size`.
    pub largest_body: u64,
}

/// Writes a folder for nsqd: each topic, followed by its channels, then [`Writer::finish`].
#[derive(Debug)]
pub struct Writer {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    max_bytes_per_file: u64,
    topics: Vec<TopicMeta>,
    /// The last topic is ephemeral, and so are its channels.
    is_skipping: bool,
    report: Report,
}

impl Writer {
    /// Begins to write to a new or empty folder. A data file has at most `max_bytes_per_file` bytes, or one message; it
    /// should be nsqd's `--max-bytes-per-file` (100 MiB).
    ///
    /// # Errors
    /// The folder cannot be made, or has files.
    pub fn new(folder: &Path, max_bytes_per_file: u64) -> Result<Self, StorageError> {
        Self::on(Arc::new(RealDisk), folder, max_bytes_per_file)
    }

    /// As [`Writer::new`], on any disk.
    pub(in crate::storage) fn on(
        disk: Arc<dyn Disk>,
        folder: &Path,
        max_bytes_per_file: u64,
    ) -> Result<Self, StorageError> {
        disk.create_folder(folder).map_err(|error| failed("create", folder, error))?;
        sync_folder(&*disk, &above(folder))?;
        if !list(&*disk, folder)?.is_empty() {
            return Err(StorageError::Occupied { path: folder.into() });
        }
        Ok(Self {
            disk,
            folder: folder.into(),
            max_bytes_per_file,
            topics: Vec::new(),
            is_skipping: false,
            report: Report::default(),
        })
    }

    /// Writes a topic and the messages that none of its channels has got yet, in order; returns how many. An ephemeral
    /// topic is left out with all its channels, as nsqd leaves it out: 0.
    ///
    /// # Errors
    /// A file cannot be written, the name is not a topic's, a message is longer than 2 GiB; or an error of `messages`.
    pub fn topic<E: From<StorageError>>(
        &mut self,
        name: &str,
        paused: bool,
        messages: impl IntoIterator<Item = Result<Message, E>>,
    ) -> Result<u64, E> {
        self.check(name)?;
        self.is_skipping = is_ephemeral(name);
        if self.is_skipping {
            return Ok(0);
        }
        self.topics.push(TopicMeta { name: name.into(), paused, channels: Vec::new() });
        self.report.topics += 1;
        self.queue(&diskqueue::queue_name(name, None), messages)
    }

    /// Writes a channel of the last topic, and what it owes, in order; returns how many messages. An ephemeral channel is
    /// left out: 0.
    ///
    /// # Errors
    /// As [`Writer::topic`]; and there is no topic yet.
    pub fn channel<E: From<StorageError>>(
        &mut self,
        name: &str,
        paused: bool,
        messages: impl IntoIterator<Item = Result<Message, E>>,
    ) -> Result<u64, E> {
        self.check(name)?;
        if self.is_skipping || is_ephemeral(name) {
            return Ok(0);
        }
        let Some(topic) = self.topics.last_mut() else {
            return Err(self.refusal(format!("channel {name} has no topic")).into());
        };
        topic.channels.push(ChannelMeta { name: name.into(), paused });
        let queue = diskqueue::queue_name(&topic.name, Some(name));
        self.report.channels += 1;
        self.queue(&queue, messages)
    }

    /// Writes `nsqd.dat`: from then on the folder is nsqd's.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(self) -> Result<Report, StorageError> {
        let Self { disk, folder, topics, report, .. } = self;
        let path = metadata::path(&folder);
        let draft = folder.join("nsqd.dat.tmp");
        let mut bytes = Vec::new();
        metadata::write(&mut bytes, topics).map_err(|error| failed("write", &path, error))?;
        write_whole(&*disk, &draft, &bytes)?;
        sync_folder(&*disk, &folder)?;
        disk.rename(&draft, &path).map_err(|error| failed("rename", &draft, error))?;
        sync_folder(&*disk, &folder)?;
        Ok(report)
    }

    fn refusal(&self, reason: String) -> StorageError {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, reason);
        failed("export to", &self.folder, source)
    }

    fn check(&self, name: &str) -> Result<(), StorageError> {
        if is_valid_name(name.as_bytes()) {
            return Ok(());
        }
        Err(self.refusal(format!("{name:?} is no name of a topic or channel")))
    }

    fn queue<E: From<StorageError>>(
        &mut self,
        queue: &str,
        messages: impl IntoIterator<Item = Result<Message, E>>,
    ) -> Result<u64, E> {
        let mut writer = QueueWriter {
            disk: &*self.disk,
            folder: &self.folder,
            queue,
            file: None,
            buffer: Vec::new(),
            end: Position::default(),
            bytes: 0,
        };
        let mut count = 0_u64;
        for message in messages {
            let message = message?;
            writer.push(&message, self.max_bytes_per_file)?;
            count += 1;
            self.report.largest_body = self.report.largest_body.max(message.body.len() as u64);
        }
        writer.finish(count)?;
        self.report.messages += count;
        self.report.bytes += writer.bytes;
        Ok(count)
    }
}

/// Writes one queue.
struct QueueWriter<'a> {
    disk: &'a dyn Disk,
    folder: &'a Path,
    queue: &'a str,
    file: Option<(Box<dyn DiskFile>, PathBuf)>,
    /// The last bytes before `end`, not written yet.
    buffer: Vec<u8>,
    end: Position,
    bytes: u64,
}

impl QueueWriter<'_> {
    fn push(&mut self, message: &Message, max_bytes_per_file: u64) -> Result<(), StorageError> {
        let Some(length) = diskqueue::record_length(message) else {
            let source = std::io::ErrorKind::FileTooLarge.into();
            return Err(failed("write a message of over 2 GiB to", self.folder, source));
        };
        if self.end.offset > 0 && self.end.offset.saturating_add(length) > max_bytes_per_file {
            self.close()?;
            self.end = Position { file: self.end.file + 1, offset: 0 };
        }
        diskqueue::encode(message, &mut self.buffer);
        self.end.offset += length;
        self.bytes += length;
        if self.buffer.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let (file, path) = match &mut self.file {
            Some(open) => open,
            none => {
                let path = self.folder.join(diskqueue::data_file(self.queue, self.end.file));
                let file =
                    self.disk.create(&path).map_err(|error| failed("create", &path, error))?;
                none.insert((file, path))
            }
        };
        let begin = self.end.offset.saturating_sub(self.buffer.len() as u64);
        file.write_at(&self.buffer, begin).map_err(|error| failed("write", path, error))?;
        self.buffer.clear();
        Ok(())
    }

    /// Makes the current file safe and lets go of it.
    fn close(&mut self) -> Result<(), StorageError> {
        self.flush()?;
        match self.file.take() {
            Some((file, path)) => file.sync_data().map_err(|error| failed("sync", &path, error)),
            None => Ok(()),
        }
    }

    /// Writes the positions; an empty queue has no files.
    fn finish(&mut self, count: u64) -> Result<(), StorageError> {
        if count == 0 {
            return Ok(());
        }
        self.close()?;
        let depth = i64::try_from(count).unwrap_or(i64::MAX);
        let metadata = Metadata { depth, read: Position::default(), write: self.end };
        let path = self.folder.join(diskqueue::metadata_file(self.queue));
        write_whole(self.disk, &path, metadata.to_string().as_bytes())
    }
}
