//! The only place that reads time.
//!
//! Deadlines are [`Instant`]s of Tokio's clock, so a test that pauses it owns them; publish timestamps are wall-clock
//! nanoseconds since the Unix epoch, as NSQ's wire format wants them.

mod jitter;
mod moment;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use jitter::jittered;
pub use moment::moment;

pub use tokio::time::Instant;

/// The present moment of the monotonic clock.
#[must_use]
pub fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    Instant::now()
}

/// Time passed since `earlier`; zero if it lies ahead.
#[must_use]
pub fn since(earlier: Instant) -> Duration {
    now().saturating_duration_since(earlier)
}

/// Wall-clock nanoseconds since the Unix epoch (negative before 1970; saturates in the year 2262).
#[must_use]
pub fn unix_nanos() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    let now = SystemTime::now();
    match now.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n),
    }
}

/// The present moment in the machine's time zone, for names that people read.
#[must_use]
pub fn local() -> jiff::ZonedDateTime {
    let now = jiff::Timestamp::from_nanosecond(unix_nanos().into()).unwrap_or_default();
    now.to_zoned_datetime(jiff::tz::TimeZone::system())
}

/// Wall-clock seconds since the Unix epoch.
#[must_use]
pub fn unix_seconds() -> i64 {
    unix_nanos().div_euclid(1_000_000_000)
}
