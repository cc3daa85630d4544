//! Dead letters on their way to a topic whose publishes are answered elsewhere: their messages stay where they are until
//! the far side has them.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::channel::Channel;
use super::ticket::{Signal, Ticket};

/// One of them.
#[derive(Debug)]
pub(super) struct Burial {
    pub(super) channel: Weak<Channel>,
    pub(super) seq: u64,
    pub(super) ticket: Ticket,
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

    /// Concludes `burial` once its ticket is resolved.
    pub(super) fn add(&self, burial: Burial) {
        self.open.lock().push(burial);
        // The ticket may have been resolved before it was listed.
        self.signal.wake();
    }

    /// Concludes burials, for as long as it is polled.
    pub(super) async fn attend(&self) {
        loop {
            self.signal.woken().await;
            let ended: Vec<Burial> = {
                let mut open = self.open.lock();
                let all = std::mem::take(&mut *open);
                let (ended, left) = all.into_iter().partition(|b| b.ticket.outcome().is_some());
                *open = left;
                ended
            };
            for burial in ended {
                if let (Some(channel), Some(outcome)) =
                    (burial.channel.upgrade(), burial.ticket.outcome())
                {
                    channel.conclude(burial.seq, outcome.as_ref().map(|()| true));
                }
            }
        }
    }
}
