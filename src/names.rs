//! Topic and channel names and message ids: parse, validate, mint.
//!
//! Source of the rules: nsqd 1.3.0 `internal/protocol/names.go` and `nsqd/guid.go`.

/// Longest topic or channel name in bytes, `#ephemeral` included.
pub const NAME_LEN_MAX: usize = 64;

/// Suffix of topics and channels that live in memory only and vanish with their last user.
pub const EPHEMERAL_SUFFIX: &str = "#ephemeral";

/// Whether `name` is a valid topic or channel name: 1 to 64 bytes of `^[.a-zA-Z0-9_-]+(#ephemeral)?$`.
#[must_use]
pub fn is_valid_name(name: &[u8]) -> bool {
    if name.len() > NAME_LEN_MAX {
        return false;
    }
    let stem = name.strip_suffix(EPHEMERAL_SUFFIX.as_bytes()).unwrap_or(name);
    !stem.is_empty()
        && stem
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Whether `name` ends in `#ephemeral`.
#[must_use]
pub fn is_ephemeral(name: &str) -> bool {
    name.ends_with(EPHEMERAL_SUFFIX)
}

/// A message id: on the wire 16 lower-case hexadecimal digits, inside a 64-bit number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u64);

impl MessageId {
    /// Length on the wire, in bytes.
    pub const LEN: usize = 16;

    /// Reads the 16 hexadecimal digits; `None` for anything that [`MessageId::to_hex`] never wrote.
    #[must_use]
    pub fn from_hex(hex: &[u8; Self::LEN]) -> Option<Self> {
        // Bad digits are looked for once at the end: they are the rare case.
        let (mut value, mut bad) = (0_u64, 0);
        for &digit in hex {
            let nibble = NIBBLES.get(usize::from(digit)).copied().unwrap_or(NOT_HEX);
            bad |= nibble;
            value = value << 4 | u64::from(nibble & 0x0f);
        }
        (bad & NOT_HEX == 0).then_some(Self(value))
    }

    /// The 16 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> [u8; Self::LEN] {
        let mut hex = [0; Self::LEN];
        for (place, byte) in hex.as_chunks_mut().0.iter_mut().zip(self.0.to_be_bytes()) {
            *place = PAIRS.get(usize::from(byte)).copied().unwrap_or_default();
        }
        hex
    }
}

/// Marks what is no digit in [`NIBBLES`].
const NOT_HEX: u8 = 0x80;
/// The value of each digit.
#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated when it is compiled"
)]
const NIBBLES: [u8; 256] = {
    let mut nibbles = [NOT_HEX; 256];
    let mut byte = 0;
    while byte < PAIRS.len() {
        let [high, low] = PAIRS[byte];
        if high == b'0' {
            nibbles[low as usize] = byte as u8 & 0x0f;
        }
        byte += 1;
    }
    nibbles
};
/// The two digits of each byte.
#[allow(clippy::indexing_slicing, reason = "evaluated when it is compiled")]
const PAIRS: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0x0f]];
        byte += 1;
    }
    pairs
};

impl std::fmt::Display for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_nsqd() {
        for good in [
            "a",
            "a.b-c_D9",
            "t#ephemeral",
            &"x".repeat(64),
            &format!("{}#ephemeral", "x".repeat(54)),
        ] {
            assert!(is_valid_name(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "#ephemeral",
            "t#foo",
            "a b",
            "a/b",
            "ü",
            &"x".repeat(65),
            &format!("{}#ephemeral", "x".repeat(55)),
        ] {
            assert!(!is_valid_name(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn ids_round_trip() {
        for value in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            let id = MessageId(value);
            assert_eq!(MessageId::from_hex(&id.to_hex()), Some(id));
            assert_eq!(id.to_string().as_bytes(), id.to_hex());
        }
        for (at, bad) in (0..16).flat_map(|at| (0..=u8::MAX).map(move |bad| (at, bad))) {
            let mut hex = *b"0123456789abcdef";
            hex[at] = bad;
            let is_digit = matches!(bad, b'0'..=b'9' | b'a'..=b'f');
            assert_eq!(MessageId::from_hex(&hex).is_some(), is_digit, "{bad} at {at}");
        }
        assert_eq!(MessageId::from_hex(b"0123456789abcdeg"), None);
    }
}
