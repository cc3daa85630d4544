//! Why there is no connection, and why a publish was refused.

use std::fmt;

use crate::protocol::ErrorCode;
use crate::tls::TlsError;

/// Why a connection could not be made, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is not `host:port`.
    #[error("\"{0}\" is not host:port")]
    Address(String),
    /// It took too long.
    #[error("{0} took too long")]
    Timeout(&'static str),
    /// The socket.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// TLS cannot be begun: a file or a name is wrong.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The two sides do not agree on TLS, or one does not trust the other.
    #[error("TLS: {0}")]
    Handshake(String),
    /// The nsqd does not offer what is asked for.
    #[error("it does not offer {0}")]
    Lacks(&'static str),
    /// The nsqd asks for AUTH, and there is no secret.
    #[error("it asks for AUTH; give auth_secret")]
    NoSecret,
    /// The nsqd refused.
    #[error("{0}")]
    Refused(Refusal),
    /// What came is not NSQ's protocol.
    #[error("not NSQ's protocol: {0}")]
    Protocol(String),
}

impl ConnectError {
    /// Whether somebody has to mend something before it can be better.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Address(_)
            | Self::Tls(_)
            | Self::Handshake(_)
            | Self::Lacks(_)
            | Self::NoSecret
            | Self::Protocol(_) => true,
            Self::Refused(refusal) => refusal.is_lasting(),
            Self::Timeout(_) | Self::Io(_) => false,
        }
    }
}

/// An error frame: a code and its description, in the nsqd's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The whole text, such as `E_BAD_MESSAGE PUB message too big 11 > 10`.
    pub text: String,
}

impl Refusal {
    /// Of an error frame's data.
    #[must_use]
    pub fn new(data: &[u8]) -> Self {
        Self { text: String::from_utf8_lossy(data).into_owned() }
    }

    fn is(&self, code: ErrorCode) -> bool {
        self.text.split(' ').next() == Some(code.as_str())
    }

    /// Whether the publish itself is at fault: its body, or its topic's name. Nothing else would be refused with it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        [ErrorCode::BadMessage, ErrorCode::BadBody, ErrorCode::BadTopic, ErrorCode::Invalid]
            .iter()
            .any(|code| self.is(*code))
    }

    /// Whether a body was refused for its size.
    #[must_use]
    pub fn is_size(&self) -> bool {
        (self.is(ErrorCode::BadMessage) || self.is(ErrorCode::BadBody))
            && (self.text.contains("too big") || self.text.contains("invalid body size"))
    }

    /// Whether the connection goes on behind it.
    #[must_use]
    pub fn is_of_settling(&self) -> bool {
        [ErrorCode::FinFailed, ErrorCode::ReqFailed, ErrorCode::TouchFailed]
            .iter()
            .any(|code| self.is(*code))
    }

    /// Whether somebody has to mend something: rights and names do not come by themselves.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        let lasting = [
            ErrorCode::Unauthorized,
            ErrorCode::AuthFirst,
            ErrorCode::AuthDisabled,
            ErrorCode::BadTopic,
            ErrorCode::BadChannel,
            ErrorCode::BadBody,
            ErrorCode::BadProtocol,
            ErrorCode::IdentifyFailed,
            ErrorCode::Invalid,
        ];
        lasting.iter().any(|code| self.is(*code))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_says_who_is_at_fault() {
        let of = |text: &str| Refusal::new(text.as_bytes());
        assert!(of("E_BAD_MESSAGE PUB message too big 11 > 10").is_final());
        assert!(of("E_BAD_MESSAGE PUB message too big 11 > 10").is_size());
        assert!(of("E_BAD_BODY MPUB body too big 11 > 10").is_size());
        assert!(!of("E_BAD_MESSAGE PUB invalid message body size 0").is_size());
        assert!(!of("E_PUB_FAILED PUB failed exiting").is_final());
        assert!(!of("E_BAD_MESSAGES x").is_final());
        assert!(of("E_FIN_FAILED FIN 0 failed ID not in flight").is_of_settling());
        assert!(of("E_UNAUTHORIZED AUTH failed").is_lasting());
        assert!(!of("E_AUTH_FAILED AUTH failed").is_lasting(), "the auth server may come back");
    }
}
