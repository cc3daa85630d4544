//! Deliveries that cannot be NSQ messages: empty ones, and ones above `max_msg_size`.
//!
//! They go the way that the route's `dead_letter` says. Without one they stay unacknowledged in their queue: nothing is
//! lost, and the route says so.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use crate::bridge::amqp::consumer::{Arrival, Settlements};
use crate::bridge::amqp::publisher::Settle;
use crate::bridge::message::{Message, Outcome, Refusal, RefusalKind};
use crate::bridge::status::Status;
use crate::engine::Origin;
use crate::names::MessageId;

/// The generation's place in the id of a dead letter; tags below it are a trillion deliveries.
const GENERATION_SHIFT: u32 = 40;

/// What becomes of them.
pub(in crate::bridge) enum Fate {
    /// They stay where they are.
    Stay,
    /// They are acknowledged and counted.
    Drop,
    /// They are published elsewhere and acknowledged when that is confirmed.
    Publish(mpsc::Sender<Vec<Message>>),
}

/// See the module's description.
pub(in crate::bridge) struct Misfits {
    max_msg_size: u64,
    fate: Fate,
    settlements: Arc<Settlements>,
    status: Arc<Status>,
}

impl Misfits {
    pub(in crate::bridge) const fn new(
        max_msg_size: u64,
        fate: Fate,
        settlements: Arc<Settlements>,
        status: Arc<Status>,
    ) -> Self {
        Self { max_msg_size, fate, settlements, status }
    }

    /// Sends misfits their way and returns the rest.
    pub(in crate::bridge) fn sift(&self, burst: Vec<Arrival>) -> Vec<Arrival> {
        let (fitting, misfits): (Vec<_>, Vec<_>) = burst
            .into_iter()
            .partition(|arrival| (1..=self.max_msg_size).contains(&arrival.size()));
        for misfit in misfits {
            self.part_with(misfit);
        }
        fitting
    }

    fn part_with(&self, misfit: Arrival) {
        let id = misfit.message_id.as_deref().unwrap_or("without message_id");
        let (size, max) = (misfit.size(), self.max_msg_size);
        let words =
            format!("message {id} of {size} bytes cannot be an NSQ message of 1 to {max} bytes");
        match &self.fate {
            Fate::Drop => {
                tracing::warn!(route = %self.status.name, "{words}: dropped");
                let settled = self.settlements.settle(&[misfit.origin]);
                self.status.counters.dropped.fetch_add(settled, Ordering::Relaxed);
            }
            Fate::Publish(dead_letters) => {
                let Origin { generation, tag } = misfit.origin;
                let message = Message {
                    id: MessageId(generation << GENERATION_SHIFT | tag),
                    timestamp: misfit.timestamp,
                    attempts: misfit.attempts.saturating_add(1),
                    body: misfit.body,
                    ticket: None,
                    dead: Some(Refusal::new(RefusalKind::TooLarge, words.as_str())),
                };
                if dead_letters.try_send(vec![message]).is_err() {
                    self.status.failed(format!(
                        "{words}, and dead letters pile up; it stays in its queue"
                    ));
                }
            }
            Fate::Stay => {
                self.status.failed(format!("{words}; it stays unacknowledged in its queue"));
            }
        }
    }
}

/// Acknowledges a dead letter at its origin once it is published.
pub(in crate::bridge) struct DeadLetters {
    pub(in crate::bridge) settlements: Arc<Settlements>,
    pub(in crate::bridge) status: Arc<Status>,
}

impl Settle for DeadLetters {
    fn settle(&self, outcomes: Vec<(Message, Outcome)>) -> Vec<Message> {
        for (message, outcome) in outcomes {
            match outcome {
                Outcome::Confirmed => {
                    let origin = Origin {
                        generation: message.id.0 >> GENERATION_SHIFT,
                        tag: message.id.0 & ((1 << GENERATION_SHIFT) - 1),
                    };
                    let settled = self.settlements.settle(&[origin]);
                    self.status.counters.dead_lettered.fetch_add(settled, Ordering::Relaxed);
                }
                Outcome::Refused(refusal) => {
                    let reason = &refusal.reason;
                    self.status.failed(format!(
                        "a dead letter was refused and stays in its queue: {reason}"
                    ));
                }
            }
        }
        Vec::new()
    }
}
