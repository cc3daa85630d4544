//! What a route does with a message on its way: which ones it takes, and what becomes of their address, headers and
//! properties.
//!
//! A template is parsed once, when a route is loaded, and knows which variables it uses: the body is parsed as JSON
//! only for a template that looks into it, once for all templates of a message, and only for the fields that they look
//! at. Text without `{{`, `{%` or `{#` is a constant and costs nothing. Whatever is missing in a template is an error: a
//! message never goes to `orders.` or `orders.none` because a field was absent or null. In a condition it is false.

mod condition;
mod paths;
mod program;
mod rules;
mod source;
mod template;
mod values;
mod view;
#[cfg(test)]
mod ways_tests;

pub use condition::Condition;
pub use rules::{Envelope, HEADER_LEN_MAX, HeaderPattern, OWN_HEADERS, Transform};
pub use template::{RESULT_LEN_MAX, Template};
pub use view::{MessageView, Needs, VARIABLES};

use super::properties::PropertyError;

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The text is not a template, or uses a filter, test or function that does not exist.
    #[error("{reason}")]
    Syntax {
        /// What is wrong, in words.
        reason: String,
        /// Byte offset in the template's text, if known.
        offset: Option<usize>,
    },
    /// The template uses a variable that no message has.
    #[error("unknown variable \"{name}\"")]
    UnknownVariable {
        /// The variable.
        name: String,
        /// Byte offset of its first use.
        offset: Option<usize>,
    },
    /// A constant is too long.
    #[error("{len} bytes are more than the {max} that AMQP allows")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// Bytes that it may have.
        max: usize,
    },
}

impl TemplateError {
    /// Byte offset in the template's text of what is wrong, if known.
    #[must_use]
    pub fn offset(&self) -> Option<usize> {
        match self {
            Self::Syntax { offset, .. } | Self::UnknownVariable { offset, .. } => *offset,
            Self::TooLong { .. } => None,
        }
    }
}

/// Why a template gave no result for a message. Trying again does not help: the message is poison.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransformError {
    /// The template looks into the body, and the body is not JSON.
    #[error("the body is not JSON: {reason}")]
    BodyNotJson {
        /// The parser's words.
        reason: String,
    },
    /// A value is missing, null or not a scalar, or a filter failed.
    #[error("template \"{template}\": {reason}")]
    Render {
        /// The template's text.
        template: String,
        /// What failed.
        reason: String,
    },
    /// The result is not what the property can be.
    #[error(transparent)]
    Property(#[from] PropertyError),
    /// The result is too long.
    #[error("template \"{template}\" gives {len} bytes, AMQP allows {max}")]
    TooLong {
        /// The template's text.
        template: String,
        /// The result's length in bytes.
        len: usize,
        /// Bytes that it may have.
        max: usize,
    },
}
