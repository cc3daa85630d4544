//! One token bucket: cells, and what is paid ahead or owed.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::rate::Allowance;

/// Bytes in one cell of a byte limit; the smallest burst of one.
pub const BYTES_PER_CELL: u64 = 1024;

/// Longest time a bucket may take to fill, so that sums of nanoseconds stay far from overflow: about 146 years.
const FILL_NANOS_MAX: u64 = 1 << 62;

/// The moment that both buckets of a limiter are asked at, in nanoseconds since the limiter was made.
///
/// Set by [`super::limiter`], not read from a clock: a charge may be made at the time for which it was due instead of
/// the slightly later one at which the timer woke us.
#[derive(Clone, Debug, Default)]
pub(super) struct Moment(Arc<AtomicU64>);

impl Moment {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, nanos: u64) {
        self.0.store(nanos, Ordering::Relaxed);
    }
}

impl Clock for Moment {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.get())
    }
}

/// How full a bucket is: written by its limiter, read from anywhere.
#[derive(Debug)]
pub(super) struct Level {
    interval_nanos: u64,
    burst_cells: NonZeroU32,
    units_per_cell: i64,
    /// The moment at which the bucket will be full if nothing is charged until then.
    full_at: AtomicU64,
    /// Units charged but not spent; below zero, units passed but not charged yet.
    balance: AtomicI64,
}

impl Level {
    /// Units that may pass at the moment `now`; below zero, units that are owed.
    pub(super) fn left(&self, now: u64) -> i64 {
        let missing = self.full_at.load(Ordering::Relaxed).saturating_sub(now);
        let missing = missing.div_ceil(self.interval_nanos);
        let cells = u64::from(self.burst_cells.get()).saturating_sub(missing);
        let units = i64::try_from(cells).unwrap_or(i64::MAX).saturating_mul(self.units_per_cell);
        units.saturating_add(self.balance.load(Ordering::Relaxed))
    }

    /// Whether it is as a new one at the moment `now`.
    pub(super) fn is_full(&self, now: u64) -> bool {
        self.full_at.load(Ordering::Relaxed) <= now && self.balance.load(Ordering::Relaxed) >= 0
    }

    fn charged(&self, cells: NonZeroU32, now: u64) {
        let from = self.full_at.load(Ordering::Relaxed).max(now);
        let earned = self.interval_nanos.saturating_mul(cells.get().into());
        self.full_at.store(from.saturating_add(earned), Ordering::Relaxed);
    }

    fn add(&self, units: i64) {
        let balance = self.balance.load(Ordering::Relaxed);
        self.balance.store(balance.saturating_add(units), Ordering::Relaxed);
    }
}

/// A token bucket over messages (one a cell) or bytes ([`BYTES_PER_CELL`] a cell).
#[derive(Debug)]
pub(super) struct Bucket {
    cells: RateLimiter<NotKeyed, InMemoryState, Moment, NoOpMiddleware<Nanos>>,
    level: Arc<Level>,
}

impl Bucket {
    pub(super) fn of_messages(allowance: &Allowance, moment: Moment) -> Self {
        Self::new(allowance, 1, moment)
    }

    pub(super) fn of_bytes(allowance: &Allowance, moment: Moment) -> Self {
        Self::new(allowance, BYTES_PER_CELL, moment)
    }

    fn new(allowance: &Allowance, units_per_cell: u64, moment: Moment) -> Self {
        let interval = allowance.rate.time_for(units_per_cell);
        let interval_nanos =
            u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).clamp(1, FILL_NANOS_MAX);
        let most = FILL_NANOS_MAX / interval_nanos;
        let cells = (allowance.burst / units_per_cell).min(most).max(1);
        let burst_cells =
            u32::try_from(cells).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
        // `with_period` refuses zero alone, and an interval is never below a nanosecond.
        let quota = Quota::with_period(Duration::from_nanos(interval_nanos))
            .unwrap_or_else(|| Quota::per_second(NonZeroU32::MAX))
            .allow_burst(burst_cells);
        Self {
            cells: RateLimiter::direct_with_clock(quota, moment),
            level: Arc::new(Level {
                interval_nanos,
                burst_cells,
                units_per_cell: i64::try_from(units_per_cell).unwrap_or(1),
                full_at: AtomicU64::new(0),
                balance: AtomicI64::new(0),
            }),
        }
    }

    pub(super) fn level(&self) -> &Arc<Level> {
        &self.level
    }

    /// Empties a new bucket down to `left` units, which another one had; what that one owed is owed here.
    pub(super) fn inherit(&self, left: i64) {
        let full = self.level.burst_cells.get();
        let kept = (left / self.level.units_per_cell).clamp(0, full.into());
        let taken = u32::try_from(i64::from(full) - kept).ok().and_then(NonZeroU32::new);
        if let Some(taken) = taken
            && let Ok(Ok(())) = self.cells.check_n(taken)
        {
            self.level.charged(taken, self.cells.clock().now().as_u64());
        }
        self.level.add(left.min(0));
    }

    /// Cells still to be charged before `cost` units may pass, whole; `None` if the balance covers them.
    fn missing_cells(&self, cost: i64) -> Option<i64> {
        let missing = cost.saturating_sub(self.level.balance.load(Ordering::Relaxed));
        (missing > 0).then(|| (missing - 1) / self.level.units_per_cell + 1)
    }

    /// Charges the next turn towards `cost` units, at most a burst: `Ok(true)` if there was one, `Ok(false)` if
    /// everything is paid, and the time to wait if the bucket does not hold enough.
    pub(super) fn charge(&mut self, cost: i64) -> Result<bool, Duration> {
        let Some(missing) = self.missing_cells(cost) else {
            return Ok(false);
        };
        let burst_cells = self.level.burst_cells;
        let turn = u32::try_from(missing)
            .ok()
            .and_then(NonZeroU32::new)
            .map_or(burst_cells, |cells| cells.min(burst_cells));
        let now = self.cells.clock().now();
        // The outer error means "more than the burst", which a turn never is.
        if let Ok(Err(not_until)) = self.cells.check_n(turn) {
            let wait = not_until.wait_time_from(now);
            return Err(wait.max(Duration::from_nanos(1)));
        }
        self.level.charged(turn, now.as_u64());
        self.level.add(i64::from(turn.get()).saturating_mul(self.level.units_per_cell));
        Ok(true)
    }

    /// Takes `cost` units out of the balance; below zero it is owed by the batches to come.
    pub(super) fn spend(&mut self, cost: i64) {
        self.level.add(cost.saturating_neg());
    }
}
