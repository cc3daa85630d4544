//! Tests of messages that are taken by hand.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock;
use crate::engine::channel::tests::{publish, pull, subscribe, texts};
use crate::engine::{Engine, Options, PeekLimit, Topic};

const PEEK: PeekLimit = PeekLimit { messages: 100, bytes: 1 << 20 };

fn ids(consumer: &Consumer, wanted: &[&str]) -> Vec<MessageId> {
    let seen = consumer.channel().peek(PEEK, |_| true);
    let is_wanted = |body: &[u8]| wanted.iter().any(|wanted| wanted.as_bytes() == body);
    seen.into_iter().filter(|seen| is_wanted(&seen.body)).map(|seen| seen.id).collect()
}

fn take(consumer: &Consumer, ids: &[MessageId]) -> Vec<(String, u16)> {
    let mut taken = Vec::new();
    consumer.take(ids, clock::now(), |delivery| {
        taken.push((String::from_utf8(delivery.body.to_vec()).unwrap(), delivery.attempts));
    });
    taken
}

fn filled(topic: &Arc<Topic>) -> (Consumer, Consumer) {
    let (consumer, _) = subscribe(topic, "c", 100);
    let (hand, _) = subscribe(topic, "c", 0);
    for body in ["a", "b", "c", "d", "e"] {
        publish(topic, body);
    }
    (consumer, hand)
}

#[tokio::test]
async fn single_messages_are_taken_out_of_the_middle_and_the_rest_stays_in_order() {
    let engine = Engine::new(Options::default());
    let topic = engine.topic("t").unwrap();
    let (consumer, hand) = filled(&topic);
    let (d, b) = (ids(&hand, &["d"]), ids(&hand, &["b"]));
    assert_eq!(take(&hand, &[d.clone(), b].concat()), [("d".into(), 1), ("b".into(), 1)]);
    assert_eq!(take(&hand, &d), [], "it is taken");
    let counts = hand.channel().counts();
    assert_eq!((counts.depth, counts.in_flight), (3, 2));
    assert_eq!(texts(&pull(&consumer)), ["a", "c", "e"]);
    drop(hand);
    assert_eq!(texts(&pull(&consumer)), ["d", "b"], "nothing is lost with whoever took it");
}

#[tokio::test]
async fn messages_that_came_back_or_are_held_back_can_be_taken_too() {
    let engine = Engine::new(Options::default());
    let topic = engine.topic("t").unwrap();
    let (consumer, hand) = filled(&topic);
    let pulled = pull(&consumer);
    let mut settling = consumer.settle(clock::now());
    for (at, got) in pulled.iter().enumerate() {
        let delay = if at == 0 { Duration::from_secs(60) } else { Duration::ZERO };
        settling.requeue(&got.id, delay).unwrap();
    }
    drop(settling);
    hand.channel().set_paused(true);
    let wanted = ids(&hand, &["a", "c"]);
    let mut taken = take(&hand, &wanted);
    taken.sort();
    assert_eq!(taken, [("a".into(), 2), ("c".into(), 2)], "whether it is paused or not");
    let mut settling = hand.settle(clock::now());
    for id in &wanted {
        settling.finish(&id.to_hex()).unwrap();
    }
    drop(settling);
    hand.channel().set_paused(false);
    let counts = hand.channel().counts();
    assert_eq!((counts.depth, counts.in_flight, counts.deferred), (3, 0, 0));
    assert_eq!(texts(&pull(&consumer)), ["b", "d", "e"]);
    assert_eq!(take(&hand, &wanted), [], "they are gone");
}

proptest::proptest! {
    #[test]
    fn what_is_excluded_is_sorted_and_apart(wanted in proptest::collection::vec(0_u64..40, 0..60)) {
        let mut skips = VecDeque::new();
        let mut known = std::collections::BTreeSet::new();
        for seq in wanted {
            proptest::prop_assert_eq!(exclude(&mut skips, seq), known.insert(seq));
        }
        let listed: Vec<u64> = skips.iter().cloned().flatten().collect();
        proptest::prop_assert_eq!(listed, known.into_iter().collect::<Vec<_>>());
    }
}
