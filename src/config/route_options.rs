//! Reads what a route says besides its endpoints and its limit: window, retries, dead letters.

use std::time::Duration;

use super::endpoints::{self, End};
use super::error::{Report, Spot};
use super::keys::routes::{BACKOFF, DEAD_LETTER, RETRY, WINDOW};
use super::remote_nsq;
use super::section::{Field, Section};
use super::suggest::hint;
use super::tree::Kind;
use crate::bridge::route::{DeadLetter, PublishOptions, Retry, Target, Window};
use crate::bridge::transform::Template;

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Options that only some flows have.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) publish: PublishOptions,
    pub(super) retry: Retry,
    pub(super) dead_letter: DeadLetter,
    pub(super) ordered: bool,
}

impl Options {
    pub(super) fn read(
        section: &Section<'_>,
        brokers: &mut Vec<(String, Spot)>,
        report: &mut Report,
    ) -> Self {
        let mut publish = PublishOptions::default();
        if let Some(field) = section.get("publish_timeout") {
            let range = 10 * MILLISECOND..=Duration::from_secs(600);
            publish.timeout = field.duration(range, report).unwrap_or(publish.timeout);
        }
        if let Some(field) = section.get("window") {
            publish.window = window(&field, report).unwrap_or_default();
        }
        let retry = section.get("retry").and_then(|field| retry(&field, report));
        let dead_letter =
            section.get("dead_letter").and_then(|field| dead_letter(&field, brokers, report));
        let ordered = section.get("ordered").and_then(|field| field.boolean(report));
        Self {
            publish,
            retry: retry.unwrap_or_default(),
            dead_letter: dead_letter.unwrap_or_default(),
            ordered: ordered.unwrap_or_default(),
        }
    }
}

fn window(field: &Field<'_>, report: &mut Report) -> Option<Window> {
    let section = Section::open(field, WINDOW, report)?;
    let default = Window::default();
    let messages = section.get("messages").and_then(|field| field.integer(1..=100_000, report));
    let bytes = section.get("bytes").and_then(|field| field.size(1 << 10..=1 << 30, report));
    Some(Window {
        messages: messages.unwrap_or(default.messages),
        bytes: bytes.unwrap_or(default.bytes),
    })
}

fn retry(field: &Field<'_>, report: &mut Report) -> Option<Retry> {
    let section = Section::open(field, RETRY, report)?;
    let mut retry = Retry::default();
    let attempts =
        section.get("max_attempts").and_then(|field| field.integer(1..=u16::MAX, report));
    retry.max_attempts = attempts.unwrap_or(retry.max_attempts);
    let Some(field) = section.get("backoff") else {
        return Some(retry);
    };
    let section = Section::open(&field, BACKOFF, report)?;
    let mut delay = |key: &str| {
        let field = section.get(key)?;
        field.duration(MILLISECOND..=HOUR, report)
    };
    let (initial, max) = (delay("initial"), delay("max"));
    // A bound that is not given gives way to the other one that is.
    retry.backoff_initial = initial
        .unwrap_or_else(|| max.map_or(retry.backoff_initial, |max| max.min(retry.backoff_initial)));
    retry.backoff_max = max.unwrap_or_else(|| retry.backoff_max.max(retry.backoff_initial));
    if retry.backoff_initial > retry.backoff_max {
        report.error(&section.spot, "initial is above max");
    }
    Some(retry)
}

fn dead_letter(
    field: &Field<'_>,
    brokers: &mut Vec<(String, Spot)>,
    report: &mut Report,
) -> Option<DeadLetter> {
    if matches!(field.node.kind, Kind::Scalar(_)) {
        return dead_letter_word(field, report);
    }
    let end = endpoints::end(field, DEAD_LETTER, report, |field, report| {
        endpoints::target(field, brokers, report)
    })?;
    match end {
        End::Nsq(end) => {
            if let Some((_, spot)) = &end.channel {
                report.error(spot, "dead letters go to a topic; leave the channel out");
            }
            end.is_constant(report).then_some(())?;
            if let Some(remote) = end.remote {
                if end.template.is_some() {
                    let message = "the place for dead letters is a constant: a template may be why a message is dead";
                    report.error(&end.spot, message);
                }
                let target = remote_nsq::target(*remote, &end.topic, report)?;
                return Some(DeadLetter::To(Box::new(target)));
            }
            let topic = Template::parse(&end.topic).ok()?;
            Some(DeadLetter::To(Box::new(Target::Topic { topic })))
        }
        End::Amqp(target) => {
            let constant = target.exchange.constant().is_some();
            if !constant || target.routing_key.constant().is_none() {
                let message = "the place for dead letters is a constant: a template may be why a message is dead";
                report.error(&field.spot, message);
            }
            Some(DeadLetter::To(Box::new(Target::Amqp(target))))
        }
    }
}

fn dead_letter_word(field: &Field<'_>, report: &mut Report) -> Option<DeadLetter> {
    let text = field.text(report)?;
    match text.as_str() {
        "stop" => Some(DeadLetter::Stop),
        "drop" => Some(DeadLetter::Drop),
        other => {
            let hint = hint(other, ["stop", "drop"]);
            let message = format!(
                "expected stop, drop, or a mapping with amqp or nsq, found \"{other}\"{hint}"
            );
            report.error(&field.spot, message);
            None
        }
    }
}
