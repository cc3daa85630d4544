//! What a channel does for its policy outside of deliveries: it makes room, refuses, lets old messages go, and buries the
//! dead.
//!
//! A dead letter is published with no lock held, and its message leaves the channel only when the other topic has it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::rules::Condemned;
use super::state::{Leftovers, View};
use super::{Channel, Inner, view};
use crate::clock::{self, Instant};
use crate::engine::PublishError;
use crate::engine::admission::{Load, too_much};
use crate::engine::alarms::OnAlarm;
use crate::engine::burials::{Burial, Grave};
use crate::engine::feed::Feed;
use crate::engine::log::Log;
use crate::engine::policy::{DeadLetter, DeadLetterTo, Envelope, OnFull};
use crate::engine::ticket::{Accepted, Signal};
use crate::names::MessageId;

/// When a dead letter that its topic did not take is tried again.
const BURY_AGAIN: Duration = Duration::from_secs(1);
/// How much sooner than its bound's length a channel looks again for requeued messages that have become too old.
const AGE_STEPS: u32 = 10;
/// The shortest time between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Channel {
    /// Whether [`Channel::keep_within_bounds`] has anything to do.
    pub(in crate::engine) const fn is_bounded(&self) -> bool {
        self.is_bounded
    }

    /// Why a publish of this size would be too much for the channel, if it says so. Called with the feed's lock held.
    pub(in crate::engine) fn refuses(&self, feed: &Feed, load: Load) -> Option<Arc<str>> {
        let inner = self.inner.lock();
        let state = &inner.state;
        let bounds = &state.policy.bounds;
        if !bounds.has_size() || bounds.on_full != OnFull::Reject {
            return None;
        }
        let view = view(feed);
        let waiting = if state.waiting_at_most(view.released).saturating_add(load.messages)
            > bounds.max_messages.unwrap_or(u64::MAX)
        {
            state.waiting(view)
        } else {
            0
        };
        let bytes = if bounds.max_bytes.is_some() { state.waiting_bytes(view) } else { 0 };
        too_much(bounds, Load { messages: waiting, bytes }, load)
            .map(|why| format!("channel {}: {why}", self.name).into())
    }

    /// Parts with what is too much after messages have come, and sees to it that old ones go in time. Called with the
    /// feed's lock held; the claims are the caller's to give back.
    pub(in crate::engine) fn keep_within_bounds(
        &self,
        log: &Log,
        released: u64,
        now: Instant,
    ) -> Vec<Range<u64>> {
        let mut leftovers = Leftovers::default();
        let mut inner = self.inner.lock();
        let bounds = inner.state.policy.bounds;
        if bounds.has_size() && bounds.on_full == OnFull::DropOldest {
            inner.state.drop_oldest(View { log, released }, &mut leftovers);
        }
        if let Some(age) = bounds.max_age {
            self.set_alarm(&mut inner, now + age);
        }
        leftovers.claims
    }

    /// Messages published before it (nanoseconds since the Unix epoch) are too old now; the least number if any age will
    /// do.
    pub(super) fn horizon(inner: &Inner) -> i64 {
        inner.state.policy.bounds.max_age.map_or(i64::MIN, before_now)
    }

    /// Lets go of what is too old, and says when to look again.
    fn expire_old(
        inner: &mut Inner,
        feed: &Feed,
        now: Instant,
        leftovers: &mut Leftovers,
    ) -> Option<Instant> {
        let age = inner.state.policy.bounds.max_age?;
        let horizon = before_now(age);
        inner.state.drop_expired(view(feed), horizon, leftovers);
        // Alarms may come every millisecond, and what came back is in no order of age.
        if inner.aging.is_none_or(|at| at <= now) {
            inner.state.drop_expired_again(view(feed), horizon, leftovers);
            inner.aging = Some(now + (age / AGE_STEPS).max(LOOK_AGAIN));
        }
        let oldest = inner.state.oldest(view(feed)).map(|timestamp| {
            let left = u64::try_from(timestamp.saturating_sub(horizon)).unwrap_or(0);
            now + Duration::from_nanos(left).max(LOOK_AGAIN)
        });
        let again = inner.aging.filter(|_| inner.state.again_live > 0);
        oldest.into_iter().chain(again).min()
    }

    /// Everything that is neither finished nor an upstream's.
    pub(in crate::engine) fn owed_count(&self) -> u64 {
        let feed = self.place.feed.read();
        let inner = self.inner.lock();
        inner.state.owed_count(view(&feed))
    }

    /// What was given up and can be sent on; blocks that it waits for are read back. Called with the feed locked.
    pub(super) fn condemned(&self, feed: &Feed, inner: &mut Inner) -> Vec<Condemned> {
        if inner.state.condemned.is_empty() {
            return Vec::new();
        }
        let dead = inner.state.take_condemned(view(feed));
        for (seq, _) in &inner.state.condemned {
            self.fetch(feed, Some(*seq), inner.state.cursor);
        }
        dead
    }

    /// Sends what was given up to its dead-letter topic. Called with no lock held.
    pub(super) fn bury(&self, dead: Vec<Condemned>) {
        for dead in dead {
            match &self.dead_letter {
                None => {
                    self.report(&dead, None);
                    self.conclude(dead.seq, Ok(false));
                }
                Some(to) => self.bury_in(to, &dead),
            }
        }
    }

    fn bury_in(&self, to: &DeadLetterTo, dead: &Condemned) {
        let burials = &self.place.shared.burials;
        match self.publish_dead(to, dead, burials.signal()) {
            Ok(Accepted::Now) => {
                self.report(dead, Some(to));
                self.conclude(dead.seq, Ok(true));
            }
            Ok(Accepted::Logged(mark)) => {
                self.report(dead, Some(to));
                burials.add(Burial::new(self.place.this.clone(), dead.seq, Grave::Mark(mark)));
            }
            Ok(Accepted::Pending(ticket)) => {
                self.report(dead, Some(to));
                burials.add(Burial::new(self.place.this.clone(), dead.seq, Grave::Ticket(ticket)));
            }
            Err(error) => self.conclude(dead.seq, Err(&error)),
        }
    }

    fn publish_dead(
        &self,
        to: &DeadLetterTo,
        dead: &Condemned,
        signal: &Arc<Signal>,
    ) -> Result<Accepted, PublishError> {
        let topic = self.place.topic.upgrade().ok_or(PublishError::Exiting)?;
        let target = topic.sibling(&to.topic)?;
        let wrapped = (to.envelope == Envelope::Json).then(|| {
            self.place.shared.options.policies.wrap(&DeadLetter {
                reason: &self.reason(dead),
                topic: topic.name(),
                channel: &self.name,
                id: MessageId(self.place.shared.node | dead.seq),
                timestamp: dead.timestamp,
                attempts: dead.attempts,
                body: &dead.body,
            })
        });
        let body = wrapped.as_deref().unwrap_or(&dead.body);
        let accepted = target.publish_inside(std::iter::once(body), signal, None)?;
        target.wake();
        Ok(accepted)
    }

    fn reason(&self, dead: &Condemned) -> String {
        let most = self.max_attempts;
        format!("{}; delivered {} times of at most {most}", dead.cause.as_str(), dead.attempts)
    }

    fn report(&self, dead: &Condemned, to: Option<&DeadLetterTo>) {
        let topic = self.place.topic.upgrade().map(|topic| Arc::clone(topic.name()));
        tracing::warn!(
            topic = topic.as_deref().unwrap_or_default(),
            channel = &*self.name,
            id = %MessageId(self.place.shared.node | dead.seq),
            attempts = dead.attempts,
            dead_letter = to.map_or("dropped", |to| &*to.topic),
            reason = self.reason(dead),
            "message given up"
        );
    }

    /// How a burial ended: whether another topic has the message now, or why it has it not. Called with no lock held.
    pub(in crate::engine) fn conclude(&self, seq: u64, ended: Result<bool, &PublishError>) {
        let mut leftovers = Leftovers::default();
        let feed = self.place.feed.read();
        let mut inner = self.inner.lock();
        match ended {
            Ok(is_elsewhere) => {
                if inner.state.bury(seq, &mut leftovers) {
                    let tally = &mut inner.state.tally;
                    let count =
                        if is_elsewhere { &mut tally.dead_letters } else { &mut tally.dropped };
                    *count += 1;
                }
            }
            Err(error) => {
                let due = clock::now() + BURY_AGAIN;
                if inner.state.reprieve(seq, due) {
                    self.set_alarm(&mut inner, due);
                    tracing::warn!(channel = &*self.name, %error, "a dead letter was not taken; it is tried again");
                }
            }
        }
        self.wake_ready(&feed, &mut inner);
        drop(inner);
        self.settle_leftovers(feed, &leftovers);
    }
}

impl OnAlarm for Channel {
    /// Requeues what is overdue, lets go of what is too old, opens the gate, and sets the next alarm.
    fn on_alarm(&self, now: Instant) {
        let mut leftovers = Leftovers::default();
        let feed = self.place.feed.read();
        let mut inner = self.inner.lock();
        if inner.state.exiting {
            return;
        }
        if inner.alarm.is_some_and(|alarm| alarm <= now) {
            inner.alarm = None;
        }
        let expired = inner.state.expire(now, feed.released);
        self.note_attempts(&feed, &expired);
        let old = Self::expire_old(&mut inner, &feed, now, &mut leftovers);
        let opens = inner.state.gate.as_mut().and_then(|gate| {
            gate.open(now);
            gate.opens_at()
        });
        if let Some(next) = inner.state.next_expiry().into_iter().chain(old).chain(opens).min() {
            self.set_alarm(&mut inner, next);
        }
        self.wake_ready(&feed, &mut inner);
        let dead = self.condemned(&feed, &mut inner);
        drop(inner);
        self.settle_leftovers(feed, &leftovers);
        self.bury(dead);
    }
}

/// The moment `age` ago, nanoseconds since the Unix epoch.
pub(in crate::engine) fn before_now(age: Duration) -> i64 {
    clock::unix_nanos().saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX))
}
