//! Taking over the data folder of an nsqd: once, at the first start.

use std::path::Path;

use super::NodeError;
use crate::engine::{Engine, Moved, PublishError};
use crate::names::MessageId;
use crate::storage::nsqd::{Message, import};

/// Bytes of messages that are taken over at a time.
const BATCH_BYTES: usize = 1 << 20;

/// Takes over what the queue files of an nsqd in `folder` owe, if there are any, and puts them aside. The topics and channels
/// of `nsqd.dat` are there already. Killed before the end, it begins anew at the next start: messages may come twice.
pub(super) fn take_over(engine: &Engine, folder: &Path) -> Result<(), NodeError> {
    let Some(found) = import::open(folder)? else { return Ok(()) };
    let mut count = 0_u64;
    let problems = found.visit(BATCH_BYTES, |topic, channel, batch| {
        let batch: Vec<Moved> = batch.into_iter().map(moved).collect();
        let topic = engine.topic(topic)?;
        match channel {
            Some(channel) => topic.take_over_for(&*topic.channel(channel)?, &batch)?,
            None => topic.take_over(&batch)?,
        }
        count += batch.len() as u64;
        Ok::<_, NodeError>(())
    })?;
    for problem in &problems {
        tracing::warn!(%problem, "nsqd's data folder");
    }
    engine.sync().map_err(PublishError::from)?;
    let aside = found.archive()?;
    tracing::info!(messages = count, files = %aside.display(), "took over what nsqd owed; its files are put aside");
    Ok(())
}

fn moved(message: Message) -> Moved {
    let Message { timestamp, attempts, body, .. } = message;
    // The id is a new one, made when it is taken.
    Moved { timestamp, attempts, id: MessageId(0), body }
}
