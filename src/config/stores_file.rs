//! Reads the keys of a row of `topics` that say where its topics live.

use std::time::Duration;

use super::error::Report;
use super::keys::topics::STORE_QUEUE;
use super::section::{Field, Section};
use super::suggest::hint;
use crate::bridge::broker::BrokerOptions;
use crate::bridge::route::QueueKind;
use crate::bridge::store::options::{Home, StoreRow};
use crate::engine::policy::Pattern;

/// The shortest and the longest wait for a confirm.
const PUBLISH_TIMEOUTS: (Duration, Duration) =
    (Duration::from_millis(10), Duration::from_secs(600));
/// The shortest and the longest time for which a message is held.
const HOLDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(25 * 60));

/// What the row of these topics says; `brokers` are those of the node.
pub(super) fn store(
    section: &Section<'_>,
    pattern: Pattern,
    brokers: &[BrokerOptions],
    report: &mut Report,
) -> StoreRow {
    let mut row = StoreRow::new(pattern);
    if let Some(field) = section.get("store") {
        let homes = [("local", Home::Local), ("rabbitmq", Home::Rabbitmq)];
        row.home = field.choice(&homes, report);
        let is_there = |name: &str| brokers.iter().any(|broker| broker.name == name);
        if row.home == Some(Home::Rabbitmq)
            && section.get("broker").is_none()
            && !is_there("default")
        {
            report.error(&field.spot, "which broker? there is none named default: give its broker");
        }
    }
    row.broker = section.get("broker").and_then(|field| broker(&field, brokers, report));
    if let Some(section) = section.get("queue").and_then(|f| Section::open(&f, STORE_QUEUE, report))
    {
        queue(&section, &mut row, report);
    }
    row.prefetch = section.get("prefetch").and_then(|field| field.integer(1..=u16::MAX, report));
    let duration = |key: &str, (least, most): (Duration, Duration), report: &mut Report| {
        section.get(key).and_then(|field| field.duration(least..=most, report))
    };
    row.publish_timeout = duration("publish_timeout", PUBLISH_TIMEOUTS, report);
    row.max_hold = duration("max_hold", HOLDS, report);
    row
}

fn broker(field: &Field<'_>, brokers: &[BrokerOptions], report: &mut Report) -> Option<String> {
    let name = field.text(report)?;
    let known = || brokers.iter().map(|broker| broker.name.as_str());
    if known().all(|known| known != name) {
        let hint = hint(&name, known());
        report.error(&field.spot, format!("unknown broker \"{name}\"{hint}"));
        return None;
    }
    Some(name)
}

fn queue(section: &Section<'_>, row: &mut StoreRow, report: &mut Report) {
    if let Some(field) = section.get("type") {
        let kinds = [("classic", QueueKind::Classic), ("quorum", QueueKind::Quorum)];
        row.queue = field.choice(&kinds, report);
    }
    if let Some(field) = section.get("delivery_limit") {
        row.delivery_limit = field.integer(1..=i32::MAX.unsigned_abs(), report);
        if row.queue == Some(QueueKind::Classic) {
            report.error(&field.spot, "a classic queue counts no deliveries");
        }
    }
}
