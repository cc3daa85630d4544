//! The gate on simulated time: keys that step aside, and what is above the limit.

use std::num::NonZeroU64;
use std::time::Duration;

use super::*;
use crate::bridge::message::{Placed, RefusalKind};
use crate::bridge::route::{Excess, Flow, Instances, Mode, PerKey, PublishOptions, Route, Target};
use crate::bridge::transform::{Template, Transform};
use crate::limit::{Allowance, LimitOptions, Rate};
use crate::names::MessageId;

const SECOND: Duration = Duration::from_secs(1);

fn rates(amount: u64, burst: u64) -> LimitOptions {
    let rate = Rate::new(NonZeroU64::new(amount).unwrap(), SECOND).unwrap();
    LimitOptions { messages: Some(Allowance { rate, burst }), bytes: None }
}

fn by_tenant(amount: u64, burst: u64, on_exceed: OnExceed) -> RouteLimit {
    let by = Template::parse("{{ body.t }}").unwrap();
    let per = Some(PerKey { by, max_keys: 100, total: None });
    RouteLimit { rates: rates(amount, burst), on_exceed, per, excess: None }
}

fn message(id: u64, tenant: &str) -> Message {
    Message {
        id: MessageId(id),
        message_id: None,
        timestamp: 0,
        attempts: 1,
        body: format!("{{\"t\":\"{tenant}\"}}").into(),
        properties: None,
        shaped: None,
        ticket: None,
        dead: None,
        placed: Placed::Nowhere,
        is_excess: false,
        put_off: None,
        due: None,
    }
}

fn gate(limit: &RouteLimit, messages: u32) -> (watch::Sender<Option<RouteLimit>>, Gate) {
    let topic = || Template::parse("t").unwrap();
    let route = Route {
        name: "r".into(),
        mode: Mode::Direct,
        flow: Flow::Ingress {
            topic: "in".into(),
            to: Target::Topic { topic: topic() },
            publish: PublishOptions::default(),
            defer: false,
        },
        limit: Some(limit.clone()),
        transform: Transform::default(),
        instances: Instances::All,
    };
    let sender = watch::Sender::new(Some(limit.clone()));
    let from = Provenance { topic: "in".into(), channel: String::new(), text: "nsq in".into() };
    let bound = Window { messages, bytes: 1 << 20 };
    let gate = Gate::new(sender.subscribe(), from, Status::new(route), bound);
    (sender, gate)
}

fn ids(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(|message| message.id.0).collect()
}

/// What comes out until nothing waits, with the time of each.
async fn drain(gate: &mut Gate) -> Vec<(u64, Duration)> {
    let start = clock::now();
    let mut out = Vec::new();
    while gate.is_waiting() {
        gate.due().await;
        let released = gate.release(|_| true).await;
        out.extend(released.iter().map(|message| (message.id.0, clock::since(start))));
    }
    out
}

#[tokio::test(start_paused = true)]
async fn a_key_above_its_limit_steps_aside_in_order_and_others_go_on() {
    let (_limit, mut gate) = gate(&by_tenant(10, 2, OnExceed::Wait), 100);
    let batch = (0..8).map(|id| message(id, "slow")).chain([message(100, "other")]).collect();
    let start = clock::now();
    let sorted = gate.admit(batch).await;
    assert_eq!((ids(&sorted.pass), clock::since(start)), (vec![0, 1, 100], Duration::ZERO));
    assert!(gate.has_room() && sorted.above.is_empty());
    // Nothing overtakes within a key.
    let sorted = gate.admit(vec![message(8, "slow"), message(101, "other")]).await;
    assert_eq!(ids(&sorted.pass), [101]);
    let out = drain(&mut gate).await;
    assert_eq!(out.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7, 8]);
    for (number, (_, at)) in out.iter().enumerate() {
        let due = SECOND / 10 * (u32::try_from(number).unwrap() + 1);
        assert!(at.abs_diff(due) <= Duration::from_millis(2), "{number} at {at:?}, {due:?} due");
    }
    assert!(gate.status.show().limit.unwrap().throttled_seconds >= 0.69);
    assert_eq!(gate.status.show().limit.unwrap().parked, 0);
}

#[tokio::test(start_paused = true)]
async fn what_steps_aside_is_bounded_and_may_be_given_up() {
    let (_limit, mut gate) = gate(&by_tenant(1, 1, OnExceed::Wait), 3);
    gate.admit((0..3).map(|id| message(id, "a")).collect()).await;
    assert!(gate.has_room());
    gate.admit(vec![message(3, "a")]).await;
    assert!(!gate.has_room());
    gate.due().await;
    let released = gate.release(|message| message.id.0 != 1).await;
    assert_eq!(ids(&released), [2]);
    assert!(gate.has_room());
    gate.keep_order();
    assert!(!gate.has_room());
}

#[tokio::test(start_paused = true)]
async fn what_is_above_a_limit_that_does_not_wait_is_told_apart() {
    let (_limit, mut gate) = gate(&by_tenant(1, 1, OnExceed::Drop), 3);
    let mut batch: Vec<_> = (0..3).map(|id| message(id, "a")).collect();
    batch.push(message(3, "b"));
    let mut bad = message(4, "");
    bad.body = "no json".into();
    batch.push(bad);
    let sorted = gate.admit(batch).await;
    assert_eq!((ids(&sorted.pass), ids(&sorted.above)), (vec![0, 3], vec![1, 2]));
    assert_eq!(sorted.refused.first().unwrap().1.kind, RefusalKind::Transform);
    assert!(!gate.is_waiting());
}

#[tokio::test(start_paused = true)]
async fn the_total_holds_behind_the_keys() {
    let mut limit = by_tenant(100, 100, OnExceed::Wait);
    limit.per.as_mut().unwrap().total = Some(rates(10, 1));
    let (_limit, mut gate) = gate(&limit, 100);
    let start = clock::now();
    for id in 0..21 {
        let sorted = gate.admit(vec![message(id, &format!("k{id}"))]).await;
        assert_eq!(sorted.pass.len(), 1);
    }
    assert!(clock::since(start).abs_diff(2 * SECOND) <= Duration::from_millis(2));
}

#[tokio::test(start_paused = true)]
async fn another_limit_takes_over_at_once_and_grants_no_burst() {
    let (sender, mut gate) = gate(&by_tenant(1, 5, OnExceed::Wait), 100);
    let sorted = gate.admit((0..50).map(|id| message(id, "a")).collect()).await;
    assert_eq!(sorted.pass.len(), 5);
    sender.send_replace(Some(by_tenant(100, 40, OnExceed::Wait)));
    gate.tune();
    let out = drain(&mut gate).await;
    assert_eq!(out.len(), 45);
    let took = out.last().unwrap().1;
    assert!(took.abs_diff(SECOND * 45 / 100) <= Duration::from_millis(20), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_plain_limit_follows_its_changes_in_the_middle_of_a_wait() {
    let limit =
        RouteLimit { rates: rates(1, 1), on_exceed: OnExceed::Wait, per: None, excess: None };
    let (sender, mut gate) = gate(&limit, 100);
    gate.admit(vec![message(0, "a")]).await;
    let start = clock::now();
    let quicker = async {
        tokio::time::sleep(SECOND / 10).await;
        sender.send_replace(Some(RouteLimit { rates: rates(100, 1), ..limit.clone() }));
    };
    let batch = (0..10).map(|id| message(id, "a")).collect();
    let (sorted, ()) = tokio::join!(gate.admit(batch), quicker);
    assert_eq!(sorted.pass.len(), 10);
    assert!(clock::since(start) < SECOND / 4, "{:?}", clock::since(start));
}

#[tokio::test(start_paused = true)]
async fn what_is_above_the_committed_rate_is_marked_and_counted() {
    let excess = Some(Excess { rates: rates(1, 2), routing_key: None });
    let limit = RouteLimit { rates: rates(1, 3), on_exceed: OnExceed::Drop, per: None, excess };
    let (_limit, mut gate) = gate(&limit, 100);
    let sorted = gate.admit((0..9).map(|id| message(id, "a")).collect()).await;
    let marked: Vec<bool> = sorted.pass.iter().map(|message| message.is_excess).collect();
    assert_eq!(marked, [false, false, false, true, true]);
    assert_eq!((sorted.above.len(), gate.status.counters.snapshot().excess), (4, 2));
    assert_eq!(gate.status.show().limit.unwrap().messages_left, Some(0));
}
