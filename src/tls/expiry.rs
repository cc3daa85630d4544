//! When a certificate expires: the one figure of it that somebody has to be told.

/// The last moment at which a certificate (DER, X.509) is valid, Unix seconds; `None` for what is none.
#[must_use]
pub fn not_after(certificate: &[u8]) -> Option<i64> {
    let (SEQUENCE, signed, _) = element(certificate)? else { return None };
    let (SEQUENCE, mut rest, _) = element(signed)? else { return None };
    // The version may be left out; serial number, algorithm and issuer come next.
    if let (VERSION, _, behind) = element(rest)? {
        rest = behind;
    }
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (SEQUENCE, validity, _) = element(rest)? else { return None };
    let (_, _, second) = element(validity)?;
    let (kind, text, _) = element(second)?;
    moment(kind, std::str::from_utf8(text).ok()?)
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The tag and content of the first element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let bytes = usize::from(first & 0x7f);
        if bytes == 0 || bytes > 4 {
            return None;
        }
        let (digits, rest) = rest.split_at_checked(bytes)?;
        (digits.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    let (content, behind) = rest.split_at_checked(length)?;
    Some((tag, content, behind))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280, 4.1.2.5).
fn moment(kind: u8, text: &str) -> Option<i64> {
    let digits = text.strip_suffix('Z')?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match kind {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    let (hour, minute, second) = (part(4)?, part(6)?, part(8)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days since 1970 of a date of our calendar (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificates_end_is_found() {
        let mut parameters = rcgen::CertificateParams::new(vec!["a.example".into()]).unwrap();
        for (year, unix) in [(2031, 1_953_936_000_i64), (2077, 3_405_628_800)] {
            parameters.not_after = rcgen::date_time_ymd(year, 12, 2);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = parameters.self_signed(&key).unwrap();
            assert_eq!(not_after(certificate.der()), Some(unix), "{year}");
        }
        assert_eq!(not_after(b""), None);
        assert_eq!(not_after(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn dates_are_days_since_1970() {
        assert_eq!((days(1970, 1, 1), days(2000, 2, 29), days(1969, 12, 31)), (0, 11_016, -1));
        assert_eq!(moment(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(moment(GENERALIZED_TIME, "20000229010203Z"), Some(951_786_123));
        assert_eq!(moment(UTC_TIME, "7001010000Z"), None);
        assert_eq!(moment(UTC_TIME, "701301000000Z"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_much(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            // Whatever it is: it comes to an end.
            proptest::prop_assert!(not_after(&bytes).is_none_or(|end| end > i64::MIN));
        }
    }
}
