//! Tests of how rows refine each other, and of dead letters that go round.

use super::*;

fn row(pattern: &str, rules: Rules) -> TopicRow {
    TopicRow { rules, ..TopicRow::new(Pattern::new(pattern).unwrap()) }
}

fn channel(pattern: &str, rules: Rules) -> ChannelRow {
    ChannelRow { pattern: Pattern::new(pattern).unwrap(), rules, rate: None, replay: None }
}

fn dead(topic: &str) -> Option<Option<DeadLetterTo>> {
    Some(
        (!topic.is_empty()).then(|| DeadLetterTo { topic: topic.into(), envelope: Envelope::None }),
    )
}

fn policies(rows: Vec<TopicRow>) -> Policies {
    Policies::new(rows, |letter| letter.body.to_vec())
}

#[test]
fn later_rows_refine_earlier_ones_key_by_key() {
    let mut pay = row("pay.*", Rules { max_messages: Some(10), ..Rules::default() });
    pay.durability = Some(Durability::Fsync);
    pay.channels = vec![
        channel("slow*", Rules { max_attempts: Some(3), ..Rules::default() }),
        ChannelRow {
            replay: Some(Replay::Start),
            ..channel("slow2", Rules { max_bytes: Some(7), ..Rules::default() })
        },
    ];
    let all = Rules {
        max_messages: Some(1000),
        max_age: Some(Duration::from_secs(60)),
        on_full: Some(OnFull::DropOldest),
        ..Rules::default()
    };
    let policies = policies(vec![row("*", all), pay]);
    let other = policies.topic("orders");
    assert_eq!((other.bounds.max_messages, other.durability), (Some(1000), None));
    let topic = policies.topic("pay.eu");
    assert_eq!(topic.bounds.max_messages, Some(10));
    assert_eq!(topic.bounds.max_age, Some(Duration::from_secs(60)));
    assert_eq!(
        (topic.bounds.on_full, topic.durability),
        (OnFull::DropOldest, Some(Durability::Fsync))
    );
    let plain = policies.channel("pay.eu", "billing");
    assert_eq!((plain.bounds, plain.max_attempts), (topic.bounds, None));
    let slow = policies.channel("pay.eu", "slow2");
    assert_eq!((slow.max_attempts.map(NonZeroU16::get), slow.replay), (Some(3), Replay::Start));
    assert_eq!((slow.bounds.max_bytes, slow.bounds.max_messages), (Some(7), Some(10)));
}

#[test]
fn zero_lifts_a_bound_again() {
    let bound = Rules { max_messages: Some(5), max_attempts: Some(2), ..Rules::default() };
    let free = Rules { max_messages: Some(0), max_attempts: Some(0), ..Rules::default() };
    let policies = policies(vec![row("*", bound), row("free", free)]);
    assert!(policies.topic("other").is_bounded);
    assert_eq!(policies.topic("free"), TopicPolicy::default());
    assert_eq!(policies.channel("free", "c"), ChannelPolicy::default());
}

#[test]
fn a_bound_of_a_channel_alone_makes_its_topic_look() {
    let mut topic = row("t", Rules::default());
    topic.channels = vec![channel("c", Rules { max_messages: Some(1), ..Rules::default() })];
    let policies = policies(vec![topic]);
    let policy = policies.topic("t");
    assert!(policy.is_bounded && !policy.bounds.is_any());
    assert!(!policies.topic("u").is_bounded);
}

#[test]
fn the_dead_letter_topic_keeps_its_own() {
    let rules = Rules { max_attempts: Some(2), dead_letter: dead("dead"), ..Rules::default() };
    let policies = policies(vec![row("*", rules)]);
    assert!(policies.channel("t", "c").max_attempts.is_some());
    assert_eq!(policies.channel("dead", "c").max_attempts, None);
    assert_eq!(policies.circle(), None);
}

#[test]
fn dead_letters_that_would_go_round_are_found() {
    let rules = |attempts, to| Rules {
        max_attempts: Some(attempts),
        dead_letter: dead(to),
        ..Rules::default()
    };
    let round = policies(vec![row("*", rules(2, "dead")), row("dead", rules(2, "grave"))]);
    let circle: Vec<String> = round.circle().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(circle.join(" "), "dead grave dead");
    let rows = vec![
        row("*", rules(2, "dead")),
        row("dead", rules(2, "grave")),
        row("grave", rules(0, "")),
    ];
    assert_eq!(policies(rows).circle(), None);
    let mut by_channel = row("dead", Rules::default());
    by_channel.channels = vec![channel("again*", rules(1, "t"))];
    let rows = vec![row("t", rules(5, "dead")), by_channel];
    assert_eq!(policies(rows).circle().map(|circle| circle.len()), Some(3));
}

#[test]
fn what_is_declared_is_listed() {
    let mut topic = row("t", Rules::default());
    topic.declared = Some(vec!["c".into()]);
    let policies = policies(vec![row("*", Rules::default()), topic]);
    assert_eq!(policies.declared().collect::<Vec<_>>(), [("t", &["c".to_owned()][..])]);
}
