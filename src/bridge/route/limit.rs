//! What a route says of its limit.

use crate::bridge::transform::Template;
use crate::limit::{LimitOptions, MeterOptions};

/// A route's limit and what happens to messages above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteLimit {
    /// Messages and bytes a second, each with its burst; of each key by itself if there are keys.
    pub rates: LimitOptions,
    /// What happens above them.
    pub on_exceed: OnExceed,
    /// What tells messages apart, if each kind has a limit of its own.
    pub per: Option<PerKey>,
    /// What may pass above `rates` with a mark.
    pub excess: Option<Excess>,
}

/// A limit for each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerKey {
    /// The key of a message.
    pub by: Template,
    /// Keys that have a limit of their own at once, 1 to 100 000; the others share one.
    pub max_keys: u32,
    /// The limit of all keys together.
    pub total: Option<LimitOptions>,
}

/// What may pass above the committed rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excess {
    /// How much.
    pub rates: LimitOptions,
    /// The routing key that it gets instead of its own, if it gets one.
    pub routing_key: Option<Template>,
}

/// What happens to messages above a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExceed {
    /// They wait, and with them their origin.
    #[default]
    Wait,
    /// The producer gets an error. Only [`Flow::Ingress`](super::Flow::Ingress) has somebody to tell.
    Reject,
    /// They are dead letters. Only where the route has a place for those.
    DeadLetter,
    /// They are dropped and counted.
    Drop,
}

impl RouteLimit {
    /// The rates that hold for messages of one key, or for all if there are no keys.
    #[must_use]
    pub fn meter(&self) -> MeterOptions {
        let excess = self.excess.as_ref().map(|excess| excess.rates);
        MeterOptions { committed: self.rates, excess }
    }

    /// What holds for the route as a whole, if anything does.
    #[must_use]
    pub fn whole(&self) -> Option<LimitOptions> {
        match &self.per {
            Some(per) => per.total,
            None => Some(self.rates),
        }
    }

    /// Whether it differs from `other` in figures alone, so that a running route can take it over.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        let key = |limit: &Self| limit.per.as_ref().map(|per| per.by.clone());
        let mark = |limit: &Self| limit.excess.as_ref().map(|excess| excess.routing_key.clone());
        self.on_exceed == other.on_exceed && key(self) == key(other) && mark(self) == mark(other)
    }
}
