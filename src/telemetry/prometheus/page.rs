//! The text format: families, samples, escapes.

use std::fmt::{self, Write as _};

/// What a family's values are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Grows until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Quantiles, with the number of values and their sum.
    Summary,
}

/// A sample's value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Count(u64),
    /// May be below zero.
    Balance(i64),
    Amount(f64),
    /// There is no sample.
    Unknown,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Balance(balance) => balance.fmt(f),
            Self::Amount(amount) => amount.fmt(f),
            Self::Unknown => f.write_str("NaN"),
        }
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<i64> for Value {
    fn from(balance: i64) -> Self {
        Self::Balance(balance)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<bool> for Value {
    fn from(is_so: bool) -> Self {
        Self::Count(u64::from(is_so))
    }
}

impl From<f64> for Value {
    fn from(amount: f64) -> Self {
        Self::Amount(amount)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Unknown, Into::into)
    }
}

/// A sample's labels, in the order in which they are written.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// A family whose samples are read from the rows of a table.
pub(super) struct Column<R> {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) read: fn(&R) -> Value,
}

/// A counter of each row.
pub(super) const fn counter<R>(
    name: &'static str,
    help: &'static str,
    read: fn(&R) -> Value,
) -> Column<R> {
    Column { name, kind: Kind::Counter, help, read }
}

/// A gauge of each row.
pub(super) const fn gauge<R>(
    name: &'static str,
    help: &'static str,
    read: fn(&R) -> Value,
) -> Column<R> {
    Column { name, kind: Kind::Gauge, help, read }
}

/// The exposition as it grows.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    /// Begins a family. It is written with its first sample.
    pub(super) const fn family(
        &mut self,
        name: &'static str,
        kind: Kind,
        help: &'static str,
    ) -> Family<'_> {
        Family { page: self, name, kind, help, is_open: false }
    }

    /// A table: a family a column, a sample a row.
    pub(super) fn table<R>(
        &mut self,
        columns: &[Column<R>],
        rows: &[R],
        labels: impl Fn(&R, &mut dyn FnMut(Labels<'_>)),
    ) {
        for column in columns {
            let mut family = self.family(column.name, column.kind, column.help);
            for row in rows {
                let value = (column.read)(row);
                labels(row, &mut |labels| family.sample(labels, value));
            }
        }
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.text
    }

    fn push(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        self.text.write_fmt(line).unwrap_or_default();
    }
}

/// One metric and its samples.
pub(super) struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
    kind: Kind,
    help: &'static str,
    is_open: bool,
}

impl Family<'_> {
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Into<Value>) {
        self.suffixed("", labels, value.into());
    }

    /// The samples of a summary; `quantiles` are pairs of a quantile and its value.
    pub(super) fn summary(
        &mut self,
        labels: Labels<'_>,
        quantiles: &[(f64, f64)],
        sum: f64,
        count: u64,
    ) {
        for (quantile, value) in quantiles {
            let quantile = quantile.to_string();
            let labels = [labels, &[("quantile", &quantile)]].concat();
            self.suffixed("", &labels, (*value).into());
        }
        self.suffixed("_sum", labels, sum.into());
        self.suffixed("_count", labels, count.into());
    }

    fn suffixed(&mut self, suffix: &str, labels: Labels<'_>, value: Value) {
        let name = self.name;
        if matches!(value, Value::Unknown) {
            return;
        }
        if !self.is_open {
            self.is_open = true;
            let kind = match self.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Summary => "summary",
            };
            let help = escape(self.help, false);
            self.page.push(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        }
        self.page.text.push_str(name);
        self.page.text.push_str(suffix);
        for (place, (label, text)) in labels.iter().enumerate() {
            let opening = if place == 0 { '{' } else { ',' };
            let text = escape(text, true);
            self.page.push(format_args!("{opening}{label}=\"{text}\""));
        }
        let closing = if labels.is_empty() { "" } else { "}" };
        self.page.push(format_args!("{closing} {value}\n"));
    }
}

/// What the format asks for: backslashes and line feeds, and in a label's value quotes as well.
fn escape(text: &str, quotes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for next in text.chars() {
        match next {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if quotes => escaped.push_str("\\\""),
            _ => escaped.push(next),
        }
    }
    escaped
}
