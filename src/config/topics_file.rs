//! Reads the `topics` of the node's file: what is asked of topics and channels by the patterns of their names.

use std::time::Duration;

use super::error::Report;
use super::keys::topics::{CHANNEL, DEAD_LETTER, RATE, REPLAY, RETENTION, TOPIC};
use super::section::{Field, Section};
use super::stores_file::store;
use super::tree::Kind;
use crate::bridge::broker::BrokerOptions;
use crate::bridge::store::options::StoreRow;
use crate::engine::policy::{
    ChannelRow, DeadLetterTo, Durability, Envelope, OnFull, Pattern, Policies, Replay, Retention,
    Rules, TopicRow,
};
use crate::limit::{Allowance, Rate};

/// The words for durability.
pub(super) const DURABILITY: [(&str, Durability); 3] =
    [("memory", Durability::Memory), ("disk", Durability::Disk), ("fsync", Durability::Fsync)];

/// Fastest limit of messages a second, as of routes: above, whole nanoseconds a cell are too coarse.
const PER_SECOND_MAX: u64 = 10_000_000;
/// Longest age: ten years.
const AGE_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Most bytes and messages, far beyond any disk.
const BYTES_MAX: u64 = 1 << 60;
const MESSAGES_MAX: u64 = 1 << 50;
/// Largest number of a message.
const OFFSET_MAX: u64 = (1 << 54) - 1;

/// Reads the whole list.
pub(super) fn read(
    field: &Field<'_>,
    brokers: &[BrokerOptions],
    report: &mut Report,
) -> (Vec<TopicRow>, Vec<StoreRow>) {
    let Some(fields) = field.list("a list of patterns with what is asked of them", report) else {
        return Default::default();
    };
    let (rows, mut stores): (Vec<TopicRow>, Vec<StoreRow>) =
        fields.iter().filter_map(|field| topic(field, brokers, report)).unzip();
    stores.retain(|row| !row.is_empty());
    let replays = |row: &TopicRow| {
        row.channels.iter().any(|row| row.replay.is_some_and(|replay| replay != Replay::New))
    };
    let retains = |row: &TopicRow| row.retention.is_some_and(|retention| retention.is_any());
    if let Some(row) = rows.iter().find(|row| replays(row))
        && !rows.iter().any(retains)
    {
        let message = format!(
            "a channel of {} is to replay, and no topic keeps anything: give it a retention",
            row.pattern
        );
        report.error(&field.spot, message);
    }
    if let Some(circle) = Policies::new(rows.clone(), |letter| letter.body.to_vec()).circle() {
        let way = circle.join(" -> ");
        let message = format!(
            "dead letters would go round in a circle: {way}; give one of these topics max_attempts: 0"
        );
        report.error(&field.spot, message);
    }
    (rows, stores)
}

fn topic(
    field: &Field<'_>,
    brokers: &[BrokerOptions],
    report: &mut Report,
) -> Option<(TopicRow, StoreRow)> {
    let section = Section::open(field, TOPIC, report)?;
    // The other keys are read even if the pattern is wrong, so that all errors come at once.
    let pattern = pattern(&section, "orders.*", report);
    let mut row = TopicRow::new(pattern.clone().unwrap_or_else(Pattern::any));
    if let Some(field) = section.get("durability") {
        row.durability = field.choice(&DURABILITY, report);
    }
    if let Some(field) = section.get("retention") {
        row.retention = retention(&field, report);
    }
    row.rules = rules(&section, report);
    let channels = section.get("channel").and_then(|field| {
        field.list("a list of patterns of channels with what is asked of them", report)
    });
    row.channels = channels.iter().flatten().filter_map(|field| channel(field, report)).collect();
    row.declared = declared(&section, report);
    if let (Some(pattern), Some(field)) =
        (&pattern, section.get("declare").or_else(|| section.get("channels")))
        && row.declared.is_some()
        && !pattern.literal().is_some_and(|name| crate::names::is_valid_name(name.as_bytes()))
    {
        let message = format!(
            "only a topic with a name can be made at start, and \"{pattern}\" is a pattern"
        );
        report.error(&field.spot, message);
    }
    let store = store(&section, row.pattern.clone(), brokers, report);
    pattern.map(|_| (row, store))
}

fn pattern(section: &Section<'_>, example: &str, report: &mut Report) -> Option<Pattern> {
    let field = section.require("match", example, report)?;
    let text = field.text(report)?;
    Pattern::new(&text).map_err(|error| report.error(&field.spot, error.to_string())).ok()
}

/// The channels to make with the topic: those of `declare` and those of `channels`; `None` if nothing is to be made.
fn declared(section: &Section<'_>, report: &mut Report) -> Option<Vec<String>> {
    let mut wanted = false;
    let mut names = Vec::new();
    if let Some(field) = section.get("declare") {
        if matches!(field.node.kind, Kind::Sequence(_)) {
            wanted = true;
            names.extend(channel_names(&field, report));
        } else {
            wanted = field.boolean(report) == Some(true);
        }
    }
    if let Some(field) = section.get("channels") {
        wanted = true;
        names.extend(channel_names(&field, report));
    }
    wanted.then_some(names)
}

fn channel_names(field: &Field<'_>, report: &mut Report) -> Vec<String> {
    let fields = field.list("true, false or a list of channel names", report).unwrap_or_default();
    fields.iter().filter_map(|field| field.nsq_name("channel", report)).collect()
}

fn retention(field: &Field<'_>, report: &mut Report) -> Option<Retention> {
    let section = Section::open(field, RETENTION, report)?;
    let age = section.get("age").and_then(|field| field.duration(Duration::ZERO..=AGE_MAX, report));
    let bytes = section.get("bytes").and_then(|field| field.size(0..=BYTES_MAX, report));
    let messages =
        section.get("messages").and_then(|field| field.integer(0..=MESSAGES_MAX, report));
    Some(Retention { age, bytes, messages })
}

fn rules(section: &Section<'_>, report: &mut Report) -> Rules {
    let mut rules = Rules::default();
    if let Some(field) = section.get("max_messages") {
        rules.max_messages = field.integer(0..=MESSAGES_MAX, report);
    }
    if let Some(field) = section.get("max_bytes") {
        rules.max_bytes = field.size(0..=BYTES_MAX, report);
    }
    if let Some(field) = section.get("max_age") {
        rules.max_age = field.duration(Duration::ZERO..=AGE_MAX, report);
    }
    if let Some(field) = section.get("on_full") {
        let words = [("reject", OnFull::Reject), ("drop_oldest", OnFull::DropOldest)];
        rules.on_full = field.choice(&words, report);
    }
    if let Some(field) = section.get("max_attempts") {
        rules.max_attempts = field.integer(0..=u16::MAX, report);
    }
    rules.dead_letter = section.get("dead_letter").and_then(|field| dead_letter(&field, report));
    rules
}

/// A topic's name, nothing for none, or a mapping with the envelope.
fn dead_letter(field: &Field<'_>, report: &mut Report) -> Option<Option<DeadLetterTo>> {
    let to = |topic: String, envelope| Some(DeadLetterTo { topic: topic.into(), envelope });
    if let Kind::Scalar(scalar) = &field.node.kind {
        if scalar.text.is_empty() && !field.node.is_null() {
            return Some(None);
        }
        return Some(to(field.nsq_name("topic", report)?, Envelope::None));
    }
    let section = Section::open(field, DEAD_LETTER, report)?;
    let envelopes = [("none", Envelope::None), ("json", Envelope::Json)];
    let envelope = section.get("envelope").and_then(|field| field.choice(&envelopes, report));
    let topic = section.require("topic", "orders.dead", report)?.nsq_name("topic", report)?;
    Some(to(topic, envelope.unwrap_or_default()))
}

fn channel(field: &Field<'_>, report: &mut Report) -> Option<ChannelRow> {
    let section = Section::open(field, CHANNEL, report)?;
    let pattern = pattern(&section, "slow*", report);
    let rules = rules(&section, report);
    let rate = section.get("rate").and_then(|field| rate(&field, report));
    let replay = section.get("replay").and_then(|field| replay(&field, report));
    Some(ChannelRow { pattern: pattern?, rules, rate, replay })
}

/// `new`, `start`, a span back from the moment when the channel is made, or a mapping with a moment or a number.
fn replay(field: &Field<'_>, report: &mut Report) -> Option<Replay> {
    if let Kind::Scalar(scalar) = &field.node.kind {
        if scalar.text.starts_with(|c: char| c.is_ascii_digit()) {
            return field.duration(Duration::ZERO..=AGE_MAX, report).map(Replay::Back);
        }
        return field.choice(&[("new", Replay::New), ("start", Replay::Start)], report);
    }
    let section = Section::open(field, REPLAY, report)?;
    match (section.get("time"), section.get("offset")) {
        (Some(field), None) => moment(&field, report).map(Replay::Since),
        (None, Some(field)) => field.integer(0..=OFFSET_MAX, report).map(Replay::Offset),
        _ => {
            report.error(&field.spot, "expected either time or offset".to_owned());
            None
        }
    }
}

fn moment(field: &Field<'_>, report: &mut Report) -> Option<i64> {
    let text = field.text(report)?;
    let moment = crate::clock::moment(&text);
    if moment.is_none() {
        let message = format!(
            "expected Unix seconds or a time such as 2024-05-01T12:00:00Z, found \"{text}\""
        );
        report.error(&field.spot, message);
    }
    moment
}

/// `500/s`, `none`, or a mapping with the burst.
fn rate(field: &Field<'_>, report: &mut Report) -> Option<Option<Allowance>> {
    if let Kind::Scalar(scalar) = &field.node.kind {
        if scalar.text == "none" {
            return Some(None);
        }
        let rate = messages(field, report)?;
        return Some(Some(Allowance { rate, burst: rate.per_second_ceil() }));
    }
    let section = Section::open(field, RATE, report)?;
    let burst =
        section.get("burst").and_then(|field| field.integer(1..=u64::from(u32::MAX), report));
    let rate = messages(&section.require("messages", "500/s", report)?, report)?;
    Some(Some(Allowance { rate, burst: burst.unwrap_or_else(|| rate.per_second_ceil()) }))
}

fn messages(field: &Field<'_>, report: &mut Report) -> Option<Rate> {
    let rate = field.message_rate(report)?;
    if rate.per_second_ceil() > PER_SECOND_MAX {
        report.error(&field.spot, format!("a limit is at most {PER_SECOND_MAX}/s"));
        return None;
    }
    Some(rate)
}
