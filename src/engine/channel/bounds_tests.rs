//! Tests of bounds: what is refused, what makes room, what is too old.

use std::sync::Arc;
use std::time::Duration;

use super::tests::{publish, pull, pull_at, subscribe, texts};
use crate::clock;
use crate::engine::alarms::OnAlarm as _;
use crate::engine::policy::{OnFull, Pattern, Policies, Rules, TopicRow};
use crate::engine::{Accepted, Engine, Options, PublishError, Topic};

fn engine(rules: Rules) -> Arc<Engine> {
    let rows = vec![TopicRow { rules, ..TopicRow::new(Pattern::any()) }];
    let policies = Arc::new(Policies::new(rows, |letter| letter.body.to_vec()));
    Engine::new(Options { policies, ..Options::default() })
}

fn reject(messages: u64) -> Rules {
    Rules { max_messages: Some(messages), ..Rules::default() }
}

fn drop_oldest(messages: u64, bytes: u64) -> Rules {
    Rules {
        max_messages: Some(messages),
        max_bytes: Some(bytes),
        on_full: Some(OnFull::DropOldest),
        ..Rules::default()
    }
}

fn try_publish(topic: &Topic, bodies: &[&str]) -> Result<Accepted, PublishError> {
    let accepted = topic.publish(bodies.iter().map(|body| body.as_bytes()), &Arc::default());
    topic.wake();
    accepted
}

fn defer(topic: &Topic, body: &str) -> Result<Accepted, PublishError> {
    topic.publish_deferred(body.as_bytes(), Duration::from_secs(60), &Arc::default())
}

#[test]
fn a_publish_that_does_not_fit_is_refused_whole() {
    let engine = engine(reject(3));
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c", 1);
    assert!(try_publish(&topic, &["1", "2"]).is_ok());
    assert!(defer(&topic, "later").is_ok());
    let error = try_publish(&topic, &["3", "4"]).unwrap_err().to_string();
    assert_eq!(
        error,
        "topic t: channel c: full: 3 messages wait, 2 more are above max_messages 3 (on_full: reject)"
    );
    assert!(defer(&topic, "5").is_err());
    assert_eq!((topic.message_count(), consumer.channel().counts().depth), (3, 2));
    // What a consumer holds does not wait any more.
    let got = pull(&consumer);
    assert!(try_publish(&topic, &["3"]).is_ok());
    assert!(try_publish(&topic, &["4"]).is_err());
    consumer.settle(clock::now()).finish(&got[0].id).unwrap();
    assert_eq!(consumer.channel().counts().dropped, 0);
}

#[test]
fn one_full_channel_holds_its_topic_back() {
    let engine = engine(reject(2));
    let topic = engine.topic("t").unwrap();
    topic.channel("idle").unwrap();
    let (consumer, _) = subscribe(&topic, "busy", 9);
    for body in ["1", "2"] {
        assert!(try_publish(&topic, &[body]).is_ok());
        assert_eq!(texts(&pull(&consumer)), [body]);
    }
    let error = try_publish(&topic, &["3"]).unwrap_err().to_string();
    assert!(error.contains("channel idle: full"), "{error}");
    topic.find_channel("idle").unwrap().empty();
    assert!(try_publish(&topic, &["3"]).is_ok());
}

#[test]
fn the_topics_own_queue_is_bounded_while_it_has_no_channel_or_is_paused() {
    let engine = engine(reject(2));
    let topic = engine.topic("t").unwrap();
    assert!(try_publish(&topic, &["1"]).is_ok() && defer(&topic, "2").is_ok());
    let error = try_publish(&topic, &["3"]).unwrap_err().to_string();
    assert!(error.starts_with("topic t: full: 2 messages wait"), "{error}");
    topic.channel("c").unwrap().empty();
    topic.set_paused(true);
    assert!(try_publish(&topic, &["1", "2"]).is_ok());
    assert!(try_publish(&topic, &["3"]).is_err());
}

#[test]
fn bytes_are_bounded_too() {
    let rules = Rules { max_bytes: Some(10), ..Rules::default() };
    let engine = engine(rules);
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c", 1);
    assert!(try_publish(&topic, &["1234"]).is_ok() && defer(&topic, "123").is_ok());
    let error = try_publish(&topic, &["1234"]).unwrap_err().to_string();
    assert!(error.contains("7 bytes wait, 4 more are above max_bytes 10"), "{error}");
    assert!(try_publish(&topic, &["123"]).is_ok());
    assert_eq!(texts(&pull(&consumer)), ["1234"]);
    assert!(try_publish(&topic, &["1234"]).is_ok());
    assert!(try_publish(&topic, &["1"]).is_err());
}

#[test]
fn the_oldest_make_room_and_what_is_in_flight_stays() {
    let engine = engine(drop_oldest(3, 1 << 30));
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c", 2);
    for body in ["1", "2", "3", "4", "5"] {
        publish(&topic, body);
    }
    assert_eq!(consumer.channel().counts().depth, 3);
    let got = pull(&consumer);
    assert_eq!(texts(&got), ["3", "4"]);
    assert!(try_publish(&topic, &["6", "7", "8", "9"]).is_ok());
    let counts = consumer.channel().counts();
    assert_eq!((counts.depth, counts.in_flight, counts.dropped), (3, 2, 4));
    // A message that came back is dropped once there is nothing left that was never delivered.
    let mut settling = consumer.settle(clock::now());
    settling.requeue(&got[0].id, Duration::ZERO).unwrap();
    settling.requeue(&got[1].id, Duration::from_secs(60)).unwrap();
    drop(settling);
    publish(&topic, "10");
    assert_eq!(consumer.channel().counts().depth + consumer.channel().counts().deferred, 3);
    consumer.set_ready(9);
    let mut rest: Vec<String> = texts(&pull(&consumer)).iter().map(ToString::to_string).collect();
    rest.sort_unstable();
    assert_eq!(rest, ["10", "3"]);
    assert_eq!(topic.message_count(), 10);
}

#[test]
fn deferred_messages_go_last_and_the_earliest_of_them_first() {
    let engine = engine(drop_oldest(2, 1 << 30));
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c", 9);
    for (body, delay) in [("late", 90), ("soon", 30), ("later", 60)] {
        let delay = Duration::from_secs(delay);
        assert!(topic.publish_deferred(body.as_bytes(), delay, &Arc::default()).is_ok());
    }
    let channel = consumer.channel();
    assert_eq!((channel.counts().deferred, channel.counts().dropped), (2, 1));
    let now = clock::now() + Duration::from_secs(100);
    channel.on_alarm(now);
    assert_eq!(texts(&pull_at(&consumer, now)), ["later", "late"]);
}

#[test]
fn dropping_frees_memory_over_many_blocks() {
    let engine = engine(drop_oldest(u64::MAX, 1 << 20));
    let topic = engine.topic("t").unwrap();
    topic.channel("c").unwrap();
    let body = "x".repeat(1000);
    for _ in 0..20_000 {
        publish(&topic, &body);
    }
    let counts = topic.find_channel("c").unwrap().counts();
    assert_eq!(counts.depth, (1 << 20) / 1000);
    assert_eq!(counts.dropped + counts.depth, 20_000);
    assert!(topic.memory() < 5 << 20, "{}", topic.memory());
}

#[test]
fn the_oldest_make_room_in_a_topic_without_channels_and_in_a_paused_one() {
    let engine = engine(drop_oldest(2, 1 << 30));
    let topic = engine.topic("t").unwrap();
    for body in ["1", "2", "3"] {
        publish(&topic, body);
    }
    assert_eq!((topic.depth(), topic.dropped()), (2, 1));
    let (consumer, _) = subscribe(&topic, "c", 9);
    assert_eq!(texts(&pull(&consumer)), ["2", "3"]);
    topic.set_paused(true);
    for body in ["4", "5", "6"] {
        publish(&topic, body);
    }
    assert_eq!((topic.depth(), topic.dropped()), (2, 2));
    topic.set_paused(false);
    assert_eq!(texts(&pull(&consumer)), ["5", "6"]);
    let counts = consumer.channel().counts();
    assert_eq!((counts.depth, counts.in_flight, counts.dropped), (0, 4, 0));
}

/// An engine that owes `old` messages of long ago in `t`'s channel `c` and in `t` itself.
fn aged(rules: Rules) -> Arc<Engine> {
    let engine = engine(rules);
    let topic = engine.topic("t").unwrap();
    let old = [(3, "came back"), (1, "old"), (2, "old too")];
    // Published as if that had been long ago; the first was delivered once and came back.
    for (timestamp, body) in old {
        assert!(
            topic.write().append("t", std::iter::once(body.as_bytes()), timestamp, None).is_none()
        );
    }
    topic.channel("c").unwrap().inner.lock().state.policy.bounds.max_age = None;
    let (consumer, _) = subscribe(&topic, "c", 1);
    assert_eq!(texts(&pull(&consumer)), ["came back"]);
    consumer.channel().inner.lock().state.policy.bounds.max_age = Some(Duration::from_secs(3600));
    engine
}

#[test]
fn what_is_too_old_is_passed_over_at_delivery() {
    let rules = Rules { max_age: Some(Duration::from_secs(3600)), ..Rules::default() };
    let engine = aged(rules);
    let topic = engine.topic("t").unwrap();
    publish(&topic, "new");
    let (consumer, _) = subscribe(&topic, "c", 9);
    assert_eq!(consumer.channel().counts().depth, 4);
    assert_eq!(texts(&pull(&consumer)), ["new"]);
    let counts = consumer.channel().counts();
    assert_eq!((counts.depth, counts.expired, counts.in_flight), (0, 3, 1));
}

#[test]
fn what_is_too_old_goes_at_the_alarm_without_a_consumer() {
    let rules = Rules { max_age: Some(Duration::from_secs(3600)), ..Rules::default() };
    let engine = aged(rules);
    let topic = engine.topic("t").unwrap();
    publish(&topic, "new");
    let channel = topic.find_channel("c").unwrap();
    channel.on_alarm(clock::now());
    let counts = channel.counts();
    assert_eq!((counts.depth, counts.expired), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn messages_grow_old_by_themselves() {
    let rules = Rules { max_age: Some(Duration::from_millis(40)), ..Rules::default() };
    let engine = engine(rules);
    let running = Arc::clone(&engine);
    let running = crate::task::spawn("engine", async move { running.run().await });
    let with = engine.topic("with").unwrap();
    let channel = with.channel("c").unwrap();
    let without = engine.topic("without").unwrap();
    publish(&with, "x");
    publish(&without, "x");
    // Ages are of the wall clock, which does not jump with the timers: they look until it is time.
    while channel.counts().expired + without.expired() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((channel.counts().depth, without.depth(), engine.owed()), (0, 0, 0));
    running.abort();
}

#[test]
fn without_rules_nothing_is_bounded() {
    let engine = engine(Rules::default());
    let topic = engine.topic("t").unwrap();
    topic.channel("c").unwrap();
    assert!(!topic.policy.is_bounded && !topic.find_channel("c").unwrap().is_bounded());
}
