//! The limiter of one route: two buckets, one waiter, and what it cost in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::bucket::{Bucket, Moment};
use super::rate::LimitOptions;
use crate::clock::{self, Instant};

/// How far charges may lag behind the clock. Timers wake up to a millisecond late, more on a busy machine; a charge
/// made at the time it was due does not lose that time, so a small burst still reaches its rate.
const LAG_MAX: Duration = Duration::from_millis(10);

/// A batch was refused by [`Limiter::try_acquire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("over the route's limit, try again in {retry_after:?}")]
pub struct Throttled {
    /// Time until the bucket that refused holds enough.
    pub retry_after: Duration,
}

/// What a limiter tells about itself, for metrics. Shared, read at any time.
#[derive(Debug)]
pub struct Throttle {
    start: Instant,
    waited_nanos: AtomicU64,
    due_nanos: AtomicU64,
    rejected: AtomicU64,
}

impl Throttle {
    /// Total time spent waiting for the limit, current wait not included.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited_nanos.load(Ordering::Relaxed))
    }

    /// Time the batch at the limit still has to wait for its next turn; zero if none waits.
    #[must_use]
    pub fn projected_wait(&self) -> Duration {
        let due = Duration::from_nanos(self.due_nanos.load(Ordering::Relaxed));
        due.saturating_sub(clock::since(self.start))
    }

    /// Batches refused by [`Limiter::try_acquire`].
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }
}

/// Messages and bytes a second, asked once a batch by exactly one waiter.
///
/// Dropping a waiting [`acquire`](Self::acquire) loses nothing: what was charged so far is kept for the next batch.
#[derive(Debug)]
pub struct Limiter {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
    pace: Pace,
    throttle: Arc<Throttle>,
}

impl Limiter {
    /// A limiter with full buckets.
    #[must_use]
    pub fn new(options: &LimitOptions) -> Self {
        let start = clock::now();
        let pace = Pace { start, moment: Moment::default(), behind: false };
        let bucket = |make: fn(&_, _) -> Bucket, allowance: &Option<_>| {
            allowance.as_ref().map(|allowance| make(allowance, pace.moment.clone()))
        };
        Self {
            messages: bucket(Bucket::of_messages, &options.messages),
            bytes: bucket(Bucket::of_bytes, &options.bytes),
            pace,
            throttle: Arc::new(Throttle {
                start,
                waited_nanos: AtomicU64::new(0),
                due_nanos: AtomicU64::new(0),
                rejected: AtomicU64::new(0),
            }),
        }
    }

    /// Times and counts of this limiter.
    #[must_use]
    pub fn throttle(&self) -> Arc<Throttle> {
        Arc::clone(&self.throttle)
    }

    /// Waits until a batch of `messages` messages with `bytes` bytes of bodies may pass, and charges for it.
    ///
    /// A batch that is larger than a burst waits for several fillings of the bucket.
    pub async fn acquire(&mut self, messages: u64, bytes: u64) {
        self.pace.begin();
        let (messages, bytes) = (cost(messages), cost(bytes));
        if let Some(bucket) = &mut self.messages {
            self.pace.fill(bucket, messages, &self.throttle).await;
        }
        if let Some(bucket) = &mut self.bytes {
            self.pace.fill(bucket, bytes, &self.throttle).await;
        }
        self.spend(messages, bytes);
    }

    /// Lets a batch of `messages` messages with `bytes` bytes of bodies pass now, or refuses it.
    ///
    /// A batch that is larger than a burst passes when the bucket is full, and the batches after it pay the rest.
    ///
    /// # Errors
    /// [`Throttled`] if a bucket does not hold enough; nothing is spent then.
    pub fn try_acquire(&mut self, messages: u64, bytes: u64) -> Result<(), Throttled> {
        self.pace.now();
        let (messages, bytes) = (cost(messages), cost(bytes));
        // What the first bucket charged stays in its balance when the second refuses.
        let charged = [
            self.messages.as_mut().map(|bucket| bucket.charge(messages)),
            self.bytes.as_mut().map(|bucket| bucket.charge(bytes)),
        ];
        let wait = charged.into_iter().flatten().filter_map(Result::err).max();
        if let Some(retry_after) = wait {
            self.throttle.rejected.fetch_add(1, Ordering::Relaxed);
            return Err(Throttled { retry_after });
        }
        self.spend(messages, bytes);
        Ok(())
    }

    fn spend(&mut self, messages: i64, bytes: i64) {
        if let Some(bucket) = &mut self.messages {
            bucket.spend(messages);
        }
        if let Some(bucket) = &mut self.bytes {
            bucket.spend(bytes);
        }
    }
}

fn cost(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

/// The time at which charges are made: the clock's, or while a backlog waits, the time the last charge was due.
#[derive(Debug)]
struct Pace {
    start: Instant,
    moment: Moment,
    behind: bool,
}

impl Pace {
    fn elapsed(&self) -> u64 {
        nanos(clock::since(self.start))
    }

    /// Sets the moment to the clock's.
    fn now(&mut self) {
        self.behind = false;
        self.moment.set(self.elapsed());
    }

    /// Sets the moment for a new batch: where the last one left off if that one had to wait.
    fn begin(&mut self) {
        let now = self.elapsed();
        let at = if self.behind {
            let earliest = now.saturating_sub(nanos(LAG_MAX));
            self.moment.get().clamp(earliest, now)
        } else {
            now
        };
        self.moment.set(at);
        self.behind = false;
    }

    /// Charges `cost` to `bucket`, turn by turn, sleeping as long as each turn needs.
    async fn fill(&mut self, bucket: &mut Bucket, cost: i64, throttle: &Throttle) {
        loop {
            match bucket.charge(cost) {
                Ok(true) => {}
                Ok(false) => return,
                Err(wait) => {
                    self.behind = true;
                    self.sleep(wait, throttle).await;
                }
            }
        }
    }

    /// Moves the moment on by `wait` and sleeps until the clock is there.
    async fn sleep(&self, wait: Duration, throttle: &Throttle) {
        let due = self.moment.get().saturating_add(nanos(wait));
        self.moment.set(due);
        let before = self.elapsed();
        if due <= before {
            return;
        }
        throttle.due_nanos.store(due, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_nanos(due - before)).await;
        let slept = self.elapsed().saturating_sub(before);
        throttle.waited_nanos.fetch_add(slept, Ordering::Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
