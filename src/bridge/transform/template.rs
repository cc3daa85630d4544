//! Text with expressions in `{{ }}`, in minijinja's language.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::program::{Language, Program};
use super::view::{MessageView, Needs};
use super::{TemplateError, TransformError};

/// Longest routing key, exchange name or text property in bytes: AMQP sends them as short strings.
pub const RESULT_LEN_MAX: usize = 255;

/// A text that depends on the message, or a constant one. Parsed once, when a route is loaded.
#[derive(Clone)]
pub struct Template {
    source: Arc<str>,
    program: Option<Arc<Program>>,
    /// Most bytes of a result.
    len_max: usize,
}

impl Template {
    /// Parses `source` and checks its variables, filters, tests and functions. Results have at most
    /// [`RESULT_LEN_MAX`] bytes.
    ///
    /// # Errors
    /// [`TemplateError`]; a constant is also checked for its length.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        Self::parse_within(source, RESULT_LEN_MAX)
    }

    /// As [`Template::parse`], for results of at most `len_max` bytes.
    ///
    /// # Errors
    /// [`TemplateError`]; a constant is also checked for its length.
    pub fn parse_within(source: &str, len_max: usize) -> Result<Self, TemplateError> {
        let is_constant = !["{{", "{%", "{#"].iter().any(|open| source.contains(open));
        if is_constant && source.len() > len_max {
            return Err(TemplateError::TooLong { len: source.len(), max: len_max });
        }
        let program = if is_constant {
            None
        } else {
            Some(Arc::new(Program::compile(source, Language::Template)?))
        };
        Ok(Self { source: source.into(), program, len_max })
    }

    /// The template as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text, if it is the same for every message.
    #[must_use]
    pub fn constant(&self) -> Option<&str> {
        self.program.is_none().then_some(&*self.source)
    }

    /// What it looks at.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.program.as_ref().map(|program| program.needs()).unwrap_or_default()
    }

    /// The result for one message.
    ///
    /// # Errors
    /// [`TransformError`] if a value is missing, null or not a scalar, or if the result is too long.
    pub fn render(&self, message: &MessageView<'_>) -> Result<Cow<'_, str>, TransformError> {
        let Some(program) = &self.program else {
            return Ok(Cow::Borrowed(&self.source));
        };
        let result = program.run(&self.source, Language::Template, message)?;
        if result.len() > self.len_max {
            return Err(TransformError::TooLong {
                template: self.source.to_string(),
                len: result.len(),
                max: self.len_max,
            });
        }
        Ok(Cow::Owned(result))
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.len_max == other.len_max
    }
}

impl Eq for Template {}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.source)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &[u8] =
        br#"{"region":"eu","n":3,"paid":true,"tags":["a"],"none":null,"deep":{"er":"x"}}"#;

    fn render(template: &str, body: &[u8]) -> Result<String, TransformError> {
        let mut message = MessageView::new("orders", "00000000000000ab", 1_700_000_000, body);
        message.attempts = 2;
        message.channel = "archive";
        Template::parse(template).unwrap().render(&message).map(Cow::into_owned)
    }

    #[test]
    fn templates_render_over_body_and_message() {
        for (template, expected) in [
            ("orders.new", "orders.new"),
            ("orders.{{ body.region }}", "orders.eu"),
            ("{{ body.deep.er }}-{{ body.n }}-{{ body.paid }}", "x-3-true"),
            (
                "{{ topic }}.{{ channel }}.{{ attempts }}.{{ id }}",
                "orders.archive.2.00000000000000ab",
            ),
            ("{{ timestamp }}", "1700000000"),
            ("{{ body.region | upper }}", "EU"),
            ("{{ body.missing | default('none') }}", "none"),
            ("{% if body.n > 2 %}many{% else %}few{% endif %}", "many"),
            ("{{ body.tags[0] }}{# a comment #}", "a"),
        ] {
            assert_eq!(render(template, ORDER).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn what_is_missing_is_an_error() {
        for (template, expected) in [
            ("orders.{{ body.regoin }}", "missing"),
            ("orders.{{ body.none }}", "null"),
            ("orders.{{ body.deep }}", "map"),
            ("orders.{{ body.tags }}", "sequence"),
            ("orders.{{ body.a.b }}", "missing"),
        ] {
            let error = render(template, ORDER).unwrap_err();
            assert!(error.to_string().contains(expected), "{template}: {error}");
            assert!(error.to_string().contains(template), "{template}: {error}");
        }
    }

    #[test]
    fn the_body_is_parsed_only_if_used() {
        assert_eq!(render("{{ topic }}", b"\xff not json").as_deref(), Ok("orders"));
        let error = render("{{ body.x }}", b"not json").unwrap_err();
        assert!(matches!(error, TransformError::BodyNotJson { .. }), "{error}");
    }

    #[test]
    fn results_longer_than_a_short_string_are_refused() {
        let body = format!(r#"{{"x":"{}"}}"#, "k".repeat(255));
        assert!(render("{{ body.x }}", body.as_bytes()).is_ok());
        let error = render(".{{ body.x }}", body.as_bytes()).unwrap_err();
        assert!(matches!(error, TransformError::TooLong { len: 256, .. }), "{error}");
        assert_eq!(
            Template::parse(&"k".repeat(256)),
            Err(TemplateError::TooLong { len: 256, max: 255 })
        );
    }

    #[test]
    fn templates_that_cannot_work_are_refused_with_their_place() {
        for (template, expected, place) in [
            ("orders.{{ body.region", "unexpected end of input", Some(15)),
            ("orders.{{ body. }}", "unexpected", Some(16)),
            ("orders.{{ bdy.region }}", "unknown variable \"bdy\"", Some(10)),
            ("orders.{{ body.region | uper }}", "filter uper is unknown", Some(24)),
            ("{% if topic is fine %}{% endif %}", "test fine is unknown", Some(15)),
            ("{{ now() }}", "unknown variable \"now\"", Some(3)),
        ] {
            let error = Template::parse(template).unwrap_err();
            assert!(error.to_string().contains(expected), "{template}: {error}");
            let (TemplateError::Syntax { offset, .. }
            | TemplateError::UnknownVariable { offset, .. }) = error
            else {
                panic!("{template}: {error}")
            };
            assert_eq!(offset, place, "{template}");
        }
    }

    #[test]
    fn constants_are_borrowed() {
        let template = Template::parse("plain").unwrap();
        let message = MessageView::new("t", "0", 0, b"");
        assert!(matches!(template.render(&message), Ok(Cow::Borrowed("plain"))));
        assert_eq!(template.constant(), Some("plain"));
        assert_eq!(Template::parse("{{ id }}").unwrap().constant(), None);
    }
}
