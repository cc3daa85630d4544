//! The limiter of one route: two buckets, one waiter, and what it cost in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::bucket::{Bucket, Level, Moment};
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

/// What a limit tells about itself, for metrics. Shared, read at any time.
#[derive(Debug)]
pub struct Throttle {
    start: Instant,
    waited_nanos: AtomicU64,
    due_nanos: AtomicU64,
    rejected: AtomicU64,
    levels: Mutex<Levels>,
}

#[derive(Debug, Default)]
struct Levels {
    messages: Option<Arc<Level>>,
    bytes: Option<Arc<Level>>,
}

impl Throttle {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            start: clock::now(),
            waited_nanos: AtomicU64::new(0),
            due_nanos: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            levels: Mutex::default(),
        })
    }

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

    /// Messages that may pass now, if they are limited; below zero, as many are owed.
    #[must_use]
    pub fn messages_left(&self) -> Option<i64> {
        let now = nanos(clock::since(self.start));
        self.levels.lock().messages.as_ref().map(|level| level.left(now))
    }

    /// Bytes that may pass now, if they are limited; below zero, as many are owed.
    #[must_use]
    pub fn bytes_left(&self) -> Option<i64> {
        let now = nanos(clock::since(self.start));
        self.levels.lock().bytes.as_ref().map(|level| level.left(now))
    }

    /// Notes a wait outside of a limiter: one of `span` is over, and what waits still is due at `due`.
    pub fn note(&self, span: Duration, due: Option<Instant>) {
        self.waited_nanos.fetch_add(nanos(span), Ordering::Relaxed);
        let due = due.map_or(0, |due| nanos(due.saturating_duration_since(self.start)));
        self.due_nanos.store(due, Ordering::Relaxed);
    }
}

/// Messages and bytes a second, asked by exactly one waiter.
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
        let throttle = Throttle::new();
        let moment = Moment::default();
        let pace = Pace { start: throttle.start, moment, behind: false, is_waiting: false };
        let mut limiter = Self { messages: None, bytes: None, pace, throttle };
        limiter.fit(options);
        limiter
    }

    /// A limiter with empty buckets, for what was not limited until now.
    #[must_use]
    pub fn empty(options: &LimitOptions) -> Self {
        let mut limiter = Self::new(&LimitOptions::default());
        limiter.retune(options);
        limiter
    }

    fn fit(&mut self, options: &LimitOptions) {
        let moment = || self.pace.moment.clone();
        self.messages = options.messages.as_ref().map(|a| Bucket::of_messages(a, moment()));
        self.bytes = options.bytes.as_ref().map(|a| Bucket::of_bytes(a, moment()));
        let level = |bucket: &Option<Bucket>| bucket.as_ref().map(|b| Arc::clone(b.level()));
        let levels = Levels { messages: level(&self.messages), bytes: level(&self.bytes) };
        *self.throttle.levels.lock() = levels;
    }

    /// Changes the limit. The new buckets hold what the old ones did, at most their bursts, and owe what those owed; what
    /// was not limited until now begins with nothing. So no change grants a burst that would not have been there.
    pub fn retune(&mut self, options: &LimitOptions) {
        self.pace.now();
        let now = self.pace.moment.get();
        let left = |bucket: &Option<Bucket>| bucket.as_ref().map_or(0, |b| b.level().left(now));
        let (messages, bytes) = (left(&self.messages), left(&self.bytes));
        self.fit(options);
        for (bucket, left) in [(&self.messages, messages), (&self.bytes, bytes)] {
            if let Some(bucket) = bucket {
                bucket.inherit(left);
            }
        }
    }

    /// Times and counts of this limiter.
    #[must_use]
    pub fn throttle(&self) -> Arc<Throttle> {
        Arc::clone(&self.throttle)
    }

    /// Whether it is as a new one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let now = self.pace.elapsed();
        let mut buckets = [&self.messages, &self.bytes].into_iter().flatten();
        buckets.all(|bucket| bucket.level().is_full(now))
    }

    /// Waits until a batch of `messages` messages with `bytes` bytes of bodies may pass, and charges for it.
    ///
    /// A batch that is larger than a burst waits for several fillings of the bucket.
    pub async fn acquire(&mut self, messages: u64, bytes: u64) {
        while let Err(due) = self.try_turn(messages, bytes) {
            self.pace.sleep(due, &self.throttle).await;
        }
    }

    /// Charges towards a batch of `messages` messages with `bytes` bytes of bodies, which waits until it is paid for:
    /// to be called again at the time that an `Err` says. What was charged meanwhile is kept.
    ///
    /// # Errors
    /// When the next turn is due; it may be past.
    pub fn try_turn(&mut self, messages: u64, bytes: u64) -> Result<(), Instant> {
        self.pace.begin();
        let (messages, bytes) = (cost(messages), cost(bytes));
        for (bucket, cost) in [(&mut self.messages, messages), (&mut self.bytes, bytes)] {
            if let Some(bucket) = bucket {
                self.pace.fill(bucket, cost)?;
            }
        }
        self.spend(messages, bytes);
        Ok(())
    }

    /// Lets a batch of `messages` messages with `bytes` bytes of bodies pass now, or refuses it.
    ///
    /// A batch that is larger than a burst passes when the bucket is full, and the batches after it pay the rest.
    ///
    /// # Errors
    /// [`Throttled`] if a bucket does not hold enough; nothing is spent then.
    pub fn try_acquire(&mut self, messages: u64, bytes: u64) -> Result<(), Throttled> {
        self.reserve(messages, bytes)?;
        self.pass(messages, bytes);
        Ok(())
    }

    /// As [`try_acquire`](Self::try_acquire), in two steps: once [`pass`](Self::pass) is called it has passed.
    ///
    /// # Errors
    /// [`Throttled`] if a bucket does not hold enough.
    pub fn reserve(&mut self, messages: u64, bytes: u64) -> Result<(), Throttled> {
        self.pace.now();
        let (messages, bytes) = (cost(messages), cost(bytes));
        // What the first bucket charged stays in its balance when the second refuses.
        let charged = [
            self.messages.as_mut().map(|bucket| bucket.charge(messages)),
            self.bytes.as_mut().map(|bucket| bucket.charge(bytes)),
        ];
        let wait = charged.into_iter().flatten().filter_map(Result::err).max();
        match wait {
            None => Ok(()),
            Some(retry_after) => {
                self.throttle.rejected.fetch_add(1, Ordering::Relaxed);
                Err(Throttled { retry_after })
            }
        }
    }

    /// Spends what [`reserve`](Self::reserve) found.
    pub fn pass(&mut self, messages: u64, bytes: u64) {
        self.spend(cost(messages), cost(bytes));
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
    /// Whether the last batch was not paid for when it asked.
    is_waiting: bool,
}

impl Pace {
    fn elapsed(&self) -> u64 {
        nanos(clock::since(self.start))
    }

    /// Sets the moment to the clock's.
    fn now(&mut self) {
        (self.behind, self.is_waiting) = (false, false);
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
        // The batch behind one that had to wait begins where that one left off.
        self.behind = std::mem::take(&mut self.is_waiting);
    }

    /// Charges `cost` to `bucket`, turn by turn; `Err` says when the next one is due, and moves the moment there.
    fn fill(&mut self, bucket: &mut Bucket, cost: i64) -> Result<(), Instant> {
        loop {
            match bucket.charge(cost) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(wait) => {
                    (self.behind, self.is_waiting) = (true, true);
                    let due = self.moment.get().saturating_add(nanos(wait));
                    self.moment.set(due);
                    return Err(self.start + Duration::from_nanos(due));
                }
            }
        }
    }

    /// Sleeps until `due`, if that is to come.
    async fn sleep(&self, due: Instant, throttle: &Throttle) {
        let before = self.elapsed();
        let due = nanos(due.saturating_duration_since(self.start));
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
