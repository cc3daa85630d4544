//! A route's limit at work: the meters of its keys, and the limiter of the whole.

use std::sync::Arc;

use crate::bridge::message::{Message, Provenance, Refusal, RefusalKind};
use crate::bridge::route::{OnExceed, RouteLimit};
use crate::clock::Instant;
use crate::limit::{Colour, Keyed, LimitOptions, Limiter, Meter, Throttle, Throttled};

#[derive(Debug)]
enum Each {
    One(Meter),
    Keyed(Keyed),
}

/// See the module's description.
#[derive(Debug)]
pub(in crate::bridge) struct Meters {
    limit: RouteLimit,
    each: Each,
    /// Of all keys together; limits nothing if there are no keys.
    total: Limiter,
}

/// What holds for all keys together.
fn total(limit: &RouteLimit) -> LimitOptions {
    limit.per.as_ref().and_then(|per| per.total).unwrap_or_default()
}

fn max_keys(limit: &RouteLimit) -> usize {
    limit.per.as_ref().map_or(1, |per| usize::try_from(per.max_keys).unwrap_or(usize::MAX))
}

impl Meters {
    pub(in crate::bridge) fn new(limit: &RouteLimit) -> Self {
        let options = limit.meter();
        let each = match &limit.per {
            None => Each::One(Meter::new(&options)),
            Some(_) => Each::Keyed(Keyed::new(options, max_keys(limit))),
        };
        Self { limit: limit.clone(), each, total: Limiter::new(&total(limit)) }
    }

    pub(in crate::bridge) const fn limit(&self) -> &RouteLimit {
        &self.limit
    }

    /// Takes over the figures of a limit that [is alike](RouteLimit::is_alike).
    pub(in crate::bridge) fn retune(&mut self, limit: &RouteLimit) {
        match &mut self.each {
            Each::One(meter) => meter.retune(&limit.meter()),
            Each::Keyed(keyed) => keyed.retune(limit.meter(), max_keys(limit)),
        }
        let new = total(limit);
        if new != total(&self.limit) {
            self.total.retune(&new);
        }
        self.limit = limit.clone();
    }

    /// Times and levels of what holds for the route as a whole.
    pub(in crate::bridge) fn throttle(&self) -> Arc<Throttle> {
        match &self.each {
            Each::One(meter) => meter.committed().throttle(),
            Each::Keyed(_) => self.total.throttle(),
        }
    }

    /// How many keys have a meter, if there are keys.
    pub(in crate::bridge) fn keys(&self) -> u64 {
        match &self.each {
            Each::One(_) => 0,
            Each::Keyed(keyed) => keyed.keys() as u64,
        }
    }

    /// Whether portions may be charged as a whole: all messages are alike, and wait.
    pub(in crate::bridge) fn is_plain(&self) -> bool {
        let limit = &self.limit;
        limit.per.is_none() && limit.excess.is_none() && limit.on_exceed == OnExceed::Wait
    }

    /// The key of a message; empty if there are no keys.
    pub(in crate::bridge) fn key(
        &self,
        message: &Message,
        from: &Provenance,
    ) -> Result<Arc<str>, Refusal> {
        let Some(per) = &self.limit.per else { return Ok(Arc::default()) };
        let id = message.id.to_string();
        match per.by.render(&message.view(from, &id)) {
            Ok(key) => Ok((&*key).into()),
            Err(error) => Err(Refusal::new(RefusalKind::Transform, error.to_string())),
        }
    }

    fn meter(&mut self, key: &str) -> &mut Meter {
        match &mut self.each {
            Each::One(meter) => meter,
            Each::Keyed(keyed) => keyed.meter(key),
        }
    }

    /// Charges a message that waits to its key alone; `Err` says when to try again.
    pub(in crate::bridge) fn try_turn(&mut self, key: &str, bytes: u64) -> Result<Colour, Instant> {
        self.meter(key).try_turn(1, bytes)
    }

    /// Lets a message pass now, or refuses it.
    pub(in crate::bridge) fn try_now(
        &mut self,
        key: &str,
        bytes: u64,
    ) -> Result<Colour, Throttled> {
        let colour = self.meter(key).reserve(1, bytes)?;
        self.total.reserve(1, bytes)?;
        self.meter(key).pass(colour, 1, bytes);
        self.total.pass(1, bytes);
        Ok(colour)
    }

    /// Lets all or none of these pass now: messages and bytes of each key. Returns each key's colour.
    pub(in crate::bridge) fn try_all(
        &mut self,
        shares: &[(Arc<str>, u64, u64)],
    ) -> Result<Vec<Colour>, Throttled> {
        let mut colours = Vec::with_capacity(shares.len());
        for (key, messages, bytes) in shares {
            colours.push(self.meter(key).reserve(*messages, *bytes)?);
        }
        let sum = |(m, b): (u64, u64), (_, messages, bytes): &(Arc<str>, u64, u64)| {
            (m.saturating_add(*messages), b.saturating_add(*bytes))
        };
        let (messages, bytes) = shares.iter().fold((0, 0), sum);
        self.total.reserve(messages, bytes)?;
        self.total.pass(messages, bytes);
        for ((key, messages, bytes), colour) in shares.iter().zip(&colours) {
            self.meter(key).pass(*colour, *messages, *bytes);
        }
        Ok(colours)
    }

    /// Waits until a portion may pass: where the limit [is plain](Self::is_plain) for the limit itself, else for that of
    /// all keys together.
    pub(in crate::bridge) async fn acquire(&mut self, messages: u64, bytes: u64) {
        match &mut self.each {
            Each::One(meter) if self.limit.excess.is_none() => {
                meter.acquire(messages, bytes).await;
            }
            _ => self.total.acquire(messages, bytes).await,
        }
    }
}
