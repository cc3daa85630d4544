//! How long a node may take its lease for granted.
//!
//! The count begins when a renewal is asked for, before etcd begins its own, and stops a third of the time early: what
//! lives with the lease is at rest here when etcd lets others have it.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::clock::{self, Instant};

/// A lease that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) id: i64,
    /// Without a renewal it is over after this.
    pub(super) time: Duration,
    /// When the last renewal that succeeded was asked for.
    pub(super) renewed: Instant,
}

impl Lease {
    /// From here on it must not be relied on.
    pub(super) fn safe_until(&self) -> Instant {
        self.renewed + self.time * 2 / 3
    }

    /// Between two renewals.
    pub(super) fn interval(&self) -> Duration {
        self.time / 4
    }

    /// How long what lives with it may take to come to rest: it is at rest before the lease is over.
    pub(super) fn settling(&self) -> Duration {
        self.time / 6
    }
}

/// The lease of the moment, seen by who renews it, who relies on it and who watches the clock.
#[derive(Debug)]
pub(super) struct Held {
    lease: Mutex<Option<Lease>>,
    changes: watch::Sender<()>,
}

impl Held {
    pub(super) fn nothing() -> Self {
        Self { lease: Mutex::new(None), changes: watch::Sender::new(()) }
    }

    pub(super) fn get(&self) -> Option<Lease> {
        *self.lease.lock()
    }

    /// The lease, if it can be relied on now.
    pub(super) fn safe(&self) -> Option<Lease> {
        self.get().filter(|lease| clock::now() < lease.safe_until())
    }

    pub(super) fn set(&self, lease: Option<Lease>) {
        *self.lease.lock() = lease;
        self.changes.send_replace(());
    }

    /// A renewal of the lease `id`, asked for at `asked`, has succeeded.
    pub(super) fn renewed(&self, id: i64, asked: Instant, time: Duration) {
        if let Some(lease) = self.lease.lock().as_mut().filter(|lease| lease.id == id) {
            (lease.renewed, lease.time) = (asked, time);
        }
        self.changes.send_replace(());
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Returns whenever the lease has come to where it must not be relied on. For as long as it is polled.
    pub(super) async fn watch(&self, mut overdue: impl FnMut()) {
        let mut changes = self.changes();
        loop {
            changes.borrow_and_update();
            if let Some(lease) = self.get().filter(|lease| clock::now() < lease.safe_until()) {
                tokio::select! {
                    _ = changes.changed() => {}
                    () = sleep_until(lease.safe_until()) => {}
                }
                continue;
            }
            overdue();
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const TIME: Duration = Duration::from_secs(6);

    #[tokio::test(start_paused = true)]
    async fn what_is_not_renewed_is_at_rest_before_the_lease_is_over() {
        let held = Arc::new(Held::nothing());
        let calls = Arc::new(AtomicUsize::new(0));
        let (of_watch, counted) = (Arc::clone(&held), Arc::clone(&calls));
        let watching = async move {
            of_watch
                .watch(|| counted.store(counted.load(Ordering::Relaxed) + 1, Ordering::Relaxed))
                .await;
        };
        let test = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(calls.load(Ordering::Relaxed), 1, "there is no lease yet");
            let lease = Lease { id: 7, time: TIME, renewed: clock::now() };
            assert!(lease.safe_until() + lease.settling() < lease.renewed + lease.time);
            held.set(Some(lease));
            for _ in 0..10 {
                tokio::time::sleep(lease.interval()).await;
                held.renewed(7, clock::now(), TIME);
                // One that is not ours any more does not count.
                held.renewed(8, clock::now() + TIME, TIME);
            }
            assert_eq!((calls.load(Ordering::Relaxed), held.safe().is_some()), (1, true));
            tokio::time::sleep(Duration::from_millis(3_900)).await;
            assert_eq!((calls.load(Ordering::Relaxed), held.safe().is_some()), (1, true));
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!((calls.load(Ordering::Relaxed), held.safe().is_some()), (2, false));
            held.renewed(7, clock::now(), TIME);
            tokio::time::sleep(Duration::from_millis(5_000)).await;
            assert_eq!(calls.load(Ordering::Relaxed), 3);
        };
        tokio::select! {
            () = watching => panic!("it watches on"),
            () = test => {}
        }
    }
}
