//! Tests of messages that are given up.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::tests::{publish, pull, pull_at, subscribe, texts};
use crate::clock;
use crate::engine::alarms::OnAlarm as _;
use crate::engine::policy::{DeadLetterTo, Envelope, OnFull, Pattern, Policies, Rules, TopicRow};
use crate::engine::{
    Engine, Ingress, Offer, Options, Origin, Outbound, PublishError, Ticket, Upstream,
};

/// Where the dead go in these tests.
const DEAD: &str = "t.dead";

/// Rules for the topic `t`; its dead-letter topic takes one message if it is `narrow`.
fn engine(max_attempts: u16, dead_letter: Option<Envelope>, narrow: bool) -> Arc<Engine> {
    let to = dead_letter.map(|envelope| DeadLetterTo { topic: DEAD.into(), envelope });
    let rules =
        Rules { max_attempts: Some(max_attempts), dead_letter: Some(to), ..Rules::default() };
    let mut rows = vec![TopicRow { rules, ..TopicRow::new(Pattern::new("t").unwrap()) }];
    if narrow {
        let rules =
            Rules { max_messages: Some(1), on_full: Some(OnFull::Reject), ..Rules::default() };
        rows.push(TopicRow { rules, ..TopicRow::new(Pattern::new(DEAD).unwrap()) });
    }
    let wrap = |letter: &crate::engine::policy::DeadLetter<'_>| {
        let text = String::from_utf8_lossy(letter.body);
        format!("{}|{}|{}|{text}", letter.topic, letter.channel, letter.reason).into_bytes()
    };
    let policies = Arc::new(Policies::new(rows, wrap));
    Engine::new(Options { policies, ..Options::default() })
}

#[test]
fn a_message_requeued_too_often_goes_to_the_dead_letter_topic() {
    let engine = engine(2, Some(Envelope::None), false);
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c", 5);
    publish(&topic, "poison");
    publish(&topic, "good");
    let got = pull(&consumer);
    let mut settling = consumer.settle(clock::now());
    settling.requeue(&got[0].id, Duration::ZERO).unwrap();
    settling.finish(&got[1].id).unwrap();
    drop(settling);
    let again = pull(&consumer);
    assert_eq!((texts(&again), again[0].attempts), (vec!["poison"], 2));
    // Even a delay does not save it: nobody is given what is only to be given up.
    consumer.settle(clock::now()).requeue(&again[0].id, Duration::from_secs(60)).unwrap();
    assert!(pull(&consumer).is_empty());
    let counts = consumer.channel().counts();
    assert_eq!((counts.depth, counts.deferred, counts.in_flight), (0, 0, 0));
    assert_eq!((counts.dead_letters, counts.dropped, counts.requeues), (1, 0, 2));
    let (dead, _) = subscribe(&engine.topic(DEAD).unwrap(), "c", 5);
    assert_eq!(texts(&pull(&dead)), ["poison"]);
    assert_eq!(engine.owed(), 1, "the dead letter, in flight");
}

#[test]
fn an_envelope_names_reason_and_origin() {
    let engine = engine(1, Some(Envelope::Json), false);
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c", 1);
    publish(&topic, "poison");
    let got = pull(&consumer);
    consumer.settle(clock::now()).requeue(&got[0].id, Duration::ZERO).unwrap();
    let (dead, _) = subscribe(&engine.topic(DEAD).unwrap(), "c", 5);
    assert_eq!(texts(&pull(&dead)), ["t|c|requeued; delivered 1 times of at most 1|poison"]);
}

#[test]
fn without_a_dead_letter_topic_it_is_dropped_and_counted() {
    let engine = engine(1, None, false);
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c", 5);
    publish(&topic, "times out");
    publish(&topic, "is left behind");
    let got = pull(&consumer);
    assert_eq!(got.len(), 2);
    consumer.settle(clock::now()).finish(&got[1].id).unwrap();
    consumer.channel().on_alarm(clock::now() + Duration::from_secs(61));
    assert_eq!(consumer.channel().counts().dropped, 1);
    publish(&topic, "left");
    assert_eq!(pull(&consumer).len(), 1);
    let channel = Arc::clone(consumer.channel());
    drop(consumer);
    let counts = channel.counts();
    assert_eq!((counts.dropped, counts.depth, counts.timeouts), (2, 0, 1));
    assert_eq!(engine.owed(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_dead_letter_topic_refuses_stays_and_is_tried_again() {
    let engine = engine(1, Some(Envelope::None), true);
    let topic = engine.topic("t").unwrap();
    let dead = engine.topic(DEAD).unwrap();
    let (consumer, _) = subscribe(&topic, "c", 5);
    publish(&topic, "1");
    publish(&topic, "2");
    let got = pull(&consumer);
    let mut settling = consumer.settle(clock::now());
    for got in &got {
        settling.requeue(&got.id, Duration::ZERO).unwrap();
    }
    drop(settling);
    let counts = consumer.channel().counts();
    assert_eq!((counts.dead_letters, counts.deferred), (1, 1), "one fits, one waits");
    assert!(pull(&consumer).is_empty(), "and is not delivered again");
    dead.empty();
    let later = clock::now() + Duration::from_secs(2);
    consumer.channel().on_alarm(later);
    let counts = consumer.channel().counts();
    assert_eq!((counts.dead_letters, counts.deferred, counts.depth), (2, 0, 0));
    assert!(pull_at(&consumer, later).is_empty());
    assert_eq!(dead.depth(), 1);
}

/// A far side that answers when it is told to.
#[derive(Default)]
struct FarSide(Mutex<Vec<Ticket>>);

impl Ingress for FarSide {
    fn offer(&self, _: Vec<Outbound>, ticket: Ticket) -> Result<(), PublishError> {
        self.0.lock().push(ticket);
        Ok(())
    }

    fn is_congested(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_answered_elsewhere_stays_until_then() {
    let engine = engine(1, Some(Envelope::None), false);
    let far_side = Arc::new(FarSide::default());
    engine.set_ingress(DEAD, Some(Arc::clone(&far_side) as Arc<dyn Ingress>));
    let running = Arc::clone(&engine);
    let running = crate::task::spawn("engine", async move { running.run().await });
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c", 5);
    publish(&topic, "1");
    let got = pull(&consumer);
    consumer.settle(clock::now()).requeue(&got[0].id, Duration::ZERO).unwrap();
    let channel = consumer.channel();
    assert_eq!((channel.counts().deferred, channel.counts().dead_letters), (1, 0));
    far_side.0.lock().pop().unwrap().fail(PublishError::Exiting);
    // It is tried again a second later: time passes by itself while everybody waits.
    let second = loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let ticket = far_side.0.lock().pop();
        if let Some(ticket) = ticket {
            break ticket;
        }
    };
    assert_eq!(channel.counts().deferred, 1);
    second.confirm();
    while channel.counts().dead_letters == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((channel.counts().deferred, engine.owed()), (0, 0));
    running.abort();
}

struct Nobody;

impl Upstream for Nobody {
    fn finished(&self, _: &[Origin]) {}
    fn returned(&self, _: &[Origin]) {}
}

#[test]
fn what_a_broker_keeps_is_left_alone() {
    let engine = engine(1, None, false);
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c", 5);
    let origin = Origin { generation: 1, tag: 1 };
    let offer = Offer { body: b"x"[..].into(), timestamp: 1, attempts: 9, origin };
    let upstream: Arc<dyn Upstream> = Arc::new(Nobody);
    assert_eq!(topic.offer(Some("c"), &[offer], &upstream), 1);
    let got = pull(&consumer);
    consumer.settle(clock::now()).requeue(&got[0].id, Duration::ZERO).unwrap();
    assert_eq!(pull(&consumer).len(), 1);
    assert_eq!(engine.owed(), 0, "the broker has it");
    let policy = engine.shared.options.policies.channel("t", "c");
    assert_eq!(policy.max_attempts, NonZeroU16::new(1));
}
