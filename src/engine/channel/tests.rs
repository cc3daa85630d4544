//! Tests of the channel through the engine's public face.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::clock::{self, Instant};
use crate::engine::{
    Accepted, Client, Consumer, Engine, Identity, Offer, Options, Origin, PullLimit, SettleError,
    Signal, Subscriber, Topic, Upstream,
};

pub(super) const ALL: PullLimit = PullLimit { messages: u64::MAX, bytes: usize::MAX };

pub(super) struct Got {
    pub(super) id: [u8; 16],
    pub(super) attempts: u16,
    pub(super) body: Vec<u8>,
}

fn engine() -> Arc<Engine> {
    Engine::new(Options { mem_queue_size: 3, ..Options::default() })
}

pub(super) fn publish(topic: &Topic, body: &str) {
    let accepted = topic.publish(std::iter::once(body.as_bytes()), &Arc::default());
    assert!(matches!(accepted, Ok(Accepted::Now)));
    topic.wake();
}

pub(super) fn subscribe(topic: &Arc<Topic>, channel: &str, ready: u64) -> (Consumer, Arc<Signal>) {
    let signal = Arc::<Signal>::default();
    let subscriber = Subscriber {
        client: Arc::new(Client::new("@".into(), 0, Identity::default())),
        signal: Arc::clone(&signal),
        msg_timeout: Duration::from_secs(60),
        touch_timeout: Duration::from_secs(60),
        sample_rate: 0,
    };
    let consumer = topic.channel(channel).unwrap().subscribe(subscriber, 0).unwrap();
    consumer.set_ready(ready);
    (consumer, signal)
}

pub(super) fn pull_at(consumer: &Consumer, now: Instant) -> Vec<Got> {
    let mut got = Vec::new();
    consumer.pull(ALL, now, |delivery| {
        let (id, body) = (delivery.id.to_hex(), delivery.body.to_vec());
        got.push(Got { id, attempts: delivery.attempts, body });
    });
    got
}

pub(super) fn pull(consumer: &Consumer) -> Vec<Got> {
    pull_at(consumer, clock::now())
}

pub(super) fn texts(got: &[Got]) -> Vec<&str> {
    got.iter().map(|got| std::str::from_utf8(&got.body).unwrap()).collect()
}

pub(super) fn is_woken(signal: &Signal) -> bool {
    use std::future::Future as _;
    use std::task::{Context, Poll, Waker};
    let woken = std::pin::pin!(signal.woken());
    matches!(woken.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()))
}

#[test]
fn rdy_is_a_level_and_order_is_kept() {
    let engine = engine();
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c", 2);
    for body in ["1", "2", "3", "4"] {
        publish(&topic, body);
    }
    let got = pull(&consumer);
    assert_eq!(texts(&got), ["1", "2"]);
    assert!(pull(&consumer).is_empty());
    consumer.settle(clock::now()).finish(&got[0].id).unwrap();
    assert_eq!(texts(&pull(&consumer)), ["3"]);
    consumer.set_ready(1);
    consumer.settle(clock::now()).finish(&got[1].id).unwrap();
    assert!(pull(&consumer).is_empty(), "one is in flight still");
    let counts = consumer.channel().counts();
    assert_eq!((counts.depth, counts.in_flight, counts.messages), (1, 1, 4));
}

#[test]
fn the_first_channel_gets_the_backlog_and_the_second_nothing_old() {
    let engine = engine();
    let topic = engine.topic("t").unwrap();
    publish(&topic, "old");
    assert_eq!(topic.depth(), 1);
    let (first, _) = subscribe(&topic, "a", 9);
    let (second, _) = subscribe(&topic, "b", 9);
    publish(&topic, "new");
    assert_eq!(topic.depth(), 0);
    let (one, two) = (pull(&first), pull(&second));
    assert_eq!(texts(&one), ["old", "new"]);
    assert_eq!(texts(&two), ["new"]);
    assert_eq!(one[1].id, two[0].id);
}

#[test]
fn a_paused_topic_holds_messages_for_all_its_channels() {
    let engine = engine();
    let topic = engine.topic("t").unwrap();
    topic.set_paused(true);
    let (first, signal) = subscribe(&topic, "a", 9);
    publish(&topic, "x");
    let (second, _) = subscribe(&topic, "b", 9);
    assert!(pull(&first).is_empty() && pull(&second).is_empty());
    topic.set_paused(false);
    assert!(is_woken(&signal));
    assert_eq!(texts(&pull(&first)), ["x"]);
    assert_eq!(texts(&pull(&second)), ["x"]);
}

#[test]
fn a_requeued_message_goes_behind_what_is_queued_with_one_more_attempt() {
    let engine = engine();
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c", 1);
    for body in ["1", "2", "3"] {
        publish(&topic, body);
    }
    let mut seen = Vec::new();
    for round in 0..4 {
        let got = pull(&consumer);
        seen.push((String::from_utf8(got[0].body.clone()).unwrap(), got[0].attempts));
        let mut settling = consumer.settle(clock::now());
        if round == 0 {
            settling.requeue(&got[0].id, Duration::ZERO).unwrap();
        } else {
            settling.finish(&got[0].id).unwrap();
        }
    }
    let seen: Vec<_> = seen.iter().map(|(body, attempts)| (body.as_str(), *attempts)).collect();
    assert_eq!(seen, [("1", 1), ("2", 1), ("3", 1), ("1", 2)]);
    assert_eq!(consumer.channel().counts().requeues, 1);
}

#[test]
fn settling_what_is_not_ones_own_is_refused() {
    let engine = engine();
    let topic = engine.topic("t").unwrap();
    let (one, _) = subscribe(&topic, "c", 1);
    let (two, _) = subscribe(&topic, "c", 1);
    publish(&topic, "x");
    let got = pull(&one);
    let now = clock::now();
    assert_eq!(two.settle(now).finish(&got[0].id), Err(SettleError::NotOwner));
    assert_eq!(two.settle(now).finish(b"0123456789abcdef"), Err(SettleError::NotInFlight));
    assert_eq!(two.settle(now).touch(b"not hexadecimal!"), Err(SettleError::NotInFlight));
    one.settle(now).finish(&got[0].id).unwrap();
    assert_eq!(one.settle(now).finish(&got[0].id), Err(SettleError::NotInFlight));
}

#[tokio::test(start_paused = true)]
async fn timeouts_touch_and_delays_happen_on_time() {
    let engine = engine();
    let running = Arc::clone(&engine);
    crate::task::spawn("alarms", async move { running.run().await });
    let topic = engine.topic("t").unwrap();
    let (consumer, signal) = subscribe(&topic, "c", 9);
    publish(&topic, "x");
    let start = clock::now();
    let got = pull(&consumer);
    pull(&consumer);
    signal.woken().await;
    let late = clock::now();
    assert!(late - start >= Duration::from_secs(60) && late - start < Duration::from_secs(61));
    assert_eq!(consumer.settle(late).finish(&got[0].id), Err(SettleError::NotInFlight));
    let again = pull(&consumer);
    assert_eq!((again[0].attempts, again[0].id), (2, got[0].id));
    assert_eq!(consumer.channel().counts().timeouts, 1);

    tokio::time::sleep(Duration::from_secs(50)).await;
    consumer.settle(clock::now()).touch(&again[0].id).unwrap();
    tokio::time::sleep(Duration::from_secs(50)).await;
    consumer.settle(clock::now()).requeue(&again[0].id, Duration::from_secs(5)).unwrap();
    assert_eq!(consumer.channel().counts().deferred, 1);
    let start = clock::now();
    assert!(pull(&consumer).is_empty());
    signal.woken().await;
    assert!(clock::now() - start >= Duration::from_secs(5));
    assert_eq!(pull(&consumer)[0].attempts, 3);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_without_credit_is_woken_when_its_message_times_out() {
    let engine = engine();
    let running = Arc::clone(&engine);
    crate::task::spawn("alarms", async move { running.run().await });
    let topic = engine.topic("t").unwrap();
    let (consumer, signal) = subscribe(&topic, "c", 1);
    publish(&topic, "1");
    publish(&topic, "2");
    assert_eq!(texts(&pull(&consumer)), ["1"]);
    signal.woken().await;
    assert_eq!(texts(&pull(&consumer)), ["2"]);
    consumer.channel().empty();
    publish(&topic, "3");
    assert!(is_woken(&signal), "emptying the channel gave it credit");
    assert_eq!(texts(&pull(&consumer)), ["3"]);
}

#[tokio::test(start_paused = true)]
async fn a_deferred_message_waits_from_the_moment_it_reaches_a_channel() {
    let engine = engine();
    let running = Arc::clone(&engine);
    crate::task::spawn("alarms", async move { running.run().await });
    let topic = engine.topic("t").unwrap();
    let delay = Duration::from_secs(10);
    let accepted = topic.publish_deferred(b"later", delay, &Arc::default());
    assert!(matches!(accepted, Ok(Accepted::Now)));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(topic.depth(), 1);
    let (consumer, signal) = subscribe(&topic, "c", 9);
    let start = clock::now();
    assert!(pull(&consumer).is_empty());
    signal.woken().await;
    assert!(clock::now() - start >= delay);
    assert_eq!(texts(&pull(&consumer)), ["later"]);
}

#[test]
fn what_a_leaving_consumer_had_is_ready_for_the_next_at_once() {
    let engine = engine();
    let topic = engine.topic("t").unwrap();
    let (one, _) = subscribe(&topic, "c", 9);
    let (two, signal) = subscribe(&topic, "c", 9);
    publish(&topic, "x");
    assert_eq!(texts(&pull(&one)), ["x"]);
    assert!(pull(&two).is_empty());
    drop(one);
    assert!(is_woken(&signal));
    let got = pull(&two);
    assert_eq!((texts(&got), got[0].attempts), (vec!["x"], 2));
}

#[test]
fn waiting_consumers_share_and_one_is_woken_at_a_time() {
    let engine = engine();
    let topic = engine.topic("t").unwrap();
    let (one, first) = subscribe(&topic, "c", 100);
    let (two, second) = subscribe(&topic, "c", 100);
    assert!(pull(&one).is_empty() && pull(&two).is_empty());
    for _ in 0..10 {
        let accepted = topic.publish(std::iter::once(&b"x"[..]), &Arc::default());
        assert!(accepted.is_ok());
    }
    topic.wake();
    assert!(is_woken(&first) && !is_woken(&second));
    assert_eq!(pull(&one).len(), 5);
    assert!(is_woken(&second));
    assert_eq!(pull(&two).len(), 5);
}

#[test]
fn ephemeral_channels_drop_what_is_too_much_and_go_with_their_last_consumer() {
    let engine = engine();
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c#ephemeral", 0);
    let (keeper, _) = subscribe(&topic, "d", 99);
    for body in ["1", "2", "3", "4", "5"] {
        publish(&topic, body);
    }
    assert_eq!(consumer.channel().counts().depth, 3);
    assert_eq!(consumer.channel().counts().messages, 5);
    consumer.set_ready(9);
    assert_eq!(texts(&pull(&consumer)), ["1", "2", "3"]);
    publish(&topic, "6");
    assert_eq!(texts(&pull(&consumer)), ["6"]);
    assert_eq!(pull(&keeper).len(), 6);
    drop(consumer);
    assert!(topic.find_channel("c#ephemeral").is_none());
    assert!(engine.find_topic("t").is_some());
}

#[test]
fn an_ephemeral_topic_goes_with_its_last_channel() {
    let engine = engine();
    let topic = engine.topic("t#ephemeral").unwrap();
    for body in ["1", "2", "3", "4"] {
        publish(&topic, body);
    }
    assert_eq!((topic.depth(), topic.message_count()), (3, 4));
    let (consumer, signal) = subscribe(&topic, "c", 9);
    assert_eq!(pull(&consumer).len(), 3);
    assert!(topic.delete_channel("c"));
    assert!(signal.is_closed());
    assert!(engine.find_topic("t#ephemeral").is_none());
}

#[test]
fn emptying_drops_queued_and_in_flight_messages_and_keeps_later_ones() {
    let engine = engine();
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c", 1);
    for body in ["1", "2", "3"] {
        publish(&topic, body);
    }
    let got = pull(&consumer);
    consumer.channel().empty();
    assert_eq!(consumer.settle(clock::now()).finish(&got[0].id), Err(SettleError::NotInFlight));
    let counts = consumer.channel().counts();
    assert_eq!((counts.depth, counts.in_flight, counts.messages), (0, 0, 3));
    publish(&topic, "4");
    assert_eq!(texts(&pull(&consumer)), ["4"]);

    let other = engine.topic("u").unwrap();
    publish(&other, "gone");
    other.empty();
    publish(&other, "kept");
    let (consumer, _) = subscribe(&other, "c", 9);
    assert_eq!(texts(&pull(&consumer)), ["kept"]);
}

#[test]
fn memory_is_given_back_even_if_a_message_in_every_block_is_stuck() {
    let engine = engine();
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c", u64::MAX);
    let body = vec![b'x'; 1000];
    let mut stuck = Vec::new();
    for round in 0..40 {
        let batch = std::iter::repeat_n(&body[..], 1000);
        assert!(topic.publish(batch, &Arc::default()).is_ok());
        let got = pull(&consumer);
        assert_eq!(got.len(), 1000, "round {round}");
        let mut settling = consumer.settle(clock::now());
        for (at, got) in got.into_iter().enumerate() {
            if at == 500 { stuck.push(got.id) } else { settling.finish(&got.id).unwrap() }
        }
    }
    assert!(topic.memory() < 6 << 20, "{} bytes for 40 messages", topic.memory());
    let mut settling = consumer.settle(clock::now());
    for id in &stuck {
        settling.finish(id).unwrap();
    }
    drop(settling);
    assert_eq!(consumer.channel().counts().in_flight, 0);
}

#[derive(Default)]
struct Far {
    finished: Mutex<Vec<Origin>>,
    returned: Mutex<Vec<Origin>>,
}

impl Upstream for Far {
    fn finished(&self, origins: &[Origin]) {
        self.finished.lock().extend(origins);
    }
    fn returned(&self, origins: &[Origin]) {
        self.returned.lock().extend(origins);
    }
}

fn offer(tag: u64, generation: u64) -> Offer {
    let body = Bytes::from(tag.to_string());
    Offer { body, timestamp: 1, attempts: 0, origin: Origin { generation, tag } }
}

#[test]
fn an_upstream_learns_how_its_messages_end() {
    let engine = engine();
    let far = Arc::<Far>::default();
    let upstream = Arc::clone(&far) as Arc<dyn Upstream>;
    let topic = engine.topic("t").unwrap();
    assert_eq!(topic.offer(Some("c"), &[offer(1, 1)], &upstream), 0, "no such channel yet");
    let (consumer, _) = subscribe(&topic, "c", 2);
    let channel = Arc::clone(consumer.channel());
    let audience = channel.audience();
    assert_eq!(audience.borrow().consumers, 1);
    let offers = [offer(1, 1), offer(2, 1), offer(3, 1)];
    assert_eq!(topic.offer(Some("c"), &offers, &upstream), 1);
    publish(&topic, "local");
    let got = pull(&consumer);
    assert_eq!(texts(&got), ["1", "2"]);
    consumer.settle(clock::now()).finish(&got[0].id).unwrap();
    assert_eq!(*far.finished.lock(), [Origin { generation: 1, tag: 1 }]);

    channel.revoke(&upstream, 1);
    assert_eq!(consumer.settle(clock::now()).finish(&got[1].id), Err(SettleError::NotInFlight));
    assert_eq!(texts(&pull(&consumer)), ["local"]);
    assert_eq!(topic.offer(Some("c"), &[offer(1, 2)], &upstream), 1);
    assert!(topic.delete_channel("c"));
    assert_eq!(*far.returned.lock(), [Origin { generation: 2, tag: 1 }]);
    drop(consumer);
    assert_eq!(audience.borrow().consumers, 0);
}

/// nsqd goes on with 0 and 1: a client that gives up after so many attempts would begin anew.
#[test]
fn edge_081_attempts_stay_at_their_highest() {
    let engine = engine();
    let topic = engine.topic("t").unwrap();
    let (consumer, _) = subscribe(&topic, "c", 1);
    let upstream = Arc::<Far>::default() as Arc<dyn Upstream>;
    let far_gone = Offer { attempts: u16::MAX - 2, ..offer(1, 1) };
    topic.offer(Some("c"), &[far_gone], &upstream);
    for attempts in [u16::MAX - 1, u16::MAX, u16::MAX, u16::MAX] {
        let got = pull(&consumer);
        assert_eq!(got[0].attempts, attempts);
        consumer.settle(clock::now()).requeue(&got[0].id, Duration::ZERO).unwrap();
    }
}

#[test]
fn an_offer_to_all_channels_is_one_message_with_one_id() {
    let engine = engine();
    let upstream = Arc::<Far>::default() as Arc<dyn Upstream>;
    let topic = engine.topic("t").unwrap();
    let (one, _) = subscribe(&topic, "a", 9);
    let (two, _) = subscribe(&topic, "b", 9);
    assert_eq!(topic.offer(None, &[offer(1, 1)], &upstream), 2);
    assert_eq!(pull(&one)[0].id, pull(&two)[0].id);
}
