//! Topics that live at RabbitMQ: what NSQ's clients see of them, and what the broker has.

use std::time::{Duration, Instant};

use super::{nsq_basics, nsq_clients};
use crate::support::drivers::{Driver, Library, pika};
use crate::support::http;
use crate::support::leveret::{Leveret, Plan};
use crate::support::nsq::{Client, Frame};
use crate::support::rabbit::Rabbit;
use crate::support::stats::{self, await_counts, await_depth};
use crate::support::wait::{PATIENCE, until, until_true};

/// A gateway all of whose topics live at this broker; `row` is added to what it says of them.
pub(crate) fn plan(uri: &str, row: &str) -> Plan {
    plan_with(uri, "1m", row)
}

/// As [`plan`], where messages time out so soon.
fn plan_with(uri: &str, msg_timeout: &str, row: &str) -> Plan {
    Leveret::serve(&format!(
        "nsqd:\n  tcp_address: 127.0.0.1:0\n  http_address: 127.0.0.1:0\n  data_path: '{{dir}}'\n  msg_timeout: {msg_timeout}\n\
         brokers:\n  default:\n    uri: \"{uri}\"\n    heartbeat: 2s\n\
         topics:\n- match: '*'\n  store: rabbitmq\n{row}"
    ))
}

/// A gateway over a broker that all tests share, in a virtual host of its own.
struct Site {
    rabbit: Rabbit,
    uri: String,
    server: Leveret,
}

impl Site {
    fn start(row: &str) -> Self {
        Self::start_with("1m", row)
    }

    /// Messages time out so soon.
    fn start_with(msg_timeout: &str, row: &str) -> Self {
        let rabbit = Rabbit::shared();
        let uri = rabbit.vhost();
        let server = plan_with(&uri, msg_timeout, row).start();
        Self { rabbit, uri, server }
    }

    /// Another gateway to the same topics.
    fn another(&self, row: &str) -> Leveret {
        plan(&self.uri, row).start()
    }

    fn pika(&self, what: &[&str]) -> Driver {
        pika(&self.uri, what)
    }

    /// Queues of topics and channels, each with its kind, in order.
    fn queues(&self) -> Vec<String> {
        // Publishes with a delay have queues of their own.
        self.all_queues().into_iter().filter(|line| line.starts_with("nsq")).collect()
    }

    /// All queues, each with its kind, in order.
    fn all_queues(&self) -> Vec<String> {
        let vhost = self.uri.rsplit('/').next().unwrap();
        let what = ["--quiet", "list_queues", "-p", vhost, "--no-table-headers", "name", "type"];
        let mut lines: Vec<String> = self
            .rabbit
            .ctl(&what)
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|line| !line.is_empty())
            .collect();
        lines.sort();
        lines
    }

    fn done(&self, path: &str) {
        http::done(self.server.http(), path);
    }
}

/// Takes and finishes `count` messages; gives their bodies in order.
fn take(client: &mut Client, count: usize) -> Vec<String> {
    let mut bodies: Vec<String> = (0..count)
        .map(|_| {
            let message = client.message();
            client.fin(&message);
            message.text()
        })
        .collect();
    bodies.sort();
    bodies
}

#[test]
fn a_topic_is_an_exchange_and_each_channel_a_queue() {
    let site = Site::start("");
    let mut one = Client::subscribed(site.server.tcp(), "t", "one", 10);
    let mut two = Client::subscribed(site.server.tcp(), "t", "two", 10);
    let mut producer = Client::connect(site.server.tcp());
    producer.publish("t", b"a");
    producer.publish_many("t", &[b"b", b"c"]);
    assert_eq!(take(&mut one, 3), ["a", "b", "c"]);
    assert_eq!(take(&mut two, 3), ["a", "b", "c"]);
    assert_eq!(site.queues(), ["nsq.t quorum", "nsq.t:one quorum", "nsq.t:two quorum"]);
    await_counts(site.server.http(), "t", "one", [0, 0, 0]);
    site.pika(&["publish", "--exchange", "nsq.t", "--routing-key", "x", "--count", "1"]).finish();
    assert_eq!(take(&mut one, 1).len(), 1, "from elsewhere");
}

#[test]
fn a_topic_without_channels_keeps_its_messages_for_the_first_one() {
    let site = Site::start("");
    let mut producer = Client::connect(site.server.tcp());
    for body in ["a", "b", "c"] {
        producer.publish("t", body.as_bytes());
    }
    await_depth(site.server.http(), "t", 3);
    let mut consumer = Client::subscribed(site.server.tcp(), "t", "c", 10);
    assert_eq!(take(&mut consumer, 3), ["a", "b", "c"]);
    await_depth(site.server.http(), "t", 0);
}

#[test]
fn what_is_published_after_sub_is_answered_reaches_the_channel() {
    let site = Site::start("  queue: { type: classic }\n");
    let mut producer = Client::connect(site.server.tcp());
    for number in 0..10 {
        let channel = format!("c{number}");
        let mut consumer = Client::subscribed(site.server.tcp(), "t", &channel, 10);
        producer.publish("t", b"x");
        assert_eq!(take(&mut consumer, 1), ["x"]);
    }
    assert!(site.queues().contains(&"nsq.t:c0 classic".to_owned()));
}

#[test]
fn depth_and_in_flight_are_the_brokers_and_ours() {
    let site = Site::start("  prefetch: 5\n");
    site.done("/topic/create?topic=t");
    site.done("/channel/create?topic=t&channel=c");
    let mut producer = Client::connect(site.server.tcp());
    for _ in 0..20 {
        producer.publish("t", b"x");
    }
    await_counts(site.server.http(), "t", "c", [20, 0, 0]);
    let mut consumer = Client::subscribed(site.server.tcp(), "t", "c", 2);
    let (one, two) = (consumer.message(), consumer.message());
    await_counts(site.server.http(), "t", "c", [18, 2, 0]);
    consumer.fin(&one);
    consumer.fin(&two);
    await_counts(site.server.http(), "t", "c", [16, 2, 0]);
    drop(consumer);
    await_counts(site.server.http(), "t", "c", [18, 0, 0]);
}

#[test]
fn channels_and_topics_are_emptied_and_deleted_at_the_broker_too() {
    let site = Site::start("");
    let at = site.server.http();
    let mut producer = Client::connect(site.server.tcp());
    producer.publish("t", b"before");
    await_depth(at, "t", 1);
    site.done("/topic/empty?topic=t");
    await_depth(at, "t", 0);
    site.done("/channel/create?topic=t&channel=c");
    site.done("/channel/create?topic=t&channel=d");
    for _ in 0..400 {
        producer.publish("t", b"x");
    }
    await_counts(at, "t", "c", [400, 0, 0]);
    // While some of them are on their way to a consumer.
    let mut consumer = Client::subscribed(site.server.tcp(), "t", "c", 1);
    let held = consumer.message();
    site.done("/channel/empty?topic=t&channel=c");
    await_counts(at, "t", "c", [0, 0, 0]);
    consumer.fin(&held);
    assert!(consumer.error().starts_with("E_FIN_FAILED "));
    producer.publish("t", b"after");
    assert_eq!(take(&mut consumer, 1), ["after"]);
    await_counts(at, "t", "d", [401, 0, 0]);

    site.done("/channel/delete?topic=t&channel=c");
    consumer.closed();
    assert_eq!(site.queues(), ["nsq.t quorum", "nsq.t:d quorum"]);
    site.done("/topic/delete?topic=t");
    assert_eq!(site.all_queues(), [""; 0]);
    assert_eq!(stats::topics(at), [""; 0]);
    let mut consumer = Client::subscribed(site.server.tcp(), "t", "d", 1);
    producer.publish("t", b"anew");
    assert_eq!(take(&mut consumer, 1), ["anew"]);
}

#[test]
fn a_paused_channel_leaves_its_messages_to_others() {
    let site = Site::start("");
    let other = site.another("");
    let mut here = Client::subscribed(site.server.tcp(), "t", "c", 10);
    let mut there = Client::subscribed(other.tcp(), "t", "c", 10);
    site.done("/channel/pause?topic=t&channel=c");
    let mut producer = Client::connect(site.server.tcp());
    let bodies: Vec<String> = (0..20).map(|n| format!("{n:02}")).collect();
    for body in &bodies {
        producer.publish("t", body.as_bytes());
    }
    assert_eq!(take(&mut there, 20), bodies);
    assert_eq!(here.message_within(Duration::from_millis(200)), None);
    drop(there);
    drop(other);
    producer.publish("t", b"later");
    assert_eq!(here.message_within(Duration::from_millis(200)), None);
    site.done("/channel/unpause?topic=t&channel=c");
    assert_eq!(take(&mut here, 1), ["later"]);
}

#[test]
fn a_message_in_flight_may_be_finished_while_its_channel_is_paused() {
    let site = Site::start("");
    let mut consumer = Client::subscribed(site.server.tcp(), "t", "c", 10);
    let mut producer = Client::connect(site.server.tcp());
    producer.publish("t", b"x");
    let message = consumer.message();
    site.done("/channel/pause?topic=t&channel=c");
    consumer.fin(&message);
    await_counts(site.server.http(), "t", "c", [0, 0, 0]);
    site.done("/channel/unpause?topic=t&channel=c");
    producer.publish("t", b"y");
    assert_eq!(take(&mut consumer, 1), ["y"], "no error, and not x again");
}

#[test]
fn a_paused_topic_keeps_what_is_published() {
    let site = Site::start("");
    let mut one = Client::subscribed(site.server.tcp(), "t", "one", 10);
    let mut two = Client::subscribed(site.server.tcp(), "t", "two", 10);
    site.done("/topic/pause?topic=t");
    let mut producer = Client::connect(site.server.tcp());
    producer.publish("t", b"a");
    producer.publish("t", b"b");
    assert_eq!(one.message_within(Duration::from_millis(300)), None);
    await_depth(site.server.http(), "t", 2);
    site.done("/topic/unpause?topic=t");
    assert_eq!(take(&mut one, 2), ["a", "b"]);
    assert_eq!(take(&mut two, 2), ["a", "b"]);
    producer.publish("t", b"c");
    assert_eq!(take(&mut one, 1), ["c"]);
}

#[test]
fn what_is_ephemeral_goes_with_its_last_consumer() {
    let site = Site::start("");
    let mut consumer = Client::subscribed(site.server.tcp(), "t", "c#ephemeral", 10);
    let mut other = Client::subscribed(site.server.tcp(), "e#ephemeral", "c", 10);
    let mut producer = Client::connect(site.server.tcp());
    producer.publish("t", b"x");
    producer.publish("e#ephemeral", b"y");
    assert_eq!(take(&mut consumer, 1), ["x"]);
    assert_eq!(take(&mut other, 1), ["y"]);
    let all = [
        "nsq.e#ephemeral classic",
        "nsq.e#ephemeral:c classic",
        "nsq.t quorum",
        "nsq.t:c#ephemeral classic",
    ];
    assert_eq!(site.queues(), all);
    drop(consumer);
    until_true("the channel's queue is gone", || site.queues() == all[..3]);
    site.done("/channel/delete?topic=e%23ephemeral&channel=c");
    until_true("the topic's queues are gone", || site.queues() == all[2..3]);
}

#[test]
fn two_gateways_serve_one_topic() {
    let site = Site::start("");
    let other = site.another("");
    let mut here = Client::subscribed(site.server.tcp(), "t", "c", 50);
    let mut there = Client::subscribed(other.tcp(), "t", "c", 50);
    let mut producers = [Client::connect(site.server.tcp()), Client::connect(other.tcp())];
    let bodies: Vec<String> = (0..100).map(|n| format!("{n:03}")).collect();
    for (number, body) in bodies.iter().enumerate() {
        producers[number % 2].publish("t", body.as_bytes());
    }
    let mut seen = Vec::new();
    let mut counts = [0, 0];
    while seen.len() < 100 {
        for (at, client) in [&mut here, &mut there].into_iter().enumerate() {
            while let Some(message) = client.message_within(Duration::from_millis(50)) {
                client.fin(&message);
                seen.push(message.text());
                counts[at] += 1;
            }
        }
    }
    seen.sort();
    assert_eq!(seen, bodies);
    assert!(counts[0] > 0 && counts[1] > 0, "both get some: {counts:?}");
    await_counts(other.http(), "t", "c", [0, 0, 0]);
    // What one of them holds goes to the other when it goes.
    producers[0].publish("t", b"left");
    let is_here = until(PATIENCE, || {
        let patience = Duration::from_millis(50);
        let has = |client: &mut Client| client.message_within(patience).is_some();
        if has(&mut here) { Some(true) } else { has(&mut there).then_some(false) }
    });
    let mut left = if is_here.expect("one of them gets it") {
        drop(here);
        there
    } else {
        drop(there);
        drop(other);
        here
    };
    let message = left.message();
    assert!(message.attempts >= 2, "{message:?}");
    left.fin(&message);
}

#[test]
fn delays_touch_and_timeouts_are_nsqs() {
    let site = Site::start_with("1s", "  max_hold: 1s\n");
    let mut client = Client::subscribed(site.server.tcp(), "t", "c", 10);
    let mut other = Client::subscribed(site.server.tcp(), "t", "d", 10);
    let began = Instant::now();
    client.publish_deferred("t", Duration::from_millis(1500), b"later");
    let message = client.message();
    assert!(began.elapsed() >= Duration::from_millis(1500));
    assert_eq!((message.text().as_str(), message.attempts), ("later", 1));
    assert_eq!(take(&mut other, 1), ["later"]);
    // Held here, then at the broker: for this channel alone.
    client.req(&message, Duration::from_millis(300));
    let again = client.message();
    assert_eq!((again.attempts, &again.id), (2, &message.id));
    let began = Instant::now();
    client.req(&again, Duration::from_millis(2500));
    let again = client.message();
    assert!(began.elapsed() >= Duration::from_millis(2500));
    assert_eq!(again.attempts, 3);
    assert_eq!(other.message_within(Duration::from_millis(200)), None);
    // A second is the time that it has.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        std::thread::sleep(Duration::from_millis(300));
        client.touch(&again);
    }
    let once_more = client.message();
    assert_eq!(once_more.attempts, 4, "timed out");
    client.fin(&once_more);
    await_counts(site.server.http(), "t", "c", [0, 0, 0]);
}

#[test]
fn a_gateway_that_comes_back_has_its_topics_again() {
    let mut site = Site::start("");
    site.done("/topic/create?topic=t");
    site.done("/channel/create?topic=t&channel=c");
    site.done("/channel/pause?topic=t&channel=c");
    let mut producer = Client::connect(site.server.tcp());
    producer.publish("t", b"x");
    site.server.kill();
    site.server.restart();
    await_counts(site.server.http(), "t", "c", [1, 0, 0]);
    let mut consumer = Client::subscribed(site.server.tcp(), "t", "c", 10);
    assert_eq!(consumer.message_within(Duration::from_millis(200)), None);
    site.done("/channel/unpause?topic=t&channel=c");
    assert_eq!(take(&mut consumer, 1), ["x"]);
}

#[test]
fn a_broker_that_refuses_or_is_away_is_an_error_with_its_words() {
    let site = Site::start("  publish_timeout: 1500ms\n");
    // Declared otherwise by somebody else.
    let taken = ["declare", "--queue", "nsq.t:c"];
    site.pika(&taken).finish();
    let mut client = Client::connect(site.server.tcp());
    client.command("SUB t c");
    let error = client.error();
    assert!(
        error.starts_with("E_SUB_FAILED SUB failed broker default: PRECONDITION_FAILED"),
        "{error}"
    );
    let answer = http::post(site.server.http(), "/channel/create?topic=t&channel=c", b"");
    assert_eq!(answer.status, 503, "{}", answer.text());

    let away = plan("amqp://guest:guest@127.0.0.1:1/%2f", "  publish_timeout: 500ms\n").start();
    let mut client = Client::connect(away.tcp());
    client.command("SUB t c");
    let error = client.error();
    assert!(error.starts_with("E_SUB_FAILED SUB failed not done within 0.5 s (broker"), "{error}");
    let mut client = Client::connect(away.tcp());
    client.command_with("PUB t", b"x");
    let error = client.error();
    assert!(error.starts_with("E_PUB_FAILED") && error.contains("not confirmed within"), "{error}");
}

#[test]
fn pynsq() {
    nsq_clients::works_at(Library::Pynsq, &Site::start_with("1s", "").server);
}

#[test]
fn gnsq() {
    nsq_clients::works_at(Library::Gnsq, &Site::start_with("1s", "").server);
}

#[test]
fn nsqjs() {
    nsq_clients::works_at(
        Library::Nsqjs,
        &Site::start_with("1s", "  queue: { type: classic }\n").server,
    );
}

/// Whatever RDY is set to, and however often: each message comes once.
#[test]
fn the_prefetch_follows_rdy_and_loses_nothing() {
    let site = Site::start("  prefetch: 100\n");
    let mut consumer = Client::subscribed(site.server.tcp(), "t", "c", 0);
    let mut producer = Client::connect(site.server.tcp());
    let bodies: Vec<String> = (0..600).map(|n| format!("{n:03}")).collect();
    for some in bodies.chunks(100) {
        let some: Vec<&[u8]> = some.iter().map(|body| body.as_bytes()).collect();
        producer.publish_many("t", &some);
    }
    await_counts(site.server.http(), "t", "c", [600, 0, 0]);
    assert_eq!(consumer.message_within(Duration::from_millis(200)), None);
    consumer.rdy(1);
    let first = consumer.message();
    // Others may have all but what one consumer with RDY 1 is about to want.
    let other = site.another("");
    let mut there = Client::subscribed(other.tcp(), "t", "c", 600);
    let mut seen: Vec<String> = Vec::new();
    while seen.len() < 590 {
        let message = there.message();
        there.fin(&message);
        seen.push(message.text());
    }
    consumer.fin(&first);
    seen.push(first.text());
    drop(there);
    drop(other);
    for ready in [0, 5, 1, 50, 0, 2, 0, 40, 3, 2, 1, 80].into_iter().cycle() {
        consumer.rdy(ready);
        while let Some(message) = consumer.message_within(Duration::from_millis(30)) {
            consumer.fin(&message);
            if !seen.contains(&message.text()) {
                seen.push(message.text());
            }
        }
        if seen.len() == 600 {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen, bodies);
    await_counts(site.server.http(), "t", "c", [0, 0, 0]);
}

#[test]
fn a_publish_that_the_broker_refuses_is_an_error_with_its_reason() {
    let site = Site::start("");
    let mut consumer = Client::subscribed(site.server.tcp(), "t", "c", 0);
    consumer.rdy(0);
    let vhost = site.uri.rsplit('/').next().unwrap();
    let policy = r#"{"max-length":1,"overflow":"reject-publish"}"#;
    site.rabbit.ctl(&["set_policy", "-p", vhost, "full", "^nsq.t:c$", policy]);
    let mut refused = None;
    // A policy takes effect in its own time.
    until_true("a publish is refused", || {
        let mut producer = Client::connect(site.server.tcp());
        producer.command_with("PUB t", b"x");
        refused = match producer.frame() {
            Some(Frame::Error(error)) => Some(error),
            _ => None,
        };
        refused.is_some()
    });
    let refused = refused.unwrap();
    assert!(
        refused.starts_with("E_PUB_FAILED PUB failed") && refused.contains("could not take it"),
        "{refused}"
    );
}

#[test]
fn nsqs_main_verbs_do_what_they_do_on_a_local_topic() {
    let site = Site::start_with("500ms", "");
    nsq_basics::pub_to_fin(&site.server);
    nsq_basics::requeued(&site.server);
    nsq_basics::times_out(&site.server);
}
