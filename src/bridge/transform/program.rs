//! A compiled template or condition: what it reads of a message, and how it is run.
//!
//! A template of texts and plain fields such as `orders.{{ body.region }}`, which most are, is run without the engine: it
//! is the same lookup and the same way of writing, several times faster. Everything else is minijinja's.

use std::sync::Arc;

use minijinja::value::{Object, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};

use super::paths::Paths;
use super::source::{self, Segment};
use super::view::{MessageView, Needs, Variable};
use super::{TemplateError, TransformError};

/// The name under which a template is kept in its environment.
const PROGRAM: &str = "template";

/// What is around a condition to make a template of it.
const CONDITION: (&str, &str) = ("{% if (", ") %}1{% endif %}");

/// See the module's description.
pub(super) struct Program {
    how: How,
    uses: Vec<(Variable, Paths)>,
    /// It asks whether there is a body: then one that is not JSON is a missing one.
    asks_for_body: bool,
}

enum How {
    /// Texts and fields in turn.
    Fields(Vec<Part>),
    Engine(Environment<'static>),
}

enum Part {
    Text(String),
    Field { variable: Variable, path: Vec<String>, at: usize, expression: String },
}

/// Which language a source is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    /// Text with expressions in braces. What is missing is an error.
    Template,
    /// One expression. What is missing is false.
    Condition,
}

impl Program {
    /// Compiles `source` and checks its variables, filters, tests and functions.
    pub(super) fn compile(source: &str, language: Language) -> Result<Self, TemplateError> {
        let mut program = Self::compile_for_engine(source, language)?;
        if language == Language::Template
            && let Some(segments) = source::fields(source)
            && let Some(parts) = parts(segments, &program.uses)
        {
            program.how = How::Fields(parts);
        }
        Ok(program)
    }

    /// As [`Program::compile`], but always run by the engine.
    pub(super) fn compile_for_engine(
        source: &str,
        language: Language,
    ) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_debug(false);
        environment.set_keep_trailing_newline(true);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        if language == Language::Condition {
            // Alone first: a brace too many must not end the template around it.
            environment.compile_expression(source).map_err(|error| syntax(&error, source, 0))?;
        }
        let shift = shift(language);
        let text = match language {
            Language::Template => source.to_owned(),
            Language::Condition => format!("{}{source}{}", CONDITION.0, CONDITION.1),
        };
        environment
            .add_template_owned(PROGRAM, text)
            .map_err(|error| syntax(&error, source, shift))?;
        let uses = uses(&environment, source, shift)?;
        let code = source::code(source, language);
        check_names(&mut environment, &code)?;
        environment.set_undefined_behavior(match language {
            Language::Template => UndefinedBehavior::Strict,
            Language::Condition => UndefinedBehavior::Chainable,
        });
        environment.set_formatter(|out, _, value| write_scalar(out, value));
        let asks_for_body = source::asks_for_body(&code);
        Ok(Self { how: How::Engine(environment), uses, asks_for_body })
    }

    /// Whether it is run without the engine.
    #[cfg(test)]
    pub(super) fn is_without_engine(&self) -> bool {
        matches!(self.how, How::Fields(_))
    }

    /// What it reads.
    pub(super) fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        for (variable, paths) in &self.uses {
            if *variable == Variable::Body {
                needs.body.merge(paths);
            }
        }
        needs
    }

    /// The text for one message. `source` is what was compiled, for errors.
    pub(super) fn run(
        &self,
        source: &str,
        language: Language,
        message: &MessageView<'_>,
    ) -> Result<String, TransformError> {
        match &self.how {
            How::Fields(parts) => self.join(source, parts, message),
            How::Engine(environment) => {
                let values = self
                    .uses
                    .iter()
                    .map(|(variable, paths)| {
                        Ok((variable.name(), self.value(*variable, paths, message)?))
                    })
                    .collect::<Result<Vec<_>, TransformError>>()?;
                environment
                    .get_template(PROGRAM)
                    .and_then(|template| template.render(Value::from_object(Context(values))))
                    .map_err(|error| TransformError::Render {
                        template: source.to_owned(),
                        reason: describe(&error, source, shift(language)),
                    })
            }
        }
    }

    fn join(
        &self,
        source: &str,
        parts: &[Part],
        message: &MessageView<'_>,
    ) -> Result<String, TransformError> {
        // As with the engine, a body that is not JSON is the first thing to be found.
        if let Some((body, paths)) = self.uses.iter().find(|(used, _)| *used == Variable::Body) {
            self.value(*body, paths, message)?;
        }
        let mut out = String::with_capacity(source.len() + 16);
        for part in parts {
            let (variable, path, at, expression) = match part {
                Part::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Part::Field { variable, path, at, expression } => (variable, path, at, expression),
            };
            let Some((_, paths)) = self.uses.get(*at) else { continue };
            let mut value = self.value(*variable, paths, message)?;
            let wrong = |reason: &str| TransformError::Render {
                template: source.to_owned(),
                reason: format!("{expression}: {reason}"),
            };
            for name in path {
                value = value.get_attr(name).map_err(|_| wrong(MISSING))?;
            }
            scalar(&value, |text| {
                out.push_str(text);
                Ok(())
            })
            .map_err(|error: minijinja::Error| wrong(error.detail().unwrap_or_default()))?;
        }
        Ok(out)
    }

    fn value(
        &self,
        variable: Variable,
        paths: &Paths,
        message: &MessageView<'_>,
    ) -> Result<Value, TransformError> {
        match message.value(variable, paths) {
            Err(TransformError::BodyNotJson { .. }) if self.asks_for_body => Ok(Value::UNDEFINED),
            value => value,
        }
    }
}

/// The parts of a template of texts and fields. `None` if a name is no variable.
fn parts(segments: Vec<Segment<'_>>, uses: &[(Variable, Paths)]) -> Option<Vec<Part>> {
    segments
        .into_iter()
        .map(|segment| match segment {
            Segment::Text(text) => Some(Part::Text(text.to_owned())),
            Segment::Field(expression) => {
                let mut names = expression.split('.');
                let variable = Variable::by_name(names.next()?)?;
                let at = uses.iter().position(|(used, _)| *used == variable)?;
                let path = names.map(str::to_owned).collect();
                Some(Part::Field { variable, path, at, expression: expression.to_owned() })
            }
        })
        .collect()
}

/// The variables of a run, found by their names.
#[derive(Debug)]
struct Context(Vec<(&'static str, Value)>);

impl Object for Context {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone())
    }
}

const MISSING: &str = "the value is missing";

/// Hands the text of a scalar to `write`; anything else is an error with its reason as detail.
fn scalar<E: From<minijinja::Error>>(
    value: &Value,
    write: impl FnOnce(&str) -> Result<(), E>,
) -> Result<(), E> {
    let wrong = |kind, reason: String| Err(minijinja::Error::new(kind, reason).into());
    match value.kind() {
        ValueKind::String => match value.as_str() {
            Some(text) => write(text),
            None => write(&value.to_string()),
        },
        ValueKind::Number => write(&value.to_string()),
        // As JSON writes it, not as Python does.
        ValueKind::Bool if value.is_true() => write("true"),
        ValueKind::Bool => write("false"),
        ValueKind::Undefined => wrong(ErrorKind::UndefinedError, MISSING.to_owned()),
        ValueKind::None => wrong(ErrorKind::InvalidOperation, "the value is null".to_owned()),
        kind => wrong(ErrorKind::NonPrimitive, format!("the value is a {kind}, not a scalar")),
    }
}

fn write_scalar(out: &mut minijinja::Output<'_>, value: &Value) -> Result<(), minijinja::Error> {
    scalar(value, |text| out.write_str(text).map_err(Into::into))
}

/// The variables of a message that the program reads, and which fields of them.
fn uses(
    environment: &Environment<'_>,
    source: &str,
    shift: usize,
) -> Result<Vec<(Variable, Paths)>, TemplateError> {
    let template =
        environment.get_template(PROGRAM).map_err(|error| syntax(&error, source, shift))?;
    let mut names: Vec<_> = template.undeclared_variables(false).into_iter().collect();
    names.sort_unstable();
    for name in names {
        if Variable::by_name(&name).is_none()
            && !environment.globals().any(|(global, _)| global == name)
        {
            let offset = source.find(&name);
            return Err(TemplateError::UnknownVariable { name, offset });
        }
    }
    let is_plain = source::has_plain_paths(source);
    let mut uses: Vec<(Variable, Paths)> = Vec::new();
    for name in template.undeclared_variables(true) {
        let mut path = name.split('.');
        let Some(variable) = path.next().and_then(Variable::by_name) else {
            continue;
        };
        let at = uses.iter().position(|(used, _)| *used == variable).unwrap_or_else(|| {
            uses.push((variable, Paths::default()));
            uses.len() - 1
        });
        if let Some((_, paths)) = uses.get_mut(at) {
            if is_plain { paths.add(path) } else { *paths = Paths::whole() }
        }
    }
    if !is_plain {
        // A statement may use what the list above leaves out; a word of that name is reason enough to have it at hand.
        for variable in super::VARIABLES {
            let known = Variable::by_name(variable)
                .filter(|known| !uses.iter().any(|(used, _)| used == known));
            if let Some(known) = known.filter(|_| source::has_word(source, variable)) {
                uses.push((known, Paths::whole()));
            }
        }
    }
    Ok(uses)
}

/// Tries every filter and test that is named: the engine looks them up only when it comes to them.
fn check_names(environment: &mut Environment<'_>, code: &str) -> Result<(), TemplateError> {
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    for (name, offset, is_filter) in source::filters_and_tests(code) {
        let trial = if is_filter { format!("1|{name}") } else { format!("1 is {name}") };
        let Ok(expression) = environment.compile_expression(&trial) else {
            continue;
        };
        if let Err(error) = expression.eval(())
            && matches!(error.kind(), ErrorKind::UnknownFilter | ErrorKind::UnknownTest)
        {
            return Err(TemplateError::Syntax {
                reason: describe(&error, "", 0),
                offset: Some(offset),
            });
        }
    }
    Ok(())
}

/// How far a source is from the beginning of the template that is made of it.
const fn shift(language: Language) -> usize {
    match language {
        Language::Template => 0,
        Language::Condition => CONDITION.0.len(),
    }
}

fn syntax(error: &minijinja::Error, source: &str, shift: usize) -> TemplateError {
    let offset = error.range().map(|range| range.start.saturating_sub(shift));
    TemplateError::Syntax {
        reason: describe(error, "", 0),
        offset: offset.filter(|start| *start <= source.len()),
    }
}

/// The error in one line, with the expression that caused it where that is known.
fn describe(error: &minijinja::Error, source: &str, shift: usize) -> String {
    let detail = match (error.kind(), error.detail()) {
        (ErrorKind::UndefinedError, _) => MISSING.to_owned(),
        (_, Some(detail)) => detail.to_owned(),
        (kind, None) => kind.to_string(),
    };
    let culprit = error.range().and_then(|range| {
        source.get(range.start.checked_sub(shift)?..range.end.checked_sub(shift)?)
    });
    match culprit.map(str::trim).filter(|text| !text.is_empty()) {
        Some(expression) => format!("{expression}: {detail}"),
        None => detail,
    }
}
