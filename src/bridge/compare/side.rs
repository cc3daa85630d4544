//! A place whose messages are compared, as a command line names it, and by what a message is known.

use std::fmt;

use crate::bridge::properties::Properties;
use crate::bridge::transform::{MessageView, Template, TransformError};
use crate::client::Addresses;
use crate::names::{MessageId, is_valid_name};

/// The channel of a topic that is looked at in passing: it is gone when nobody reads it.
const OWN_CHANNEL: &str = "leveret-compare#ephemeral";

/// Bytes of a key's text that are kept to show it.
const SHOWN_MAX: usize = 200;

/// Where messages are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// What a queue has now. It is read and given back.
    Queue {
        /// The broker's name.
        broker: String,
        /// Its name.
        queue: String,
    },
    /// What an exchange passes on from now on, through a queue of its own that goes with the connection.
    Exchange {
        /// The broker's name.
        broker: String,
        /// Its name.
        exchange: String,
        /// The routing key of the binding.
        key: String,
    },
    /// What a stream has and gets. Reading takes nothing from it.
    Stream {
        /// The broker's name.
        broker: String,
        /// The queue's name.
        queue: String,
    },
    /// A topic of nsqds. A channel that is named is read and finished; without one it is what comes from now on.
    Topic {
        /// Where the nsqds are.
        addresses: Addresses,
        /// The topic.
        topic: String,
        /// The channel.
        channel: String,
    },
}

/// Why a place or a key is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}: {reason}")]
pub struct SideError {
    /// What was given.
    pub text: String,
    /// What is wrong, and what is expected.
    pub reason: String,
}

const EXPECTED: &str = "expected queue:NAME, exchange:NAME[:KEY], stream:NAME (each also as queue@BROKER:NAME), \
                        nsqd:HOST:PORT/TOPIC[/CHANNEL] or lookupd:HOST:PORT/TOPIC[/CHANNEL]";

impl Place {
    /// Reads `queue:orders`, `exchange@eu:shop:orders.#`, `nsqd:127.0.0.1:4150/orders` and so on. Several nsqds or
    /// nsqlookupds are parted by commas. Without `@` it is the broker `default`.
    ///
    /// # Errors
    /// What is wrong, and what is expected.
    pub fn parse(text: &str) -> Result<Self, SideError> {
        let fail = |reason: &str| SideError { text: text.to_owned(), reason: reason.to_owned() };
        let (kind, rest) = text.split_once(':').ok_or_else(|| fail(EXPECTED))?;
        let (kind, broker) = match kind.split_once('@') {
            Some((_, "")) => return Err(fail("the broker's name is missing behind @")),
            Some((kind, broker)) => (kind, broker),
            None => (kind, "default"),
        };
        let broker = broker.to_owned();
        if rest.is_empty() {
            return Err(fail(EXPECTED));
        }
        match kind {
            "queue" => Ok(Self::Queue { broker, queue: rest.to_owned() }),
            "stream" => Ok(Self::Stream { broker, queue: rest.to_owned() }),
            "exchange" => {
                let (exchange, key) = rest.split_once(':').unwrap_or((rest, "#"));
                Ok(Self::Exchange { broker, exchange: exchange.to_owned(), key: key.to_owned() })
            }
            "nsqd" | "lookupd" => {
                let (at, names) =
                    rest.split_once('/').ok_or_else(|| fail("the topic is missing"))?;
                let (topic, channel) = names.split_once('/').unwrap_or((names, OWN_CHANNEL));
                if let Some(name) =
                    [topic, channel].iter().find(|name| !is_valid_name(name.as_bytes()))
                {
                    return Err(fail(&format!("\"{name}\" is no name of a topic or channel")));
                }
                let list: Vec<String> = at.split(',').map(str::to_owned).collect();
                if list.iter().any(|at| !at.contains(':')) {
                    return Err(fail("an address is HOST:PORT"));
                }
                let addresses = match kind {
                    "nsqd" => Addresses { nsqd: list, ..Addresses::default() },
                    _ => Addresses { lookupd: list, ..Addresses::default() },
                };
                let (topic, channel) = (topic.to_owned(), channel.to_owned());
                Ok(Self::Topic { addresses, topic, channel })
            }
            _ => Err(fail(EXPECTED)),
        }
    }

    /// The broker that it needs.
    #[must_use]
    pub fn broker(&self) -> Option<&str> {
        match self {
            Self::Queue { broker, .. }
            | Self::Exchange { broker, .. }
            | Self::Stream { broker, .. } => Some(broker),
            Self::Topic { .. } => None,
        }
    }

    /// Whether more may come for as long as somebody looks.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        !matches!(self, Self::Queue { .. })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue { broker, queue } => write!(f, "queue {queue} of {broker}"),
            Self::Exchange { broker, exchange, key } => {
                write!(f, "exchange {exchange} of {broker}, key {key}")
            }
            Self::Stream { broker, queue } => write!(f, "stream {queue} of {broker}"),
            Self::Topic { topic, channel, .. } => write!(f, "topic {topic}, channel {channel}"),
        }
    }
}

/// By what a message is known on a side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Key {
    /// The id: `message_id` at a broker (without the topic that routes put before it), the id of a nsqd.
    #[default]
    Id,
    /// The id that a route from other nsqds gives a message: of its nsqd's address and its id there.
    RemoteId,
    /// The whole body.
    Body,
    /// What a template makes of the message.
    Template(Box<Template>),
}

impl Key {
    /// Reads `id`, `remote-id`, `body`, or a template such as `{{ body.order }}`.
    ///
    /// # Errors
    /// The template is wrong, or it is none.
    pub fn parse(text: &str) -> Result<Self, SideError> {
        let fail = |reason: String| SideError { text: text.to_owned(), reason };
        match text {
            "id" => Ok(Self::Id),
            "remote-id" => Ok(Self::RemoteId),
            "body" => Ok(Self::Body),
            _ if text.contains("{{") => match Template::parse(text) {
                Ok(template) => Ok(Self::Template(Box::new(template))),
                Err(error) => Err(fail(error.to_string())),
            },
            _ => {
                Err(fail("expected id, remote-id, body or a template, {{ body.field }}".to_owned()))
            }
        }
    }
}

/// A message as it was seen on a side.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its id: `message_id` at a broker; empty if it has none.
    pub id: String,
    /// Its id as a route from other nsqds gives it.
    pub remote_id: Option<MessageId>,
    /// When it was published, nanoseconds since the Unix epoch; 0 if it does not say.
    pub timestamp: i64,
    /// The topic it came through, if it came through one.
    pub topic: String,
    /// Its body.
    pub body: bytes::Bytes,
    /// Its properties and headers, if it came with some.
    pub properties: Option<std::sync::Arc<Properties>>,
}

impl Seen {
    /// What the message is known by: the bytes that are compared.
    ///
    /// # Errors
    /// It has no id, or the template cannot be filled in.
    pub fn key(&self, key: &Key) -> Result<Vec<u8>, Unknown> {
        match key {
            Key::Id => match own_part(&self.id) {
                "" => Err(Unknown::NoId),
                id => Ok(id.as_bytes().to_vec()),
            },
            Key::RemoteId => {
                let id = self.remote_id.map(|id| id.to_string());
                match Some(id.as_deref().unwrap_or_else(|| own_part(&self.id)))
                    .filter(|id| !id.is_empty())
                {
                    Some(id) => Ok(id.as_bytes().to_vec()),
                    None => Err(Unknown::NoId),
                }
            }
            Key::Body => Ok(self.body.to_vec()),
            Key::Template(template) => {
                let mut view = MessageView::new(&self.topic, &self.id, self.timestamp, &self.body);
                view.properties = self.properties.as_deref();
                let text = template.render(&view).map_err(Unknown::Template)?;
                Ok(text.as_bytes().to_vec())
            }
        }
    }
}

/// Why nobody can say which message it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// It has none.
    #[error("it has no message_id")]
    NoId,
    /// Its template.
    #[error(transparent)]
    Template(TransformError),
}

/// An id without the topic that our routes put before it.
fn own_part(id: &str) -> &str {
    match id.rsplit_once(':') {
        Some((_, own))
            if own.len() == MessageId::LEN && own.bytes().all(|b| b.is_ascii_hexdigit()) =>
        {
            own
        }
        _ => id,
    }
}

/// A key as it is shown.
#[must_use]
pub fn shown(key: &[u8]) -> String {
    let text = String::from_utf8_lossy(key);
    let mut end = text.len().min(SHOWN_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let cut = if end < text.len() { "…" } else { "" };
    format!("{}{cut}", text.get(..end).unwrap_or_default().escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let broker = || "default".to_owned();
        assert_eq!(
            Place::parse("queue:orders").unwrap(),
            Place::Queue { broker: broker(), queue: "orders".into() }
        );
        assert_eq!(
            Place::parse("stream@eu:a:b").unwrap(),
            Place::Stream { broker: "eu".into(), queue: "a:b".into() }
        );
        let exchange = |key: &str| Place::Exchange {
            broker: broker(),
            exchange: "shop".into(),
            key: key.into(),
        };
        assert_eq!(Place::parse("exchange:shop").unwrap(), exchange("#"));
        assert_eq!(Place::parse("exchange:shop:orders.#").unwrap(), exchange("orders.#"));
        let Place::Topic { addresses, topic, channel } =
            Place::parse("nsqd:a:4150,b:4150/orders").unwrap()
        else {
            panic!("a topic")
        };
        assert_eq!(addresses.nsqd, ["a:4150", "b:4150"]);
        assert_eq!((topic.as_str(), channel.as_str()), ("orders", OWN_CHANNEL));
        let Place::Topic { addresses, channel, .. } =
            Place::parse("lookupd:l:4161/orders/audit").unwrap()
        else {
            panic!("a topic")
        };
        assert_eq!((addresses.lookupd.len(), channel.as_str()), (1, "audit"));
    }

    #[test]
    fn what_is_no_place_is_refused_with_what_is_expected() {
        for (text, words) in [
            ("orders", "expected queue:NAME"),
            ("queue:", "expected queue:NAME"),
            ("table:orders", "expected queue:NAME"),
            ("queue@:orders", "broker's name"),
            ("nsqd:localhost:4150", "topic is missing"),
            ("nsqd:localhost/orders", "HOST:PORT"),
            ("nsqd:localhost:4150/or ders", "no name of a topic"),
        ] {
            let error = Place::parse(text).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains(words), "{error}");
        }
        for text in ["ids", "{{ body.x"] {
            assert!(Key::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_route_s_topic_is_no_part_of_the_id() {
        let seen = |id: &str| Seen { id: id.into(), ..Seen::default() };
        let key = |id: &str| seen(id).key(&Key::Id).map(|key| shown(&key));
        assert_eq!(key("orders:0123456789abcdef").unwrap(), "0123456789abcdef");
        assert_eq!(key("0123456789abcdef").unwrap(), "0123456789abcdef");
        assert_eq!(key("urn:uuid:17").unwrap(), "urn:uuid:17");
        assert_eq!(key(""), Err(Unknown::NoId));
    }

    #[test]
    fn a_key_may_be_anything_of_the_message() {
        let seen = Seen { body: r#"{"order": 17}"#.into(), ..Seen::default() };
        let order = Key::parse("{{ body.order }}").unwrap();
        assert_eq!(seen.key(&order).unwrap(), b"17");
        assert_eq!(seen.key(&Key::Body).unwrap(), seen.body);
        let other = Seen { body: "no JSON".into(), ..Seen::default() };
        assert!(matches!(other.key(&order), Err(Unknown::Template(_))));
    }

    #[test]
    fn a_long_key_is_cut_where_a_character_ends() {
        let long = "ä".repeat(SHOWN_MAX);
        let text = shown(long.as_bytes());
        assert!(text.ends_with("ä…") && text.len() <= SHOWN_MAX + 4, "{text}");
    }
}
