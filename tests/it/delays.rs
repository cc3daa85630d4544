//! Publishes with a delay to a topic whose publishes go to a broker: never early, never lost, over a kill too.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::nsq::Client;
use crate::support::site::{Site, await_count};

const ROUTES: &str = r#"
routes:
  - name: delayed.@
    from: { nsq: { topic: delayed.@ } }
    to:
      amqp:
        exchange: delayed.@
        routing_key: "k.{{ body.to }}"
        declare: { exchange_type: topic, queues: [ { name: delayed.@, routing_keys: ["k.#"] } ] }
    mode: direct
    defer: true
  - { name: alias.@, from: { nsq: { topic: alias.@ } }, to: { nsq: { topic: real.@ } }, mode: direct }
"#;

/// Slack for a busy machine.
const LATE: Duration = Duration::from_secs(4);

fn body(to: &str) -> String {
    format!("{{\"to\":\"{to}\"}}")
}

/// The keys of the messages of the queue, each with the time at which it came.
fn consume(site: &Site, count: usize, since: Instant) -> Vec<(String, Duration)> {
    let (queue, count) = (site.name("delayed.@"), count.to_string());
    let driver = site.pika(&["consume", "--queue", &queue, "--count", &count]);
    let mut came: Vec<(String, Duration)> = Vec::new();
    while came.len().to_string() != count {
        let line: Value = driver.line_within(Duration::from_secs(30)).expect("a message");
        if line["event"] == "message" {
            came.push((line["routing_key"].as_str().unwrap().to_owned(), since.elapsed()));
        }
    }
    driver.finish();
    came
}

#[test]
fn a_deferred_publish_comes_when_it_is_due_and_where_its_body_says() {
    let site = Site::start(ROUTES);
    let topic = site.name("delayed.@");
    let mut producer = Client::connect(site.server.tcp());
    let began = Instant::now();
    let delays = [("c", 3300), ("a", 200), ("b", 1200)];
    for (to, millis) in delays {
        producer.publish_deferred(&topic, Duration::from_millis(millis), body(to).as_bytes());
    }
    producer.publish(&topic, body("now").as_bytes());
    let came = consume(&site, 4, began);
    let order: Vec<&str> = came.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(order, ["k.now", "k.a", "k.b", "k.c"]);
    for (to, millis) in delays {
        let (_, at) = came.iter().find(|(key, _)| *key == format!("k.{to}")).unwrap();
        let delay = Duration::from_millis(millis);
        assert!(*at >= delay && *at < delay + LATE, "{to}: {at:?} after {delay:?}");
    }
    site.settled(&topic);
}

#[test]
fn a_deferred_publish_outlives_the_gateway() {
    let mut site = Site::start(ROUTES);
    let topic = site.name("delayed.@");
    let mut producer = Client::connect(site.server.tcp());
    let began = Instant::now();
    for number in 0..20 {
        let delay = Duration::from_millis(1500 + 100 * number);
        producer.publish_deferred(&topic, delay, body(&number.to_string()).as_bytes());
    }
    site.server.kill();
    site.server.restart();
    let came = consume(&site, 20, began);
    for (key, at) in &came {
        let number: u64 = key.trim_start_matches("k.").parse().unwrap();
        assert!(*at >= Duration::from_millis(1500 + 100 * number), "{key} after {at:?}");
    }
    let mut keys: Vec<&String> = came.iter().map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 20, "each once");
}

#[test]
fn what_can_never_be_sent_is_kept_aside_and_holds_up_nothing() {
    let site = Site::start(ROUTES);
    let topic = site.name("delayed.@");
    let mut producer = Client::connect(site.server.tcp());
    producer.publish_deferred(&topic, Duration::from_millis(100), b"no json");
    producer.publish_deferred(&topic, Duration::from_millis(200), body("x").as_bytes());
    assert_eq!(consume(&site, 1, Instant::now())[0].0, "k.x");
    await_count(&site.server, &topic, "dead_lettered", 1);
    let aside = site.drain(&format!("leveret.due.{topic}.{topic}.dead"), 1);
    assert_eq!(aside[0]["body"], "no json");
}

#[test]
fn a_route_without_a_broker_says_that_it_cannot_defer() {
    let site = Site::start(ROUTES);
    let mut producer = Client::connect(site.server.tcp());
    producer.command_with(&format!("DPUB {} 1000", site.name("alias.@")), b"x");
    let error = producer.error();
    assert!(error.starts_with("E_DPUB_FAILED") && error.contains("cannot defer"), "{error}");
}

const HELD: &str = r#"
routes:
  - name: held
    from: { amqp: { queue: held.@, declare: {} } }
    to: { nsq: { topic: held.@, channel: c } }
    mode: direct
    max_hold: 1s
"#;

/// A message that is put off for so long goes back to the broker, whoever consumes then, and keeps its attempts.
#[test]
fn a_message_that_is_put_off_for_long_waits_at_the_broker() {
    let site = Site::start(HELD);
    let (queue, topic) = (site.name("held.@"), site.name("held.@"));
    site.pika(&["declare", "--queue", &queue]).finish();
    site.pika(&["publish", "--routing-key", &queue, "--count", "2"]).finish();
    let mut client = Client::subscribed(site.server.tcp(), &topic, "c", 2);
    let (one, two) = (client.message(), client.message());
    let began = Instant::now();
    client.req(&one, Duration::from_millis(3500));
    client.req(&two, Duration::from_millis(500));
    let again = client.message();
    assert_eq!((again.text(), again.attempts), (two.text(), 2), "held here");
    client.fin(&again);
    // Nobody has to be there meanwhile.
    await_count(&site.server, "held", "given_back", 1);
    drop(client);
    let mut client = Client::subscribed(site.server.tcp(), &topic, "c", 2);
    let again = client.message();
    assert!(began.elapsed() >= Duration::from_millis(3500), "early: {:?}", began.elapsed());
    assert_eq!((again.text(), again.attempts), (one.text(), 2));
    client.req(&again, Duration::from_millis(1500));
    let again = client.message();
    assert_eq!((again.text(), again.attempts), (one.text(), 3));
    client.fin(&again);
    let error = client.message_within(Duration::from_millis(300));
    assert_eq!(error, None, "no copy is left");
    site.pika(&["length", "--queue", &queue]).finish();
    drop(client);
    site.settled("held");
    assert_eq!(site.length(&queue), 0);
}
