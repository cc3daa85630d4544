//! Delays over a broker that has none of its own: a ladder of queues, one for each step. Pure.
//!
//! A step is a queue without consumers whose messages all live equally long and are then dead-lettered into the queue that
//! they are for. The steps are powers of two of a second, so that every delay is a few of them: whoever finds a message of
//! the queue that is not due yet puts it on the largest step that is not too long. What is left of the delay after the last
//! step is less than the shortest one, and is held by the gateway.
//!
//! One time to live a queue: on a classic queue only the head expires, so that a long delay would hold up a short one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::message::Message;
use super::topology::{Argument, QueueDeclare, QueueKind};
use crate::clock;

/// The header that says when a message is due, Unix milliseconds.
pub(super) const DUE_HEADER: &str = "x-leveret-due";
/// The header with the deliveries that a message has behind it.
pub(super) const ATTEMPTS_HEADER: &str = "x-leveret-attempts";

/// The shortest step.
const STEP_MIN: Duration = Duration::from_secs(1);
/// The longest step is `STEP_MIN` doubled so many times: some 24 days. RabbitMQ's times are at most 2^32 - 1 milliseconds,
/// and a step's queue expires after twice its length.
const DOUBLINGS_MAX: u32 = 21;
/// Longest name of a queue in bytes: AMQP sends it as a short string.
const NAME_LEN_MAX: usize = 255;

/// A rung of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Step(u32);

impl Step {
    /// The longest step that is not longer than `delay`; `None` if that is to be held.
    pub(super) fn within(delay: Duration) -> Option<Self> {
        let seconds = delay.as_secs() / STEP_MIN.as_secs();
        seconds.checked_ilog2().map(|doublings| Self(doublings.min(DOUBLINGS_MAX)))
    }

    /// How long a message stays on it.
    pub(super) fn length(self) -> Duration {
        STEP_MIN * (1 << self.0)
    }

    /// After how long without a declaration the broker may delete the queue. A message is put on a step only shortly after
    /// it was declared, see [`Step::declaration_lasts`], so that none is left on it by then.
    pub(super) fn expires(self) -> Duration {
        self.length() * 2 + Duration::from_secs(60)
    }

    /// How long a declaration is good for: a message that is put on the step by then has left it before it expires.
    pub(super) fn declaration_lasts(self) -> Duration {
        self.length() / 2 + Duration::from_secs(30)
    }

    /// The name of the step's queue for messages of `queue`; `None` if it would be too long.
    pub(super) fn queue_name(self, queue: &str) -> Option<String> {
        let name = format!("leveret.delay.{}s.{queue}", self.length().as_secs());
        (name.len() <= NAME_LEN_MAX).then_some(name)
    }
}

/// How a message is put off.
#[derive(Debug, PartialEq)]
pub(super) struct PutOff {
    /// When it is due, Unix milliseconds.
    pub(super) due: i64,
    /// Where it waits until then, or for a part of the time.
    pub(super) queue: QueueDeclare,
    /// How long a declaration of that queue is good for.
    pub(super) lasts: Duration,
}

/// How long a message that is due then, in Unix milliseconds, is to wait.
pub(super) fn left(due: i64) -> Duration {
    let now = clock::unix_nanos() / 1_000_000;
    Duration::from_millis(u64::try_from(due.saturating_sub(now)).unwrap_or(0))
}

impl PutOff {
    /// For a message of `queue` that has to wait for `left`; `None` if a step's queue would have too long a name. What is
    /// left of less than a step is waited for in `queue` itself, by whoever finds it there.
    fn new(due: i64, left: Duration, queue: &str) -> Option<Self> {
        let Some(step) = Step::within(left) else {
            let queue = QueueDeclare::new(queue, QueueKind::Classic);
            return Some(Self { due, queue, lasts: Duration::MAX });
        };
        let mut waiting = QueueDeclare::new(&step.queue_name(queue)?, QueueKind::Classic);
        let millis =
            |time: Duration| Argument::Integer(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        waiting.arguments.extend([
            ("x-message-ttl".to_owned(), millis(step.length())),
            ("x-expires".to_owned(), millis(step.expires())),
            ("x-dead-letter-exchange".to_owned(), Argument::Text(String::new())),
            ("x-dead-letter-routing-key".to_owned(), Argument::Text(queue.to_owned())),
        ]);
        Some(Self { due, queue: waiting, lasts: step.declaration_lasts() })
    }

    /// Whether the queue is to be declared before something is sent to it.
    pub(super) fn is_step(&self) -> bool {
        self.lasts < Duration::MAX
    }
}

/// The ladder of one queue: the entrance of a sink that publishes to its steps.
#[derive(Clone, Debug)]
pub(super) struct Ladder {
    pub(super) queue: Arc<str>,
    pub(super) outbox: mpsc::Sender<Vec<Message>>,
}

impl Ladder {
    /// Puts a message off until it is due, Unix milliseconds. Whoever settles for the sink is told when the broker has it.
    ///
    /// # Errors
    /// The message, if too many are under way, or the queue's name leaves no room for that of a step.
    pub(super) fn put_off(&self, message: Message, due: i64) -> Result<(), Box<Message>> {
        self.put_off_for(message, due, left(due))
    }

    /// The same, for a queue at which nobody waits for what is left of less than a step: that becomes one.
    ///
    /// # Errors
    /// As [`Ladder::put_off`].
    pub(super) fn put_off_whole(&self, message: Message, due: i64) -> Result<(), Box<Message>> {
        self.put_off_for(message, due, left(due).max(STEP_MIN))
    }

    fn put_off_for(
        &self,
        mut message: Message,
        due: i64,
        left: Duration,
    ) -> Result<(), Box<Message>> {
        let Some(put_off) = PutOff::new(due, left, &self.queue) else {
            return Err(Box::new(message));
        };
        message.put_off = Some(Arc::new(put_off));
        self.outbox.try_send(vec![message]).map_err(|error| {
            let mut batch = error.into_inner();
            let mut message = batch.remove(0);
            message.put_off = None;
            Box::new(message)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_are_powers_of_two_of_a_second() {
        for (seconds, step) in [
            (0.0, None),
            (0.999, None),
            (1.0, Some(1)),
            (1.9, Some(1)),
            (2.0, Some(2)),
            (3600.0, Some(2048)),
        ] {
            let step_of = Step::within(Duration::from_secs_f64(seconds));
            assert_eq!(step_of.map(|step| step.length().as_secs()), step, "{seconds}");
        }
        let longest = Step::within(Duration::MAX).unwrap();
        assert_eq!(longest.length().as_secs(), 2_097_152);
        // RabbitMQ takes times to live up to 2^32 - 1 milliseconds... and expiries above zero.
        assert!(longest.expires().as_millis() <= u128::from(u32::MAX));
        assert_eq!(longest.queue_name("q").unwrap(), "leveret.delay.2097152s.q");
        assert_eq!(longest.queue_name(&"q".repeat(250)), None);
    }

    proptest! {
        /// Step by step every delay comes to an end, never too late by more than it is held, and in few steps.
        #[test]
        fn a_ladder_of_steps_is_never_longer_than_the_delay(millis in 0_u64..20_000_000_000) {
            let delay = Duration::from_millis(millis);
            let (mut left, mut hops) = (delay, 0);
            while let Some(step) = Step::within(left) {
                prop_assert!(step.length() <= left);
                left -= step.length();
                hops += 1;
            }
            prop_assert!(left < STEP_MIN);
            prop_assert!(hops <= 40, "{} hops", hops);
        }

        /// What is put on a step while its declaration is good has left before the queue may go.
        #[test]
        fn nothing_is_on_a_step_when_it_expires(doublings in 0..=DOUBLINGS_MAX) {
            let step = Step(doublings);
            prop_assert!(step.declaration_lasts() + step.length() < step.expires());
        }
    }
}
