//! How long requests took, as `--status-every` shows it.

use std::time::Duration;

use parking_lot::Mutex;

/// Gathers so many, tells of them, and begins again.
#[derive(Debug)]
pub(super) struct Latencies {
    /// What is told of.
    label: String,
    every: usize,
    taken: Mutex<Vec<Duration>>,
}

impl Latencies {
    /// `every` 0 is never.
    pub(super) fn new(label: String, every: usize) -> Self {
        Self { label, every, taken: Mutex::default() }
    }

    /// One more; gives the line that is due.
    pub(super) fn note(&self, took: Duration) -> Option<String> {
        if self.every == 0 {
            return None;
        }
        let mut taken = self.taken.lock();
        taken.push(took);
        if taken.len() < self.every {
            return None;
        }
        let mut all = std::mem::take(&mut *taken);
        drop(taken);
        all.sort_unstable();
        Some(format!(
            "finished {} - 99th: {:.2?} - 95th: {:.2?} - avg: {:.2?} - {}",
            all.len(),
            at(&all, 99),
            at(&all, 95),
            mean(&all),
            self.label
        ))
    }
}

fn at(sorted: &[Duration], percent: usize) -> Duration {
    let place = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(place).copied().unwrap_or_default()
}

fn mean(all: &[Duration]) -> Duration {
    let count = u32::try_from(all.len()).unwrap_or(u32::MAX).max(1);
    all.iter().sum::<Duration>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_when_there_are_enough() {
        let latencies = Latencies::new("aggregate".into(), 100);
        let millis = |millis| latencies.note(Duration::from_millis(millis));
        assert!((1..100).all(|number| millis(number).is_none()));
        assert_eq!(
            millis(100).unwrap(),
            "finished 100 - 99th: 99.00ms - 95th: 95.00ms - avg: 50.50ms - aggregate"
        );
        assert!(millis(1).is_none());
        assert!(Latencies::new(String::new(), 0).note(Duration::ZERO).is_none());
    }
}
