//! What a rule says, such as `depth(topic="orders", channel="*") > 10000` or `rate(route_dead_lettered_total(), 5m) > 0`.
//!
//! A selection gives a value for each series whose labels fit: `metric(label="pattern")`, with the metric's name without
//! `leveret_`, and `*` in a pattern for anything. `rate(selection, span)` is its growth a second over that span. Between two
//! selections, those with the same labels belong together; a selection and a number, each with the number. A comparison
//! leaves what it holds for; what is left is what a rule complains of.

mod parser;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use parser::ExpressionError;

use crate::telemetry::samples::Samples;

/// Names and values of a series' labels.
pub type LabelSet = BTreeMap<String, String>;

/// See the module's description.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    text: String,
    node: Node,
}

/// A part of it.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Number(f64),
    Select(Selection),
    Rate(Selection, Duration),
    Negate(Box<Self>),
    Binary(Operator, Box<Self>, Box<Self>),
}

/// Which series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selection {
    /// The metric's whole name.
    pub(super) metric: String,
    /// Labels and what they are to be; `*` stands for anything.
    pub(super) labels: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Or,
    And,
    Above,
    AtLeast,
    Below,
    AtMost,
    Is,
    IsNot,
    Plus,
    Minus,
    Times,
    Per,
}

/// What an expression comes to: a value for each set of labels. A number alone has none.
pub type Vector = Vec<(LabelSet, f64)>;

/// What an expression reads.
pub trait Figures {
    /// The value of each series of a metric.
    fn now(&self, metric: &str) -> Vector;

    /// How each series of a metric grows, a second; `None` if it was not looked at for so long yet.
    fn rate(&self, metric: &str, span: Duration) -> Option<Vector>;
}

impl Expression {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong at which column.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let node = parser::parse(text)?;
        Ok(Self { text: text.to_owned(), node })
    }

    /// The longest span that it looks back.
    #[must_use]
    pub fn span(&self) -> Duration {
        self.node.span()
    }

    /// The metrics whose rates it asks for.
    #[must_use]
    pub fn rated(&self) -> Vec<String> {
        let mut rated = Vec::new();
        self.node.rated(&mut rated);
        rated
    }

    /// What it holds for; `None` while that cannot be told yet.
    #[must_use]
    pub fn evaluate(&self, figures: &dyn Figures) -> Option<Vector> {
        Some(self.node.evaluate(figures)?.0)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The series of one moment.
pub(super) fn series(samples: &Samples, metric: &str) -> Vector {
    // `_sum` and `_count` of a summary belong to the family without them.
    let bare = ["_sum", "_count"].into_iter().find_map(|suffix| metric.strip_suffix(suffix));
    let found = samples.find(metric).or_else(|| samples.find(bare?));
    let Some(family) = found else { return Vec::new() };
    let suffix = metric.strip_prefix(family.name).unwrap_or_default();
    let fitting = family.samples.iter().filter(|sample| sample.suffix == suffix);
    let values = fitting.filter_map(|sample| {
        let labels = sample.labels.iter();
        let labels = labels.map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Some((labels, sample.value.as_f64()?))
    });
    values.collect()
}

impl Selection {
    fn choose(&self, mut all: Vector) -> Vector {
        all.retain(|(labels, _)| {
            self.labels
                .iter()
                .all(|(name, pattern)| labels.get(name).is_some_and(|value| fits(pattern, value)))
        });
        all
    }
}

/// Whether `text` is `pattern`, where `*` is anything.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let cuts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            cuts.filter_map(|at| rest.get(at..)).any(|rest| fits(after, rest))
        }),
    }
}

/// A value, and whether it is a plain number.
type Worth = (Vector, bool);

impl Node {
    fn span(&self) -> Duration {
        match self {
            Self::Number(_) | Self::Select(_) => Duration::ZERO,
            Self::Rate(_, span) => *span,
            Self::Negate(inner) => inner.span(),
            Self::Binary(_, one, other) => one.span().max(other.span()),
        }
    }

    fn rated(&self, rated: &mut Vec<String>) {
        match self {
            Self::Number(_) | Self::Select(_) => {}
            Self::Rate(selection, _) => rated.push(selection.metric.clone()),
            Self::Negate(inner) => inner.rated(rated),
            Self::Binary(_, one, other) => {
                one.rated(rated);
                other.rated(rated);
            }
        }
    }

    fn evaluate(&self, figures: &dyn Figures) -> Option<Worth> {
        Some(match self {
            Self::Number(number) => (vec![(LabelSet::new(), *number)], true),
            Self::Select(selection) => (selection.choose(figures.now(&selection.metric)), false),
            Self::Rate(selection, span) => {
                (selection.choose(figures.rate(&selection.metric, *span)?), false)
            }
            Self::Negate(inner) => {
                let (values, is_number) = inner.evaluate(figures)?;
                (values.into_iter().map(|(labels, value)| (labels, -value)).collect(), is_number)
            }
            Self::Binary(operator, one, other) => {
                let (one, other) = (one.evaluate(figures)?, other.evaluate(figures)?);
                operator.join(one, other)
            }
        })
    }
}

impl Operator {
    fn join(self, (one, one_is_number): Worth, (other, other_is_number): Worth) -> Worth {
        let is_number = one_is_number && other_is_number;
        if self == Self::Or {
            let mut all = one;
            for (labels, value) in other {
                if !all.iter().any(|(known, _)| *known == labels) {
                    all.push((labels, value));
                }
            }
            return (all, is_number);
        }
        let mut joined = Vec::new();
        for (labels, left) in &one {
            for (others, right) in &other {
                let both = if one_is_number { others } else { labels };
                let belongs = one_is_number || other_is_number || agree(labels, others);
                if let Some(value) = self.of(*left, *right).filter(|_| belongs) {
                    joined.push((both.clone(), value));
                }
            }
        }
        joined.dedup_by(|a, b| a.0 == b.0);
        (joined, is_number)
    }

    /// What it makes of two values; `None` if it is a comparison that does not hold.
    fn of(self, left: f64, right: f64) -> Option<f64> {
        let holds = |is_so: bool| is_so.then_some(left);
        match self {
            Self::And | Self::Or => Some(left),
            Self::Above => holds(left > right),
            Self::AtLeast => holds(left >= right),
            Self::Below => holds(left < right),
            Self::AtMost => holds(left <= right),
            Self::Is => holds(left.total_cmp(&right).is_eq()),
            Self::IsNot => holds(left.total_cmp(&right).is_ne()),
            Self::Plus => Some(left + right),
            Self::Minus => Some(left - right),
            Self::Times => Some(left * right),
            Self::Per => (right != 0.0).then(|| left / right),
        }
    }
}

/// Whether two sets of labels say nothing different of the same name.
fn agree(one: &LabelSet, other: &LabelSet) -> bool {
    one.iter().all(|(name, value)| other.get(name).is_none_or(|same| same == value))
}

#[cfg(test)]
mod tests;
