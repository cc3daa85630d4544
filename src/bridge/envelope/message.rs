//! A message with its properties and headers as one JSON document: how what AMQP knows of a message gets through NSQ.
//!
//! ```json
//! {"leveret":1,"properties":{"content_type":"text/plain"},"headers":{"tries":{"$i32":3}},"body":"…"}
//! ```
//!
//! `leveret` is the version of the format, 1. `properties` has AMQP's names; `headers` are typed as the file `headers.rs`
//! says; both may be missing. `body` is the body, in base64 if there is `"encoding":"base64"`. Other keys at the top are
//! passed over. What is wrapped and unwrapped is what it was.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::base64;
use super::headers::{Headers, Plain};
use crate::bridge::properties::{Properties, Property};

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// A body is not an envelope that can be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// It is not JSON, or not of the right form.
    #[error("not an envelope: {reason}")]
    Form {
        /// What is wrong where, in the parser's words.
        reason: String,
    },
    /// It is of another version.
    #[error("an envelope of version {found}, this node reads version {VERSION}")]
    Version {
        /// Its version.
        found: u32,
    },
    /// Its body says to be base64, and is not.
    #[error("the envelope's body is not base64")]
    Body,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Encoding {
    #[serde(rename = "base64")]
    Base64,
}

#[derive(Serialize)]
struct Written<'a> {
    leveret: u32,
    #[serde(skip_serializing_if = "is_nothing")]
    properties: &'a Properties,
    #[serde(skip_serializing_if = "has_none")]
    headers: Plain<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<Encoding>,
    body: Cow<'a, str>,
}

fn is_nothing(properties: &&Properties) -> bool {
    let has =
        |property| properties.text(property).is_some() || properties.number(property).is_some();
    !Property::ALL.into_iter().any(has)
}

fn has_none(headers: &Plain<'_>) -> bool {
    headers.0.is_empty()
}

#[derive(Deserialize)]
struct Read<'a> {
    leveret: u32,
    #[serde(default)]
    properties: Properties,
    #[serde(default)]
    headers: Headers,
    #[serde(default)]
    encoding: Option<Encoding>,
    #[serde(borrow)]
    body: Cow<'a, str>,
}

/// Puts a message into an envelope.
#[must_use]
pub fn wrap(body: &[u8], properties: &Properties) -> Vec<u8> {
    let (encoding, body) = match std::str::from_utf8(body) {
        Ok(text) => (None, Cow::Borrowed(text)),
        Err(_) => (Some(Encoding::Base64), Cow::Owned(base64::encode(body))),
    };
    let headers = Plain(&properties.headers);
    let written = Written { leveret: VERSION, properties, headers, encoding, body };
    // Texts, numbers and names can always be written, and a vector always takes them.
    serde_json::to_vec(&written).unwrap_or_default()
}

/// Takes a message out of its envelope.
///
/// # Errors
/// [`EnvelopeError`] if `envelope` is none.
pub fn unwrap(envelope: &[u8]) -> Result<(Vec<u8>, Properties), EnvelopeError> {
    let form = |error: serde_json::Error| EnvelopeError::Form { reason: error.to_string() };
    let read: Read<'_> = match serde_json::from_slice(envelope) {
        Ok(read) => read,
        Err(error) => {
            // What a later version looks like is not known: its number is the better message.
            return Err(match version(envelope) {
                Some(found) if found != VERSION => EnvelopeError::Version { found },
                _ => form(error),
            });
        }
    };
    if read.leveret != VERSION {
        return Err(EnvelopeError::Version { found: read.leveret });
    }
    let body = match read.encoding {
        Some(Encoding::Base64) => base64::decode(&read.body).ok_or(EnvelopeError::Body)?,
        None => read.body.into_owned().into_bytes(),
    };
    Ok((body, Properties { headers: read.headers.0, ..read.properties }))
}

fn version(envelope: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Version {
        leveret: u32,
    }
    serde_json::from_slice::<Version>(envelope).ok().map(|version| version.leveret)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bridge::properties::{Table, Value, arbitrary};

    proptest! {
        #[test]
        fn a_message_comes_out_as_it_went_in(
            body in prop_oneof!["\\PC{0,30}".prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 0..30)],
            properties in arbitrary::properties(),
        ) {
            let envelope = wrap(&body, &properties);
            prop_assert_eq!(unwrap(&envelope), Ok((body, properties)), "{}", String::from_utf8_lossy(&envelope));
        }

        #[test]
        fn garbage_is_refused_without_a_panic(body in "[{}\\[\\]\"$a-z0-9:,.]{0,40}") {
            prop_assert!(unwrap(body.as_bytes()).is_err());
        }
    }

    #[test]
    fn the_format_is_as_documented() {
        let headers = Table::from([
            ("list".into(), Value::Array(vec![Value::I64(1), Value::Bool(true), Value::Void])),
            ("odd".into(), Value::Table(Table::from([("$i8".into(), Value::F64(1.5))]))),
            ("price".into(), Value::Decimal { scale: 2, value: 1999 }),
            ("raw".into(), Value::Bytes(vec![0, 255])),
            ("since".into(), Value::Timestamp(1_700_000_000)),
            ("text".into(), "é".into()),
            ("tries".into(), Value::I32(3)),
        ]);
        let properties = Properties {
            content_type: Some("text/plain".into()),
            delivery_mode: Some(2),
            kind: Some("order".into()),
            headers,
            ..Properties::default()
        };
        let text = String::from_utf8(wrap(b"hello", &properties)).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"leveret":1,"properties":{"content_type":"text/plain","delivery_mode":2,"type":"order"},"#,
                r#""headers":{"list":[1,true,null],"odd":{"$table":{"$i8":1.5}},"price":{"$decimal":[1999,2]},"#,
                r#""raw":{"$bytes":"AP8="},"since":{"$timestamp":1700000000},"text":"é","tries":{"$i32":3}},"#,
                r#""body":"hello"}"#
            )
        );
        let text = String::from_utf8(wrap(&[0xff], &Properties::default())).unwrap();
        assert_eq!(text, r#"{"leveret":1,"encoding":"base64","body":"/w=="}"#);
    }

    #[test]
    fn what_is_no_envelope_is_refused_with_the_reason() {
        for (body, expected) in [
            ("hello", "not an envelope: expected value at line 1"),
            (r#"{"body":"x"}"#, "missing field `leveret`"),
            (r#"{"leveret":1}"#, "missing field `body`"),
            (r#"{"leveret":2,"payload":"x"}"#, "version 2, this node reads version 1"),
            (r#"{"leveret":1,"body":"x","encoding":"gzip"}"#, "unknown variant `gzip`"),
            (r#"{"leveret":1,"body":"x","encoding":"base64"}"#, "body is not base64"),
            (r#"{"leveret":1,"body":"x","properties":{"contenttype":"y"}}"#, "unknown field"),
            (r#"{"leveret":1,"body":"x","headers":{"a":{"$u8":256}}}"#, "256"),
            (r#"{"leveret":1,"body":"x","headers":{"a":{"$u9":2}}}"#, "$u9 is not a type"),
            (r#"{"leveret":1,"body":"x","headers":{"a":{"$u8":2,"b":1}}}"#, "$u8 beside"),
            (r#"{"leveret":1,"body":"x","headers":{"a":18446744073709551615}}"#, "does not fit"),
        ] {
            let error = unwrap(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{body}: {error}");
        }
        // What others add is not in the way.
        let body = br#"{"trace":"x","leveret":1,"body":"y"}"#;
        assert_eq!(unwrap(body), Ok((b"y".to_vec(), Properties::default())));
    }
}
