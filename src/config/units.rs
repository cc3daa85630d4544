//! Numbers with units: durations, sizes and rates. Errors say what is expected.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::limit::Rate;

/// Units of time, longest first, in nanoseconds.
const TIME: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Units of size, in bytes.
const SIZE: [(&str, u64); 9] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads `500ms`, `1m`, `1h30m`, `1.5s`, or a plain `0`.
///
/// # Errors
/// What is expected, and what was found.
pub fn duration(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a duration such as 500ms, 10s or 1h30m";
    let wrong = || format!("{EXPECTED}, found \"{text}\"");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos = 0_u64;
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let (unit, after) = split_at_char(after, |c| c.is_ascii_digit() || c == '.');
        if number.is_empty() {
            return Err(wrong());
        }
        if unit.is_empty() {
            return Err(format!("{EXPECTED}, found \"{text}\" without a unit"));
        }
        let Some((_, scale)) = TIME.iter().find(|(name, _)| *name == unit) else {
            let units = "ns, us, ms, s, m, h or d";
            return Err(format!(
                "{EXPECTED}, found \"{text}\": the unit \"{unit}\" is none of {units}"
            ));
        };
        let part = scaled(number, *scale).ok_or_else(wrong)?;
        nanos = nanos.checked_add(part).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() {
        return Err(wrong());
    }
    Ok(Duration::from_nanos(nanos))
}

/// Reads `20MiB`, `64KB`, `1.5GiB`, or a plain number of bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    const EXPECTED: &str = "expected a size such as 1048576, 64KB or 20MiB";
    let wrong = || format!("{EXPECTED}, found \"{text}\"");
    let (number, unit) = split_number(text);
    if number.is_empty() {
        return Err(wrong());
    }
    let unit = unit.trim_start();
    let Some((_, scale)) =
        SIZE.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit) || unit.is_empty())
    else {
        let units = "B, KB, MB, GB, TB, KiB, MiB, GiB or TiB";
        return Err(format!(
            "{EXPECTED}, found \"{text}\": the unit \"{unit}\" is none of {units}"
        ));
    };
    scaled(number, *scale).ok_or_else(wrong)
}

/// Reads `5000/s`, `300/m`, `10/h`.
pub(super) fn message_rate(text: &str) -> Result<Rate, String> {
    const EXPECTED: &str = "expected messages in a span of time such as 5000/s, 300/m or 10/h";
    let (amount, per) = span(text, EXPECTED)?;
    let amount = match amount.parse::<u64>() {
        Ok(amount) => amount,
        _ if size(amount).is_ok() => {
            return Err(format!(
                "{EXPECTED}, found \"{text}\"; a limit in bytes is written with the key \"bytes\""
            ));
        }
        _ => return Err(format!("{EXPECTED}, found \"{text}\"")),
    };
    rate(amount, per)
}

/// Reads `20MiB/s`, `500KB/m`.
pub(super) fn byte_rate(text: &str) -> Result<Rate, String> {
    const EXPECTED: &str = "expected bytes in a span of time such as 20MiB/s or 500KB/m";
    let (amount, per) = span(text, EXPECTED)?;
    let amount = size(amount).map_err(|_| format!("{EXPECTED}, found \"{text}\""))?;
    rate(amount, per)
}

fn span<'a>(text: &'a str, expected: &str) -> Result<(&'a str, Duration), String> {
    let Some((amount, per)) = text.split_once('/') else {
        return Err(format!("{expected}, found \"{text}\" without a span of time"));
    };
    let seconds = match per.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        other => {
            return Err(format!(
                "{expected}, found \"{text}\": the span \"{other}\" is none of s, m or h"
            ));
        }
    };
    Ok((amount.trim(), Duration::from_secs(seconds)))
}

fn rate(amount: u64, per: Duration) -> Result<Rate, String> {
    NonZeroU64::new(amount).and_then(|amount| Rate::new(amount, per)).ok_or_else(|| {
        "a limit of zero lets nothing pass; take the route out to stop it".to_owned()
    })
}

fn split_number(text: &str) -> (&str, &str) {
    split_at_char(text, |c| !c.is_ascii_digit() && c != '.')
}

fn split_at_char(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

/// `number`, which may have a fraction, times `scale`, rounded down.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let digits = u32::try_from(fraction.len()).ok()?;
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(scale)
        / 10_u128.checked_pow(digits)?;
    whole.checked_mul(scale)?.checked_add(u64::try_from(part).ok()?)
}

/// The duration as it is written in the configuration.
pub(super) fn show_duration(duration: Duration) -> String {
    let mut nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    if nanos == 0 {
        return "0".to_owned();
    }
    let mut text = String::new();
    for (unit, scale) in TIME {
        if nanos >= scale {
            text.push_str(&format!("{}{unit}", nanos / scale));
            nanos %= scale;
        }
    }
    text
}

/// The size as it is written in the configuration, in the largest unit that leaves no fraction.
pub(super) fn show_size(bytes: u64) -> String {
    let unit = SIZE
        .iter()
        .filter(|(_, scale)| bytes >= *scale && bytes.is_multiple_of(*scale))
        .max_by_key(|(_, scale)| *scale);
    match unit {
        Some((name, scale)) => format!("{}{name}", bytes / scale),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("500ms", 500),
            ("1m", 60_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1_500),
            ("0", 0),
            ("1d", 86_400_000),
            ("2000us", 2),
        ] {
            let expected = Duration::from_millis(millis);
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
        for (text, words) in [
            ("", "found \"\""),
            ("5", "without a unit"),
            ("1h30", "without a unit"),
            ("5 s", "the unit \" s\" is none of"),
            ("5sec", "the unit \"sec\" is none of"),
            ("fast", "found \"fast\""),
            ("-5s", "found \"-5s\""),
            ("1..5s", "found \"1..5s\""),
            ("99999999999999h", "found"),
        ] {
            let error = duration(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("1048576", 1 << 20),
            ("64KB", 64_000),
            ("20MiB", 20 << 20),
            ("20 mib", 20 << 20),
            ("1.5GiB", 3 << 29),
            ("0", 0),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for (text, words) in [
            ("", "found \"\""),
            ("20M", "the unit \"M\" is none of"),
            ("MiB", "found \"MiB\""),
            ("99999999TiB", "found"),
            ("-1", "found \"-1\""),
        ] {
            let error = size(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!(message_rate("5000/s").unwrap().to_string(), "5000/s");
        assert_eq!(message_rate("30 / m").unwrap().to_string(), "30/m");
        assert_eq!(byte_rate("20MiB/s").unwrap().amount(), 20 << 20);
        for (text, words) in [
            ("5000", "without a span of time"),
            ("5000/sec", "the span \"sec\" is none of s, m or h"),
            ("20MiB/s", "the key \"bytes\""),
            ("fast/s", "found \"fast/s\""),
            ("0/s", "a limit of zero lets nothing pass"),
        ] {
            let error = message_rate(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(byte_rate("20Mbit/s").unwrap_err().contains("such as 20MiB/s"));
        assert!(byte_rate("0/s").unwrap_err().contains("zero"));
    }

    #[test]
    fn shown_as_written() {
        for text in ["1h30m", "500ms", "0", "1m"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
        for text in ["20MiB", "64KB", "1023B", "0B"] {
            assert_eq!(show_size(size(text).unwrap()), text);
        }
    }
}
