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
        let mut value = 0_u64;
        for &digit in hex {
            let nibble = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            value = value << 4 | u64::from(nibble);
        }
        Some(Self(value))
    }

    /// The 16 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> [u8; Self::LEN] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; Self::LEN];
        for (place, digit) in hex.iter_mut().enumerate() {
            let nibble = self.0 >> (60 - 4 * place) & 0x0f;
            *digit =
                usize::try_from(nibble).ok().and_then(|at| DIGITS.get(at)).copied().unwrap_or(b'0');
        }
        hex
    }
}

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
        assert_eq!(MessageId::from_hex(b"0123456789ABCDEF"), None);
        assert_eq!(MessageId::from_hex(b"0123456789abcdeg"), None);
    }
}
