//! RabbitMQ to NSQ consumers: each message comes until it is finished, and stays at the broker until then.

use std::time::Duration;

use serde_json::Value;

use crate::support::drivers::{Library, bodies, expected};
use crate::support::leveret::Leveret;
use crate::support::nsq::Client;
use crate::support::rabbit::Rabbit;
use crate::support::site::{Site, await_count};
use crate::support::wait::until_true;

/// Queue `direct.@` as channel `c` of topic `direct.@`, and queue `queued.@` written to topic `queued.@`.
const ROUTES: &str = r#"
routes:
  - name: direct
    from: { amqp: { queue: direct.@, prefetch: 20, declare: { type: classic } } }
    to: { nsq: { topic: direct.@, channel: c } }
    mode: direct
  - name: quorum
    from: { amqp: { queue: quorum.@, prefetch: 20, declare: { type: quorum } } }
    to: { nsq: { topic: quorum.@, channel: c } }
    mode: direct
  - name: queued
    from: { amqp: { queue: queued.@, declare: { type: classic } } }
    to: { nsq: { topic: queued.@ } }
    mode: queued
"#;

/// Puts `PREFIX-0 ...` into a queue by pika; the queue may be there already.
fn fill(site: &Site, queue: &str, prefix: &str, count: usize) {
    let kind = if queue.starts_with("quorum") { "quorum" } else { "classic" };
    site.pika(&["declare", "--queue", queue, "--type", kind]).finish();
    let count = count.to_string();
    let publish = ["publish", "--routing-key", queue, "--count", &count, "--prefix", prefix];
    assert_eq!(site.pika(&publish).finish().1.to_string(), count, "confirmed");
}

/// Messages of a queue that are ready and unacknowledged, in the broker's own words.
fn held(rabbit: &Rabbit, queue: &str) -> (u64, u64) {
    let columns = ["name", "messages_ready", "messages_unacknowledged"];
    let listed = rabbit.ctl(&[&["-q", "list_queues"][..], &columns].concat());
    let line = listed.lines().find(|line| line.split_whitespace().next() == Some(queue));
    let line = line.unwrap_or_else(|| panic!("queue {queue} is listed: {listed}"));
    let mut counts = line.split_whitespace().skip(1).map(|count| count.parse().unwrap());
    (counts.next().unwrap(), counts.next().unwrap())
}

fn await_held(site: &Site, queue: &str, counts: (u64, u64)) {
    let queue = site.name(queue);
    let mut last = (0, 0);
    until_true(&format!("{counts:?} ready and unacknowledged in {queue}"), || {
        last = held(&site.rabbit, &queue);
        last == counts
    });
}

/// A library's consumer finishes, requeues and ignores messages of a direct route.
fn finishes_and_requeues(library: Library) {
    let site = Site::start_with("  msg_timeout: 1s\n", ROUTES);
    fill(&site, "direct.@", "d", 80);
    let options = ["--count", "80", "--requeue", "7", "--silent", "2", "--max-in-flight", "10"];
    let topic = site.name("direct.@");
    let (messages, finished) = library.consume(site.server.tcp(), &topic, "c", &options).finish();
    assert_eq!((finished, messages.len()), (80, 89));
    let by = |answer: &str| -> Vec<Value> {
        messages.iter().filter(|line| line["answer"] == answer).cloned().collect()
    };
    assert_eq!(bodies(&by("fin")), expected("d", 80));
    for line in [by("req"), by("none")].concat() {
        let mut again = by("fin").into_iter().filter(|other| other["body"] == line["body"]);
        assert_eq!(again.next().expect("it was finished later")["attempts"], 2, "{line}");
    }
    site.await_state("direct", "idle");
    let counters = site.settled("direct");
    assert_eq!(counters["confirmed"], 80, "{counters}");
    await_held(&site, "direct.@", (0, 0));
}

#[test]
fn pynsq_consumes_a_queue_as_a_channel() {
    finishes_and_requeues(Library::Pynsq);
}

#[test]
fn nsqjs_consumes_a_queue_as_a_channel() {
    finishes_and_requeues(Library::Nsqjs);
}

#[test]
fn every_channel_of_a_queued_route_gets_every_message() {
    let site = Site::start(ROUTES);
    let topic = site.name("queued.@");
    let (at, options) = (site.server.tcp(), ["--count", "120", "--requeue", "5"]);
    let consumers = [
        Library::Pynsq.consume(at, &topic, "one", &options),
        Library::Nsqjs.consume(at, &topic, "two", &options),
    ];
    let subscribed = |server: &Leveret| {
        let path = format!("/stats?format=json&topic={topic}");
        let stats = crate::support::http::get(server.http(), &path).json();
        let channels = stats["topics"][0]["channels"].as_array().cloned().unwrap_or_default();
        channels
            .iter()
            .filter(|channel| channel["clients"].as_array().is_some_and(|c| !c.is_empty()))
            .count()
    };
    until_true("two channels with a consumer", || subscribed(&site.server) == 2);
    fill(&site, "queued.@", "q", 120);
    for consumer in consumers {
        let (messages, _) = consumer.finish();
        let done: Vec<Value> =
            messages.into_iter().filter(|line| line["answer"] == "fin").collect();
        assert_eq!(bodies(&done), expected("q", 120));
    }
    let counters = site.settled("queued");
    assert_eq!((&counters["received"], &counters["confirmed"]), (&120.into(), &120.into()));
    await_held(&site, "queued.@", (0, 0));
}

#[test]
fn attempts_grow_with_requeue_timeout_and_another_consumer() {
    let site = Site::start_with("  msg_timeout: 600ms\n", ROUTES);
    let topic = site.name("direct.@");
    fill(&site, "direct.@", "m", 1);
    let mut first = Client::subscribed(site.server.tcp(), &topic, "c", 1);
    let message = first.message();
    assert_eq!((message.attempts, message.text().as_str()), (1, "m-0"));
    first.req(&message, Duration::from_millis(200));
    assert_eq!(first.message_within(Duration::from_millis(100)), None, "not before its delay");
    let message = first.message();
    assert_eq!(message.attempts, 2, "after REQ");
    let message = first.message();
    assert_eq!(message.attempts, 3, "after the message timeout");
    // A late FIN is refused, and what was redelivered meanwhile is not lost by it.
    let mut second = Client::subscribed(site.server.tcp(), &topic, "c", 1);
    drop(first);
    let again = second.message();
    assert_eq!(again.attempts, 4, "with another consumer");
    assert_eq!((again.text().as_str(), again.timestamp), ("m-0", message.timestamp));
    second.fin(&again);
    await_count(&site.server, "direct", "confirmed", 1);
    second.fin(&again);
    let error = second.error();
    assert!(error.starts_with("E_FIN_FAILED "), "{error}");
    await_held(&site, "direct.@", (0, 0));
}

#[test]
fn what_consumers_refused_before_a_retry_queue_counts_as_attempts() {
    let site = Site::start(&ROUTES.replace(", declare: { type: quorum }", ""));
    let (work, rest) = (site.name("quorum.@"), site.name("quorum.retry.@"));
    let round =
        |to: &str| format!(r#""x-dead-letter-exchange": "", "x-dead-letter-routing-key": "{to}""#);
    let expiring = format!(r#"{{"x-message-ttl": 100, {}}}"#, round(&work));
    let (declare, own) = (["declare", "--queue"], format!("{{{}}}", round(&rest)));
    site.pika(&[&declare[..], &[&work, "--type", "quorum", "--arguments", &own]].concat()).finish();
    site.pika(&[&declare[..], &[&rest, "--arguments", &expiring]].concat()).finish();
    site.pika(&["publish", "--routing-key", &work]).finish();
    let refusals = ["--count", "3", "--reject", "3"];
    site.pika(&[&["consume", "--queue", &work][..], &refusals].concat()).finish();
    let mut client = Client::subscribed(site.server.tcp(), &work, "c", 1);
    let message = client.message();
    assert_eq!((message.text().as_str(), message.attempts), ("m-0", 4));
    client.fin(&message);
    await_held(&site, "quorum.@", (0, 0));
}

#[test]
fn the_last_consumers_disconnect_gives_messages_back_to_the_broker() {
    let site = Site::start(ROUTES);
    for (route, attempts) in [("direct", 2), ("quorum", 2)] {
        let queue = format!("{route}.@");
        let topic = site.name(&queue);
        fill(&site, &queue, "b", 5);
        let mut client = Client::subscribed(site.server.tcp(), &topic, "c", 3);
        let one = client.message();
        client.message();
        client.fin(&one);
        await_count(&site.server, route, "confirmed", 1);
        drop(client);
        await_held(&site, &queue, (4, 0));
        site.await_state(route, "idle");
        let counters = site.settled(route);
        assert_eq!(counters["given_back"], 4, "{counters}");

        let mut client = Client::subscribed(site.server.tcp(), &topic, "c", 5);
        let mut rest: Vec<_> = (0..4).map(|_| client.message()).collect();
        rest.sort_by_key(crate::support::nsq::Message::text);
        for message in &rest {
            assert_eq!(message.attempts, attempts, "the broker says that it was delivered");
            client.fin(message);
        }
        await_held(&site, &queue, (0, 0));
    }
}

#[test]
fn without_a_consumer_messages_stay_at_the_broker_and_with_one_prefetch_bounds_them() {
    let site = Site::start(ROUTES);
    fill(&site, "direct.@", "p", 50);
    let idle = site.await_state("direct", "idle");
    assert!(idle["reason"].as_str().unwrap().contains("no consumer"), "{idle}");
    assert_eq!(idle["counters"]["received"], 0);
    await_held(&site, "direct.@", (50, 0));

    let topic = site.name("direct.@");
    let mut client = Client::subscribed(site.server.tcp(), &topic, "c", 2);
    let (first, second) = (client.message(), client.message());
    assert_eq!(client.message_within(Duration::from_millis(300)), None, "RDY 2");
    // A few more than RDY, so that the next ones are there when they are wanted.
    await_held(&site, "direct.@", (46, 4));
    client.fin(&first);
    client.fin(&second);
    client.message();
    client.message();
    await_held(&site, "direct.@", (44, 4));
    client.rdy(100);
    // Up to the prefetch, and the four that it has already.
    await_held(&site, "direct.@", (24, 24));
}

#[test]
fn a_queued_route_keeps_messages_for_channels_to_come_and_over_a_crash() {
    let mut site = Site::start(ROUTES);
    fill(&site, "queued.@", "n", 10);
    await_count(&site.server, "queued", "confirmed", 10);
    await_held(&site, "queued.@", (0, 0));
    site.server.kill();
    site.server.restart();
    let topic = site.name("queued.@");
    let mut client = Client::subscribed(site.server.tcp(), &topic, "late", 10);
    let mut bodies: Vec<String> = (0..10)
        .map(|_| {
            let message = client.message();
            client.fin(&message);
            message.text()
        })
        .collect();
    bodies.sort();
    assert_eq!(bodies, expected("n", 10));
}

/// Queued routes with a bound of 1 KiB, one for each kind of `dead_letter`.
const MISFITS: &str = r#"
routes:
  - name: stops
    from: { amqp: { queue: stops.@, declare: {} } }
    to: { nsq: { topic: stops.@ } }
    mode: queued
  - name: drops
    from: { amqp: { queue: drops.@, declare: {} } }
    to: { nsq: { topic: drops.@ } }
    mode: queued
    dead_letter: drop
  - name: parks
    from: { amqp: { queue: parks.@, declare: {} } }
    to: { nsq: { topic: parks.@ } }
    mode: queued
    dead_letter: { amqp: { exchange: "", routing_key: parked.@, declare: { queues: [ { name: parked.@ } ] } } }
"#;

#[test]
fn empty_and_oversized_bodies_go_where_the_route_says() {
    let site = Site::start_with("  max_msg_size: 1KiB\n", MISFITS);
    let large = "x".repeat(1025);
    for route in ["stops", "drops", "parks"] {
        let queue = format!("{route}.@");
        site.pika(&["declare", "--queue", &queue]).finish();
        for body in ["fits", "", &large, "fits too"] {
            let publish = ["publish", "--routing-key", &queue, "--body", body];
            assert_eq!(site.pika(&publish).finish().1, 1);
        }
        let topic = site.name(&queue);
        let mut client = Client::subscribed(site.server.tcp(), &topic, "c", 10);
        // The route that stops has passed what came before.
        let passed = if route == "stops" { &["fits"][..] } else { &["fits", "fits too"] };
        for text in passed {
            let message = client.message();
            assert_eq!(message.text(), *text, "{route}");
            client.fin(&message);
        }
    }
    let failed = site.await_state("stops", "failed");
    let reason = failed["reason"].as_str().unwrap();
    assert!(reason.contains("cannot be an NSQ message of 1 to 1024 bytes"), "{reason}");
    await_count(&site.server, "stops", "confirmed", 1);
    await_held(&site, "stops.@", (0, 3));

    assert_eq!(site.settled("drops")["dropped"], 2);
    await_held(&site, "drops.@", (0, 0));

    let parked = site.drain_when_there("parked.@", 2);
    assert_eq!(bodies(&parked), ["", &large]);
    for (line, reason) in parked.iter().zip(["invalid", "too_large"]) {
        let headers = &line["properties"]["headers"];
        assert_eq!(headers["x-leveret-reason"], reason, "{headers}");
        assert_eq!(headers["x-leveret-route"], "parks");
    }
    assert_eq!(site.settled("parks")["dead_lettered"], 2);
    await_held(&site, "parks.@", (0, 0));
}

#[test]
fn a_route_says_whether_it_waits_for_a_consumer_or_for_one_that_is_ready() {
    let site = Site::start(ROUTES);
    let reason = |text: &str| {
        until_true(text, || site.await_state("direct", "idle")["reason"] == text);
    };
    reason("no consumer is subscribed to the channel");
    let mut client = Client::subscribed(site.server.tcp(), &site.name("direct.@"), "c", 0);
    reason("no consumer of the channel is ready");
    client.command("RDY 1");
    site.await_state("direct", "running");
    drop(client);
    reason("no consumer is subscribed to the channel");
}
