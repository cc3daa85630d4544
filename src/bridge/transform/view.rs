//! What templates see of a message.

use std::cell::OnceCell;

use minijinja::Value;

use super::TransformError;
use super::paths::Paths;
use super::values;
use crate::bridge::properties::Properties;

/// Variables that templates may use.
pub const VARIABLES: [&str; 8] =
    ["attempts", "body", "channel", "headers", "id", "properties", "timestamp", "topic"];

/// A message as templates see it. The body is parsed on demand alone, and once for all templates whose [`Needs`] were
/// put together.
#[derive(Debug)]
pub struct MessageView<'a> {
    /// The body as it was published.
    pub body: &'a [u8],
    /// The topic the message came through; empty if it came from a queue.
    pub topic: &'a str,
    /// The channel it came through; empty if it came through none.
    pub channel: &'a str,
    /// The message's id: 16 hexadecimal digits.
    pub id: &'a str,
    /// Deliveries so far, this one included; 1 on a direct route from a topic.
    pub attempts: u16,
    /// When it was published, in nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// Its properties and headers, if it came with some.
    pub properties: Option<&'a Properties>,
    needs: Option<&'a Needs>,
    wanted: OnceCell<Result<Value, String>>,
    whole: OnceCell<Result<Value, String>>,
}

impl<'a> MessageView<'a> {
    /// A first attempt at a message without a channel; the other fields may be set afterwards.
    #[must_use]
    pub fn new(topic: &'a str, id: &'a str, timestamp: i64, body: &'a [u8]) -> Self {
        Self {
            body,
            topic,
            channel: "",
            id,
            attempts: 1,
            timestamp,
            properties: None,
            needs: None,
            wanted: OnceCell::new(),
            whole: OnceCell::new(),
        }
    }

    /// Says what all templates together will look at, so that the body is read for all of them at once.
    #[must_use]
    pub fn with_needs(mut self, needs: &'a Needs) -> Self {
        self.needs = Some(needs);
        self
    }

    /// The body, with at least the fields of `paths`.
    fn body(&self, paths: &Paths) -> Result<&Value, TransformError> {
        let parsed = match self.needs {
            Some(needs) if needs.body.covers(paths) => {
                self.wanted.get_or_init(|| needs.body.read(self.body))
            }
            _ => self.whole.get_or_init(|| Paths::whole().read(self.body)),
        };
        parsed.as_ref().map_err(|reason| TransformError::BodyNotJson { reason: reason.clone() })
    }

    /// The value of a variable, with at least the fields of `paths`.
    pub(super) fn value(&self, variable: Variable, paths: &Paths) -> Result<Value, TransformError> {
        Ok(match variable {
            Variable::Attempts => self.attempts.into(),
            Variable::Body => self.body(paths)?.clone(),
            Variable::Channel => self.channel.into(),
            Variable::Headers => values::headers(self.properties, paths),
            Variable::Id => self.id.into(),
            Variable::Properties => values::properties(self.properties, paths),
            Variable::Timestamp => self.timestamp.into(),
            Variable::Topic => self.topic.into(),
        })
    }
}

/// A variable of [`VARIABLES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Attempts,
    Body,
    Channel,
    Headers,
    Id,
    Properties,
    Timestamp,
    Topic,
}

impl Variable {
    const ALL: [Self; 8] = [
        Self::Attempts,
        Self::Body,
        Self::Channel,
        Self::Headers,
        Self::Id,
        Self::Properties,
        Self::Timestamp,
        Self::Topic,
    ];

    pub(super) fn by_name(name: &str) -> Option<Self> {
        let known = VARIABLES.iter().zip(Self::ALL);
        known.into_iter().find(|(known, _)| **known == name).map(|(_, variable)| variable)
    }

    pub(super) fn name(self) -> &'static str {
        let known = VARIABLES.iter().zip(Self::ALL);
        known.into_iter().find(|(_, known)| *known == self).map_or("", |(name, _)| *name)
    }
}

/// What templates look at, together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub(super) body: Paths,
}

impl Needs {
    /// Adds what other templates look at.
    pub fn merge(&mut self, other: &Self) {
        self.body.merge(&other.body);
    }
}
