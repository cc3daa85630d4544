//! The last hour of a route: a point every ten seconds.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use super::route::RouteCounts;

/// The time between two points.
pub const STEP: Duration = Duration::from_secs(10);
/// Points that are kept: an hour's.
const POINTS: usize = 360;

#[derive(Clone, Copy, Debug)]
struct Point {
    received: u64,
    confirmed: u64,
    pending: u64,
    failed: u64,
}

/// See the module's description. Some 12 KiB when it is full.
#[derive(Debug, Default)]
pub struct History {
    points: VecDeque<Point>,
    /// When the last one was taken, Unix seconds.
    last: i64,
}

/// A history as it is shown: counters at each step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HistoryShown {
    /// When the first point was taken, Unix seconds.
    pub since: i64,
    /// Seconds between two points.
    pub step: u64,
    /// Messages taken from the origin until then.
    pub received: Vec<u64>,
    /// Messages that had arrived until then.
    pub confirmed: Vec<u64>,
    /// Messages under way then.
    pub pending: Vec<u64>,
    /// Messages that had gone wrong until then: returned, refused by nack, dead letters, dropped, rejected.
    pub failed: Vec<u64>,
}

impl History {
    /// Takes a point at `now`, Unix seconds. The oldest one makes room.
    pub fn take(&mut self, counts: &RouteCounts, now: i64) {
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        let failed =
            [counts.returned, counts.nacked, counts.dead_lettered, counts.dropped, counts.rejected];
        self.points.push_back(Point {
            received: counts.received,
            confirmed: counts.confirmed,
            pending: counts.pending(),
            failed: failed.iter().sum(),
        });
        self.last = now;
    }

    /// All points.
    #[must_use]
    pub fn show(&self) -> HistoryShown {
        let step = STEP.as_secs();
        let before = self.points.len().saturating_sub(1) as u64 * step;
        let column = |read: fn(&Point) -> u64| self.points.iter().map(read).collect();
        HistoryShown {
            since: self.last.saturating_sub(i64::try_from(before).unwrap_or(i64::MAX)),
            step,
            received: column(|point| point.received),
            confirmed: column(|point| point.confirmed),
            pending: column(|point| point.pending),
            failed: column(|point| point.failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept() {
        let mut history = History::default();
        assert_eq!(history.show().received, [0; 0]);
        for at in 0..POINTS as u64 + 5 {
            let counts = RouteCounts {
                received: at * 3,
                confirmed: at,
                nacked: 1,
                ..RouteCounts::default()
            };
            history.take(&counts, 1000 + i64::try_from(at).unwrap() * 10);
        }
        let shown = history.show();
        assert_eq!((shown.since, shown.step, shown.received.len()), (1050, 10, POINTS));
        assert_eq!((shown.received[0], shown.confirmed[1], shown.pending[0]), (15, 6, 10));
        assert_eq!(shown.failed[0], 1);
    }
}
