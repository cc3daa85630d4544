//! Reads a route's limit, and says which flows can keep it.

use super::endpoints;
use super::error::Report;
use super::keys::Keys;
use super::keys::routes::{EXCESS, LIMIT, TOTAL};
use super::section::{Field, Section};
use crate::bridge::route::{DeadLetter, Excess, Flow, OnExceed, PerKey, RouteLimit, Target};
use crate::bridge::transform::Template;
use crate::limit::{Allowance, BYTES_PER_CELL, LimitOptions};

/// Fastest limit of messages and of bytes a second: above, whole nanoseconds a cell are too coarse.
const MESSAGES_PER_SECOND_MAX: u64 = 10_000_000;
const BYTES_PER_SECOND_MAX: u64 = 10 << 30;

/// Keys of a message that have a limit of their own, where the route says nothing.
const MAX_KEYS: u32 = 10_000;

/// Reads the key `limit`.
pub(super) fn read(field: &Field<'_>, report: &mut Report) -> Option<RouteLimit> {
    let section = Section::open(field, LIMIT, report)?;
    let exceed = [
        ("wait", OnExceed::Wait),
        ("reject", OnExceed::Reject),
        ("dead_letter", OnExceed::DeadLetter),
        ("drop", OnExceed::Drop),
    ];
    let on_exceed = section.get("on_exceed").and_then(|field| field.choice(&exceed, report));
    let rates = rates(&section, report);
    let per = per_key(&section, report);
    let excess = section.get("excess").and_then(|field| excess(&field, report));
    Some(RouteLimit { rates: rates?, on_exceed: on_exceed.unwrap_or_default(), per, excess })
}

fn per_key(section: &Section<'_>, report: &mut Report) -> Option<PerKey> {
    let max_keys = section.get("max_keys").and_then(|field| field.integer(1..=100_000, report));
    let total = section.get("total").and_then(|field| nested_rates(&field, TOTAL, report));
    let Some(field) = section.get("per") else {
        let message = "there are no keys: the key \"per\" is missing";
        section.refuse(&["max_keys", "total"], message, report);
        return None;
    };
    let by = endpoints::template(&field, report)?;
    if by.constant().is_some() {
        let message = "the same for every message; expected a template such as {{ body.tenant }}";
        report.error(&field.spot, message);
    }
    Some(PerKey { by, max_keys: max_keys.unwrap_or(MAX_KEYS), total })
}

fn nested_rates(
    field: &Field<'_>,
    keys: &'static Keys,
    report: &mut Report,
) -> Option<LimitOptions> {
    let section = Section::open(field, keys, report)?;
    rates(&section, report)
}

fn excess(field: &Field<'_>, report: &mut Report) -> Option<Excess> {
    let section = Section::open(field, EXCESS, report)?;
    let routing_key: Option<Template> =
        section.get("routing_key").and_then(|field| endpoints::template(&field, report));
    Some(Excess { rates: rates(&section, report)?, routing_key })
}

/// Rates and bursts, as they stand in several mappings.
fn rates(section: &Section<'_>, report: &mut Report) -> Option<LimitOptions> {
    let burst =
        section.get("burst").and_then(|field| field.integer(1..=u64::from(u32::MAX), report));
    let messages = section.get("messages").and_then(|field| {
        let rate = field.message_rate(report)?;
        let second = rate.per_second_ceil();
        if second > MESSAGES_PER_SECOND_MAX {
            let message = format!("a limit is at most {MESSAGES_PER_SECOND_MAX}/s");
            report.error(&field.spot, message);
        }
        let burst = burst.unwrap_or(second);
        Some(Allowance { rate, burst })
    });
    let burst_bytes =
        section.get("burst_bytes").and_then(|field| field.size(BYTES_PER_CELL..=1 << 40, report));
    let bytes = section.get("bytes").and_then(|field| {
        let rate = field.byte_rate(report)?;
        let second = rate.per_second_ceil();
        if second > BYTES_PER_SECOND_MAX {
            report.error(&field.spot, "a limit is at most 10GiB/s");
        }
        let burst = burst_bytes.unwrap_or_else(|| second.max(BYTES_PER_CELL));
        Some(Allowance { rate, burst })
    });
    if section.get("messages").is_none() && section.get("bytes").is_none() {
        let message = "expected a limit in messages, bytes or both, such as messages: 5000/s";
        report.error(&section.spot, message);
        return None;
    }
    for (rate, burst) in [("messages", "burst"), ("bytes", "burst_bytes")] {
        if section.get(rate).is_none() {
            let message = format!("a burst without a rate: the key \"{rate}\" is missing");
            section.refuse(&[burst], &message, report);
        }
    }
    Some(LimitOptions { messages, bytes })
}

/// Reports what a flow cannot do with its limit.
pub(super) fn check(limit: &RouteLimit, flow: &Flow, section: &Section<'_>, report: &mut Report) {
    let why = match (limit.on_exceed, flow) {
        (OnExceed::Wait, _)
        | (OnExceed::Reject, Flow::Ingress { .. })
        | (OnExceed::Drop, Flow::Ingress { .. } | Flow::Move(_)) => None,
        (OnExceed::Reject, _) => {
            Some("only a direct route from nsq has a producer to tell; use on_exceed: wait")
        }
        (OnExceed::Drop, Flow::Channel { .. }) => {
            Some("what appears as a channel is finished by its consumers; use on_exceed: wait")
        }
        (OnExceed::DeadLetter, Flow::Move(moving)) => match moving.dead_letter {
            DeadLetter::To(_) => None,
            DeadLetter::Stop | DeadLetter::Drop => Some(
                "needs a place for dead letters: give the route a dead_letter with amqp or nsq",
            ),
        },
        (OnExceed::DeadLetter, _) => {
            Some("only queued routes and amqp → amqp have dead letters; use on_exceed: wait")
        }
    };
    let Some(field) = section.get("limit") else { return };
    let Some(limits) = Section::open(&field, LIMIT, &mut Report::default()) else { return };
    if let Some(why) = why {
        limits.refuse(&["on_exceed"], why, report);
    }
    if matches!(flow, Flow::Channel { .. }) {
        let message = "a queue that appears as a channel has one limit for all of its messages";
        limits.refuse(&["per", "excess"], message, report);
    } else if limit.excess.is_some() && !has_mark(flow) {
        let message = "only a message on its way to an exchange can be marked";
        limits.refuse(&["excess"], message, report);
    }
}

/// Whether all that the flow leads to are exchanges.
fn has_mark(flow: &Flow) -> bool {
    let target = match flow {
        Flow::Ingress { to, .. } => to,
        Flow::Move(moving) => &moving.to,
        Flow::Channel { .. } => return false,
    };
    target.places().iter().all(|place| matches!(place, Target::Amqp(_)))
}
