//! What the tests of import and export share: folders on a simulated disk, and what is in a folder, read as one value.

use std::path::Path;
use std::sync::Arc;

use super::diskqueue::{self, Metadata, Position};
use super::import::open_on;
use super::{Message, Problem};
use crate::names::MessageId;
use crate::storage::StorageError;
use crate::storage::disk::Disk;
use crate::storage::sim::SimDisk;

mod damage;
mod fixtures;
mod moving;

/// A channel, or a topic's own queue: pause flag and messages.
type Queue = (bool, Vec<Message>);

/// All of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Imported {
    /// `topic` or `topic:channel`, and what it owes.
    queues: Vec<(String, Queue)>,
    problems: Vec<Problem>,
}

impl Imported {
    fn messages(&self, queue: &str) -> &[Message] {
        let found = self.queues.iter().find(|(name, _)| name == queue);
        &found.unwrap_or_else(|| panic!("no queue {queue}")).1.1
    }

    /// The bodies of a queue as text.
    fn texts(&self, queue: &str) -> Vec<&str> {
        let text = |message| std::str::from_utf8(<[u8]>::as_ref(message)).unwrap();
        self.messages(queue).iter().map(|message| text(&message.body)).collect()
    }
}

/// Reads a folder in small batches; `None` if there is nothing of nsqd's to be read.
fn import(disk: &dyn CloneDisk, folder: &str) -> Result<Option<Imported>, StorageError> {
    let Some(import) = open_on(disk.shared(), Path::new(folder))? else {
        return Ok(None);
    };
    let mut queues = Vec::new();
    for topic in import.topics() {
        queues.push((topic.name.clone(), (topic.paused, Vec::new())));
        for channel in &topic.channels {
            let name = diskqueue::queue_name(&topic.name, Some(&channel.name));
            queues.push((name, (channel.paused, Vec::new())));
        }
    }
    let problems = import.visit(200, |topic, channel, batch| {
        assert!(!batch.is_empty());
        let name = diskqueue::queue_name(topic, channel);
        let (_, queue) = queues.iter_mut().find(|(known, _)| *known == name).unwrap();
        queue.1.extend(batch);
        Ok::<_, StorageError>(())
    })?;
    Ok(Some(Imported { queues, problems }))
}

/// A disk that can be handed out.
trait CloneDisk {
    fn shared(&self) -> Arc<dyn Disk>;
}

impl<D: Disk + Clone + 'static> CloneDisk for D {
    fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }
}

fn message(number: u64, body: &str) -> Message {
    Message {
        timestamp: 1_700_000_000_000_000_000 + i64::try_from(number).unwrap(),
        attempts: u16::try_from(number % 3).unwrap(),
        id: MessageId(0x0600_0000_0000_0000 + number).to_hex(),
        body: body.into(),
    }
}

/// Makes a file, safe with its name.
fn put(disk: &SimDisk, path: &str, bytes: &[u8]) {
    let path = Path::new(path);
    let folder = path.parent().unwrap();
    disk.create_folder(folder).unwrap();
    disk.sync_folder(folder.parent().unwrap()).unwrap();
    let file = disk.create(path).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_folder(folder).unwrap();
}

/// The records of some bodies, numbered from `first`.
fn records(first: u64, bodies: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, body) in (first..).zip(bodies) {
        diskqueue::encode(&message(number, body), &mut bytes);
    }
    bytes
}

/// The positions file of queue `t:c` in `/data`.
fn put_positions(disk: &SimDisk, depth: i64, read: (u64, u64), write: (u64, u64)) {
    let at = |(file, offset)| Position { file, offset };
    let text = Metadata { depth, read: at(read), write: at(write) }.to_string();
    put(disk, "/data/t:c.diskqueue.meta.dat", text.as_bytes());
}

/// A disk with topic `t` and its channel `c` in `/data`, and data files of `t:c` by number.
fn channel_with(files: &[(u64, Vec<u8>)]) -> SimDisk {
    let disk = SimDisk::new(1 << 30);
    put(
        &disk,
        "/data/nsqd.dat",
        br#"{"topics":[{"name":"t","paused":false,"channels":[{"name":"c","paused":true}]}],"version":"1.3.0"}"#,
    );
    for (number, bytes) in files {
        put(&disk, &format!("/data/{}", diskqueue::data_file("t:c", *number)), bytes);
    }
    disk
}
