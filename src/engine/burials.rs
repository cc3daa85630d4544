//! Dead letters on their way to a topic that does not have them at once: their messages stay where they are until the
//! journal or the far side has them.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::channel::Channel;
use super::journal::{Journal, Mark, Outcome};
use super::ticket::{PublishError, Signal, Ticket};

/// What says that a dead letter has arrived.
#[derive(Clone, Debug)]
pub(super) enum Grave {
    /// The journal, once it has reached this mark.
    Mark(Mark),
    /// The far side.
    Ticket(Ticket),
}

/// One of them.
#[derive(Debug)]
pub(super) struct Burial {
    channel: Weak<Channel>,
    seq: u64,
    grave: Grave,
}

impl Burial {
    /// Message `seq` of `channel` is done with when `grave` says so.
    pub(super) const fn new(channel: Weak<Channel>, seq: u64, grave: Grave) -> Self {
        Self { channel, seq, grave }
    }

    fn outcome(&self, journal: Option<&Journal>) -> Option<Result<(), PublishError>> {
        match &self.grave {
            Grave::Ticket(ticket) => ticket.outcome().cloned(),
            Grave::Mark(mark) => match journal?.outcome(*mark) {
                Outcome::Pending => None,
                Outcome::Done => Some(Ok(())),
                Outcome::Failed(trouble) => Some(Err(trouble.into())),
            },
        }
    }
}

/// See the module's description. At most one entry for each message that a channel has given up.
#[derive(Debug, Default)]
pub(super) struct Burials {
    open: Mutex<Vec<Burial>>,
    signal: Arc<Signal>,
}

impl Burials {
    /// Woken when a ticket is resolved.
    pub(super) const fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }

    /// Concludes `burial` once it is known how it ended.
    pub(super) fn add(&self, burial: Burial) {
        self.open.lock().push(burial);
        // The ticket may have been resolved before it was listed.
        self.signal.wake();
    }

    /// Concludes burials, for as long as it is polled.
    pub(super) async fn attend(&self, journal: Option<&Journal>) {
        loop {
            self.signal.woken().await;
            let mut ended = Vec::new();
            let mut open = self.open.lock();
            open.retain(|burial| match burial.outcome(journal) {
                Some(outcome) => {
                    ended.push((Weak::clone(&burial.channel), burial.seq, outcome));
                    false
                }
                None => true,
            });
            let last = open.iter().rev().find_map(|burial| match burial.grave {
                Grave::Mark(mark) => Some(mark),
                Grave::Ticket(_) => None,
            });
            drop(open);
            if let (Some(journal), Some(mark)) = (journal, last) {
                journal.wake_at(mark, &self.signal);
            }
            for (channel, seq, outcome) in ended {
                if let Some(channel) = channel.upgrade() {
                    channel.conclude(seq, outcome.as_ref().map(|()| true));
                }
            }
        }
    }
}
