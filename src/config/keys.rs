//! Which keys there are, what their values look like, and what they mean: one table for each kind of mapping.
//!
//! A table is what the reader knows ([`Section::open`](super::section::Section::open)), what `leveret schema` prints
//! ([`schema`](super::schema)), and what stands in the documentation between `<!-- keys: NAME -->` and
//! `<!-- /keys -->`. A test compares all three; `UPDATE_DOCS=1` lets it write the last two.
//!
//! The bounds of a value are checked by the reader of its key; a test tries those given here on it.

use std::time::Duration;

use super::units::{show_duration, show_size};

pub(super) mod admin;
pub(super) mod alerts;
pub(super) mod brokers;
pub(super) mod declare;
pub(super) mod endpoints;
pub(super) mod log;
pub(super) mod lookupd;
pub(super) mod metrics;
pub(super) mod node;
pub(super) mod nsqd;
pub(super) mod registry;
pub(super) mod routes;
pub(super) mod topics;
pub(super) mod transforms;

/// The keys of one kind of mapping, in alphabetical order.
#[derive(Debug)]
pub(super) struct Keys {
    /// The name in the documentation's markers and in the schema; no other table has it.
    pub(super) name: &'static str,
    pub(super) keys: &'static [Key],
    /// Whether exactly one of the keys has to be there.
    pub(super) only_one: bool,
}

impl Keys {
    pub(super) const fn new(name: &'static str, keys: &'static [Key]) -> Self {
        Self { name, keys, only_one: false }
    }

    /// The same, of which exactly one is given.
    pub(super) const fn only_one(self) -> Self {
        Self { only_one: true, ..self }
    }

    /// The keys' names, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.keys.iter().map(|key| key.name)
    }
}

/// A key and its documentation. Texts are Markdown, as they stand in a table.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What holds without the key.
    pub(super) default: &'static str,
    pub(super) doc: &'static str,
    /// Which routes may have it, if not all.
    pub(super) flows: &'static str,
    pub(super) needed: bool,
}

/// A key that may be left out; `default` says what holds then.
pub(super) const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { name, kind, default, doc, flows: "", needed: false }
}

/// A key that has to be there.
pub(super) const fn needed(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, default: "needed", doc, flows: "", needed: true }
}

impl Key {
    /// The same key, for some routes only.
    pub(super) const fn flows(self, flows: &'static str) -> Self {
        Self { flows, ..self }
    }
}

/// What a value looks like. A scalar may be quoted or not, and may come from the environment in all of them.
#[derive(Debug)]
pub(super) enum Kind {
    /// Text: what it is in words, and a regular expression without which it is refused (`""` is any text).
    Text(&'static str, &'static str),
    /// As `Text`, but never a plain number: what it is in words, and its regular expression.
    Rate(&'static str, &'static str),
    /// A whole number, from and to.
    Integer(u64, u64),
    /// A number above 0 and at most 1.
    Fraction,
    Boolean,
    /// From and to.
    Duration(Duration, Duration),
    /// Bytes, from and to.
    Size(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// What it is in words, and what its elements are.
    List(&'static str, &'static Self),
    Mapping(&'static Keys),
    /// Whatever one likes.
    Any,
    /// A mapping by names of the user's choice.
    Named(&'static Self),
    OneOf(&'static [Self]),
}

impl Kind {
    /// The value in words, for tables.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Text(what, _) | Self::Rate(what, _) | Self::List(what, _) => (*what).to_owned(),
            Self::Integer(least, most) => {
                format!("{} to {}", show_count(*least), show_count(*most))
            }
            Self::Fraction => "number above 0, at most 1".to_owned(),
            Self::Any => "any".to_owned(),
            Self::Boolean => "`true`, `false`".to_owned(),
            Self::Duration(least, most) => {
                format!("duration, {} to {}", show_duration(*least), show_duration(*most))
            }
            Self::Size(0, BOUNDLESS) => "size".to_owned(),
            Self::Size(least, most) => {
                format!("size, {} to {}", show_size(*least), show_size(*most))
            }
            Self::Choice(words) => format!("`{}`", words.join("`, `")),
            Self::Mapping(_) | Self::Named(_) => "mapping".to_owned(),
            Self::OneOf(kinds) => {
                kinds.iter().map(Self::describe).collect::<Vec<_>>().join(", or ")
            }
        }
    }
}

/// A count; the largest ones as powers of two, which nobody has to read digit by digit.
fn show_count(count: u64) -> String {
    for (number, behind) in [(Some(count), ""), (count.checked_add(1), "-1")] {
        if let Some(number) = number.filter(|n| *n > 1 << 40 && n.is_power_of_two()) {
            return format!("2^{}{behind}", number.ilog2());
        }
    }
    count.to_string()
}

/// More bytes than any disk has.
const BOUNDLESS: u64 = 1 << 60;
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);

const TEXT: Kind = Kind::Text("text", "");
const SHORT_TEXT: Kind = Kind::Text("text, 1 to 255 bytes", ".");
const PATH: Kind = Kind::Text("path", "");
const ADDRESS: Kind = Kind::Text("host:port", "^$|:[0-9]+$");
const ADDRESS_OR_PATH: Kind = Kind::Text("host:port or path", "^$|/|:[0-9]+$");
const NAME: Kind = Kind::Text("1 to 64 of `.` `a-z` `A-Z` `0-9` `_` `-`", "^[.a-zA-Z0-9_-]{1,64}$");
const BROKER_NAME: Kind = Kind::Text("name", "^[.a-zA-Z0-9_-]{1,64}$");
const TOPIC_NAME: Kind = Kind::Text("topic name", NSQ_NAME);
const TOPIC_NAME_OR_TEMPLATE: Kind =
    Kind::Text("topic name", "^[.a-zA-Z0-9_-]{1,64}(#ephemeral)?$|[{][{]");
const EMPTY_OR_TOPIC_NAME: Kind =
    Kind::Text("topic name", "^([.a-zA-Z0-9_-]{1,64}(#ephemeral)?)?$");
const CHANNEL_NAME: Kind = Kind::Text("channel name", NSQ_NAME);
const NSQ_NAME: &str = "^[.a-zA-Z0-9_-]{1,64}(#ephemeral)?$";
const PATTERN: Kind = Kind::Text("pattern", ".");
const TEMPLATE: Kind = Kind::Text("[template](#templates)", "");
const MESSAGE_RATE: Kind = Kind::Rate("rate, up to 10000000/s", "^ *[0-9]+ */ *[smh] *$");
const BYTE_RATE: Kind =
    Kind::Rate("rate of bytes, up to 10GiB/s", "^ *[0-9.]+ *([kKmMgGtT]?[iI]?[bB])? */ *[smh] *$");
