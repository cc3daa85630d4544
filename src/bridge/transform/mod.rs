//! Templates over a message: routing keys and exchange names that depend on what is sent.
//!
//! A template is parsed once, when a route is loaded, and knows which variables it uses: the body is parsed as JSON
//! only for a template that looks into it, and once for all templates of a message. Text without `{{`, `{%` or `{#` is
//! a constant and costs nothing. Whatever is missing is an error: a message never goes to `orders.` or `orders.none`
//! because a field was absent or null.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;
use std::sync::Arc;

use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};

/// Longest routing key or exchange name in bytes: AMQP sends them as short strings.
pub const RESULT_LEN_MAX: usize = 255;

/// The name under which a template is kept in its environment.
const PROGRAM: &str = "template";

/// Variables a template may use.
pub const VARIABLES: [&str; 6] = ["attempts", "body", "channel", "id", "timestamp", "topic"];

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
    /// A constant is longer than [`RESULT_LEN_MAX`].
    #[error("{len} bytes are more than the {RESULT_LEN_MAX} that AMQP allows")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
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
    /// The result is longer than [`RESULT_LEN_MAX`].
    #[error("template \"{template}\" gives {len} bytes, AMQP allows {RESULT_LEN_MAX}")]
    TooLong {
        /// The template's text.
        template: String,
        /// The result's length in bytes.
        len: usize,
    },
}

/// What templates see of a message. The body is parsed at most once, and only on demand.
#[derive(Debug)]
pub struct MessageView<'a> {
    /// The body as it was published.
    pub body: &'a [u8],
    /// The topic the message came through.
    pub topic: &'a str,
    /// The channel it came through; empty on a direct route from a topic.
    pub channel: &'a str,
    /// The message's id: 16 hexadecimal digits.
    pub id: &'a str,
    /// Deliveries so far, this one included; 1 on a direct route from a topic.
    pub attempts: u16,
    /// When it was published, in nanoseconds since the Unix epoch.
    pub timestamp: i64,
    parsed: OnceCell<Result<Value, String>>,
}

impl<'a> MessageView<'a> {
    /// A first attempt at a message without a channel; the other fields may be set afterwards.
    #[must_use]
    pub fn new(topic: &'a str, id: &'a str, timestamp: i64, body: &'a [u8]) -> Self {
        Self { body, topic, channel: "", id, attempts: 1, timestamp, parsed: OnceCell::new() }
    }

    fn json(&self) -> Result<Value, TransformError> {
        self.parsed
            .get_or_init(|| serde_json::from_slice(self.body).map_err(|error| error.to_string()))
            .clone()
            .map_err(|reason| TransformError::BodyNotJson { reason })
    }

    fn variable(&self, name: &str) -> Result<Value, TransformError> {
        Ok(match name {
            "attempts" => Value::from(self.attempts),
            "body" => self.json()?,
            "channel" => Value::from(self.channel),
            "id" => Value::from(self.id),
            "timestamp" => Value::from(self.timestamp),
            "topic" => Value::from(self.topic),
            _ => Value::UNDEFINED,
        })
    }
}

/// Text with expressions in `{{ }}`, in minijinja's language.
#[derive(Clone)]
pub struct Template {
    source: Arc<str>,
    program: Option<Arc<Program>>,
}

struct Program {
    environment: Environment<'static>,
    uses: Vec<&'static str>,
}

impl Template {
    /// Parses `source` and checks its variables, filters, tests and functions.
    ///
    /// # Errors
    /// [`TemplateError`]; a constant is also checked for its length.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let is_constant = !["{{", "{%", "{#"].iter().any(|open| source.contains(open));
        if is_constant && source.len() > RESULT_LEN_MAX {
            return Err(TemplateError::TooLong { len: source.len() });
        }
        let program = if is_constant { None } else { Some(Arc::new(Program::compile(source)?)) };
        Ok(Self { source: source.into(), program })
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

    /// The result for one message, at most [`RESULT_LEN_MAX`] bytes.
    ///
    /// # Errors
    /// [`TransformError`] if a value is missing, null or not a scalar, or if the result is too long.
    pub fn render(&self, message: &MessageView<'_>) -> Result<Cow<'_, str>, TransformError> {
        let Some(program) = &self.program else {
            return Ok(Cow::Borrowed(&self.source));
        };
        let context = program
            .uses
            .iter()
            .map(|name| Ok((*name, message.variable(name)?)))
            .collect::<Result<Value, TransformError>>()?;
        let result = program
            .environment
            .get_template(PROGRAM)
            .and_then(|template| template.render(context))
            .map_err(|error| TransformError::Render {
                template: self.source.to_string(),
                reason: describe(&error, &self.source),
            })?;
        if result.len() > RESULT_LEN_MAX {
            return Err(TransformError::TooLong {
                template: self.source.to_string(),
                len: result.len(),
            });
        }
        Ok(Cow::Owned(result))
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
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

impl Program {
    fn compile(source: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_debug(false);
        environment.set_keep_trailing_newline(true);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment
            .add_template_owned(PROGRAM, source.to_owned())
            .map_err(|error| syntax(&error, source))?;
        let uses = variables(&environment, source)?;
        dry_run(&mut environment, source)?;
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_formatter(|out, _, value| match value.kind() {
            ValueKind::Undefined => {
                Err(minijinja::Error::new(ErrorKind::UndefinedError, "the value is missing"))
            }
            ValueKind::None => {
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, "the value is null"))
            }
            // As JSON writes it, not as Python does.
            ValueKind::Bool if value.is_true() => out.write_str("true").map_err(Into::into),
            ValueKind::Bool => out.write_str("false").map_err(Into::into),
            ValueKind::Number | ValueKind::String => {
                out.write_str(&value.to_string()).map_err(Into::into)
            }
            kind => Err(minijinja::Error::new(
                ErrorKind::NonPrimitive,
                format!("the value is a {kind}, not a scalar"),
            )),
        });
        Ok(Self { environment, uses })
    }
}

/// The variables of a message that the template reads.
fn variables(
    environment: &Environment<'_>,
    source: &str,
) -> Result<Vec<&'static str>, TemplateError> {
    let undeclared = environment
        .get_template(PROGRAM)
        .map_err(|error| syntax(&error, source))?
        .undeclared_variables(false);
    let mut names: Vec<_> = undeclared.into_iter().collect();
    names.sort_unstable();
    let mut uses = Vec::new();
    for name in names {
        if let Some(known) = VARIABLES.iter().find(|known| **known == name) {
            uses.push(*known);
        } else if !environment.globals().any(|(global, _)| global == name) {
            let offset = source.find(&name);
            return Err(TemplateError::UnknownVariable { name, offset });
        }
    }
    Ok(uses)
}

/// Renders the template over nothing: names of filters, tests and functions are looked up only while rendering.
fn dry_run(environment: &mut Environment<'_>, source: &str) -> Result<(), TemplateError> {
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    let template = environment.get_template(PROGRAM).map_err(|error| syntax(&error, source))?;
    match template.render(()) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction
            ) =>
        {
            Err(syntax(&error, source))
        }
        _ => Ok(()),
    }
}

fn syntax(error: &minijinja::Error, source: &str) -> TemplateError {
    TemplateError::Syntax {
        reason: describe(error, ""),
        offset: error.range().map(|range| range.start).filter(|start| *start <= source.len()),
    }
}

/// The error in one line, with the expression that caused it where that is known.
fn describe(error: &minijinja::Error, source: &str) -> String {
    let detail = match (error.kind(), error.detail()) {
        (ErrorKind::UndefinedError, _) => "the value is missing".to_owned(),
        (_, Some(detail)) => detail.to_owned(),
        (kind, None) => kind.to_string(),
    };
    let culprit = error.range().and_then(|range| source.get(range));
    match culprit.map(str::trim).filter(|text| !text.is_empty()) {
        Some(expression) => format!("{expression}: {detail}"),
        None => detail,
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
        assert_eq!(Template::parse(&"k".repeat(256)), Err(TemplateError::TooLong { len: 256 }));
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
