//! Taking over the data folder of an nsqd: once, at the first start.

use std::path::Path;

use super::NodeError;
use crate::engine::{Engine, Moved, PublishError};
use crate::names::MessageId;
use crate::storage::StorageError;
use crate::storage::nsqd::{Message, QueueReader, import};

/// Bytes of messages that are taken over at a time.
const BATCH_BYTES: usize = 1 << 20;

/// Takes over what the queue files of an nsqd in `folder` owe, if there are any, and puts them aside. The topics and channels
/// of `nsqd.dat` are there already. Killed before the end, it begins anew at the next start: messages may come twice.
pub(super) fn take_over(engine: &Engine, folder: &Path) -> Result<(), NodeError> {
    let Some(found) = import::open(folder)? else { return Ok(()) };
    let mut count = 0_u64;
    let mut problems = found.problems().to_vec();
    for meta in found.topics() {
        let topic = engine.topic(&meta.name)?;
        for channel in &meta.channels {
            let mut reader = found.queue(&meta.name, Some(&channel.name))?;
            let channel = topic.channel(&channel.name)?;
            count += batches(&mut reader, |batch| topic.take_over_for(&channel, batch))?;
            problems.extend(reader.into_problems());
        }
        let mut reader = found.queue(&meta.name, None)?;
        count += batches(&mut reader, |batch| topic.take_over(batch))?;
        problems.extend(reader.into_problems());
    }
    for problem in &problems {
        tracing::warn!(%problem, "nsqd's data folder");
    }
    engine.sync().map_err(PublishError::from)?;
    let aside = found.archive()?;
    tracing::info!(messages = count, files = %aside.display(), "took over what nsqd owed; its files are put aside");
    Ok(())
}

fn batches(
    reader: &mut QueueReader,
    mut take: impl FnMut(&[Moved]) -> Result<(), PublishError>,
) -> Result<u64, NodeError> {
    let mut count = 0;
    let mut batch = Vec::new();
    let mut bytes = 0;
    loop {
        let message: Option<Message> = reader.next().transpose().map_err(|e: StorageError| e)?;
        let is_last = message.is_none();
        if let Some(Message { timestamp, attempts, body, .. }) = message {
            bytes += body.len();
            // The id is a new one, made when it is taken.
            batch.push(Moved { timestamp, attempts, id: MessageId(0), body });
        }
        if bytes >= BATCH_BYTES || (is_last && !batch.is_empty()) {
            take(&batch)?;
            count += batch.len() as u64;
            batch.clear();
            bytes = 0;
        }
        if is_last {
            return Ok(count);
        }
    }
}
