//! Moments as people write them: Unix seconds, or RFC 3339 such as `2024-05-01T12:00:00Z`.

/// The moment that `text` names, nanoseconds since the Unix epoch: whole Unix seconds, or RFC 3339 (years 1970 to 2261).
/// Nothing if it is neither.
#[must_use]
pub fn moment(text: &str) -> Option<i64> {
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => i64::try_from(seconds).ok()?,
        Err(_) => return rfc3339(text),
    };
    seconds.checked_mul(1_000_000_000)
}

/// The number that `text` begins with, of exactly so many digits, and what follows it.
fn digits(text: &str, count: usize) -> Option<(i64, &str)> {
    let (digits, rest) = text.split_at_checked(count)?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Some((digits.parse().ok()?, rest)))?
}

fn rfc3339(text: &str) -> Option<i64> {
    let (year, rest) = digits(text, 4)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let (hour, rest) = digits(rest.strip_prefix(['T', 't', ' '])?, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(':')?, 2)?;
    let (second, rest) = digits(rest.strip_prefix(':')?, 2)?;
    let is_date = (1970..2262).contains(&year) && (1..=days_of(year, month)?).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (nanos, rest) = fraction(rest)?;
    let days = days_before(year, month)? + day - 1;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    seconds.checked_sub(offset(rest)?)?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// Nanoseconds of a fraction, if there is one, and what follows it.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, rest) = rest.split_at_checked(end)?;
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    let number: i64 = digits.parse().ok()?;
    let missing = u32::try_from(9 - digits.len()).ok()?;
    Some((number * 10_i64.pow(missing), rest))
}

/// Seconds that the local time is ahead of UTC.
fn offset(text: &str) -> Option<i64> {
    if text == "Z" || text == "z" {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, rest) = digits(text.get(1..)?, 2)?;
    let (minutes, rest) = digits(rest.strip_prefix(':')?, 2)?;
    (rest.is_empty() && hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days of a month.
const fn days_of(year: i64, month: i64) -> Option<i64> {
    Some(match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    })
}

/// Days from the Unix epoch to the first of a month.
fn days_before(year: i64, month: i64) -> Option<i64> {
    let years = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum::<i64>();
    let months = (1..month).map(|month| days_of(year, month)).sum::<Option<i64>>()?;
    Some(years + months)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_or_refused() {
        let second = 1_000_000_000;
        for (text, expected) in [
            ("0", Some(0)),
            ("1700000000", Some(1_700_000_000 * second)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2023-11-14T22:13:20Z", Some(1_700_000_000 * second)),
            ("2023-11-14T23:13:20.5+01:00", Some(1_700_000_000 * second + second / 2)),
            ("2024-02-29 12:00:00Z", Some(1_709_208_000 * second)),
            ("2000-03-01T00:00:00-00:30", Some(951_870_600 * second)),
            ("2023-02-29T12:00:00Z", None),
            ("2023-13-01T12:00:00Z", None),
            ("2023-11-14T24:00:00Z", None),
            ("2023-11-14", None),
            ("2023-11-14T22:13:20", None),
            ("2023-11-14T22:13:20.Z", None),
            ("-5", None),
            ("", None),
            ("99999999999999999999", None),
            ("2ü3-11-14T22:13:20Z", None),
        ] {
            assert_eq!(moment(text), expected, "{text}");
        }
    }
}
