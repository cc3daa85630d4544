//! What becomes of a message after its sink has spoken: done with, tried again later, a dead letter, or the end of the line.
//!
//! The source holds each message until it is settled here, so that nothing is lost whenever this ends. Where a route stops
//! at a message, or keeps its order over retries, the message waits here and nothing behind it is taken.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep_until;

use super::message::{Message, Outcome, Refusal, RefusalKind, Settle};
use super::route::Retry;
use super::status::Status;
use crate::clock::{self, Instant, jittered};
use crate::names::MessageId;

/// Where messages came from, and where they stay until they are settled.
pub(super) trait Origin: Send + Sync {
    /// These are done with. Returns how many of them it still knew: what was taken back meanwhile comes again.
    fn finish(&self, ids: &[MessageId]) -> u64;

    /// Has these come again, each at its time at the earliest, with one more attempt.
    fn retry(&self, messages: Vec<(Message, Instant)>);

    /// Nobody will settle anything any more.
    fn released(&self) {}
}

/// What a route does with dead letters.
pub(super) enum Dead {
    /// It stops at them.
    Stop,
    /// They are dropped and counted.
    Drop,
    /// They go to a sink of their own, which is told of [`DeadLetters`].
    Sink(mpsc::Sender<Vec<Message>>),
}

/// A message that everything behind it waits for.
struct Held {
    message: Message,
    at: Instant,
}

/// See the module's description.
pub(super) struct Settler {
    origin: Arc<dyn Origin>,
    retry: Retry,
    dead: Mutex<Dead>,
    status: Arc<Status>,
    /// Whether a message that is tried again keeps its place.
    is_ordered: bool,
    held: Mutex<Option<Held>>,
    /// The message that the route stopped at and has not got past yet.
    stopped_at: Mutex<Option<MessageId>>,
    /// The sink has spoken of what it was sent.
    ended: Notify,
    /// A message is held.
    holds: Notify,
}

/// What a refusal comes to.
enum Verdict {
    Retry(Message),
    Hold(Message),
    Dead(Message),
    Drop(Message, Refusal),
    Stop(Message, Refusal),
}

impl Settler {
    pub(super) fn new(
        origin: Arc<dyn Origin>,
        retry: Retry,
        dead: Dead,
        is_ordered: bool,
        status: Arc<Status>,
    ) -> Arc<Self> {
        Arc::new(Self {
            origin,
            retry,
            dead: Mutex::new(dead),
            status,
            is_ordered,
            held: Mutex::default(),
            stopped_at: Mutex::default(),
            ended: Notify::new(),
            holds: Notify::new(),
        })
    }

    /// Whether one message at a time is on its way, so that none overtakes one that is tried again.
    pub(super) const fn is_ordered(&self) -> bool {
        self.is_ordered
    }

    /// Waits until the message that was sent alone has ended or is held.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Waits until a message may be held that was not before.
    pub(super) async fn holds(&self) {
        self.holds.notified().await;
    }

    /// The message that everything waits for, once its time has come; `None` if there is none.
    pub(super) async fn held(&self) -> Option<Message> {
        let at = self.held.lock().as_ref().map(|held| held.at)?;
        sleep_until(at).await;
        self.held.lock().take().map(|held| held.message)
    }

    fn judge(&self, mut message: Message, refusal: Refusal) -> Verdict {
        let is_spent =
            message.attempts >= self.retry.max_attempts && refusal.kind != RefusalKind::Unavailable;
        if !refusal.kind.is_final() && !is_spent {
            return if self.is_ordered { Verdict::Hold(message) } else { Verdict::Retry(message) };
        }
        match &*self.dead.lock() {
            Dead::Sink(_) => {
                message.dead = Some(refusal);
                Verdict::Dead(message)
            }
            Dead::Drop => Verdict::Drop(message, refusal),
            Dead::Stop => Verdict::Stop(message, refusal),
        }
    }

    /// When a message is tried again.
    fn due(&self, message: &Message) -> Instant {
        clock::now() + jittered(self.retry.delay(message.attempts))
    }

    /// The route stops at one message; others that come to the same end meanwhile come again later.
    fn stop_at(&self, message: Message, refusal: &Refusal, again: &mut Vec<(Message, Instant)>) {
        let (kind, reason) = (refusal.kind.as_str(), &refusal.reason);
        self.status.failed(format!("stopped at message {}: {kind}: {reason}", message.id));
        let at = clock::now() + jittered(self.retry.backoff_max);
        let mut held = self.held.lock();
        if held.is_none() {
            *self.stopped_at.lock() = Some(message.id);
            *held = Some(Held { message: retried(message), at });
            self.holds.notify_one();
        } else {
            again.push((message, at));
        }
    }

    /// Holds a message so that nothing overtakes it.
    fn hold(&self, message: Message) {
        let at = self.due(&message);
        *self.held.lock() = Some(Held { message: retried(message), at });
        self.holds.notify_one();
    }

    /// Hands dead letters to their sink; returns those that find no room there.
    fn bury(&self, letters: Vec<Message>) -> Vec<Message> {
        let sink = match &*self.dead.lock() {
            Dead::Sink(sink) if !letters.is_empty() => sink.clone(),
            _ => return letters,
        };
        match sink.try_send(letters) {
            Ok(()) => Vec::new(),
            Err(
                mpsc::error::TrySendError::Full(letters)
                | mpsc::error::TrySendError::Closed(letters),
            ) => letters,
        }
    }

    /// Goes on if the message that the route stopped at is among those that ended.
    fn get_past(&self, ended: &[MessageId]) {
        let mut stopped_at = self.stopped_at.lock();
        if stopped_at.is_some_and(|id| ended.contains(&id)) {
            *stopped_at = None;
            self.status.running();
        }
    }

    fn finish(&self, ids: &[MessageId], counter: &AtomicU64) {
        if ids.is_empty() {
            return;
        }
        let known = self.origin.finish(ids);
        counter.fetch_add(known, Ordering::Relaxed);
        self.get_past(ids);
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        self.origin.released();
    }
}

/// What the route's sink is told to settle by. With the sink, the sink of dead letters gets its last ones.
pub(super) struct Verdicts(pub(super) Arc<Settler>);

impl Drop for Verdicts {
    fn drop(&mut self) {
        *self.0.dead.lock() = Dead::Stop;
    }
}

impl Settle for Verdicts {
    fn settle(&self, outcomes: Vec<(Message, Outcome)>) {
        self.0.settle(outcomes);
    }
}

impl Settler {
    /// Drops what was above the route's limit, and counts it.
    pub(super) fn drop_above(&self, messages: &[Message]) {
        let ids: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
        let counters = &self.status.counters;
        counters.dropped_by_limit.fetch_add(ids.len() as u64, Ordering::Relaxed);
        self.finish(&ids, &counters.dropped);
    }

    /// Settles messages as their outcomes say; see [`Settle`].
    pub(super) fn settle(&self, outcomes: Vec<(Message, Outcome)>) {
        let counters = &self.status.counters;
        let (mut confirmed, mut filtered, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
        let (mut again, mut letters) = (Vec::new(), Vec::new());
        for (message, outcome) in outcomes {
            let refusal = match outcome {
                Outcome::Confirmed => {
                    confirmed.push(message.id);
                    continue;
                }
                Outcome::Filtered => {
                    filtered.push(message.id);
                    continue;
                }
                Outcome::Refused(refusal) => refusal,
            };
            match self.judge(message, refusal) {
                Verdict::Retry(message) => {
                    let due = self.due(&message);
                    again.push((message, due));
                }
                Verdict::Hold(message) => {
                    counters.retried.fetch_add(1, Ordering::Relaxed);
                    self.hold(message);
                }
                Verdict::Dead(message) => letters.push(message),
                Verdict::Drop(message, refusal) => {
                    let (name, reason) = (&self.status.name, &refusal.reason);
                    tracing::warn!(route = %name, id = %message.id, %reason, "message dropped");
                    dropped.push(message.id);
                }
                Verdict::Stop(message, refusal) => self.stop_at(message, &refusal, &mut again),
            }
        }
        self.finish(&confirmed, &counters.confirmed);
        self.finish(&filtered, &counters.filtered);
        self.finish(&dropped, &counters.dropped);
        let late = clock::now() + self.retry.backoff_max;
        again.extend(self.bury(letters).into_iter().map(|message| (alive(message), late)));
        if !again.is_empty() {
            counters.retried.fetch_add(again.len() as u64, Ordering::Relaxed);
            self.origin.retry(again);
        }
        self.ended.notify_one();
    }
}

/// The message with one more attempt.
fn retried(mut message: Message) -> Message {
    message.attempts = message.attempts.saturating_add(1);
    message
}

/// No dead letter any more.
fn alive(mut message: Message) -> Message {
    message.dead = None;
    message
}

/// Told by the sink of dead letters how they ended. It is made before the settler, which needs the sink.
#[derive(Default)]
pub(super) struct DeadLetters(OnceLock<Arc<Settler>>);

impl DeadLetters {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Says whose dead letters they are. Only the first call counts.
    pub(super) fn belong_to(&self, settler: &Arc<Settler>) {
        self.0.get_or_init(|| Arc::clone(settler));
    }
}

impl Settle for DeadLetters {
    fn settle(&self, outcomes: Vec<(Message, Outcome)>) {
        let Some(settler) = self.0.get() else { return };
        let (mut buried, mut again) = (Vec::new(), Vec::new());
        for (message, outcome) in outcomes {
            match outcome {
                Outcome::Confirmed | Outcome::Filtered => buried.push(message.id),
                // A dead letter that is refused itself must not be lost either.
                Outcome::Refused(refusal) => {
                    let words = format!("its dead letter was refused: {}", refusal.reason);
                    let refusal = Refusal::new(refusal.kind, words);
                    settler.stop_at(alive(message), &refusal, &mut again);
                }
            }
        }
        settler.finish(&buried, &settler.status.counters.dead_lettered);
        if !again.is_empty() {
            settler.origin.retry(again);
        }
    }
}
