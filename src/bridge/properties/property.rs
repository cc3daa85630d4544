//! The properties by name.

use std::fmt;

/// The name of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is described at its field of Properties")]
pub enum Property {
    AppId,
    ContentEncoding,
    ContentType,
    CorrelationId,
    DeliveryMode,
    Expiration,
    MessageId,
    Priority,
    ReplyTo,
    Timestamp,
    Type,
    UserId,
}

impl Property {
    /// All of them, by name.
    pub const ALL: [Self; 12] = [
        Self::AppId,
        Self::ContentEncoding,
        Self::ContentType,
        Self::CorrelationId,
        Self::DeliveryMode,
        Self::Expiration,
        Self::MessageId,
        Self::Priority,
        Self::ReplyTo,
        Self::Timestamp,
        Self::Type,
        Self::UserId,
    ];

    /// Its name in templates, envelopes and the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AppId => "app_id",
            Self::ContentEncoding => "content_encoding",
            Self::ContentType => "content_type",
            Self::CorrelationId => "correlation_id",
            Self::DeliveryMode => "delivery_mode",
            Self::Expiration => "expiration",
            Self::MessageId => "message_id",
            Self::Priority => "priority",
            Self::ReplyTo => "reply_to",
            Self::Timestamp => "timestamp",
            Self::Type => "type",
            Self::UserId => "user_id",
        }
    }

    /// The property of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|property| property.name() == name)
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A property cannot have the value that it was to be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("property {property}: expected {expected}, found \"{found}\"")]
pub struct PropertyError {
    /// Which one.
    pub property: Property,
    /// What it can be, in words.
    pub expected: &'static str,
    /// What it was to be.
    pub found: String,
}
