//! One topic, from its messages to its file.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::block_in_place;
use tokio::time::{MissedTickBehavior, interval};

use super::writer::{WriteError, Writer};
use crate::client::Tag;
use crate::clock;
use crate::task::stopped;
use crate::tools::program::ToolError;
use crate::tools::progress::Progress;
use crate::tools::reader::{Delivery, Reader};

/// Messages that are written in one go.
const BATCH: usize = 1024;

/// See the module's description.
pub(super) struct TopicFile {
    pub(super) writer: Writer,
    pub(super) reader: Reader,
    /// Messages that may be out; so many wait for a sync at most.
    pub(super) most: usize,
    pub(super) sync_interval: Duration,
    pub(super) skips_empty: bool,
    pub(super) progress: Arc<Progress>,
    /// What is written, and not known to be on disk.
    pub(super) unfinished: Vec<Tag>,
}

impl TopicFile {
    /// Writes until `stop` is true; then everything that was written is on disk and finished.
    pub(super) async fn run(
        mut self,
        mut hangups: watch::Receiver<u64>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), ToolError> {
        let mut ticks = interval(self.sync_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        let written = loop {
            let step = tokio::select! {
                () = stopped(&mut stop) => break Ok(()),
                _ = ticks.tick() => block_in_place(|| self.tick()),
                changed = hangups.changed() => match changed {
                    Ok(()) => block_in_place(|| self.close()),
                    Err(_) => break Ok(()),
                },
                messages = self.reader.next(BATCH) => block_in_place(|| self.write(&messages)),
            };
            if step.is_err() {
                break step;
            }
        };
        let written = written.and_then(|()| block_in_place(|| self.close()));
        let written = written.map_err(|error| ToolError::Setup(error.to_string()));
        // After a failure what was not finished is given back, and comes again.
        self.reader.end().await;
        written
    }

    fn write(&mut self, messages: &[Delivery]) -> Result<(), WriteError> {
        let now = clock::local();
        for message in messages {
            if self.writer.is_open() && self.writer.needs_rotation(&now) {
                self.close()?;
            }
            self.writer.write(&message.body, &now)?;
            self.unfinished.push(message.tag);
            self.progress.done(1, message.body.len() as u64 + 1);
            if self.unfinished.len() >= self.most {
                self.sync()?;
            }
        }
        if self.reader.is_starved() {
            self.sync()?;
        }
        Ok(())
    }

    /// The time for a sync has come. Without `skips_empty` the next file begins even if there is nothing for it.
    fn tick(&mut self) -> Result<(), WriteError> {
        let now = clock::local();
        if self.writer.needs_rotation(&now) {
            self.close()?;
            if !self.skips_empty {
                self.writer.rotate(&now)?;
            }
        }
        self.sync()
    }

    fn close(&mut self) -> Result<(), WriteError> {
        self.sync()?;
        self.writer.close()
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        if self.unfinished.is_empty() {
            return Ok(());
        }
        self.writer.sync()?;
        tracing::debug!("synced {} messages", self.unfinished.len());
        self.reader.finish(&self.unfinished);
        self.unfinished.clear();
        Ok(())
    }
}
