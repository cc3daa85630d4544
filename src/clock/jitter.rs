//! How long to wait before trying again.

use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

/// Between half of `delay` and all of it, so that many do not come back at the same moment.
#[must_use]
pub fn jittered(delay: Duration) -> Duration {
    // The standard library's hash seeds are random for each instance; that is as much chance as is needed here.
    let random = std::hash::RandomState::new().build_hasher().finish();
    let share = u32::try_from(random % 512).unwrap_or(0);
    delay / 2 + delay / 1024 * share
}
