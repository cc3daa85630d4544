//! Where a route's messages meet its limit: they pass, wait, or are above it.
//!
//! With keys, a message above its key's limit steps aside and lets those of other keys go on; those of its own key line
//! up behind it. What stands aside is bounded: beyond the bound nothing more is taken from the source, and all keys wait
//! for the one in front. A route that keeps its order lets nobody step aside.

mod meters;
mod parked;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;
use tokio::time::sleep_until;

pub(super) use self::meters::Meters;
use self::parked::Parked;
use super::message::{Message, Provenance, Refusal};
use super::route::{OnExceed, RouteLimit, Window};
use super::runner::Pace;
use super::status::Status;
use crate::clock::{self, Instant};
use crate::limit::Colour;

/// What became of a portion at the gate; what is missing waits.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// May pass now.
    pub(super) pass: Vec<Message>,
    /// Are above the limit.
    pub(super) above: Vec<Message>,
    /// Have no key.
    pub(super) refused: Vec<(Message, Refusal)>,
}

/// See the module's description.
pub(super) struct Gate {
    limit: watch::Receiver<Option<RouteLimit>>,
    meters: Option<Meters>,
    from: Provenance,
    status: Arc<Status>,
    parked: Parked,
    /// Bound on what is parked; a portion may go beyond it.
    bound: Window,
    /// Since when something is parked, as far as it is not counted yet.
    since: Option<Instant>,
}

/// Waits for another limit.
pub(super) async fn changed(limit: &mut watch::Receiver<Option<RouteLimit>>) {
    if limit.changed().await.is_err() {
        std::future::pending().await
    }
}

impl Gate {
    /// A gate with the limit of this moment, which follows its changes. At most `bound` stands aside.
    pub(super) fn new(
        mut limit: watch::Receiver<Option<RouteLimit>>,
        from: Provenance,
        status: Arc<Status>,
        bound: Window,
    ) -> Self {
        let meters = limit.borrow_and_update().as_ref().map(Meters::new);
        if let Some(meters) = &meters {
            status.set_throttle(meters.throttle());
        }
        let parked = Parked::default();
        Self { limit, meters, from, status, parked, bound, since: None }
    }

    /// Lets one message at a time wait, and all others behind it.
    pub(super) fn keep_order(&mut self) {
        self.bound = Window { messages: 1, bytes: 1 };
    }

    /// How much is to be taken at once.
    pub(super) fn pace(&self) -> Pace {
        let whole = self.meters.as_ref().and_then(|meters| meters.limit().whole());
        let waits = self.on_exceed() == OnExceed::Wait;
        Pace::of(whole.filter(|_| waits).as_ref())
    }

    /// What happens to messages above the limit.
    pub(super) fn on_exceed(&self) -> OnExceed {
        self.meters.as_ref().map_or(OnExceed::Wait, |meters| meters.limit().on_exceed)
    }

    /// The limit's changes.
    pub(super) fn changes(&self) -> watch::Receiver<Option<RouteLimit>> {
        self.limit.clone()
    }

    /// Takes over another limit, if there is one by now. Only figures change while a route runs.
    pub(super) fn tune(&mut self) {
        let new = self.limit.borrow_and_update().clone();
        if let (Some(meters), Some(new)) = (&mut self.meters, new)
            && *meters.limit() != new
        {
            meters.retune(&new);
            self.parked.look_again(clock::now());
        }
    }

    /// Whether more may be taken from the source.
    pub(super) fn has_room(&self) -> bool {
        let Window { messages, bytes } = self.bound;
        let can_step_aside =
            self.meters.as_ref().is_some_and(|meters| meters.limit().per.is_some());
        let parked = self.parked.messages();
        parked == 0
            || can_step_aside
                && u32::try_from(parked).is_ok_and(|parked| parked < messages)
                && self.parked.bytes() < bytes
    }

    /// Whether something is parked.
    pub(super) fn is_waiting(&self) -> bool {
        self.parked.messages() > 0
    }

    /// Waits until something that is parked may be released.
    pub(super) async fn due(&self) {
        match self.parked.due() {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Sorts a portion. What waits for the route as a whole waits in here; if this is dropped, the portion is lost to it
    /// and has to come again.
    pub(super) async fn admit(&mut self, batch: Vec<Message>) -> Sorted {
        let sorted = match &self.meters {
            Some(meters) if !meters.is_plain() => self.sort(batch),
            _ => Sorted { pass: batch, ..Sorted::default() },
        };
        self.note();
        self.pay(&sorted.pass).await;
        sorted
    }

    /// Releases what may pass by now, of what `is_wanted` still.
    pub(super) async fn release(&mut self, is_wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let (Some(meters), status) = (&mut self.meters, &self.status) else { return Vec::new() };
        let released = self.parked.release(clock::now(), is_wanted, |key, message| {
            let colour = meters.try_turn(key, message.size())?;
            mark(status, message, colour);
            Ok(())
        });
        self.note();
        self.pay(&released).await;
        released
    }

    fn sort(&mut self, batch: Vec<Message>) -> Sorted {
        let mut sorted = Sorted::default();
        let Some(meters) = &mut self.meters else { return sorted };
        for mut message in batch {
            let key = match meters.key(&message, &self.from) {
                Ok(key) => key,
                Err(refusal) => {
                    sorted.refused.push((message, refusal));
                    continue;
                }
            };
            if meters.limit().on_exceed != OnExceed::Wait {
                match meters.try_now(&key, message.size()) {
                    Ok(colour) => {
                        mark(&self.status, &mut message, colour);
                        sorted.pass.push(message);
                    }
                    Err(_) => sorted.above.push(message),
                }
                continue;
            }
            let turn = if self.parked.has(&key) {
                Err(clock::now())
            } else {
                meters.try_turn(&key, message.size())
            };
            match turn {
                Ok(colour) => {
                    mark(&self.status, &mut message, colour);
                    sorted.pass.push(message);
                }
                Err(due) => self.parked.push(&key, message, due),
            }
        }
        sorted
    }

    /// Waits until a portion is paid for, by a limit that may change meanwhile.
    async fn pay(&mut self, batch: &[Message]) {
        if batch.is_empty() || self.on_exceed() != OnExceed::Wait {
            return;
        }
        let bytes = batch.iter().map(Message::size).sum();
        loop {
            let Some(meters) = &mut self.meters else { return };
            tokio::select! {
                biased;
                () = meters.acquire(batch.len() as u64, bytes) => break,
                () = changed(&mut self.limit) => {}
            }
            self.tune();
        }
        // The limiter has counted that time.
        self.since = self.since.map(|_| clock::now());
    }

    /// Notes what waits, for metrics.
    fn note(&mut self) {
        let Some(meters) = &self.meters else { return };
        self.status.set_parked(meters.keys(), self.parked.messages() as u64);
        if self.since.is_none() && !self.is_waiting() {
            return;
        }
        let span = self.since.map(clock::since).unwrap_or_default();
        meters.throttle().note(span, self.parked.due());
        self.since = self.is_waiting().then(clock::now);
    }
}

/// Marks what passes above the committed rate.
fn mark(status: &Status, message: &mut Message, colour: Colour) {
    message.is_excess = colour == Colour::Excess;
    if message.is_excess {
        status.counters.excess.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
