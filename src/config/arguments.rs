//! Reads the arguments of what is declared: those with keys of their own, and any others by their names at the broker.

use std::time::Duration;

use super::declare::TIMER_MAX;
use super::error::Report;
use super::section::{Field, Section};
use super::tree::{Kind, Node};
use crate::bridge::route::{Argument, Arguments, QueueKind, StreamOffset};

const CLASSIC: &[QueueKind] = &[QueueKind::Classic];
const QUORUM: &[QueueKind] = &[QueueKind::Quorum];
const STREAM: &[QueueKind] = &[QueueKind::Stream];
const BOTH: &[QueueKind] = &[QueueKind::Classic, QueueKind::Quorum];
const ALL: &[QueueKind] = &[QueueKind::Classic, QueueKind::Quorum, QueueKind::Stream];

/// The largest count that a broker takes.
const COUNT_MAX: u32 = u32::MAX >> 1;

/// How a key's value is read.
#[derive(Clone, Copy)]
enum Value {
    /// A whole number, from and to.
    Number(u32, u32),
    Size,
    /// In milliseconds, as numbers.
    Time,
    /// In seconds, as text.
    Age,
    Flag,

    /// A text that may be empty.
    Key,
    Word(&'static [(&'static str, &'static str)]),
}

/// A key, the argument that it stands for, its value, and which queues have it.
type Row = (&'static str, &'static str, Value, &'static [QueueKind]);

const OVERFLOW: &[(&str, &str)] = &[
    ("drop-head", "drop-head"),
    ("reject-publish", "reject-publish"),
    ("reject-publish-dlx", "reject-publish-dlx"),
];

const STRATEGY: &[(&str, &str)] =
    &[("at-most-once", "at-most-once"), ("at-least-once", "at-least-once")];

const ROWS: [Row; 12] = [
    ("dead_letter_exchange", "x-dead-letter-exchange", Value::Key, BOTH),
    ("dead_letter_routing_key", "x-dead-letter-routing-key", Value::Key, BOTH),
    ("dead_letter_strategy", "x-dead-letter-strategy", Value::Word(STRATEGY), QUORUM),
    ("delivery_limit", "x-delivery-limit", Value::Number(0, COUNT_MAX), QUORUM),
    ("expires", "x-expires", Value::Time, BOTH),
    ("max_age", "x-max-age", Value::Age, STREAM),
    ("max_length", "x-max-length", Value::Number(0, COUNT_MAX), BOTH),
    ("max_length_bytes", "x-max-length-bytes", Value::Size, ALL),
    ("max_priority", "x-max-priority", Value::Number(1, 255), CLASSIC),
    ("message_ttl", "x-message-ttl", Value::Time, BOTH),
    ("overflow", "x-overflow", Value::Word(OVERFLOW), BOTH),
    ("single_active_consumer", "x-single-active-consumer", Value::Flag, BOTH),
];

/// The arguments of a queue: `arguments`, and the keys that stand for one.
pub(super) fn queue_arguments(
    section: &Section<'_>,
    kind: QueueKind,
    report: &mut Report,
) -> Arguments {
    let mut all =
        section.get("arguments").and_then(|field| arguments(&field, report)).unwrap_or_default();
    if let Some(field) = section.get("arguments")
        && all.contains_key("x-queue-type")
    {
        report.error(&field.spot, "x-queue-type is given by the key type");
    }
    for (key, name, value, kinds) in ROWS {
        let Some(field) = section.get(key) else { continue };
        if !kinds.contains(&kind) {
            let message = format!("a {} queue has no {key}", kind.as_str());
            report.error(&field.spot, message);
            continue;
        }
        if all.contains_key(name) {
            let message = format!("{key} and the argument {name} are the same; keep one");
            report.error(&field.spot, message);
        }
        all.extend(read(&field, value, report).map(|value| (name.to_owned(), value)));
    }
    consequences(section, kind, &all, report);
    all
}

/// Arguments that are of no use, or refused, without others.
fn consequences(section: &Section<'_>, kind: QueueKind, all: &Arguments, report: &mut Report) {
    let text = |name: &str| match all.get(name) {
        Some(Argument::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    if kind == QueueKind::Quorum && text("x-overflow") == Some("reject-publish-dlx") {
        let message = "a quorum queue overflows by drop-head or reject-publish";
        section.refuse(&["overflow"], message, report);
    }
    if !all.contains_key("x-dead-letter-exchange") {
        let message = "dead letters need a dead_letter_exchange; \"\" is the default exchange";
        section.refuse(&["dead_letter_routing_key", "dead_letter_strategy"], message, report);
    }
    if text("x-dead-letter-strategy") == Some("at-least-once")
        && text("x-overflow") != Some("reject-publish")
    {
        let message = "at-least-once works with overflow: reject-publish only; without it the broker falls back to at-most-once";
        section.refuse(&["dead_letter_strategy"], message, report);
    }
}

fn read(field: &Field<'_>, value: Value, report: &mut Report) -> Option<Argument> {
    let millis = |time: Duration| i64::try_from(time.as_millis()).ok().map(Argument::Integer);
    match value {
        Value::Number(least, most) => {
            let number = field.integer(least..=most, report)?;
            Some(Argument::Integer(number.into()))
        }
        Value::Size => {
            let size = field.size(1..=1 << 50, report)?;
            i64::try_from(size).ok().map(Argument::Integer)
        }
        Value::Time => {
            field.duration(Duration::from_millis(1)..=TIMER_MAX, report).and_then(millis)
        }
        Value::Age => {
            let age = field.duration(Duration::from_secs(1)..=TIMER_MAX, report)?;
            Some(Argument::Text(format!("{}s", age.as_secs())))
        }
        Value::Flag => field.boolean(report).map(Argument::Boolean),

        Value::Key => field.text(report).map(Argument::Text),
        Value::Word(words) => {
            field.choice(words, report).map(|word| Argument::Text(word.to_owned()))
        }
    }
}

/// A mapping of arguments: plain numbers, `true` and `false` are what they look like, what is quoted is text.
pub(super) fn arguments(field: &Field<'_>, report: &mut Report) -> Option<Arguments> {
    let section = Section::open_any(field, report)?;
    let mut all = Arguments::default();
    for (name, field) in section.fields() {
        if name.is_empty() || name.len() > 255 {
            let message = format!("expected a name of 1 to 255 bytes, found {}", name.len());
            report.error(&field.spot, message);
        }
        if let Some(value) = argument(field.node) {
            all.insert(name.to_owned(), value);
        } else {
            report.error(
                &field.spot,
                "expected text, a whole number, true, false, a list or a mapping",
            );
        }
    }
    Some(all)
}

fn argument(node: &Node) -> Option<Argument> {
    match &node.kind {
        _ if node.is_null() => None,
        Kind::Scalar(scalar) if !scalar.plain => Some(Argument::Text(scalar.text.clone())),
        Kind::Scalar(scalar) => Some(match scalar.text.as_str() {
            "true" => Argument::Boolean(true),
            "false" => Argument::Boolean(false),
            text => {
                text.parse().map_or_else(|_| Argument::Text(text.to_owned()), Argument::Integer)
            }
        }),
        Kind::Sequence(nodes) => {
            nodes.iter().map(argument).collect::<Option<_>>().map(Argument::List)
        }
        Kind::Mapping(entries) => entries
            .iter()
            .map(|entry| Some((entry.key.clone(), argument(&entry.value)?)))
            .collect::<Option<_>>()
            .map(Argument::Table),
        Kind::Unresolved => None,
    }
}

/// Where a stream is to be read from.
pub(super) fn stream_offset(field: &Field<'_>, report: &mut Report) -> Option<StreamOffset> {
    let text = field.text(report)?;
    let offset = offset(&text);
    if offset.is_none() {
        let message = format!(
            "expected first, last, next, a number, a span such as 1h or a time such as 2026-01-31T12:00:00Z, found \"{text}\""
        );
        report.error(&field.spot, message);
    }
    offset
}

fn offset(text: &str) -> Option<StreamOffset> {
    match text {
        "first" => return Some(StreamOffset::First),
        "last" => return Some(StreamOffset::Last),
        "next" => return Some(StreamOffset::Next),
        _ => {}
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(StreamOffset::Number);
    }
    if let Some(seconds) = instant(text) {
        return Some(StreamOffset::Since(seconds));
    }
    let span = super::units::duration(text).ok()?;
    (1..=TIMER_MAX.as_secs()).contains(&span.as_secs()).then_some(StreamOffset::Ago(span.as_secs()))
}

/// Seconds since 1970 of `2026-01-31T12:00:00Z`.
fn instant(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, separator| {
        let parts: Option<Vec<u64>> = text
            .split(separator)
            .map(|part| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?)
            .collect();
        <[u64; 3]>::try_from(parts?).ok()
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(time, ':')?);
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let length = |month: u64| match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let is_right = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=length(month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let years: u64 = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum();
    let months: u64 = (1..month).map(length).sum();
    is_right.then_some((years + months + day - 1) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_of_streams() {
        for (text, expected) in [
            ("first", Some(StreamOffset::First)),
            ("last", Some(StreamOffset::Last)),
            ("next", Some(StreamOffset::Next)),
            ("17", Some(StreamOffset::Number(17))),
            ("1h30m", Some(StreamOffset::Ago(5400))),
            ("1970-01-02T00:00:01Z", Some(StreamOffset::Since(86_401))),
            ("2026-03-01T00:00:00Z", Some(StreamOffset::Since(1_772_323_200))),
            ("2024-02-29T23:59:59Z", Some(StreamOffset::Since(1_709_251_199))),
            ("2023-02-29T00:00:00Z", None),
            ("2026-01-01", None),
            ("2026-01-01T24:00:00Z", None),
            ("500ms", None),
            ("99999999999999999999", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(offset(text), expected, "{text}");
        }
    }
}
