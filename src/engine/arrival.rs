//! Waiting until a publish is where it is to be.

use std::sync::Arc;

use super::journal::Outcome;
use super::ticket::{Accepted, PublishError, Signal};
use super::{Engine, Topic};

impl Engine {
    /// Wakes the topic's consumers and waits until what `topic` has accepted is safe: in the journal, or at the far side.
    /// `signal` is the one that the publish was given.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn arrived(
        &self,
        topic: &Topic,
        accepted: Accepted,
        signal: &Arc<Signal>,
    ) -> Result<(), PublishError> {
        match accepted {
            Accepted::Now => topic.wake(),
            Accepted::Logged(mark) => {
                topic.wake();
                let Some(journal) = self.journal() else { return Ok(()) };
                loop {
                    match journal.outcome(mark) {
                        Outcome::Done => break,
                        Outcome::Failed(trouble) => return Err(trouble.into()),
                        Outcome::Pending => {
                            journal.wake_at(mark, signal);
                            signal.woken().await;
                        }
                    }
                }
            }
            Accepted::Pending(ticket) => loop {
                match ticket.outcome() {
                    Some(outcome) => return outcome.clone(),
                    None => signal.woken().await,
                }
            },
        }
        Ok(())
    }
}
