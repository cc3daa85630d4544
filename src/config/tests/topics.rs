//! The `topics` of the node's file: what comes out, and what is wrong with others.

use std::num::NonZeroU64;

use super::*;
use crate::engine::policy::{DeadLetterTo, Envelope, OnFull, Policies, Replay, Retention};
use crate::limit::{Allowance, Rate};

fn topics(text: &str) -> Policies {
    let loaded = Folder::new().with("leveret.yaml", text).load();
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, []);
    Policies::new(loaded.node.topics, |letter| letter.body.to_vec())
}

#[test]
fn everything_that_is_asked_comes_out_typed() {
    let policies = topics(
        "topics:
- match: \"*\"
  max_age: 7d
  dead_letter: { topic: dead, envelope: json }
- match: pay.eu
  declare: true
  channels: [billing, audit]
  durability: fsync
  max_messages: 1000000
  max_bytes: 10GiB
  on_full: drop_oldest
  max_attempts: 10
  retention: { age: 1d, bytes: 1GiB, messages: 1000000 }
  channel:
  - match: \"slow*\"
    rate: 500/s
    max_attempts: 3
    dead_letter: slow.dead
    replay: start
  - match: slower
    rate: { messages: 10/m, burst: 2 }
- match: pay.us
  declare: [one]
  dead_letter: \"\"
",
    );
    let declared: Vec<(&str, Vec<&str>)> = policies
        .declared()
        .map(|(topic, channels)| (topic, channels.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(declared, [("pay.eu", vec!["billing", "audit"]), ("pay.us", vec!["one"])]);
    let topic = policies.topic("pay.eu");
    assert_eq!(topic.durability, Some(Durability::Fsync));
    let day = Duration::from_secs(86_400);
    let retention = Retention { age: Some(day), bytes: Some(1 << 30), messages: Some(1_000_000) };
    assert_eq!(topic.retention, retention);
    let bounds = topic.bounds;
    assert_eq!((bounds.max_messages, bounds.max_bytes), (Some(1_000_000), Some(10 << 30)));
    assert_eq!((bounds.max_age, bounds.on_full), (Some(7 * day), OnFull::DropOldest));
    let plain = policies.channel("pay.eu", "billing");
    let dead = |topic: &str, envelope| Some(DeadLetterTo { topic: topic.into(), envelope });
    assert_eq!(plain.dead_letter, dead("dead", Envelope::Json));
    assert_eq!((plain.max_attempts.map(|max| max.get()), plain.rate), (Some(10), None));
    let slow = policies.channel("pay.eu", "slow1");
    assert_eq!(slow.dead_letter, dead("slow.dead", Envelope::None));
    assert_eq!((slow.max_attempts.map(|max| max.get()), slow.replay), (Some(3), Replay::Start));
    let rate = |amount, seconds| {
        Rate::new(NonZeroU64::new(amount).unwrap(), Duration::from_secs(seconds)).unwrap()
    };
    assert_eq!(slow.rate, Some(Allowance { rate: rate(500, 1), burst: 500 }));
    let slower = policies.channel("pay.eu", "slower");
    assert_eq!(slower.rate, Some(Allowance { rate: rate(10, 60), burst: 2 }));
    assert_eq!(policies.channel("pay.us", "one").dead_letter, None);
    assert_eq!(policies.channel("pay.us", "slow1").rate, None);
}

#[test]
fn what_is_wrong_is_told_where_it_stands() {
    for (text, expected) in [
        (
            "topics: 5",
            "1:9: topics: expected a list of patterns with what is asked of them, found \"5\"",
        ),
        (
            "topics: [{ max_age: 1d }]",
            "1:10: topics[0]: the key \"match\" is missing, such as match: orders.*",
        ),
        (
            "topics: [{ match: \"a/b\" }]",
            "1:19: topics[0].match: \"a/b\" is not a pattern of names: 1 to 64 of the characters . a-z A-Z 0-9 _ - * ?, \
             and #ephemeral at the end if wanted",
        ),
        (
            "topics: [{ match: a, on_fall: reject }]",
            "1:22: topics[0].on_fall: unknown key \"on_fall\"; did you mean \"on_full\"? expected one of broker, \
             channel, channels, dead_letter, declare, durability, match, max_age, max_attempts, max_bytes, max_hold, \
             max_messages, on_full, prefetch, publish_timeout, queue, retention, store",
        ),
        (
            "topics: [{ match: a, on_full: drop }]",
            "1:31: topics[0].on_full: expected reject or drop_oldest, found \"drop\"",
        ),
        (
            "topics: [{ match: \"a*\", declare: true }]",
            "1:34: topics[0].declare: only a topic with a name can be made at start, and \"a*\" is a pattern",
        ),
        (
            "topics: [{ match: a, channels: [b/c] }]",
            "1:33: topics[0].channels[0]: \"b/c\" is not a channel name: 1 to 64 of the characters . a-z A-Z 0-9 _ -, and \
             #ephemeral at the end if wanted",
        ),
        (
            "topics: [{ match: a, channel: [{ match: b, rate: 5 }] }]",
            "1:50: topics[0].channel[0].rate: expected messages in a span of time such as 5000/s, 300/m or 10/h, found \
             \"5\" without a span of time",
        ),
        (
            "topics: [{ match: a, max_attempts: 1, dead_letter: b }, { match: b, max_attempts: 1, dead_letter: a }]",
            "1:9: topics: dead letters would go round in a circle: a -> b -> a; give one of these topics max_attempts: 0",
        ),
        (
            "nsqd: { durability: safe, enable_experiment: [topology] }",
            "1:21: nsqd.durability: expected memory, disk or fsync, found \"safe\"\n\
             leveret.yaml:1:47: nsqd.enable_experiment[0]: expected topology-aware-consumption, found \"topology\"",
        ),
    ] {
        assert_eq!(node_findings(text), format!("leveret.yaml:{expected}"), "{text}");
    }
}
