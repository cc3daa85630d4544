//! Writing what a node owes into a folder that nsqd opens as its own.

use std::path::Path;
use std::sync::Arc;

use super::{FOLDER, Kept, NodeError, default_node_id, hostname, wal_options};
use crate::config::NsqdConfig;
use crate::engine::{self, Engine, Moved, Topic};
pub use crate::storage::nsqd::export::Report;
use crate::storage::nsqd::{Message, export};
use crate::storage::{DataLock, StorageError};

/// nsqd's `--max-bytes-per-file`.
const MAX_BYTES_PER_FILE: u64 = 100 << 20;

/// Writes everything that the node of `data_path` owes to `target`, which has to be new or empty, and says what it wrote.
/// Message ids have `node_id` in them, or the one that a node on this host has by default. The node must not be running; it
/// still owes all of it afterwards.
///
/// # Errors
/// The folder is in use or cannot be read, the target is not empty or cannot be written.
pub fn to_nsqd(data_path: &Path, node_id: Option<u16>, target: &Path) -> Result<Report, NodeError> {
    let lock = DataLock::acquire(data_path)?;
    if !data_path.join(FOLDER).exists() {
        return Err(StorageError::Missing { path: data_path.join(FOLDER) }.into());
    }
    let node_id = node_id.unwrap_or_else(|| default_node_id(&hostname()));
    let wal = wal_options(&NsqdConfig::default(), data_path);
    let engine = Engine::open(engine::Options { node_id, ..engine::Options::default() }, wal)?;
    let kept = Kept::of(data_path, lock);
    kept.load(&engine)?;
    let mut writer = export::Writer::new(target, MAX_BYTES_PER_FILE)?;
    for topic in engine.topics() {
        let own = topic.own().into_iter().map(|seq| copy(&topic, seq, 0));
        writer.topic(topic.name(), topic.is_paused(), own)?;
        for channel in topic.channels() {
            let owed = topic.owed_to(&channel).into_iter();
            let owed = owed.map(|(seq, attempts)| copy(&topic, seq, attempts));
            writer.channel(channel.name(), channel.is_paused(), owed)?;
        }
    }
    let report = writer.finish()?;
    engine.save()?;
    Ok(report)
}

fn copy(topic: &Arc<Topic>, seq: u64, attempts: u16) -> Result<Message, StorageError> {
    let Moved { timestamp, attempts, id, body } =
        topic.copy_of(seq, attempts).ok_or_else(|| StorageError::Damaged {
            path: topic.name().to_string().into(),
            offset: seq,
            reason: "a message that is owed cannot be read".into(),
        })?;
    Ok(Message { timestamp, attempts, id: id.to_hex(), body })
}
