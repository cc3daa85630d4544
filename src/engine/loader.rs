//! The thread that reads blocks back which a consumer waits for or is about to come to.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::journal::Journal;
use super::topic::Topic;

/// How long to wait before another try.
const RETRY: Duration = Duration::from_millis(200);

/// Starts the thread.
pub(super) fn start(journal: &Arc<Journal>) -> io::Result<()> {
    let journal = Arc::clone(journal);
    std::thread::Builder::new().name("log-loader".into()).spawn(move || run(&journal)).map(drop)
}

fn run(journal: &Journal) {
    while let Some((topic, base)) = journal.loader.wait(|calls| calls.wanted.pop_front()) {
        let Some(topic) = topic.upgrade() else { continue };
        while let Err(error) = load(journal, &topic, base) {
            // Not the file's fault: no descriptors, or a disk that does not answer.
            tracing::warn!(topic = %topic.name(), %error, "messages cannot be read back; trying again");
            if !journal.loader.pause(RETRY) {
                return;
            }
        }
    }
}

fn load(journal: &Journal, topic: &Topic, base: u64) -> io::Result<()> {
    let Some(home) = topic.read().log.home_of(base) else { return Ok(()) };
    match journal.store.segments.read(home) {
        Ok((_, data)) if data.base == base => topic.write().log.bring_back(data),
        Ok(_) => topic.lose(base, "another block is in its place"),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            topic.lose(base, &error.to_string());
        }
        Err(error) => return Err(error),
    }
    // Those who waited for it first: what they still wait for stays.
    topic.rouse();
    topic.send_away();
    Ok(())
}

impl Topic {
    /// Goes on without a block that cannot be read.
    fn lose(&self, base: u64, reason: &str) {
        let mut feed = self.write();
        let Some(range) = feed.log.lose(base) else { return };
        let channels = feed.channels.iter();
        let owed: u64 = channels.map(|channel| channel.forget(&range)).sum();
        drop(feed);
        tracing::error!(
            topic = %self.name(), reason, ?range, owed,
            "messages are lost with a damaged segment, which is kept as .bad"
        );
    }

    /// Wakes consumers that wait for messages which are there now.
    fn rouse(&self) {
        for channel in self.channels() {
            channel.rouse();
        }
    }
}
