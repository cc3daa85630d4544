//! Figures as samples: families with their kind and help, each sample with its labels. What exports figures, and what judges
//! them, reads these.

use std::fmt;

/// What a family's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Quantiles, with the number of values and their sum.
    Summary,
}

/// A sample's value.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// What is counted.
    Count(u64),
    /// May be below zero.
    Balance(i64),
    /// With a fraction.
    Amount(f64),
    /// There is no sample.
    Unknown,
}

impl Value {
    /// The value as a number; `None` if there is none.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "figures to look at")]
    pub const fn as_f64(self) -> Option<f64> {
        match self {
            Self::Count(count) => Some(count as f64),
            Self::Balance(balance) => Some(balance as f64),
            Self::Amount(amount) => Some(amount),
            Self::Unknown => None,
        }
    }
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
pub type Labels<'a> = &'a [(&'static str, &'a str)];

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

/// One value and what it is of.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What follows the family's name: `_sum` and `_count` of a summary.
    pub suffix: &'static str,
    /// Names and values of its labels, in the order in which they are written.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: Value,
}

/// One metric and its samples.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its name, with the unit and, of a counter, `_total`.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// What it means.
    pub help: &'static str,
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// All figures of a moment. A family without samples is left out.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// In the order in which they are shown.
    pub families: Vec<Family>,
}

impl Samples {
    /// Adds a family.
    pub(super) fn family(
        &mut self,
        name: &'static str,
        kind: Kind,
        help: &'static str,
        give: impl FnOnce(&mut Family),
    ) {
        let mut family = Family { name, kind, help, samples: Vec::new() };
        give(&mut family);
        if !family.samples.is_empty() {
            self.families.push(family);
        }
    }

    /// Adds a table: a family a column, a sample a row.
    pub(super) fn table<R>(
        &mut self,
        columns: &[Column<R>],
        rows: &[R],
        labels: impl Fn(&R, &mut dyn FnMut(Labels<'_>)),
    ) {
        for column in columns {
            self.family(column.name, column.kind, column.help, |family| {
                for row in rows {
                    let value = (column.read)(row);
                    labels(row, &mut |labels| family.sample(labels, value));
                }
            });
        }
    }

    /// The family of a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Family> {
        self.families.iter().find(|family| family.name == name)
    }
}

impl Family {
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

    fn suffixed(&mut self, suffix: &'static str, labels: Labels<'_>, value: Value) {
        if matches!(value, Value::Unknown) {
            return;
        }
        let labels = labels.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        self.samples.push(Sample { suffix, labels, value });
    }
}
