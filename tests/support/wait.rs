//! Awaiting a condition with a deadline, where nothing tells when it comes true.

use std::time::{Duration, Instant};

/// Long enough for anything on a busy two-core machine; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Calls `look` until it gives a value; `None` when `limit` has passed.
pub(crate) fn until<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if began.elapsed() > limit {
            return None;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Calls `look` until it gives a value, and panics with `what` when [`PATIENCE`] ends.
pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until(PATIENCE, look).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain: {what}"))
}

/// Awaits that `condition` holds, and panics with `what` when [`PATIENCE`] ends.
pub(crate) fn until_true(what: &str, mut condition: impl FnMut() -> bool) {
    eventually(what, || condition().then_some(()));
}
