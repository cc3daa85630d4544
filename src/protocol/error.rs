//! NSQ's errors: the codes, whether they end the connection, and how names are quoted in their texts.
//!
//! Source: nsqd 1.3.0 `internal/protocol/errors.go` and the calls of `NewFatalClientErr` and `NewClientErr`.

use std::fmt::{self, Write as _};

/// A code as it stands first in an error frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// Wrong magic.
    BadProtocol,
    /// Unknown command, wrong state, bad parameters.
    Invalid,
    /// Invalid topic name.
    BadTopic,
    /// Invalid channel name.
    BadChannel,
    /// A problem with the body of IDENTIFY, AUTH or MPUB.
    BadBody,
    /// A problem with the body of PUB or DPUB, or with a member of MPUB.
    BadMessage,
    /// Negotiation or upgrade failed.
    IdentifyFailed,
    /// PUB was refused.
    PubFailed,
    /// MPUB was refused.
    MpubFailed,
    /// DPUB was refused.
    DpubFailed,
    /// SUB was refused.
    SubFailed,
    /// AUTH although no auth server is configured.
    AuthDisabled,
    /// A command that needs AUTH before it.
    AuthFirst,
    /// No auth server gave an answer that can be used.
    AuthFailed,
    /// What the auth server allows is nothing, or not this.
    Unauthorized,
    /// FIN of a message that is not in flight here. Not fatal.
    FinFailed,
    /// REQ of a message that is not in flight here. Not fatal.
    ReqFailed,
    /// TOUCH of a message that is not in flight here. Not fatal.
    TouchFailed,
}

impl ErrorCode {
    /// The code's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadProtocol => "E_BAD_PROTOCOL",
            Self::Invalid => "E_INVALID",
            Self::BadTopic => "E_BAD_TOPIC",
            Self::BadChannel => "E_BAD_CHANNEL",
            Self::BadBody => "E_BAD_BODY",
            Self::BadMessage => "E_BAD_MESSAGE",
            Self::IdentifyFailed => "E_IDENTIFY_FAILED",
            Self::PubFailed => "E_PUB_FAILED",
            Self::MpubFailed => "E_MPUB_FAILED",
            Self::DpubFailed => "E_DPUB_FAILED",
            Self::SubFailed => "E_SUB_FAILED",
            Self::AuthDisabled => "E_AUTH_DISABLED",
            Self::AuthFirst => "E_AUTH_FIRST",
            Self::AuthFailed => "E_AUTH_FAILED",
            Self::Unauthorized => "E_UNAUTHORIZED",
            Self::FinFailed => "E_FIN_FAILED",
            Self::ReqFailed => "E_REQ_FAILED",
            Self::TouchFailed => "E_TOUCH_FAILED",
        }
    }

    /// Whether the connection is closed behind the error frame.
    #[must_use]
    pub const fn is_fatal(self) -> bool {
        !matches!(self, Self::FinFailed | Self::ReqFailed | Self::TouchFailed)
    }
}

/// An error frame's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolError {
    /// The code.
    pub code: ErrorCode,
    /// What follows it, behind one space; nothing for [`ErrorCode::BadProtocol`].
    pub description: Vec<u8>,
}

impl ProtocolError {
    /// An error with this description.
    #[must_use]
    pub fn new(code: ErrorCode, description: impl Into<Vec<u8>>) -> Self {
        Self { code, description: description.into() }
    }

    /// The frame's data. Not always UTF-8: message ids are echoed as they came.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.code.as_str().as_bytes().to_vec();
        if !self.description.is_empty() {
            bytes.push(b' ');
            bytes.extend(&self.description);
        }
        bytes
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

impl std::error::Error for ProtocolError {}

/// `bytes` as Go's `%q` prints them.
#[must_use]
pub fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_quoted(&mut text, c);
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            write!(text, "\\x{byte:02x}").unwrap_or_default();
        }
    }
    text.push('"');
    text
}

fn push_quoted(text: &mut String, c: char) {
    let written = match c {
        '"' => text.write_str("\\\""),
        '\\' => text.write_str("\\\\"),
        '\u{7}' => text.write_str("\\a"),
        '\u{8}' => text.write_str("\\b"),
        '\u{c}' => text.write_str("\\f"),
        '\n' => text.write_str("\\n"),
        '\r' => text.write_str("\\r"),
        '\t' => text.write_str("\\t"),
        '\u{b}' => text.write_str("\\v"),
        c if c < ' ' || c == '\u{7f}' => write!(text, "\\x{:02x}", u32::from(c)),
        c if is_printable(c) => text.write_char(c),
        c if u32::from(c) < 0x1_0000 => write!(text, "\\u{:04x}", u32::from(c)),
        c => write!(text, "\\U{:08x}", u32::from(c)),
    };
    // Writing to a String cannot fail.
    written.unwrap_or_default();
}

/// Go prints letters, marks, numbers, punctuation, symbols and the ASCII space; what Rust escapes is close to the rest.
fn is_printable(c: char) -> bool {
    c == ' '
        || (!c.is_whitespace() && !c.is_control() && c.escape_debug().count() == 1)
        || matches!(c, '\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_is_gos() {
        for (bytes, text) in [
            (&b"a b"[..], r#""a b""#),
            (b"\"\\", r#""\"\\""#),
            (b"\xff\x00\x7f", r#""\xff\x00\x7f""#),
            (b"\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
            ("ü'\u{a0}\u{10ffff}".as_bytes(), r#""ü'\u00a0\U0010ffff""#),
        ] {
            assert_eq!(quoted(bytes), text);
        }
    }

    #[test]
    fn only_three_errors_leave_the_connection_open() {
        assert!(!ErrorCode::FinFailed.is_fatal());
        assert!(!ErrorCode::ReqFailed.is_fatal());
        assert!(!ErrorCode::TouchFailed.is_fatal());
        assert!(ErrorCode::PubFailed.is_fatal());
        assert_eq!(ProtocolError::new(ErrorCode::BadProtocol, "").to_bytes(), b"E_BAD_PROTOCOL");
        assert_eq!(ProtocolError::new(ErrorCode::Invalid, "x y").to_string(), "E_INVALID x y");
    }
}
