//! Quantiles of a stream of values over a moving window, in little memory: nsqd's end-to-end processing latency.
//!
//! A [`Sketch`] keeps up to 500 values as they are; more are kept as samples that each stand for a run of values, thinned
//! out where none of the wanted quantiles lies (Cormode, Korn, Muthukrishnan and Srivastava, "Effective Computation of
//! Biased Quantiles over Data Streams"): what it says of a quantile is at most one per cent of all values away from it in
//! rank. [`Window`] joins two sketches that take turns, each for half of the window.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Instant;

/// Largest error of a quantile's rank, as a part of all values.
const EPSILON: f64 = 0.01;
/// As many values are kept as they are.
const EXACT_MAX: usize = 500;
/// nsqd's default window.
const WINDOW: Duration = Duration::from_secs(600);

/// Which quantiles are wanted, and over what time. None by default.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracking {
    quantiles: Arc<[f64]>,
    window: Duration,
}

// Equality of what `Tracking::new` lets through is total: it lets no NaN through.
impl Eq for Tracking {}

/// Why a [`Tracking`] is none, in nsqd's words where it has any.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TrackingError {
    /// A quantile is not in (0, 1].
    #[error("invalid E2E processing latency percentile: {0}")]
    Quantile(f64),
    /// The window is empty.
    #[error("the E2E processing latency window time must be above 0")]
    Window,
}

impl Default for Tracking {
    fn default() -> Self {
        Self { quantiles: Arc::default(), window: WINDOW }
    }
}

impl Tracking {
    /// `quantiles` (0.99 is the 99th percentile; each above 0 and at most 1; one that is repeated counts once) of the last
    /// `window`. None switches it off.
    ///
    /// # Errors
    /// The first quantile that is out of range, or an empty window.
    pub fn new(quantiles: Vec<f64>, window: Duration) -> Result<Self, TrackingError> {
        let mut seen: Vec<f64> = Vec::with_capacity(quantiles.len());
        for quantile in quantiles {
            if !seen.contains(&quantile) {
                seen.push(quantile);
            }
        }
        let quantiles = seen;
        if let Some(&bad) = quantiles.iter().find(|&&quantile| !(quantile > 0.0 && quantile <= 1.0))
        {
            return Err(TrackingError::Quantile(bad));
        }
        // Each half of it must last for a nanosecond at least.
        if window.as_nanos() < 2 {
            return Err(TrackingError::Window);
        }
        Ok(Self { quantiles: quantiles.into(), window })
    }

    /// Whether there is anything to be tracked.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.quantiles.is_empty()
    }

    /// The quantiles in the order in which they were given.
    #[must_use]
    pub fn quantiles(&self) -> &[f64] {
        &self.quantiles
    }

    /// The time over which they are taken.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.window
    }
}

/// A value that stands for `width` values up to itself. Its rank lies between the sum of all widths up to it and `delta`
/// above that.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    value: f64,
    width: u64,
    delta: u64,
}

/// See the module's description.
#[derive(Clone, Debug)]
struct Sketch {
    quantiles: Arc<[f64]>,
    /// Values that are kept as they are, in the order in which they came.
    fresh: Vec<f64>,
    /// Sorted by value. Empty as long as there are few values.
    samples: Vec<Sample>,
    /// Values behind the samples: the sum of their widths.
    weight: u64,
}

impl Sketch {
    const fn new(quantiles: Arc<[f64]>) -> Self {
        Self { quantiles, fresh: Vec::new(), samples: Vec::new(), weight: 0 }
    }

    fn count(&self) -> u64 {
        self.weight + self.fresh.len() as u64
    }

    fn insert(&mut self, value: f64) {
        self.fresh.push(value);
        if self.fresh.len() >= EXACT_MAX {
            self.settle();
        }
    }

    fn reset(&mut self) {
        self.fresh.clear();
        self.samples.clear();
        self.weight = 0;
    }

    /// Adds all that `other` has seen.
    fn merge(&mut self, other: &Self) {
        if !other.samples.is_empty() {
            self.samples = joined(&self.samples, &other.samples);
            self.weight += other.weight;
            self.thin_out();
        }
        for &value in &other.fresh {
            self.insert(value);
        }
    }

    /// Turns the fresh values into samples.
    fn settle(&mut self) {
        self.fresh.sort_unstable_by(f64::total_cmp);
        let fresh: Vec<Sample> =
            self.fresh.iter().map(|&value| Sample { value, width: 1, delta: 0 }).collect();
        self.weight += fresh.len() as u64;
        self.samples = joined(&self.samples, &fresh);
        self.fresh.clear();
        self.thin_out();
    }

    /// How many values a sample may stand for, or be unsure about, at `rank`.
    fn allowance(&self, rank: f64) -> f64 {
        let weight = self.weight as f64;
        let at = |&quantile: &f64| {
            if quantile * weight <= rank {
                2.0 * EPSILON * rank / quantile
            } else {
                2.0 * EPSILON * (weight - rank) / (1.0 - quantile)
            }
        };
        self.quantiles.iter().map(at).fold(weight, f64::min)
    }

    /// Lets a sample stand for those before it, as far as the allowance goes. The last one, the largest value, stays.
    fn thin_out(&mut self) {
        let mut kept: Vec<Sample> = Vec::with_capacity(self.samples.len());
        let mut before = self.weight;
        for &sample in self.samples.iter().rev() {
            before -= sample.width;
            let allowance = self.allowance(before as f64);
            match kept.last_mut() {
                Some(next) if (sample.width + next.width + next.delta) as f64 <= allowance => {
                    next.width += sample.width;
                }
                _ => kept.push(sample),
            }
        }
        kept.reverse();
        self.samples = kept;
    }

    /// Each quantile with its value; 0 if nothing was seen.
    fn values(mut self) -> Vec<(f64, f64)> {
        if !self.samples.is_empty() {
            self.settle();
        }
        self.fresh.sort_unstable_by(f64::total_cmp);
        self.quantiles.iter().map(|&quantile| (quantile, self.value(quantile))).collect()
    }

    fn value(&self, quantile: f64) -> f64 {
        let Some(first) = self.samples.first() else {
            return exact(&self.fresh, quantile);
        };
        let rank = (quantile * self.weight as f64).ceil();
        let rank_max = rank + self.allowance(rank) / 2.0;
        let mut value = first.value;
        let mut before = 0;
        for sample in &self.samples {
            if (before + sample.width + sample.delta) as f64 > rank_max {
                break;
            }
            before += sample.width;
            value = sample.value;
        }
        value
    }
}

/// The quantile of a sorted list as nsqd picks it.
fn exact(sorted: &[f64], quantile: f64) -> f64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a length, rounded down as nsqd does it"
    )]
    let place = (sorted.len() as f64 * quantile) as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// The samples of both, sorted. What a sample of one is unsure about grows by what the next one of the other hides.
fn joined(one: &[Sample], other: &[Sample]) -> Vec<Sample> {
    let mut all = Vec::with_capacity(one.len() + other.len());
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    loop {
        let (from, across) = match (one.peek(), other.peek()) {
            (Some(left), Some(right)) if left.value <= right.value => (&mut one, Some(*right)),
            (left, Some(_)) => (&mut other, left.copied()),
            (Some(_), None) => (&mut one, None),
            (None, None) => return all,
        };
        if let Some(&sample) = from.next() {
            let hidden = across.map_or(0, |next| next.width + next.delta - 1);
            all.push(Sample { delta: sample.delta + hidden, ..sample });
        }
    }
}

/// What was recorded over the window, and how much ever. Several can be joined.
#[derive(Clone, Debug)]
pub struct Recorded {
    sketch: Sketch,
    total: u64,
    sum: f64,
}

/// The figures of a [`Recorded`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Values within the window.
    pub count: u64,
    /// Each quantile and its value, in the order in which they were asked for; 0 if there is no value.
    pub values: Vec<(f64, f64)>,
    /// Values ever recorded.
    pub total: u64,
    /// Their sum.
    pub sum: f64,
}

impl Recorded {
    /// Nothing yet.
    #[must_use]
    pub fn new(tracking: &Tracking) -> Self {
        Self { sketch: Sketch::new(Arc::clone(&tracking.quantiles)), total: 0, sum: 0.0 }
    }

    /// Adds what `other` has.
    pub fn merge(&mut self, other: &Self) {
        self.sketch.merge(&other.sketch);
        self.total += other.total;
        self.sum += other.sum;
    }

    /// What it comes to.
    #[must_use]
    pub fn summary(self) -> Summary {
        let count = self.sketch.count();
        Summary { count, values: self.sketch.values(), total: self.total, sum: self.sum }
    }
}

/// Values over a moving window: between half of it and all of it is remembered.
#[derive(Debug)]
pub struct Window {
    half: Duration,
    /// When `current` took over.
    turned: Instant,
    current: Recorded,
    previous: Sketch,
}

impl Window {
    /// An empty window that begins `now`.
    #[must_use]
    pub fn new(tracking: &Tracking, now: Instant) -> Self {
        let current = Recorded::new(tracking);
        let previous = current.sketch.clone();
        Self { half: tracking.window / 2, turned: now, current, previous }
    }

    /// How many halves have ended since the last turn.
    fn halves(&self, now: Instant) -> u128 {
        let passed = now.saturating_duration_since(self.turned);
        if passed <= self.half { 0 } else { passed.as_nanos() / self.half.as_nanos().max(1) }
    }

    /// Records `value`.
    pub fn record(&mut self, value: f64, now: Instant) {
        let halves = self.halves(now);
        if halves > 0 {
            std::mem::swap(&mut self.current.sketch, &mut self.previous);
            self.current.sketch.reset();
            if halves > 1 {
                self.previous.reset();
            }
            let passed = now.saturating_duration_since(self.turned).as_nanos();
            let over = passed % self.half.as_nanos().max(1);
            self.turned = now - Duration::from_nanos(u64::try_from(over).unwrap_or(0));
        }
        self.current.sketch.insert(value);
        self.current.total += 1;
        self.current.sum += value;
    }

    /// All that is within the window `now`.
    #[must_use]
    pub fn recorded(&self, now: Instant) -> Recorded {
        let mut recorded = self.current.clone();
        match self.halves(now) {
            0 => recorded.sketch.merge(&self.previous),
            1 => {}
            _ => recorded.sketch.reset(),
        }
        recorded
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    const QUANTILES: [f64; 4] = [1.0, 0.99, 0.95, 0.5];

    fn sketch(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::new(QUANTILES.into());
        values.iter().for_each(|&value| sketch.insert(value));
        sketch
    }

    /// How far the answers lie from the truth in rank, as a part of all values.
    fn worst_error(sketch: Sketch, mut all: Vec<f64>) -> f64 {
        all.sort_unstable_by(f64::total_cmp);
        let count = all.len() as f64;
        let error = |(quantile, value): (f64, f64)| {
            let least = all.partition_point(|&other| other < value) as f64;
            let most = all.partition_point(|&other| other <= value) as f64;
            let wanted = quantile * count;
            (least - wanted).max(wanted - most).max(0.0) / count
        };
        sketch.values().into_iter().map(error).fold(0.0, f64::max)
    }

    #[test]
    fn few_values_are_exact_and_picked_as_nsqd_picks_them() {
        let few: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let values = sketch(&few).values();
        assert_eq!(values, [(1.0, 100.0), (0.99, 99.0), (0.95, 95.0), (0.5, 50.0)]);
        assert_eq!(sketch(&[7.0]).values().first(), Some(&(1.0, 7.0)));
        assert!(sketch(&[]).values().iter().all(|(_, value)| *value == 0.0));
        assert_eq!(exact(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.5), 2.0);
    }

    #[test]
    fn many_values_take_little_memory_and_the_largest_is_kept() {
        let values: Vec<f64> = (0..200_000_u64).map(|n| (n * 7919 % 200_003) as f64).collect();
        let many = sketch(&values);
        assert_eq!(many.count(), 200_000);
        assert!(many.samples.len() < 1000, "{}", many.samples.len());
        let largest = values.iter().copied().fold(0.0, f64::max);
        assert_eq!(many.clone().values().first(), Some(&(1.0, largest)));
        assert!(worst_error(many, values) <= EPSILON + 1e-4);
    }

    #[test]
    fn sketches_join() {
        let few = |from: u32| (from..from + 200).map(f64::from).collect::<Vec<_>>();
        let mut joined = sketch(&few(0));
        joined.merge(&sketch(&few(200)));
        assert_eq!(joined.samples, [], "both are exact, and together still");
        assert_eq!(joined.values().last(), Some(&(0.5, 199.0)));
    }

    proptest! {
        #[test]
        fn answers_are_near_the_truth(
            parts in prop::collection::vec(prop::collection::vec(0_u32..100_000, 0..3000), 1..5),
        ) {
            let parts: Vec<Vec<f64>> = parts
                .into_iter()
                .map(|part| part.into_iter().map(f64::from).collect())
                .collect();
            let mut all = sketch(&[]);
            parts.iter().for_each(|part| all.merge(&sketch(part)));
            let values = parts.concat();
            prop_assert_eq!(all.count(), values.len() as u64);
            if !values.is_empty() {
                // Joining adds the errors of both; nsqd's rounding of few values is one rank.
                let bound = 2.0 * EPSILON + 2.0 / values.len() as f64;
                let error = worst_error(all, values);
                prop_assert!(error <= bound, "{} above {}", error, bound);
            }
        }
    }

    #[test]
    fn a_window_forgets() {
        let tracking = Tracking::new(vec![0.5, 1.0], Duration::from_secs(10)).unwrap();
        let start = clock::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::new(&tracking, start);
        window.record(1.0, at(1));
        window.record(3.0, at(6));
        let count = |window: &Window, seconds| window.recorded(at(seconds)).summary().count;
        assert_eq!(count(&window, 7), 2);
        assert_eq!(count(&window, 11), 1, "the first half has gone");
        assert_eq!(count(&window, 16), 0);
        window.record(5.0, at(12));
        let summary = window.recorded(at(12)).summary();
        assert_eq!((summary.count, summary.total, summary.sum), (2, 3, 9.0));
        assert_eq!(summary.values, [(0.5, 3.0), (1.0, 5.0)]);
        window.record(9.0, at(1000));
        assert_eq!(count(&window, 1000), 1);
    }

    #[test]
    fn what_can_be_tracked() {
        let new = |quantile| Tracking::new(vec![0.5, quantile], Duration::from_secs(1));
        assert!(new(1.0).is_ok_and(|tracking| tracking.is_on()));
        for bad in [0.0, -1.0, 1.5, f64::INFINITY] {
            assert_eq!(new(bad), Err(TrackingError::Quantile(bad)));
        }
        assert!(new(f64::NAN).is_err());
        let text = new(1.5).unwrap_err().to_string();
        assert_eq!(text, "invalid E2E processing latency percentile: 1.5");
        assert_eq!(Tracking::new(vec![], Duration::ZERO), Err(TrackingError::Window));
        assert_eq!(new(0.5).unwrap().quantiles(), [0.5]);
        assert!(!Tracking::default().is_on());
    }
}
