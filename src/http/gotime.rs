//! Times as Go prints them.

use std::time::Duration;

/// The last second of the year 9999, beyond which RFC 3339 does not go.
const LAST_SECOND: i64 = 253_402_300_799;

/// A duration as Go prints it: `1h2m3.5s`, `1.5ms`, `0s`.
pub(super) fn duration(duration: Duration) -> String {
    const MICRO: u128 = 1_000;
    const MILLI: u128 = 1_000_000;
    const SECOND: u128 = 1_000_000_000;
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0s".to_owned(),
        1..MICRO => format!("{nanos}ns"),
        MICRO..MILLI => decimal(nanos, MICRO) + "µs",
        MILLI..SECOND => decimal(nanos, MILLI) + "ms",
        _ => {
            let minutes = nanos / (60 * SECOND);
            let seconds = decimal(nanos % (60 * SECOND), SECOND) + "s";
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

/// `value` divided by `unit`, a power of ten, without zeros at the end.
fn decimal(value: u128, unit: u128) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    // The unit in front keeps the zeros behind the point.
    let padded = (unit + rest).to_string();
    let digits = padded.strip_prefix('1').unwrap_or(&padded);
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// Unix seconds as RFC 3339 in UTC; the years 1970 to 9999.
pub(super) fn rfc3339(unix_seconds: i64) -> String {
    let seconds = unix_seconds.clamp(0, LAST_SECOND);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a number of days since 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    // Counted from 2000-03-01, years end with the leap day and the calendar repeats every 400 years.
    const BEFORE: i64 = 11_017;
    const IN_FOUR_HUNDRED: i64 = 146_097;
    const IN_HUNDRED: i64 = 36_524;
    const IN_FOUR: i64 = 1_461;
    let days = days - BEFORE;
    let four_hundreds = days.div_euclid(IN_FOUR_HUNDRED);
    let days = days.rem_euclid(IN_FOUR_HUNDRED);
    let hundreds = (days / IN_HUNDRED).min(3);
    let days = days - hundreds * IN_HUNDRED;
    let fours = days / IN_FOUR;
    let days = days % IN_FOUR;
    let ones = (days / 365).min(3);
    let mut day = days - ones * 365;
    let mut year = 2000 + four_hundreds * 400 + hundreds * 100 + fours * 4 + ones;
    let mut month = 3;
    for length in [31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 29] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    if month > 12 {
        month -= 12;
        year += 1;
    }
    (year, month, day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_look_like_gos() {
        for (nanos, text) in [
            (0, "0s"),
            (999, "999ns"),
            (1_500, "1.5µs"),
            (2_000_000, "2ms"),
            (1_050_000_000, "1.05s"),
            (60_000_000_000, "1m0s"),
            (3_600_000_000_001, "1h0m0.000000001s"),
            (3_723_456_789_000, "1h2m3.456789s"),
            (360_000_000_000_000, "100h0m0s"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn dates_follow_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_767_225_600, "2026-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (i64::MAX, "9999-12-31T23:59:59Z"),
            (-1, "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
