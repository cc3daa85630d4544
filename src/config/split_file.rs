//! Reads a route's `to`: one place, or two that share the messages or both get them.

use super::endpoints::{self, End};
use super::error::{Report, Spot};
use super::keys::endpoints::{PLACE, SHARE, TARGET, TEE};
use super::section::{Field, Section};
use crate::bridge::route::AmqpTarget;
use crate::bridge::transform::Template;

/// Where a route leads, before its other end and mode are known.
#[derive(Debug)]
pub(super) enum To {
    One(End<AmqpTarget>),
    Tee {
        primary: End<AmqpTarget>,
        secondary: End<AmqpTarget>,
        /// Whether what goes to the secondary place waits in a topic of its own, and nobody waits for it.
        is_queued: bool,
    },
    Share {
        /// Hundredths of a per cent.
        share: u16,
        by: Option<Template>,
        part: End<AmqpTarget>,
        rest: End<AmqpTarget>,
    },
}

/// Reads `to`; the brokers that it names are added to `brokers`.
pub(super) fn read(
    field: &Field<'_>,
    brokers: &mut Vec<(String, Spot)>,
    report: &mut Report,
) -> Option<To> {
    let section = Section::open(field, TARGET, report)?;
    let (share, tee) = (section.get("share"), section.get("tee"));
    if share.is_none() && tee.is_none() {
        return one(field, brokers, report).map(To::One);
    }
    if section.fields().count() > 1 {
        report.error(&section.spot, "a share or a tee stands alone; keep one of the keys");
        return None;
    }
    match (share, tee) {
        (Some(field), _) => read_share(&field, brokers, report),
        (None, Some(field)) => read_tee(&field, brokers, report),
        (None, None) => None,
    }
}

fn one(
    field: &Field<'_>,
    brokers: &mut Vec<(String, Spot)>,
    report: &mut Report,
) -> Option<End<AmqpTarget>> {
    endpoints::end(field, PLACE, report, |field, report| endpoints::target(field, brokers, report))
}

/// The place under `key`.
fn place(
    section: &Section<'_>,
    key: &str,
    brokers: &mut Vec<(String, Spot)>,
    report: &mut Report,
) -> Option<End<AmqpTarget>> {
    let field = section.require(key, "{ nsq: { topic: orders } }", report)?;
    one(&field, brokers, report)
}

fn read_tee(
    field: &Field<'_>,
    brokers: &mut Vec<(String, Spot)>,
    report: &mut Report,
) -> Option<To> {
    let section = Section::open(field, TEE, report)?;
    let primary = place(&section, "primary", brokers, report);
    let secondary = place(&section, "secondary", brokers, report);
    let waits = [("both", false), ("primary", true)];
    let is_queued = section.get("wait").map(|field| field.choice(&waits, report));
    Some(To::Tee {
        primary: primary?,
        secondary: secondary?,
        is_queued: match is_queued {
            Some(is_queued) => is_queued?,
            None => false,
        },
    })
}

fn read_share(
    field: &Field<'_>,
    brokers: &mut Vec<(String, Spot)>,
    report: &mut Report,
) -> Option<To> {
    let section = Section::open(field, SHARE, report)?;
    let share = section.require("percent", "10%", report).and_then(|field| percent(&field, report));
    let by = section.get("by").map(|field| endpoints::template(&field, report));
    let part = place(&section, "to", brokers, report);
    let rest = place(&section, "rest", brokers, report);
    Some(To::Share {
        share: share?,
        by: match by {
            Some(by) => Some(by?),
            None => None,
        },
        part: part?,
        rest: rest?,
    })
}

fn percent(field: &Field<'_>, report: &mut Report) -> Option<u16> {
    let text = field.text(report)?;
    let share = hundredths(&text);
    if share.is_none() {
        let message = format!(
            "expected 0% to 100% with at most two decimals, such as 12.5%, found \"{text}\""
        );
        report.error(&field.spot, message);
    }
    share
}

/// `12.5%` in hundredths of a per cent.
fn hundredths(text: &str) -> Option<u16> {
    let number = text.strip_suffix('%')?.trim_end();
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !are_digits(whole) || !are_digits(decimals) || decimals.len() > 2 {
        return None;
    }
    let decimals = format!("{decimals:0<2}").parse::<u16>().ok()?;
    let share = whole.parse::<u16>().ok()?.checked_mul(100)?.checked_add(decimals)?;
    (share <= 10_000).then_some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_to_the_hundredth() {
        for (text, share) in [
            ("10%", Some(1000)),
            ("0%", Some(0)),
            ("100%", Some(10_000)),
            ("12.5%", Some(1250)),
            ("0.01 %", Some(1)),
            ("100.01%", None),
            ("10", None),
            ("1.234%", None),
            ("-1%", None),
            ("%", None),
            ("1e1%", None),
        ] {
            assert_eq!(hundredths(text), share, "{text}");
        }
    }
}
