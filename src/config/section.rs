//! A mapping being read: which keys it may have, which it must have, and what their values are.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::{Report, Spot};
use super::keys::Keys;
use super::suggest::{alternatives, hint};
use super::tree::{Entry, Kind, Node};
use super::units;
use crate::limit::Rate;
use crate::names;

/// A mapping whose keys are all known.
#[derive(Debug)]
pub(super) struct Section<'t> {
    pub(super) spot: Spot,
    entries: &'t [Entry],
}

/// A value under its key.
#[derive(Debug)]
pub(super) struct Field<'t> {
    pub(super) spot: Spot,
    pub(super) node: &'t Node,
}

impl<'t> Section<'t> {
    /// Takes `field` as a mapping with no other keys than `keys`; reports what does not fit.
    pub(super) fn open(field: &Field<'t>, keys: &Keys, report: &mut Report) -> Option<Self> {
        let section = Self::open_any(field, report)?;
        for entry in section.entries {
            if keys.names().all(|name| name != entry.key) {
                let hint = hint(&entry.key, keys.names());
                let separator = if hint.is_empty() { ";" } else { "" };
                report.error(
                    &section.spot.key(&entry.key, entry.place),
                    format!(
                        "unknown key \"{}\"{hint}{separator} expected one of {}",
                        entry.key,
                        keys.names().collect::<Vec<_>>().join(", ")
                    ),
                );
            }
        }
        Some(section)
    }

    /// Takes `field` as a mapping whose keys are names of the user's choice.
    pub(super) fn open_any(field: &Field<'t>, report: &mut Report) -> Option<Self> {
        let Kind::Mapping(entries) = &field.node.kind else {
            field.unexpected("a mapping with keys", report);
            return None;
        };
        Some(Self { spot: field.spot.clone(), entries })
    }

    /// All keys with their values.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'t str, Field<'t>)> {
        self.entries.iter().map(|entry| {
            let field =
                Field { spot: self.spot.key(&entry.key, entry.value.place), node: &entry.value };
            (entry.key.as_str(), field)
        })
    }

    /// The value of `key`, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<Field<'t>> {
        self.fields().find(|(name, _)| *name == key).map(|(_, field)| field)
    }

    /// The value of `key`; its absence is reported, with `example` to copy.
    pub(super) fn require(
        &self,
        key: &str,
        example: &str,
        report: &mut Report,
    ) -> Option<Field<'t>> {
        let field = self.get(key);
        if field.is_none() {
            report.error(
                &self.spot,
                format!("the key \"{key}\" is missing, such as {key}: {example}"),
            );
        }
        field
    }

    /// Reports each of `keys` that is there, with the reason why it must not be.
    pub(super) fn refuse(&self, keys: &[&str], reason: &str, report: &mut Report) {
        for (key, field) in self.fields() {
            if keys.contains(&key) {
                report.error(&field.spot, reason);
            }
        }
    }
}

impl<'t> Field<'t> {
    /// The text of a scalar.
    fn scalar(&self, expected: &str, report: &mut Report) -> Option<&'t str> {
        match &self.node.kind {
            Kind::Scalar(scalar) if !self.node.is_null() => Some(&scalar.text),
            _ => {
                self.unexpected(expected, report);
                None
            }
        }
    }

    fn unexpected(&self, expected: &str, report: &mut Report) {
        if matches!(self.node.kind, Kind::Unresolved) {
            return;
        }
        report.error(&self.spot, format!("expected {expected}, found {}", self.node.found()));
    }

    fn converted<T>(
        &self,
        expected: &str,
        report: &mut Report,
        convert: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.scalar(expected, report)?;
        convert(text).map_err(|reason| report.error(&self.spot, reason)).ok()
    }

    fn bounded<T: PartialOrd + Copy>(
        &self,
        value: T,
        range: &RangeInclusive<T>,
        show: impl Fn(T) -> String,
        report: &mut Report,
    ) -> Option<T> {
        if range.contains(&value) {
            return Some(value);
        }
        let (least, most) = (show(*range.start()), show(*range.end()));
        report
            .error(&self.spot, format!("expected {least} to {most}, found {}", self.node.found()));
        None
    }

    /// Any text, the empty one included.
    pub(super) fn text(&self, report: &mut Report) -> Option<String> {
        self.scalar("text", report).map(str::to_owned)
    }

    /// A text that goes to the broker as a short string: 1 to 255 bytes.
    pub(super) fn short_text(&self, report: &mut Report) -> Option<String> {
        let text = self.text(report)?;
        if text.is_empty() || text.len() > 255 {
            report.error(
                &self.spot,
                format!("expected 1 to 255 bytes of text, found {}", text.len()),
            );
            return None;
        }
        Some(text)
    }

    /// A valid NSQ topic or channel name; `what` is which.
    pub(super) fn nsq_name(&self, what: &str, report: &mut Report) -> Option<String> {
        let name = self.scalar(&format!("a {what} name"), report)?;
        if names::is_valid_name(name.as_bytes()) {
            return Some(name.to_owned());
        }
        report.error(
            &self.spot,
            format!(
                "\"{name}\" is not a {what} name: 1 to 64 of the characters . a-z A-Z 0-9 _ -, and #ephemeral at the \
                 end if wanted"
            ),
        );
        None
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, report: &mut Report) -> Option<bool> {
        self.choice(&[("true", true), ("false", false)], report)
    }

    /// The text of a scalar, if it is one; nothing is reported.
    pub(super) fn plain_text(&self) -> Option<&'t str> {
        match &self.node.kind {
            Kind::Scalar(scalar) if !self.node.is_null() => Some(&scalar.text),
            _ => None,
        }
    }

    /// One of the words of `choices`.
    pub(super) fn choice<T: Clone>(&self, choices: &[(&str, T)], report: &mut Report) -> Option<T> {
        self.choice_of(choices, "", report)
    }

    /// One of the words of `choices`; `besides` is said of what else there is.
    pub(super) fn choice_of<T: Clone>(
        &self,
        choices: &[(&str, T)],
        besides: &str,
        report: &mut Report,
    ) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let expected = alternatives(&words) + besides;
        let text = self.scalar(&expected, report)?;
        let choice = choices.iter().find(|(word, _)| *word == text);
        if choice.is_none() {
            let hint = hint(text, words);
            report.error(&self.spot, format!("expected {expected}, found \"{text}\"{hint}"));
        }
        choice.map(|(_, value)| value.clone())
    }

    /// A whole number within `range`.
    pub(super) fn integer<T>(&self, range: RangeInclusive<T>, report: &mut Report) -> Option<T>
    where
        T: TryFrom<u64> + Into<u64> + PartialOrd + Copy,
    {
        let (least, most): (u64, u64) = ((*range.start()).into(), (*range.end()).into());
        let expected = format!("a whole number from {least} to {most}");
        let text = self.scalar(&expected, report)?;
        let value = text
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse::<u64>().ok())
            .flatten()
            .and_then(|number| T::try_from(number).ok())
            .filter(|number| range.contains(number));
        if value.is_none() {
            self.unexpected(&expected, report);
        }
        value
    }

    /// A number above 0 and at most 1.
    pub(super) fn fraction(&self, report: &mut Report) -> Option<f64> {
        let expected = "a number above 0 and at most 1, such as 0.99";
        let text = self.scalar(expected, report)?;
        let value = text.parse().ok().filter(|value| *value > 0.0 && *value <= 1.0);
        if value.is_none() {
            self.unexpected(expected, report);
        }
        value
    }

    /// A duration within `range`.
    pub(super) fn duration(
        &self,
        range: RangeInclusive<Duration>,
        report: &mut Report,
    ) -> Option<Duration> {
        let value = self.converted("a duration such as 10s", report, units::duration)?;
        self.bounded(value, &range, units::show_duration, report)
    }

    /// A size in bytes within `range`.
    pub(super) fn size(&self, range: RangeInclusive<u64>, report: &mut Report) -> Option<u64> {
        let value = self.converted("a size such as 20MiB", report, units::size)?;
        self.bounded(value, &range, units::show_size, report)
    }

    /// Messages in a span of time.
    pub(super) fn message_rate(&self, report: &mut Report) -> Option<Rate> {
        self.converted("a rate such as 5000/s", report, units::message_rate)
    }

    /// Bytes in a span of time.
    pub(super) fn byte_rate(&self, report: &mut Report) -> Option<Rate> {
        self.converted("a rate such as 20MiB/s", report, units::byte_rate)
    }

    /// The elements of a list.
    pub(super) fn list(&self, expected: &str, report: &mut Report) -> Option<Vec<Self>> {
        let Kind::Sequence(nodes) = &self.node.kind else {
            self.unexpected(expected, report);
            return None;
        };
        let element = |(index, node): (usize, &'t Node)| Field {
            spot: self.spot.index(index, node.place),
            node,
        };
        Some(nodes.iter().enumerate().map(element).collect())
    }

    /// Reports `message` at byte `offset` of a scalar's text, or at the value if the offset is not known.
    pub(super) fn error_at(&self, offset: Option<usize>, message: String, report: &mut Report) {
        report.error(&self.spot.at(self.node.place_of(offset)), message);
    }
}
