//! An expression over a message that is true or false: which messages a route takes.

use std::fmt;
use std::sync::Arc;

use super::program::{Language, Program};
use super::view::{MessageView, Needs};
use super::{TemplateError, TransformError};

/// An expression of the template language, without braces. What is missing is false; text that is empty, zero, an empty
/// list and null are false too.
#[derive(Clone)]
pub struct Condition {
    source: Arc<str>,
    program: Arc<Program>,
}

impl Condition {
    /// Parses `source` and checks its variables, filters, tests and functions.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let program = Program::compile(source, Language::Condition)?;
        Ok(Self { source: source.into(), program: Arc::new(program) })
    }

    /// The expression as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it looks at.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.program.needs()
    }

    /// Whether it is true of a message.
    ///
    /// # Errors
    /// [`TransformError`] if it looks at a body that is not JSON without asking whether `body is defined`, or if it
    /// calculates with what cannot be calculated with.
    pub fn holds(&self, message: &MessageView<'_>) -> Result<bool, TransformError> {
        let result = self.program.run(&self.source, Language::Condition, message)?;
        Ok(!result.is_empty())
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Condition {}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({:?})", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::properties::{Properties, Value};

    fn holds(source: &str, body: &[u8]) -> Result<bool, TransformError> {
        let mut properties = Properties { priority: Some(7), ..Properties::default() };
        properties.headers.insert("tries".into(), Value::I16(3));
        properties.headers.insert("x-kind".into(), "order".into());
        let mut message = MessageView::new("orders", "00000000000000ab", 7, body);
        message.properties = Some(&properties);
        Condition::parse(source).unwrap().holds(&message)
    }

    const ORDER: &[u8] = br#"{"region":"eu","n":3,"paid":true,"tags":["a"],"none":null,"zero":0}"#;

    #[test]
    fn what_is_true_holds() {
        for source in [
            "body.region == 'eu'",
            "body.n > 2 and body.paid",
            "body.region in ['eu', 'us']",
            "'a' in body.tags",
            "headers['x-kind'] == 'order' and headers.tries >= 3",
            "properties.priority == 7",
            "topic == 'orders' and attempts == 1",
            "body.region | upper == 'EU'",
            "body.region is defined and body.missing is undefined",
            "not body.missing",
            "body.region == '%}'  or true",
        ] {
            assert_eq!(holds(source, ORDER), Ok(true), "{source}");
        }
    }

    #[test]
    fn what_is_missing_is_false_and_no_error() {
        for source in [
            "body.missing",
            "body.missing == 'eu'",
            "body.missing > 2",
            "body.a.b.c",
            "body.none.x",
            "body.tags.x",
            "'x' in body.missing",
            "body.zero",
            "headers.nothing == 1",
            "properties.app_id",
        ] {
            assert_eq!(holds(source, ORDER), Ok(false), "{source}");
        }
    }

    #[test]
    fn a_body_that_is_not_json_is_an_error_unless_it_is_asked_for() {
        for source in ["body.x", "topic == 'other' and body.x", "not body.x", "body | length > 3"] {
            let error = holds(source, b"not json").unwrap_err();
            assert!(matches!(error, TransformError::BodyNotJson { .. }), "{source}: {error}");
        }
        assert_eq!(holds("body is defined and body.x == 1", b"not json"), Ok(false));
        assert_eq!(holds("body is not defined or body.x == 1", b"not json"), Ok(true));
        assert_eq!(holds("topic == 'orders'", b"not json"), Ok(true));
    }

    #[test]
    fn expressions_that_cannot_work_are_refused_with_their_place() {
        for (source, expected, place) in [
            ("body.region ==", "unexpected", Some(12)),
            ("true) %}{% if (true", "unexpected", Some(4)),
            ("bdy.region == 1", "unknown variable \"bdy\"", Some(0)),
            ("topic == 'x' and body.a | uper", "filter uper is unknown", Some(26)),
            ("body.a is fine", "test fine is unknown", Some(10)),
        ] {
            let error = Condition::parse(source).unwrap_err();
            assert!(error.to_string().contains(expected), "{source}: {error}");
            assert_eq!(error.offset(), place, "{source}: {error}");
        }
    }
}
