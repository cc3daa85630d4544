//! Bodies inside of JSON: dead letters with their reason and origin, messages that somebody looks at, and whole messages
//! with properties and headers on their way through NSQ ([`message`]).

mod base64;
mod headers;
pub mod message;

use serde::{Deserialize, Serialize};

use super::properties::Table;
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

/// What a base64 text stands for; `None` for what is none.
#[must_use]
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    base64::decode(text)
}

/// Headers as an envelope has them.
#[must_use]
pub fn headers_json(headers: &Table) -> serde_json::Value {
    // Texts, numbers and names can always be written.
    serde_json::to_value(headers::Plain(headers)).unwrap_or_default()
}

/// A dead letter that was found in an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The topic that it comes from.
    pub topic: String,
    /// The body as it was published.
    pub body: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Opened {
    #[serde(rename = "reason")]
    _reason: String,
    topic: String,
    #[serde(rename = "channel")]
    _channel: String,
    #[serde(rename = "id")]
    _id: String,
    #[serde(rename = "timestamp")]
    _timestamp: i64,
    #[serde(rename = "attempts")]
    _attempts: u16,
    encoding: Option<String>,
    body: String,
}

/// The dead letter in an envelope of [`json`]; `None` for anything else.
#[must_use]
pub fn open(envelope: &[u8]) -> Option<Letter> {
    let opened: Opened = serde_json::from_slice(envelope).ok()?;
    let body = match opened.encoding.as_deref() {
        None => opened.body.into_bytes(),
        Some(BASE64) => base64::decode(&opened.body)?,
        Some(_) => return None,
    };
    Some(Letter { topic: opened.topic, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::MessageId;

    #[test]
    fn an_envelope_is_opened_and_anything_else_is_not() {
        for body in [&b"{\"a\":1}"[..], &[0xff, 0]] {
            let letter = DeadLetter {
                reason: "requeued",
                topic: "orders",
                channel: "billing",
                id: MessageId(255),
                timestamp: 7,
                attempts: 3,
                body,
            };
            let found = open(&json(&letter));
            assert_eq!(found, Some(Letter { topic: "orders".into(), body: body.to_vec() }));
        }
        for other in ["", "7", "{}", r#"{"topic":"orders","body":"x"}"#] {
            assert_eq!(open(other.as_bytes()), None, "{other}");
        }
    }

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
