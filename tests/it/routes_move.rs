//! Routes whose source keeps each message until it has arrived: queue to queue, topic to topic, in order where asked for.

use serde_json::Value;

use crate::support::drivers::{bodies, expected};
use crate::support::nsq::Client;
use crate::support::site::{Site, await_count};
use crate::support::wait::until_true;

/// Bodies in the order in which they came.
fn in_order(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter_map(|line| line["body"].as_str()).collect()
}

fn publish(site: &Site, queue: &str, prefix: &str, count: usize) {
    let count = count.to_string();
    let what = ["publish", "--routing-key", queue, "--count", &count, "--prefix", prefix];
    assert_eq!(site.pika(&what).finish().1.to_string(), count, "confirmed");
}

const SHOVEL: &str = r#"
routes:
  - name: shovel
    from: { amqp: { queue: from.@, declare: {} } }
    to: { amqp: { exchange: "", routing_key: to.@, declare: { queues: [ { name: to.@ } ] } } }
    mode: direct
  - name: astray
    from: { amqp: { queue: astray.@, declare: {} } }
    to: { amqp: { exchange: "", routing_key: nowhere.@ } }
    mode: queued
    retry: { max_attempts: 3, backoff: { initial: 10ms } }
    dead_letter: { amqp: { exchange: "", routing_key: dead.@, declare: { queues: [ { name: dead.@ } ] } } }
"#;

#[test]
fn a_queue_is_moved_to_another_with_its_message_ids() {
    let site = Site::start(SHOVEL);
    site.pika(&["declare", "--queue", "from.@"]).finish();
    publish(&site, "from.@", "s", 500);
    let named = ["publish", "--routing-key", "from.@", "--body", "named"];
    let properties = ["--properties", r#"{"message_id":"order:4711"}"#];
    site.pika(&[&named[..], &properties].concat()).finish();
    let moved = site.drain_when_there("to.@", 501);
    let order: Vec<String> = (0..500).map(|n| format!("s-{n}")).chain(["named".into()]).collect();
    assert_eq!(in_order(&moved), order);
    assert_eq!(moved[500]["properties"]["message_id"], "order:4711");
    assert_eq!(site.settled("shovel")["confirmed"], 501);
    assert_eq!(site.length("from.@"), 0);
}

#[test]
fn what_is_unroutable_is_found_by_its_own_id_and_becomes_a_dead_letter() {
    let site = Site::start(SHOVEL);
    site.pika(&["declare", "--queue", "astray.@"]).finish();
    for _ in 0..2 {
        // The same message_id twice: a return must not be taken for the other's.
        let what = ["publish", "--routing-key", "astray.@", "--body", "lost"];
        site.pika(&[&what[..], &["--properties", r#"{"message_id":"same"}"#]].concat()).finish();
    }
    let dead = site.drain_when_there("dead.@", 2);
    for line in &dead {
        let properties = &line["properties"];
        assert_eq!(properties["message_id"], "same");
        assert_eq!(properties["headers"]["x-leveret-reason"], "unroutable");
        assert_eq!(properties["headers"]["x-leveret-attempts"], 3);
        let origin = properties["headers"]["x-leveret-origin"].as_str().unwrap();
        assert_eq!(origin, site.name("amqp default:astray.@"));
    }
    let counters = site.settled("astray");
    assert_eq!((&counters["dead_lettered"], &counters["retried"]), (&2.into(), &4.into()));
}

#[test]
fn topics_feed_topics_in_both_modes() {
    let site = Site::start(
        r#"
routes:
  - { name: alias, from: { nsq: { topic: alias.@ } }, to: { nsq: { topic: real.@ } }, mode: direct }
  - { name: copy, from: { nsq: { topic: real.@ } }, to: { nsq: { topic: copy.@ } }, mode: queued }
"#,
    );
    let at = site.server.tcp();
    let mut real = Client::subscribed(at, &site.name("real.@"), "c", 100);
    let mut copy = Client::subscribed(at, &site.name("copy.@"), "c", 100);
    let mut producer = Client::connect(at);
    for number in 0..50 {
        producer.publish(&site.name("alias.@"), format!("m-{number}").as_bytes());
    }
    for consumer in [&mut real, &mut copy] {
        for number in 0..50 {
            let message = consumer.message();
            assert_eq!(message.text(), format!("m-{number}"));
            consumer.fin(&message);
        }
    }
    assert_eq!(site.settled("alias")["confirmed"], 50);
    assert_eq!(site.settled("copy")["confirmed"], 50);
}

/// Sends to an exchange without a queue, so that everything is returned until there is one.
const ORDERED: &str = r#"
routes:
  - name: ordered
    from: { nsq: { topic: ordered.@ } }
    to: { amqp: { exchange: ordered.@, routing_key: k, declare: { exchange_type: direct } } }
    mode: queued
    ordered: true
    retry: { max_attempts: 10000, backoff: { initial: 5ms, max: 20ms } }
  - name: ordered-queue
    from: { amqp: { queue: ordered.q.@, declare: {} } }
    to: { amqp: { exchange: ordered.@, routing_key: q } }
    mode: queued
    ordered: true
    retry: { max_attempts: 10000, backoff: { initial: 5ms, max: 20ms } }
"#;

#[test]
fn an_ordered_route_lets_nothing_overtake_a_message_that_is_tried_again() {
    let site = Site::start(ORDERED);
    site.pika(&["declare", "--queue", "ordered.q.@"]).finish();
    publish(&site, "ordered.q.@", "q", 40);
    let mut producer = Client::connect(site.server.tcp());
    for number in 0..40 {
        producer.publish(&site.name("ordered.@"), format!("n-{number}").as_bytes());
    }
    for route in ["ordered", "ordered-queue"] {
        until_true("several attempts", || {
            site.route(route)["counters"]["retried"].as_u64().unwrap() > 3
        });
        assert_eq!(site.route(route)["counters"]["confirmed"], 0);
    }
    for (queue, key) in [("late.n.@", "k"), ("late.q.@", "q")] {
        let declare =
            ["declare", "--queue", queue, "--exchange", "ordered.@", "--routing-key", key];
        site.pika(&declare).finish();
    }
    for (queue, prefix) in [("late.n.@", "n"), ("late.q.@", "q")] {
        let came = site.drain_when_there(queue, 40);
        let order: Vec<String> = (0..40).map(|number| format!("{prefix}-{number}")).collect();
        assert_eq!(in_order(&came), order, "{queue}");
    }
}

#[test]
fn a_route_that_stopped_at_a_message_goes_on_by_itself() {
    let site = Site::start(
        r#"
routes:
  - name: stuck
    from: { amqp: { queue: stuck.@, declare: {} } }
    to: { amqp: { exchange: stuck.x.@, routing_key: "{{ topic }}", declare: { exchange_type: direct } } }
    mode: queued
    retry: { max_attempts: 1, backoff: { initial: 50ms, max: 100ms } }
"#,
    );
    site.pika(&["declare", "--queue", "stuck.@"]).finish();
    publish(&site, "stuck.@", "m", 3);
    let failed = site.await_state("stuck", "failed");
    let reason = failed["reason"].as_str().unwrap();
    assert!(reason.starts_with("stopped at message") && reason.contains("unroutable"), "{reason}");
    let key = site.name("stuck.@");
    let bind = ["declare", "--queue", "late.@", "--exchange", "stuck.x.@", "--routing-key", &key];
    site.pika(&bind).finish();
    let came = site.drain_when_there("late.@", 3);
    assert_eq!(bodies(&came), expected("m", 3));
    site.await_state("stuck", "running");
}

#[test]
fn a_clean_stop_settles_what_is_under_way() {
    let slow = SHOVEL.replace(
        "    mode: direct\n",
        "    mode: direct\n    limit: { messages: 150/s, burst: 10 }\n",
    );
    let mut site = Site::start(&slow);
    site.pika(&["declare", "--queue", "from.@"]).finish();
    publish(&site, "from.@", "s", 1200);
    for _ in 0..3 {
        until_true("some are moved", || {
            site.route("shovel")["counters"]["confirmed"].as_u64().unwrap() > 5
        });
        assert!(site.server.stop().success());
        site.server.restart();
    }
    until_true("the queue is empty", || site.length("from.@") == 0);
    site.settled("shovel");
    // Each came exactly once: nothing was under way when the node stopped.
    let moved = site.drain("to.@", 1200);
    assert_eq!(bodies(&moved), expected("s", 1200));
}

#[test]
fn the_full_topic_is_tried_again_until_there_is_room() {
    let site = Site::start_with(
        "topics:\n  - { match: \"full.*\", max_messages: 5, on_full: reject, declare: false }\n",
        r#"
routes:
  - name: full
    from: { amqp: { queue: full.@, prefetch: 50, declare: {} } }
    to: { nsq: { topic: full.@ } }
    mode: queued
    retry: { max_attempts: 1000, backoff: { initial: 20ms, max: 50ms } }
"#,
    );
    publish_when_there(&site, "full.@", 30);
    let mut client = Client::subscribed(site.server.tcp(), &site.name("full.@"), "c", 1);
    let mut came: Vec<String> = (0..30)
        .map(|_| {
            let message = client.message();
            client.fin(&message);
            message.text()
        })
        .collect();
    came.sort();
    came.dedup();
    assert_eq!(came.len(), 30);
    await_count(&site.server, "full", "confirmed", 30);
}

fn publish_when_there(site: &Site, queue: &str, count: usize) {
    site.pika(&["declare", "--queue", queue]).finish();
    publish(site, queue, "m", count);
}
