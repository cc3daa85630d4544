//! Tests of who gets what and when: limits, nearness, reasons, order, and looking without taking.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use super::tests::{ALL, is_woken, publish, pull, pull_at, subscribe, texts};
use crate::clock;
use crate::engine::alarms::OnAlarm as _;
use crate::engine::policy::{Allowance, ChannelRow, Pattern, Policies, Rate, Rules, TopicRow};
use crate::engine::{
    Client, Consumer, Engine, Identity, Locality, Options, PeekLimit, PeekState, PublishError,
    Signal, Subscriber, Topic, WaitingFor,
};

/// Ten deliveries a second from the channel `slow`, three at once.
fn limited() -> Arc<Engine> {
    let rate = Rate::new(NonZeroU64::new(10).unwrap(), Duration::from_secs(1)).unwrap();
    let mut row = TopicRow::new(Pattern::any());
    row.channels = vec![ChannelRow {
        pattern: Pattern::new("slow").unwrap(),
        rules: Rules::default(),
        rate: Some(Some(Allowance { rate, burst: 3 })),
        replay: None,
    }];
    let policies = Arc::new(Policies::new(vec![row], |letter| letter.body.to_vec()));
    Engine::new(Options { policies, ..Options::default() })
}

fn why(consumer: &Consumer) -> Vec<Option<WaitingFor>> {
    consumer.channel().consumers().iter().map(|consumer| consumer.waiting_for).collect()
}

#[tokio::test(start_paused = true)]
async fn a_limit_holds_for_all_consumers_together() {
    let engine = limited();
    let topic = engine.topic("t").unwrap();
    let (one, one_signal) = subscribe(&topic, "slow", 9);
    let (two, two_signal) = subscribe(&topic, "slow", 9);
    let (free, _) = subscribe(&topic, "free", 99);
    assert!(pull(&one).is_empty() && pull(&two).is_empty());
    for body in 0..10 {
        publish(&topic, &body.to_string());
    }
    assert_eq!(pull(&free).len(), 10);
    let first = pull(&one).len();
    assert_eq!(first + pull(&two).len(), 3, "the burst");
    assert_eq!(why(&one), [Some(WaitingFor::Limit); 2]);
    assert!(is_woken(&one_signal) || is_woken(&two_signal));
    assert!(pull(&one).is_empty(), "nothing until there is a token");
    let channel = one.channel();
    for _ in 0..7 {
        tokio::time::sleep(Duration::from_millis(101)).await;
        channel.on_alarm(clock::now());
        assert!(is_woken(&one_signal) || is_woken(&two_signal), "a token has come");
        assert_eq!(pull(&one).len() + pull(&two).len(), 1);
    }
    assert_eq!(channel.counts().in_flight, 10);
    // Nothing is taken from the bucket while there is nothing to deliver.
    tokio::time::sleep(Duration::from_secs(10)).await;
    channel.on_alarm(clock::now());
    assert!(pull(&one).is_empty() && pull(&two).is_empty());
    for body in 0..5 {
        publish(&topic, &body.to_string());
    }
    one.set_ready(99);
    two.set_ready(99);
    let got = pull(&one).len() + pull(&two).len() + pull(&one).len();
    assert_eq!(got, 3, "the burst again");
}

#[tokio::test(start_paused = true)]
async fn the_alarms_open_a_closed_gate() {
    let engine = limited();
    let running = Arc::clone(&engine);
    let running = crate::task::spawn("engine", async move { running.run().await });
    let topic = engine.topic("t").unwrap();
    let (consumer, signal) = subscribe(&topic, "slow", 99);
    for body in 0..23 {
        publish(&topic, &body.to_string());
    }
    let start = clock::now();
    let mut got = pull(&consumer).len();
    while got < 23 {
        signal.woken().await;
        got += pull(&consumer).len();
    }
    let took = clock::since(start);
    assert!((1900..2300).contains(&took.as_millis()), "{took:?}");
    running.abort();
}

fn located(topic: &Arc<Topic>, locality: Locality, ready: u64) -> (Consumer, Arc<Signal>) {
    let client = Arc::new(Client::new("@".into(), 0, Identity::default()));
    client.locate(locality);
    let signal = Arc::<Signal>::default();
    let subscriber = Subscriber {
        client,
        signal: Arc::clone(&signal),
        msg_timeout: Duration::from_secs(60),
        touch_timeout: Duration::from_secs(60),
        sample_rate: 0,
    };
    let consumer = topic.channel("c").unwrap().subscribe(subscriber, 0).unwrap();
    consumer.set_ready(ready);
    (consumer, signal)
}

#[test]
fn edge_66_the_nearest_consumer_that_waits_comes_first() {
    let engine = Engine::new(Options::default());
    let topic = engine.topic("t").unwrap();
    let (far, far_signal) = located(&topic, Locality::Global, 9);
    let (region, region_signal) = located(&topic, Locality::Region, 9);
    let (zone, zone_signal) = located(&topic, Locality::Zone, 2);
    for consumer in [&far, &region, &zone] {
        assert!(pull(consumer).is_empty());
    }
    for body in ["1", "2"] {
        let bodies = std::iter::once(body.as_bytes());
        assert!(topic.publish(bodies, &Arc::default()).is_ok());
        assert!(pull(&far).is_empty(), "it leaves it to those that are nearer");
        assert!(is_woken(&zone_signal));
        assert_eq!(texts(&pull(&zone)), [body]);
        assert!(pull(&zone).is_empty());
    }
    publish(&topic, "3");
    assert!(!is_woken(&zone_signal), "it has what its RDY allows");
    assert!(is_woken(&region_signal));
    assert_eq!(texts(&pull(&region)), ["3"]);
    region.set_ready(1);
    publish(&topic, "4");
    assert!(is_woken(&far_signal));
    assert_eq!(texts(&pull(&far)), ["4"]);
    let counts = far.channel().counts();
    assert_eq!((counts.zone_local, counts.region_local, counts.global), (2, 1, 1));
}

#[test]
fn edge_67_deliveries_are_counted_as_global_without_the_experiment() {
    let engine = Engine::new(Options::default());
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c", 9);
    publish(&topic, "1");
    assert_eq!(pull(&consumer).len(), 1);
    let counts = consumer.channel().counts();
    assert_eq!((counts.zone_local, counts.region_local, counts.global), (0, 0, 1));
    assert_eq!(Locality::of(("r", "z"), ("r", "z")), Locality::Zone);
    assert_eq!(Locality::of(("r", "y"), ("r", "z")), Locality::Region);
    assert_eq!(Locality::of(("q", "z"), ("r", "z")), Locality::Zone);
    assert_eq!(Locality::of(("", ""), ("r", "z")), Locality::Global);
}

#[test]
fn a_consumer_that_gets_nothing_has_a_reason() {
    let engine = Engine::new(Options::default());
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c", 0);
    assert_eq!(why(&consumer), [Some(WaitingFor::Ready)]);
    consumer.set_ready(1);
    assert_eq!(why(&consumer), [Some(WaitingFor::Messages)]);
    publish(&topic, "1");
    assert_eq!(why(&consumer), [None]);
    assert_eq!(pull(&consumer).len(), 1);
    assert_eq!(why(&consumer), [Some(WaitingFor::InFlight)]);
    consumer.set_ready(2);
    topic.set_paused(true);
    publish(&topic, "2");
    assert_eq!(why(&consumer), [Some(WaitingFor::TopicPaused)]);
    consumer.channel().set_paused(true);
    assert_eq!(why(&consumer), [Some(WaitingFor::Paused)]);
    engine.halt(None);
    assert_eq!(why(&consumer), [Some(WaitingFor::Halting)]);
}

#[test]
fn a_look_takes_nothing() {
    let engine = Engine::new(Options::default());
    let topic = engine.topic("t").unwrap();
    let limit = PeekLimit { messages: 10, bytes: 12 };
    publish(&topic, "first");
    let early = topic.peek(limit, |_| true);
    assert_eq!(
        (early.len(), early[0].state, &*early[0].body),
        (1, PeekState::Ready, &b"first"[..])
    );
    let (consumer, _) = subscribe(&topic, "c", 2);
    let minute = Duration::from_secs(60);
    assert!(topic.publish_deferred(b"later", minute, &Arc::default()).is_ok());
    for body in ["second", "third", "fourth"] {
        publish(&topic, body);
    }
    let got = pull(&consumer);
    consumer.settle(clock::now()).requeue(&got[0].id, Duration::ZERO).unwrap();
    let seen = consumer.channel().peek(limit, |_| true);
    let bodies: Vec<_> = seen.iter().map(|m| String::from_utf8_lossy(&m.body)).collect();
    assert_eq!(bodies, ["second", "third", "f", "", ""], "bodies are cut, messages are not");
    let sizes: Vec<_> = seen.iter().map(|m| (m.size, m.attempts)).collect();
    assert_eq!(sizes, [(6, 1), (5, 0), (6, 0), (5, 1), (5, 0)]);
    assert_eq!((seen[0].state, seen[1].state), (PeekState::InFlight, PeekState::Ready));
    assert!(matches!(seen[4].state, PeekState::Deferred(wait) if wait <= minute));
    let two = PeekLimit { messages: 2, bytes: 100 };
    let ready = consumer.channel().peek(two, |state| state == PeekState::Ready);
    assert_eq!((ready.len(), &*ready[1].body), (2, &b"fourth"[..]));
    consumer.set_ready(9);
    assert_eq!(texts(&pull(&consumer)), ["third", "fourth", "first"]);
}

#[test]
fn first_deliveries_come_in_the_order_of_publishing() {
    let engine = Engine::new(Options::default());
    let topic = engine.topic("t").unwrap();
    let (one, _) = subscribe(&topic, "c", 7);
    let (two, _) = subscribe(&topic, "c", 5);
    // Many blocks of the log, with messages that come back and others that are deferred in between.
    let body = |n: u32| format!("{n:08}{}", "x".repeat(300));
    let count = 6000;
    let mut first = Vec::new();
    let mut now = clock::now();
    for n in 0..count {
        publish(&topic, &body(n));
        if n % 50 == 0 {
            let delay = Duration::from_secs(5);
            assert!(topic.publish_deferred(b"deferred", delay, &Arc::default()).is_ok());
        }
    }
    while first.len() < count as usize {
        now += Duration::from_millis(10);
        for consumer in [&one, &two] {
            let got = pull_at(consumer, now);
            let mut settling = consumer.settle(now);
            for (at, got) in got.iter().enumerate() {
                if got.attempts == 1 && got.body.len() > 300 {
                    first
                        .push(std::str::from_utf8(&got.body[..8]).unwrap().parse::<u32>().unwrap());
                }
                match (got.attempts, at % 5) {
                    (1, 0) => settling.requeue(&got.id, Duration::ZERO).unwrap(),
                    (1, 1) => settling.requeue(&got.id, Duration::from_millis(35)).unwrap(),
                    _ => settling.finish(&got.id).unwrap(),
                }
            }
        }
        one.channel().on_alarm(now);
    }
    assert!(first.is_sorted(), "first deliveries are out of order");
    assert_eq!(first.len(), count as usize);
}

#[tokio::test(start_paused = true)]
async fn a_draining_node_refuses_publishes_and_ends_when_it_is_empty() {
    let engine = Engine::new(Options::default());
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c", 1);
    publish(&topic, "1");
    publish(&topic, "2");
    engine.drain(None);
    let body = || std::iter::once(&b"3"[..]);
    assert!(matches!(topic.publish(body(), &Arc::default()), Err(PublishError::Draining)));
    let deferred = topic.publish_deferred(b"3", Duration::from_secs(1), &Arc::default());
    assert!(matches!(deferred, Err(PublishError::Draining)));
    assert!(topic.publish_inside(body(), &Arc::default(), None).is_ok(), "dead letters still pass");
    let waiting = Arc::clone(&engine);
    let drained = crate::task::spawn("drained", async move { waiting.drained().await });
    for left in [2, 1, 0] {
        assert!(!drained.is_finished());
        let got = pull(&consumer);
        consumer.settle(clock::now()).finish(&got[0].id).unwrap();
        assert_eq!(engine.owed(), left);
    }
    drained.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_halting_node_delivers_nothing_and_ends_when_all_is_settled() {
    let engine = Engine::new(Options::default());
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c", 9);
    let (other, _) = subscribe(&topic, "c", 9);
    publish(&topic, "1");
    publish(&topic, "2");
    let one = pull(&consumer);
    let two = pull(&other);
    assert_eq!((one.len(), two.len()), (2, 0));
    publish(&topic, "3");
    engine.halt(None);
    let pulled = consumer.pull(ALL, clock::now(), |_| panic!("delivered while halting"));
    assert_eq!((pulled.messages, pulled.more), (0, false));
    let waiting = Arc::clone(&engine);
    let settled = crate::task::spawn("settled", async move { waiting.settled().await });
    consumer.settle(clock::now()).finish(&one[0].id).unwrap();
    tokio::task::yield_now().await;
    assert!(!settled.is_finished());
    drop(consumer);
    settled.await.unwrap();
    assert_eq!(engine.owed(), 2, "what was not finished is kept");
}
