//! A publish that is answered later.
//!
//! NSQ replies carry no ids: order is the contract. A connection therefore keeps its unanswered publishes in a queue and
//! looks at the tickets in order whenever its [`Signal`] fires.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use super::journal::{Mark, Trouble};

/// Wakes the one task that serves a connection: something is deliverable, a ticket is resolved, or it is to close.
#[derive(Debug, Default)]
pub struct Signal {
    task: AtomicWaker,
    woken: AtomicBool,
    closed: AtomicBool,
}

impl Signal {
    /// Wakes the task, now or at its next wait.
    pub fn wake(&self) {
        // Whoever finds it set leaves the waking to who has set it.
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.task.wake();
        }
    }

    /// Tells the task to close its connection: its channel is gone.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether [`Signal::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ready once for all wake-ups since it was ready last. One task at a time may wait.
    pub fn poll_woken(&self, context: &Context<'_>) -> Poll<()> {
        self.task.register(context.waker());
        if self.woken.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Waits for the next wake-up. A wake-up before the call counts.
    pub async fn woken(&self) {
        poll_fn(|context| self.poll_woken(context)).await;
    }
}

/// Why a publish was refused. The texts follow the producer's `E_PUB_FAILED PUB failed `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The topic is being deleted or the node shuts down.
    #[error("exiting")]
    Exiting,
    /// It could not be written down.
    #[error("{0}")]
    Storage(#[from] Trouble),
    /// The node is about to leave and takes nothing new.
    #[error("draining: this node takes no more messages, publish to another one")]
    Draining,
    /// A bound of the topic or of one of its channels is reached, and its policy is to reject.
    #[error("topic {topic}: {reason}")]
    Full {
        /// The topic's name.
        topic: Arc<str>,
        /// What is full, what the bound is and which key says so.
        reason: Arc<str>,
    },
    /// The route's limit is exceeded and it says `on_exceed: reject`.
    #[error("route {route}: rate limit exceeded")]
    Limited {
        /// The route's name.
        route: Arc<str>,
    },
    /// The far side did not take it, for this reason.
    #[error("route {route}: {reason}")]
    Refused {
        /// The route's name.
        route: Arc<str>,
        /// In the words of whoever refused it.
        reason: Arc<str>,
    },
}

#[derive(Debug)]
struct State {
    outcome: OnceLock<Result<(), PublishError>>,
    outstanding: AtomicUsize,
    signal: Arc<Signal>,
}

/// The answer to one PUB, MPUB or DPUB: resolved once all its messages are confirmed, or with the first error.
#[derive(Clone, Debug)]
pub struct Ticket(Arc<State>);

impl Ticket {
    /// A ticket for `messages` messages that wakes `signal` when it is resolved.
    #[must_use]
    pub fn new(messages: usize, signal: Arc<Signal>) -> Self {
        let outcome = OnceLock::new();
        if messages == 0 {
            // Nothing to wait for; nobody else can have set it yet.
            outcome.get_or_init(|| Ok(()));
        }
        Self(Arc::new(State { outcome, outstanding: AtomicUsize::new(messages), signal }))
    }

    /// One message is confirmed. `false` if the publish had failed before: the message was counted as failed then.
    pub fn confirm(&self) -> bool {
        if self.0.outcome.get().is_some() {
            return false;
        }
        if self.0.outstanding.fetch_sub(1, Ordering::AcqRel) == 1
            && self.0.outcome.set(Ok(())).is_ok()
        {
            self.0.signal.wake();
        }
        true
    }

    /// One message failed, and with it the whole publish. Returns how many of its messages were not confirmed; 0 if it
    /// was resolved before.
    pub fn fail(&self, error: PublishError) -> u64 {
        if self.0.outcome.set(Err(error)).is_err() {
            return 0;
        }
        self.0.signal.wake();
        self.0.outstanding.load(Ordering::Acquire) as u64
    }

    /// The outcome, once there is one.
    #[must_use]
    pub fn outcome(&self) -> Option<&Result<(), PublishError>> {
        self.0.outcome.get()
    }
}

/// How a publish was taken.
#[derive(Debug)]
#[must_use = "a pending publish must be answered when its ticket is resolved"]
pub enum Accepted {
    /// It is in the topic.
    Now,
    /// It is in the topic, and safe once the journal has reached this mark.
    Logged(Mark),
    /// The far side has yet to confirm it.
    Pending(Ticket),
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn wake_ups_are_taken_together_and_none_is_lost() {
        let (signal, context) = (Signal::default(), Context::from_waker(Waker::noop()));
        assert!(signal.poll_woken(&context).is_pending());
        signal.wake();
        signal.wake();
        assert!(signal.poll_woken(&context).is_ready());
        assert!(signal.poll_woken(&context).is_pending());
        signal.close();
        assert!(signal.poll_woken(&context).is_ready() && signal.is_closed());
    }

    #[test]
    fn a_ticket_is_resolved_by_the_last_confirm_or_the_first_error() {
        let ticket = Ticket::new(2, Arc::default());
        assert!(ticket.confirm());
        assert_eq!(ticket.outcome(), None);
        assert!(ticket.confirm());
        assert_eq!(ticket.outcome(), Some(&Ok(())));
        assert_eq!(ticket.fail(PublishError::Exiting), 0);

        let ticket = Ticket::new(2, Arc::default());
        assert!(ticket.confirm());
        assert_eq!(ticket.fail(PublishError::Exiting), 1);
        assert!(!ticket.confirm());
        assert_eq!(ticket.outcome(), Some(&Err(PublishError::Exiting)));
        assert_eq!(Ticket::new(0, Arc::default()).outcome(), Some(&Ok(())));
    }
}
