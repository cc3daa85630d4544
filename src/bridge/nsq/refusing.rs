//! A limit that answers producers with an error: all or nothing of each publish passes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use crate::bridge::gate::Meters;
use crate::bridge::message::{Message, Provenance, Refusal};
use crate::bridge::route::RouteLimit;
use crate::bridge::status::Status;
use crate::limit::Colour;

/// See the module's description.
pub(super) struct Refusing {
    limit: watch::Receiver<Option<RouteLimit>>,
    meters: Meters,
    from: Provenance,
    status: Arc<Status>,
}

impl Refusing {
    /// The limit of this moment, which follows its changes; `None` if there is none.
    pub(super) fn new(
        mut limit: watch::Receiver<Option<RouteLimit>>,
        from: Provenance,
        status: &Arc<Status>,
    ) -> Option<Self> {
        let meters = limit.borrow_and_update().as_ref().map(Meters::new)?;
        status.set_throttle(meters.throttle());
        Some(Self { limit, meters, from, status: Arc::clone(status) })
    }

    /// Lets all of a publish pass and marks what is above the committed rate, or refuses it: because of the limit, or for
    /// the reason given.
    pub(super) fn admit(&mut self, batch: &mut [Message]) -> Result<(), Option<Refusal>> {
        if self.limit.has_changed().unwrap_or(false)
            && let Some(limit) = &*self.limit.borrow_and_update()
        {
            self.meters.retune(limit);
        }
        let mut shares: Vec<(Arc<str>, u64, u64)> = Vec::new();
        let mut known: HashMap<Arc<str>, usize> = HashMap::new();
        let mut places = Vec::with_capacity(batch.len());
        for message in &*batch {
            let key = self.meters.key(message, &self.from).map_err(Some)?;
            let place = *known.entry(Arc::clone(&key)).or_insert_with(|| {
                shares.push((key, 0, 0));
                shares.len() - 1
            });
            if let Some((_, messages, bytes)) = shares.get_mut(place) {
                *messages += 1;
                *bytes = bytes.saturating_add(message.size());
            }
            places.push(place);
        }
        let colours = self.meters.try_all(&shares);
        self.status.set_parked(self.meters.keys(), 0);
        let colours = colours.map_err(|_| None)?;
        for (message, place) in batch.iter_mut().zip(places) {
            message.is_excess = colours.get(place) == Some(&Colour::Excess);
            let excess = u64::from(message.is_excess);
            self.status.counters.excess.fetch_add(excess, Ordering::Relaxed);
        }
        Ok(())
    }
}
