//! Two rates in one: what is committed, and what may pass above it with a mark.
//!
//! As in RFC 4115: what finds room in the committed bucket has its colour; what does not, and finds room in the excess
//! bucket, has the other one; what finds room in neither is above the limit. Neither bucket fills the other, so in the
//! long run both rates together pass.

use super::limiter::{Limiter, Throttled};
use super::rate::LimitOptions;
use crate::clock::Instant;

/// Under which rate something passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// The committed one.
    Committed,
    /// The one above it.
    Excess,
}

/// The rates of a [`Meter`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterOptions {
    /// What is committed.
    pub committed: LimitOptions,
    /// What may pass above it, marked; nothing if `None`.
    pub excess: Option<LimitOptions>,
}

/// See the module's description.
#[derive(Debug)]
pub struct Meter {
    committed: Limiter,
    excess: Option<Limiter>,
}

impl Meter {
    /// A meter with full buckets.
    #[must_use]
    pub fn new(options: &MeterOptions) -> Self {
        Self {
            committed: Limiter::new(&options.committed),
            excess: options.excess.as_ref().map(Limiter::new),
        }
    }

    /// A meter with empty buckets, for what was not limited until now.
    #[must_use]
    pub fn empty(options: &MeterOptions) -> Self {
        Self {
            committed: Limiter::empty(&options.committed),
            excess: options.excess.as_ref().map(Limiter::empty),
        }
    }

    /// The limiter of what is committed.
    #[must_use]
    pub fn committed(&self) -> &Limiter {
        &self.committed
    }

    /// Changes the rates; see [`Limiter::retune`].
    pub fn retune(&mut self, options: &MeterOptions) {
        self.committed.retune(&options.committed);
        self.excess = match (self.excess.take(), &options.excess) {
            (_, None) => None,
            (None, Some(excess)) => Some(Limiter::empty(excess)),
            (Some(mut limiter), Some(excess)) => {
                limiter.retune(excess);
                Some(limiter)
            }
        };
    }

    /// Whether it is as a new one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.committed.is_full() && self.excess.as_ref().is_none_or(Limiter::is_full)
    }

    /// Waits until a batch may pass within the committed rate; see [`Limiter::acquire`].
    pub async fn acquire(&mut self, messages: u64, bytes: u64) {
        self.committed.acquire(messages, bytes).await;
    }

    /// Charges towards a message or batch that waits until it may pass: to be called again at the time that an `Err` says.
    ///
    /// # Errors
    /// When it is to be tried again; that may be past.
    pub fn try_turn(&mut self, messages: u64, bytes: u64) -> Result<Colour, Instant> {
        let due = match self.committed.try_turn(messages, bytes) {
            Ok(()) => return Ok(Colour::Committed),
            Err(due) => due,
        };
        let Some(excess) = &mut self.excess else { return Err(due) };
        match excess.try_turn(messages, bytes) {
            Ok(()) => Ok(Colour::Excess),
            Err(other) => Err(due.min(other)),
        }
    }

    /// Whether a message or batch may pass now, and how; once [`pass`](Self::pass) is called it has passed.
    ///
    /// # Errors
    /// [`Throttled`] if neither bucket holds enough.
    pub fn reserve(&mut self, messages: u64, bytes: u64) -> Result<Colour, Throttled> {
        let refused = match self.committed.reserve(messages, bytes) {
            Ok(()) => return Ok(Colour::Committed),
            Err(refused) => refused,
        };
        let Some(excess) = &mut self.excess else { return Err(refused) };
        match excess.reserve(messages, bytes) {
            Ok(()) => Ok(Colour::Excess),
            Err(other) => {
                Err(Throttled { retry_after: refused.retry_after.min(other.retry_after) })
            }
        }
    }

    /// Spends what [`reserve`](Self::reserve) found.
    pub fn pass(&mut self, colour: Colour, messages: u64, bytes: u64) {
        match (colour, &mut self.excess) {
            (Colour::Excess, Some(excess)) => excess.pass(messages, bytes),
            _ => self.committed.pass(messages, bytes),
        }
    }

    /// Lets a message or batch pass now, or refuses it.
    ///
    /// # Errors
    /// [`Throttled`] if neither bucket holds enough; nothing is spent then.
    pub fn try_acquire(&mut self, messages: u64, bytes: u64) -> Result<Colour, Throttled> {
        let colour = self.reserve(messages, bytes)?;
        self.pass(colour, messages, bytes);
        Ok(colour)
    }
}
