//! Bodies inside of JSON: dead letters with their reason and origin, messages that somebody looks at, and whole messages
//! with properties and headers on their way through NSQ ([`message`]).

mod base64;
mod headers;
pub mod message;

use serde::Serialize;

use crate::engine::policy::DeadLetter;

/// What says that a body is not the text itself.
const BASE64: &str = "base64";

/// A body as JSON can carry it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Printable {
    /// `base64` if the body is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<&'static str>,
    /// The body, or its encoding.
    pub body: String,
}

impl Printable {
    /// The body as text if it is UTF-8, else in base64.
    #[must_use]
    pub fn new(body: &[u8]) -> Self {
        match std::str::from_utf8(body) {
            Ok(text) => Self { encoding: None, body: text.to_owned() },
            Err(_) => Self { encoding: Some(BASE64), body: base64::encode(body) },
        }
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    reason: &'a str,
    topic: &'a str,
    channel: &'a str,
    id: String,
    timestamp: i64,
    attempts: u16,
    #[serde(flatten)]
    body: Printable,
}

/// A dead letter in its envelope: one JSON object with the keys `reason`, `topic`, `channel`, `id`, `timestamp` (of the
/// publish, nanoseconds), `attempts`, `encoding` (only for a body that is not UTF-8) and `body`.
#[must_use]
pub fn json(letter: &DeadLetter<'_>) -> Vec<u8> {
    let envelope = Envelope {
        reason: letter.reason,
        topic: letter.topic,
        channel: letter.channel,
        id: letter.id.to_string(),
        timestamp: letter.timestamp,
        attempts: letter.attempts,
        body: Printable::new(letter.body),
    };
    // Texts and numbers can always be written; were it otherwise, the body alone is better than nothing.
    serde_json::to_vec(&envelope).unwrap_or_else(|_| letter.body.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::MessageId;

    #[test]
    fn an_envelope_has_reason_and_origin() {
        let letter = DeadLetter {
            reason: "requeued",
            topic: "orders",
            channel: "billing",
            id: MessageId(255),
            timestamp: 7,
            attempts: 3,
            body: b"{\"a\":1}",
        };
        let text = String::from_utf8(json(&letter)).unwrap();
        assert_eq!(
            text,
            r#"{"reason":"requeued","topic":"orders","channel":"billing","id":"00000000000000ff","timestamp":7,"attempts":3,"body":"{\"a\":1}"}"#
        );
        let text = String::from_utf8(json(&DeadLetter { body: &[0xff], ..letter })).unwrap();
        assert!(text.ends_with(r#""encoding":"base64","body":"/w=="}"#), "{text}");
    }
}
