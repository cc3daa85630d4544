//! A meter for each key, of a bounded number of keys.
//!
//! A key whose buckets are full is as one that was never seen: it is forgotten when room is needed. While all of the
//! keys that have a meter are in use, the others share one: memory stays bounded, and nobody gets more by inventing keys.

use std::collections::HashMap;
use std::time::Duration;

use super::meter::{Meter, MeterOptions};
use crate::clock::{self, Instant};

/// How often full meters are looked for at most: a look goes through all keys.
const SWEEP_PAUSE: Duration = Duration::from_millis(100);

/// See the module's description.
#[derive(Debug)]
pub struct Keyed {
    options: MeterOptions,
    max_keys: usize,
    meters: HashMap<Box<str>, Meter>,
    /// Of the keys that there is no room for.
    shared: Meter,
    next_sweep: Instant,
}

impl Keyed {
    /// No keys yet; at most `max_keys`, which is at least 1, will have a meter of their own.
    #[must_use]
    pub fn new(options: MeterOptions, max_keys: usize) -> Self {
        let shared = Meter::new(&options);
        let max_keys = max_keys.max(1);
        Self { options, max_keys, meters: HashMap::new(), shared, next_sweep: clock::now() }
    }

    /// How many keys have a meter of their own.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.meters.len()
    }

    /// Changes the rates of all keys; see [`Meter::retune`].
    pub fn retune(&mut self, options: MeterOptions, max_keys: usize) {
        for meter in self.meters.values_mut().chain([&mut self.shared]) {
            meter.retune(&options);
        }
        self.options = options;
        self.max_keys = max_keys.max(1);
    }

    /// The meter of `key`: its own, or the shared one if there is no room.
    pub fn meter(&mut self, key: &str) -> &mut Meter {
        if !self.meters.contains_key(key) {
            if self.meters.len() >= self.max_keys {
                self.sweep();
            }
            if self.meters.len() >= self.max_keys {
                return &mut self.shared;
            }
        }
        self.meters.entry(key.into()).or_insert_with(|| Meter::new(&self.options))
    }

    fn sweep(&mut self) {
        let now = clock::now();
        if now >= self.next_sweep {
            self.meters.retain(|_, meter| !meter.is_full());
            self.next_sweep = now + SWEEP_PAUSE;
        }
    }
}

#[cfg(test)]
mod tests;
