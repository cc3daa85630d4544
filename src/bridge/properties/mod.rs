//! Properties and headers of a message in our own words: what AMQP 0-9-1 can say of a message, typed, without loss.
//!
//! Messages of RabbitMQ have them, messages of NSQ have none; a route carries them between brokers, or through NSQ in an
//! envelope. A route also leaves its mark: [`Properties::pass`] counts the routes that a message has been through, so
//! that it cannot go round for ever.

#[cfg(test)]
pub(crate) mod arbitrary;
mod marks;
mod property;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use marks::{HOPS_HEADER, HOPS_MAX, OF_THE_LAST, ROUTE_HEADER};
pub use property::{Property, PropertyError};

/// Longest text property and longest name of a header, in bytes: AMQP sends them as short strings.
pub const SHORT_LEN_MAX: usize = 255;

/// What a header frame has around the properties: 8 bytes of a frame, 12 of the class, the weight and the body's size.
const FRAME_OVERHEAD: usize = 20;

/// Headers, or a table inside of one: names of at most [`SHORT_LEN_MAX`] bytes.
pub type Table = BTreeMap<String, Value>;

/// A value of a header: every field type of AMQP 0-9-1 that RabbitMQ knows.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Void,
    /// True or false.
    Bool(bool),
    /// A signed number of 8 bits.
    I8(i8),
    /// A number of 8 bits.
    U8(u8),
    /// A signed number of 16 bits.
    I16(i16),
    /// A number of 16 bits.
    U16(u16),
    /// A signed number of 32 bits.
    I32(i32),
    /// A number of 32 bits.
    U32(u32),
    /// A signed number of 64 bits.
    I64(i64),
    /// A floating-point number of 32 bits.
    F32(f32),
    /// A floating-point number of 64 bits.
    F64(f64),
    /// `value` divided by 10 to the power of `scale`.
    Decimal {
        /// Digits behind the point.
        scale: u8,
        /// All digits.
        value: u32,
    },
    /// A text. Usually UTF-8, which the protocol does not promise.
    Text(Vec<u8>),
    /// Bytes that are no text.
    Bytes(Vec<u8>),
    /// Seconds since the Unix epoch.
    Timestamp(u64),
    /// A list.
    Array(Vec<Self>),
    /// A table.
    Table(Table),
}

impl Value {
    /// The number, if it is a whole one.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        Some(match *self {
            Self::I8(value) => value.into(),
            Self::U8(value) => value.into(),
            Self::I16(value) => value.into(),
            Self::U16(value) => value.into(),
            Self::I32(value) => value.into(),
            Self::U32(value) => value.into(),
            Self::I64(value) => value,
            _ => return None,
        })
    }

    /// Bytes that it takes on the wire, its type included.
    fn encoded_len(&self) -> usize {
        1 + match self {
            Self::Void => 0,
            Self::Bool(_) | Self::I8(_) | Self::U8(_) => 1,
            Self::I16(_) | Self::U16(_) => 2,
            Self::I32(_) | Self::U32(_) | Self::F32(_) => 4,
            Self::I64(_) | Self::F64(_) | Self::Timestamp(_) => 8,
            Self::Decimal { .. } => 5,
            Self::Text(bytes) | Self::Bytes(bytes) => 4 + bytes.len(),
            Self::Array(values) => 4 + values.iter().map(Self::encoded_len).sum::<usize>(),
            Self::Table(table) => table_len(table),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

fn table_len(table: &Table) -> usize {
    4 + table.iter().map(|(name, value)| 1 + name.len() + value.encoded_len()).sum::<usize>()
}

/// The first name of a table, or of a table in it, that is too long.
fn long_name(table: &Table) -> Option<&str> {
    fn within(value: &Value) -> Option<&str> {
        match value {
            Value::Table(table) => long_name(table),
            Value::Array(values) => values.iter().find_map(within),
            _ => None,
        }
    }
    table.iter().find_map(|(name, value)| {
        if name.len() > SHORT_LEN_MAX { Some(name.as_str()) } else { within(value) }
    })
}

/// Why RabbitMQ would not take a message's properties.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// A short string is too long.
    #[error("{what} has more than {SHORT_LEN_MAX} bytes")]
    Long {
        /// Which one.
        what: String,
    },
    /// The expiration is no number of milliseconds.
    #[error("property expiration: expected milliseconds, found \"{found}\"")]
    Expiration {
        /// What it is.
        found: String,
    },
    /// The delivery mode is none.
    #[error("property delivery_mode: expected 1 or 2, found {found}")]
    DeliveryMode {
        /// What it is.
        found: u8,
    },
    /// Answers are to go to a consumer of this very channel, and there is none.
    #[error(
        "property reply_to: amq.rabbitmq.reply-to has a meaning on the channel that consumes the answers alone"
    )]
    DirectReply,
    /// The header that names further routing keys is not a list of texts.
    #[error("header {name}: expected a list of texts")]
    Copies {
        /// Which one.
        name: &'static str,
    },
    /// The header frame would be larger than a frame may be.
    #[error("properties and headers take {len} bytes, the connection's frame_max is {frame_max}")]
    TooLarge {
        /// Bytes of the frame.
        len: usize,
        /// Bytes that it may have.
        frame_max: u32,
    },
}

/// The properties of a message. `cluster_id`, which the protocol reserves and nobody uses, is left out. No headers and
/// an empty table of headers are the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Properties {
    /// MIME type of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Encoding of the body, such as `gzip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// 2 if the broker keeps the message over a restart, 1 if not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_mode: Option<u8>,
    /// Priority in a queue that has priorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// What an answer belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Where answers go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Milliseconds after which a queue may give the message up, as decimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<String>,
    /// The publisher's name of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// When it was sent, in seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u64>,
    /// The application's name of the kind of message.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The user that published it. RabbitMQ refuses a message with another user than the connection's, so it is read
    /// and never sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The application that published it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// Headers. In JSON they have a place of their own.
    #[serde(skip)]
    pub headers: Table,
}

/// A message has been through as many routes as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message has been through {hops} routes, max_hops allows {max}: it seems to go round")]
pub struct TooManyHops {
    /// Routes that it has been through.
    pub hops: i64,
    /// How many it may.
    pub max: u8,
}

impl Properties {
    /// Routes that the message has been through, by its own account.
    #[must_use]
    pub fn hops(&self) -> i64 {
        self.headers.get(HOPS_HEADER).and_then(Value::as_i64).unwrap_or(0).max(0)
    }

    /// Makes these the properties of a message that goes on by `route`: counts the route, and leaves out what its last
    /// queue and route said of it.
    ///
    /// # Errors
    /// [`TooManyHops`] if it has been through `max` routes already.
    pub fn pass(&mut self, route: &str, max: u8) -> Result<(), TooManyHops> {
        let hops = self.hops();
        if hops >= i64::from(max) {
            return Err(TooManyHops { hops, max });
        }
        for name in OF_THE_LAST {
            self.headers.remove(name);
        }
        // Below `max`, so it fits; the type is the one that every client reads.
        let hops = i32::try_from(hops + 1).unwrap_or(i32::MAX);
        self.headers.insert(HOPS_HEADER.to_owned(), Value::I32(hops));
        self.headers.insert(ROUTE_HEADER.to_owned(), route.into());
        Ok(())
    }

    /// Whether RabbitMQ takes a message with these: for what it does not take, it closes the channel, and everything else
    /// on it is sent again. `frame_max` is the connection's frame size in bytes, 0 if it has no bound.
    ///
    /// # Errors
    /// [`Unsendable`] names the first thing that it does not take.
    pub fn check(&self, frame_max: u32) -> Result<(), Unsendable> {
        let too_long = Property::ALL
            .iter()
            .find(|property| self.text(**property).is_some_and(|text| text.len() > SHORT_LEN_MAX));
        if let Some(property) = too_long {
            return Err(Unsendable::Long { what: format!("property {property}") });
        }
        if let Some(name) = long_name(&self.headers) {
            return Err(Unsendable::Long { what: format!("the name of header {name}") });
        }
        if let Some(expiration) = &self.expiration
            && expiration.parse::<u32>().is_err()
        {
            return Err(Unsendable::Expiration { found: expiration.clone() });
        }
        if let Some(mode) = self.delivery_mode
            && !matches!(mode, 1 | 2)
        {
            return Err(Unsendable::DeliveryMode { found: mode });
        }
        if self.reply_to.as_deref() == Some("amq.rabbitmq.reply-to") {
            return Err(Unsendable::DirectReply);
        }
        for name in ["CC", "BCC"] {
            let is_list_of_texts = |value: &Value| match value {
                Value::Array(keys) => keys.iter().all(|key| matches!(key, Value::Text(_))),
                _ => false,
            };
            if self.headers.get(name).is_some_and(|value| !is_list_of_texts(value)) {
                return Err(Unsendable::Copies { name });
            }
        }
        let len = self.encoded_len() + FRAME_OVERHEAD;
        if frame_max > 0 && len > usize::try_from(frame_max).unwrap_or(usize::MAX) {
            return Err(Unsendable::TooLarge { len, frame_max });
        }
        Ok(())
    }

    /// Bytes that they take on the wire. A header frame is never split: above the connection's frame size, the broker
    /// would close the connection.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let texts: usize = Property::ALL
            .iter()
            .filter_map(|property| self.text(*property))
            .map(|text| 1 + text.len())
            .sum();
        let numbers = usize::from(self.delivery_mode.is_some())
            + usize::from(self.priority.is_some())
            + 8 * usize::from(self.timestamp.is_some());
        let headers = if self.headers.is_empty() { 0 } else { table_len(&self.headers) };
        2 + texts + numbers + headers
    }

    /// The value of a property that is a text.
    #[must_use]
    pub fn text(&self, property: Property) -> Option<&str> {
        match property {
            Property::ContentType => &self.content_type,
            Property::ContentEncoding => &self.content_encoding,
            Property::CorrelationId => &self.correlation_id,
            Property::ReplyTo => &self.reply_to,
            Property::Expiration => &self.expiration,
            Property::MessageId => &self.message_id,
            Property::Type => &self.kind,
            Property::UserId => &self.user_id,
            Property::AppId => &self.app_id,
            Property::DeliveryMode | Property::Priority | Property::Timestamp => return None,
        }
        .as_deref()
    }

    /// The value of a property that is a number.
    #[must_use]
    pub fn number(&self, property: Property) -> Option<u64> {
        match property {
            Property::DeliveryMode => self.delivery_mode.map(u64::from),
            Property::Priority => self.priority.map(u64::from),
            Property::Timestamp => self.timestamp,
            _ => None,
        }
    }

    /// Gives a property the value that `text` says.
    ///
    /// # Errors
    /// [`PropertyError`] if it cannot have that value.
    pub fn set(&mut self, property: Property, text: String) -> Result<(), PropertyError> {
        let wrong = |expected| PropertyError { property, expected, found: text.clone() };
        match property {
            Property::DeliveryMode => {
                let mode = text.parse().ok().filter(|mode| matches!(mode, 1 | 2));
                self.delivery_mode = Some(mode.ok_or_else(|| wrong("1 or 2"))?);
            }
            Property::Priority => {
                let priority = text.parse().map_err(|_| wrong("a whole number from 0 to 255"))?;
                self.priority = Some(priority);
            }
            Property::Timestamp => {
                self.timestamp = Some(text.parse().map_err(|_| wrong("seconds since 1970"))?);
            }
            Property::Expiration if text.parse::<u32>().is_err() => {
                return Err(wrong("milliseconds as a whole number up to 4294967295"));
            }
            _ if text.len() > SHORT_LEN_MAX => return Err(wrong("at most 255 bytes")),
            _ => *self.slot(property) = Some(text),
        }
        Ok(())
    }

    /// Takes a property away.
    pub fn remove(&mut self, property: Property) {
        match property {
            Property::DeliveryMode => self.delivery_mode = None,
            Property::Priority => self.priority = None,
            Property::Timestamp => self.timestamp = None,
            _ => *self.slot(property) = None,
        }
    }

    /// Where a text is kept. Numbers have a place of their own; asking for them is a mistake without consequences.
    fn slot(&mut self, property: Property) -> &mut Option<String> {
        match property {
            Property::ContentType => &mut self.content_type,
            Property::ContentEncoding => &mut self.content_encoding,
            Property::CorrelationId => &mut self.correlation_id,
            Property::ReplyTo => &mut self.reply_to,
            Property::Expiration => &mut self.expiration,
            Property::MessageId => &mut self.message_id,
            Property::Type => &mut self.kind,
            Property::AppId => &mut self.app_id,
            Property::UserId
            | Property::DeliveryMode
            | Property::Priority
            | Property::Timestamp => &mut self.user_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_has_its_own_place() {
        for property in Property::ALL {
            assert_eq!(Property::by_name(property.name()), Some(property));
            let mut properties = Properties::default();
            properties.set(property, "2".to_owned()).unwrap();
            assert_ne!(properties, Properties::default(), "{property}");
            let text = properties.text(property).map(str::to_owned);
            let number = properties.number(property).map(|number| number.to_string());
            assert_eq!(text.or(number).as_deref(), Some("2"), "{property}");
            properties.remove(property);
            assert_eq!(properties, Properties::default(), "{property}");
        }
        assert_eq!(Property::by_name("cluster_id"), None);
        assert!(Property::ALL.is_sorted_by_key(|property| property.name()));
    }

    #[test]
    fn a_property_that_cannot_be_is_refused_with_its_name() {
        for (property, text, expected) in [
            (Property::Priority, "256", "property priority: expected a whole number from 0 to 255"),
            (Property::DeliveryMode, "3", "expected 1 or 2, found \"3\""),
            (Property::Timestamp, "now", "seconds"),
            (Property::Expiration, "10s", "milliseconds"),
            (Property::AppId, &"a".repeat(256), "at most 255 bytes"),
        ] {
            let error = Properties::default().set(property, text.to_owned()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn what_would_close_the_channel_is_found_before_it_is_sent() {
        let with = |name: &str, value: Value| Properties {
            headers: Table::from([(name.to_owned(), value)]),
            ..Properties::default()
        };
        let deep = Value::Array(vec![Value::Table(Table::from([("n".repeat(256), Value::Void)]))]);
        for (properties, expected) in [
            (Properties { app_id: Some("a".repeat(256)), ..Properties::default() }, "app_id has"),
            (with("deep", deep), "name of header nnn"),
            (Properties { expiration: Some("1s".into()), ..Properties::default() }, "\"1s\""),
            (Properties { delivery_mode: Some(0), ..Properties::default() }, "found 0"),
            (
                Properties {
                    reply_to: Some("amq.rabbitmq.reply-to".into()),
                    ..Properties::default()
                },
                "reply_to",
            ),
            (with("CC", "a".into()), "header CC"),
            (with("BCC", Value::Array(vec![Value::I8(1)])), "header BCC"),
            (with("big", Value::Bytes(vec![0; 4096])), "frame_max is 4096"),
        ] {
            let error = properties.check(4096).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let good = with("CC", Value::Array(vec!["a".into()]));
        assert_eq!(good.check(4096), Ok(()));
        assert_eq!(with("big", Value::Bytes(vec![0; 4096])).check(0), Ok(()));
    }

    #[test]
    fn a_message_goes_through_a_bounded_number_of_routes() {
        let mut properties = Properties::default();
        properties.headers.insert("x-delivery-count".to_owned(), Value::I64(3));
        for hop in 1..=3 {
            properties.pass("there", 3).unwrap();
            assert_eq!(properties.hops(), hop);
        }
        assert_eq!(properties.headers.len(), 2);
        assert_eq!(properties.headers.get(ROUTE_HEADER), Some(&"there".into()));
        let error = properties.pass("there", 3).unwrap_err();
        assert_eq!(error, TooManyHops { hops: 3, max: 3 });
        // What is not a count is none.
        properties.headers.insert(HOPS_HEADER.to_owned(), "many".into());
        assert_eq!(properties.hops(), 0);
        properties.headers.insert(HOPS_HEADER.to_owned(), Value::I8(-1));
        properties.pass("there", 3).unwrap();
        assert_eq!(properties.hops(), 1);
    }
}
