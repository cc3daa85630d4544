//! What is asked of topics and channels by patterns, from the outside: bounds, dead letters, limits, drain, peek.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http;
use crate::support::leveret::{Leveret, Plan};
use crate::support::nsq::Client;
use crate::support::wait::until_true;

/// A node with these rows under `topics:` and these keys under `nsqd:`.
fn node(topics: &str, nsqd: &str) -> Plan {
    Leveret::serve(&format!(
        "nsqd:\n  tcp_address: 127.0.0.1:0\n  http_address: 127.0.0.1:0\n  data_path: \"{{dir}}/data\"\n{nsqd}\ntopics:\n{topics}\n"
    ))
}

fn topic(server: &Leveret, name: &str) -> Value {
    let path = format!("/stats?format=json&include_waiting=true&topic={name}");
    http::get(server.http(), &path).json()["topics"][0].clone()
}

fn channel(server: &Leveret, name: &str) -> Value {
    topic(server, name)["channels"][0].clone()
}

#[test]
fn poison_messages_end_in_the_dead_letter_topic() {
    let server = node(
        "- match: \"*\"\n  max_attempts: 3\n  dead_letter: { topic: dead, envelope: json }\n",
        "",
    )
    .start();
    let mut client = Client::subscribed(server.tcp(), "orders", "billing", 1);
    client.publish("orders", b"poison");
    for attempt in 1..=3 {
        let message = client.message();
        assert_eq!(message.attempts, attempt);
        client.req(&message, Duration::ZERO);
    }
    let mut dead = Client::subscribed(server.tcp(), "dead", "c", 1);
    let message = dead.message();
    let letter: Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(letter["body"], "poison");
    assert_eq!((&letter["topic"], &letter["channel"]), (&json!("orders"), &json!("billing")));
    assert_eq!(letter["attempts"], 3);
    assert_eq!(letter["reason"], "requeued; delivered 3 times of at most 3");
    let counts = channel(&server, "orders");
    assert_eq!((&counts["dead_letter_count"], &counts["depth"]), (&json!(1), &json!(0)));
    assert!(counts.get("dropped_count").is_none(), "{counts}");
    assert!(
        http::get(server.http(), "/metrics").text().contains(
            "leveret_channel_dead_letters_total{topic=\"orders\",channel=\"billing\"} 1\n"
        )
    );
    server.await_log("message given up");
    // Those that are dead stay dead: they are requeued for ever.
    for _ in 0..5 {
        dead.req(&message, Duration::ZERO);
        assert_eq!(dead.message().id, message.id);
    }
}

#[test]
fn dead_letters_survive_a_restart() {
    let mut server = node("- match: t\n  max_attempts: 1\n  dead_letter: dead\n", "").start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 100);
    let bodies: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    client.publish_many("t", &bodies.iter().map(String::as_bytes).collect::<Vec<_>>());
    for _ in 0..50 {
        let message = client.message();
        client.req(&message, Duration::from_millis(10));
    }
    until_true("all are dead", || channel(&server, "t")["dead_letter_count"] == 50);
    drop(client);
    assert!(server.stop().success());
    server.restart();
    let mut dead = Client::subscribed(server.tcp(), "dead", "c", 100);
    let mut came: Vec<String> = (0..50).map(|_| dead.message().text()).collect();
    came.sort_by_key(|text| text.parse::<u32>().unwrap());
    assert_eq!(came, bodies);
}

#[test]
fn a_full_topic_refuses_and_says_why() {
    let server = node("- match: \"small.*\"\n  max_messages: 2\n", "").start();
    let mut client = Client::connect(server.tcp());
    client.publish("small.a", b"1");
    client.publish("small.a", b"2");
    client.command_with("PUB small.a", b"3");
    assert_eq!(
        client.error(),
        "E_PUB_FAILED PUB failed topic small.a: full: 2 messages wait, 1 more are above max_messages 2 (on_full: reject)"
    );
    client.closed();
    let answer = http::post(server.http(), "/pub?topic=small.a", b"3");
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.json()["message"],
        "topic small.a: full: 2 messages wait, 1 more are above max_messages 2 (on_full: reject)"
    );
    let mut client = Client::subscribed(server.tcp(), "small.a", "c", 1);
    let message = client.message();
    client.publish("small.a", b"3");
    client.fin(&message);
    let mut other = Client::connect(server.tcp());
    (0..10).for_each(|_| other.publish("large", b"x"));
}

#[test]
fn the_oldest_are_dropped_and_counted() {
    let server =
        node("- match: t\n  max_messages: 3\n  on_full: drop_oldest\n  declare: [c]\n", "").start();
    let mut client = Client::connect(server.tcp());
    for n in 0..10 {
        client.publish("t", n.to_string().as_bytes());
    }
    let counts = channel(&server, "t");
    assert_eq!((&counts["depth"], &counts["dropped_count"]), (&json!(3), &json!(7)));
    let mut consumer = Client::subscribed(server.tcp(), "t", "c", 10);
    let came: Vec<String> = (0..3).map(|_| consumer.message().text()).collect();
    assert_eq!(came, ["7", "8", "9"]);
}

#[test]
fn old_messages_are_not_delivered() {
    let server = node("- match: t\n  max_age: 300ms\n  declare: [c]\n", "").start();
    let mut client = Client::connect(server.tcp());
    client.publish("t", b"old");
    until_true("it is too old", || channel(&server, "t")["expired_count"] == 1);
    client.publish("t", b"new");
    let mut consumer = Client::subscribed(server.tcp(), "t", "c", 10);
    assert_eq!(consumer.message().text(), "new");
}

#[test]
fn declared_topics_and_channels_are_there_from_the_start() {
    let server = node(
        "- match: pay\n  declare: true\n  channels: [billing, audit]\n- match: bare\n  declare: true\n",
        "",
    )
    .start();
    let stats = http::get(server.http(), "/stats?format=json").json();
    let topics = stats["topics"].as_array().unwrap();
    let names: Vec<&Value> = topics.iter().map(|topic| &topic["topic_name"]).collect();
    assert_eq!(names, [&json!("bare"), &json!("pay")]);
    Client::connect(server.tcp()).publish("pay", b"early");
    for name in ["audit", "billing"] {
        let mut consumer = Client::subscribed(server.tcp(), "pay", name, 1);
        assert_eq!(consumer.message().text(), "early");
    }
}

#[test]
fn a_limited_channel_keeps_its_pace_with_several_consumers() {
    let server = node(
        "- match: t\n  channel:\n  - match: slow\n    rate: { messages: 50/s, burst: 10 }\n",
        "",
    )
    .start();
    let mut consumers: Vec<Client> =
        (0..2).map(|_| Client::subscribed(server.tcp(), "t", "slow", 200)).collect();
    let bodies: Vec<&[u8]> = vec![b"x"; 60];
    let start = Instant::now();
    Client::connect(server.tcp()).publish_many("t", &bodies);
    let mut came = 0;
    let mut seen_waiting = false;
    while came < 60 {
        for consumer in &mut consumers {
            if let Some(message) = consumer.message_within(Duration::from_millis(20)) {
                consumer.fin(&message);
                came += 1;
            }
        }
        // Both may bring one in a turn: no count is sure to be seen.
        if (15..55).contains(&came) && !seen_waiting {
            let clients = channel(&server, "t")["clients"].clone();
            seen_waiting =
                clients.as_array().unwrap().iter().any(|client| client["waiting_for"] == "limit");
        }
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(950), "{took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(seen_waiting, "a consumer says that it waits for the limit");
}

#[test]
fn a_delay_may_be_longer_than_a_requeue() {
    let server = Leveret::nsqd().arg("--max-defer-time=48h").start();
    let mut client = Client::connect(server.tcp());
    client.publish_deferred("t", Duration::from_secs(47 * 3600), b"tomorrow");
    assert_eq!(http::post(server.http(), "/pub?topic=t&defer=172800000", b"x").status, 200);
    assert_eq!(http::post(server.http(), "/pub?topic=t&defer=172800001", b"x").status, 400);
    client.command_with("DPUB t 172800001", b"x");
    assert_eq!(
        client.error(),
        "E_INVALID DPUB timeout 172800001 out of range 0-172800000 (--max-defer-time)"
    );
}

#[test]
fn messages_can_be_looked_at() {
    let server = Leveret::nsqd().start();
    let mut client = Client::connect(server.tcp());
    client.publish("t", b"waits for a channel");
    let path = "/topic/peek?topic=t";
    let seen = http::get(server.http(), path).json();
    assert_eq!(seen[0]["body"], "waits for a channel");
    client.sub("t", "c");
    client.rdy(1);
    let held = client.message();
    client.publish("t", &[0xff, 0]);
    client.publish_deferred("t", Duration::from_secs(60), b"later");
    let seen = http::get(server.http(), "/channel/peek?topic=t&channel=c").json();
    let states: Vec<&Value> =
        seen.as_array().unwrap().iter().map(|message| &message["state"]).collect();
    assert_eq!(states, ["in_flight", "ready", "deferred"]);
    assert_eq!((&seen[0]["id"], &seen[0]["attempts"]), (&json!(held.id), &json!(1)));
    assert_eq!(seen[0]["timestamp"], held.timestamp);
    assert_eq!((&seen[1]["encoding"], &seen[1]["body"]), (&json!("base64"), &json!("/wA=")));
    assert!(seen[2]["due"].as_i64().unwrap() > seen[2]["timestamp"].as_i64().unwrap());
    let one = http::get(server.http(), "/channel/peek?topic=t&channel=c&n=1&state=deferred").json();
    assert_eq!((one.as_array().unwrap().len(), &one[0]["body"]), (1, &json!("later")));
    assert_eq!(http::get(server.http(), path).json(), json!([]));
    for (path, status) in [
        ("/channel/peek?topic=t&channel=none", 404),
        ("/channel/peek?topic=t", 400),
        ("/topic/peek?topic=none", 404),
        ("/topic/peek?topic=t&n=many", 400),
        ("/topic/peek?topic=t&state=gone", 400),
    ] {
        assert_eq!(http::get(server.http(), path).status, status, "{path}");
    }
    let counts = channel(&server, "t");
    assert_eq!((&counts["depth"], &counts["in_flight_count"]), (&json!(1), &json!(1)));
}

#[test]
fn a_drained_node_delivers_what_it_has_and_goes() {
    for by_config in [false, true] {
        let mut server = Leveret::nsqd().start();
        let mut client = Client::connect(server.tcp());
        client.publish_many("t", &[b"1", b"2", b"3"]);
        client.publish_deferred("t", Duration::from_millis(300), b"4");
        assert_eq!(http::get(server.http(), "/config/drain").text(), "false");
        if by_config {
            let answer = http::request(server.http(), "PUT", "/config/drain", &[], b"true");
            assert_eq!((answer.status, answer.text().as_str()), (200, "true"));
        } else {
            let answer = http::post(server.http(), "/v1/drain", b"").json();
            assert_eq!((&answer["state"], &answer["messages"]), (&json!("draining"), &json!(4)));
            assert_eq!(answer["deadline"], Value::Null);
        }
        client.command_with("PUB t", b"5");
        assert_eq!(
            client.error(),
            "E_PUB_FAILED PUB failed draining: this node takes no more messages, publish to another one"
        );
        assert_eq!(http::post(server.http(), "/pub?topic=t", b"5").status, 503);
        assert_eq!(http::get(server.http(), "/health/ready").status, 503);
        assert_eq!(http::get(server.http(), "/health/live").status, 200);
        let mut consumer = Client::subscribed(server.tcp(), "t", "c", 1);
        for body in ["1", "2", "3", "4"] {
            let message = consumer.message();
            assert_eq!(message.text(), body);
            consumer.fin(&message);
        }
        assert!(server.end().success());
    }
}

#[test]
fn a_drain_ends_at_its_deadline_and_keeps_the_rest() {
    let mut server = Leveret::nsqd().start();
    Client::connect(server.tcp()).publish("t", b"nobody wants it");
    let answer = http::request(server.http(), "POST", "/v1/drain?timeout=200", &[], b"");
    assert!(answer.json()["deadline"].is_i64());
    assert!(server.end().success());
    server.restart();
    let mut consumer = Client::subscribed(server.tcp(), "t", "c", 1);
    assert_eq!(consumer.message().text(), "nobody wants it");
}

#[test]
fn sigterm_waits_for_what_is_in_flight_and_not_for_the_rest() {
    let mut server = Leveret::nsqd().arg("--drain-timeout=30s").start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 1);
    client.publish_many("t", &[b"held", b"queued"]);
    let message = client.message();
    server.signal("TERM");
    server.await_log("waiting for what is in flight");
    let mut producer = Client::connect(server.tcp());
    producer.command_with("PUB t", b"late");
    assert!(producer.error().contains("draining"));
    let why = channel(&server, "t")["clients"][0]["waiting_for"].clone();
    assert_eq!(why, "halting");
    client.fin(&message);
    assert!(server.end().success());
    server.restart();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 9);
    assert_eq!(client.message().text(), "queued");
    assert_eq!(
        client.message_within(Duration::from_millis(200)),
        None,
        "what was finished is gone"
    );
}

#[test]
fn sigterm_waits_no_longer_than_it_is_told() {
    let mut server = Leveret::nsqd().arg("--drain-timeout=200ms").start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 1);
    client.publish("t", b"held");
    client.message();
    server.signal("TERM");
    assert!(server.end().success());
    server.await_log("the time to settle is over");
}

fn located(server: &Leveret, zone: &str, region: &str) -> Client {
    let mut client = Client::connect(server.tcp());
    client.identify(
        &json!({ "feature_negotiation": true, "topology_zone": zone, "topology_region": region }),
    );
    client.sub("t", "c");
    client
}

#[test]
fn edge_66_consumers_nearby_come_first() {
    let server = Leveret::nsqd()
        .arg("--enable-experiment=topology-aware-consumption")
        .arg("--topology-region=r")
        .arg("--topology-zone=z")
        .start();
    let mut far = located(&server, "x", "y");
    let mut region = located(&server, "x", "r");
    let mut zone = located(&server, "z", "r");
    far.rdy(100);
    region.rdy(2);
    zone.rdy(3);
    let ready = || {
        channel(&server, "t")["clients"].as_array().unwrap().iter().all(|c| c["ready_count"] != 0)
    };
    until_true("all are ready", ready);
    let mut producer = Client::connect(server.tcp());
    let depth = || channel(&server, "t")["depth"] == 0;
    for n in 0..8 {
        producer.publish("t", n.to_string().as_bytes());
        until_true("it is delivered", depth);
    }
    let come = |client: &mut Client, count: usize| -> Vec<String> {
        (0..count).map(|_| client.message().text()).collect()
    };
    assert_eq!(come(&mut zone, 3), ["0", "1", "2"]);
    assert_eq!(come(&mut region, 2), ["3", "4"]);
    assert_eq!(come(&mut far, 3), ["5", "6", "7"]);
    let counts = channel(&server, "t");
    let keys = ["zone_local_msg_count", "region_local_msg_count", "global_msg_count"];
    assert_eq!(keys.map(|key| counts[key].as_u64()), [Some(3), Some(2), Some(3)]);
    // In no order at nsqd.
    let mut zones: Vec<_> = counts["clients"]
        .as_array()
        .unwrap()
        .iter()
        .map(|client| client["topology_zone"].as_str().unwrap())
        .collect();
    zones.sort_unstable();
    assert_eq!(zones, ["x", "x", "z"]);
}

#[test]
fn edge_67_deliveries_are_global_without_the_experiment() {
    let server = Leveret::nsqd().arg("--topology-zone=z").start();
    let mut client = located(&server, "z", "");
    client.rdy(1);
    client.publish("t", b"1");
    client.message();
    let counts = channel(&server, "t");
    assert_eq!(counts["global_msg_count"], 1);
    assert!(counts.get("zone_local_msg_count").is_none(), "{counts}");
}

#[test]
fn a_consumer_says_why_it_gets_nothing() {
    let server = Leveret::nsqd().start();
    let mut client = Client::connect(server.tcp());
    client.sub("t", "c");
    let why = || channel(&server, "t")["clients"][0]["waiting_for"].clone();
    assert_eq!(why(), "ready");
    client.rdy(1);
    until_true("it waits for messages", || why() == "messages");
    client.publish("t", b"1");
    client.message();
    assert_eq!(why(), "in_flight");
    http::post(server.http(), "/channel/pause?topic=t&channel=c", b"");
    assert_eq!(why(), "paused");
    let plain = http::get(server.http(), "/stats?format=json").text();
    assert!(!plain.contains("waiting_for"), "{plain}");
}

#[test]
fn first_deliveries_come_in_the_order_of_publishing() {
    let server = Leveret::nsqd().start();
    let mut producer = Client::connect(server.tcp());
    let mut consumer = Client::subscribed(server.tcp(), "t", "c", 20);
    let bodies: Vec<String> = (0..4000).map(|n| format!("{n:06}{}", "x".repeat(200))).collect();
    for batch in bodies.chunks(100) {
        producer.publish_many("t", &batch.iter().map(String::as_bytes).collect::<Vec<_>>());
        producer.publish_deferred("t", Duration::from_millis(50), b"deferred");
    }
    let mut first = Vec::new();
    let mut handled = 0;
    while first.len() < bodies.len() {
        let message = consumer.message();
        handled += 1;
        if message.attempts == 1 && message.body != b"deferred" {
            first.push(message.text());
        }
        match (message.attempts, handled % 7) {
            (1, 0) => consumer.req(&message, Duration::ZERO),
            (1, 1) => consumer.req(&message, Duration::from_millis(5)),
            _ => consumer.fin(&message),
        }
    }
    assert!(first == bodies, "first deliveries are out of order");
}
