//! One timer for the node: when a channel has a timeout or a deferral to look at, or a topic messages that are too old.
//!
//! nsqd scans random channels ten times a second; here each channel has at most one alarm, set for its earliest
//! deadline, so an idle channel costs nothing and a deferral is not late by the number of channels.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Weak;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::{self, Instant};

/// Whoever has an alarm set.
pub(super) trait OnAlarm: Send + Sync {
    /// Looks at what is due. Called with no lock held.
    fn on_alarm(&self, now: Instant);
}

#[derive(Debug)]
struct Alarm {
    at: Instant,
    order: u64,
    whose: Weak<dyn OnAlarm>,
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Alarm {}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[derive(Debug, Default)]
struct Heap {
    alarms: BinaryHeap<Reverse<Alarm>>,
    order: u64,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    heap: Mutex<Heap>,
    earlier: Notify,
}

impl Alarms {
    /// Has `whose` look no earlier than `at`.
    pub(super) fn set(&self, at: Instant, whose: Weak<dyn OnAlarm>) {
        let mut heap = self.heap.lock();
        heap.order += 1;
        let alarm = Alarm { at, order: heap.order, whose };
        let is_first = heap.alarms.peek().is_none_or(|Reverse(first)| at < first.at);
        heap.alarms.push(Reverse(alarm));
        drop(heap);
        if is_first {
            self.earlier.notify_one();
        }
    }

    fn next(&self) -> Option<Instant> {
        self.heap.lock().alarms.peek().map(|Reverse(alarm)| alarm.at)
    }

    fn pop_due(&self, now: Instant) -> Option<Weak<dyn OnAlarm>> {
        let mut heap = self.heap.lock();
        if heap.alarms.peek().is_none_or(|Reverse(alarm)| alarm.at > now) {
            return None;
        }
        heap.alarms.pop().map(|Reverse(alarm)| alarm.whose)
    }

    /// Rings, for as long as it is polled.
    pub(super) async fn ring(&self) {
        loop {
            match self.next() {
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = self.earlier.notified() => continue,
                },
                None => {
                    self.earlier.notified().await;
                    continue;
                }
            }
            let now = clock::now();
            while let Some(whose) = self.pop_due(now) {
                if let Some(whose) = whose.upgrade() {
                    whose.on_alarm(now);
                }
            }
        }
    }
}
