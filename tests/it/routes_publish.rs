//! NSQ producers to RabbitMQ: what they publish arrives once, with its properties, or they are told why not.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::support::drivers::{Library, bodies, expected};
use crate::support::nsq::{Client, mpub_body};
use crate::support::proxy::Proxy;
use crate::support::rabbit::Rabbit;
use crate::support::site::{Site, await_state, plan, settled};
use crate::support::{http, unique};

/// A direct and a queued route, each from `NAME.@` to exchange `NAME.@`; everything of regions eu and us goes to queue
/// `NAME.@`.
const ROUTES: &str = r#"
routes:
  - name: direct
    from: { nsq: { topic: direct.@ } }
    to:
      amqp:
        exchange: direct.@
        routing_key: "orders.{{ body.region }}"
        content_type: application/json
        declare:
          exchange_type: topic
          queues: [ { name: direct.@, routing_keys: [ orders.eu, orders.us ] } ]
    mode: direct
  - name: queued
    from: { nsq: { topic: queued.@ } }
    to:
      amqp:
        exchange: queued.@
        routing_key: "orders.{{ body.region }}"
        content_type: application/json
        declare:
          exchange_type: topic
          queues: [ { name: queued.@, routing_keys: [ orders.eu, orders.us ] } ]
    mode: queued
    retry: { max_attempts: 3, backoff: { initial: 20ms, max: 50ms } }
    dead_letter:
      amqp: { exchange: "", routing_key: dead.@, declare: { queues: [ { name: dead.@ } ] } }
"#;

fn order(region: &str, name: &str) -> Vec<u8> {
    format!(r#"{{"region":"{region}","name":"{name}"}}"#).into_bytes()
}

/// Publishes by PUB and MPUB with two libraries, and checks what comes out at the broker.
fn arrives_once(mode: &str) {
    let site = Site::start(ROUTES);
    let topic = site.name(&format!("{mode}.@"));
    site.await_state(mode, "running");
    let formats = [r#"{"region":"eu","name":"%s"}"#, r#"{"region":"us","name":"%s"}"#];
    let publishers = [
        Library::Pynsq.publish(
            site.server.tcp(),
            &topic,
            &["--count", "150", "--prefix", "py", "--format", formats[0]],
        ),
        Library::Nsqjs.publish(
            site.server.tcp(),
            &topic,
            &["--count", "400", "--prefix", "js", "--format", formats[1], "--batch", "40"],
        ),
    ];
    for publisher in publishers {
        publisher.finish();
    }

    let messages = site.drain(&format!("{mode}.@"), 550);
    let name = |line: &Value| -> Value {
        let body: Value = serde_json::from_str(line["body"].as_str().unwrap()).unwrap();
        json!({ "body": body["name"] })
    };
    let names: Vec<Value> = messages.iter().map(name).collect();
    let mut all = expected("py", 150);
    all.extend(expected("js", 400));
    all.sort();
    assert_eq!(bodies(&names), all, "each arrived once");
    has_properties(&messages, &topic);
    let counters = site.settled(mode);
    assert_eq!((&counters["received"], &counters["confirmed"]), (&json!(550), &json!(550)));
}

fn has_properties(messages: &[Value], topic: &str) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut ids = BTreeSet::new();
    for line in messages {
        let properties = &line["properties"];
        assert_eq!(properties["delivery_mode"], 2);
        assert_eq!(properties["content_type"], "application/json");
        let age = now.abs_diff(properties["timestamp"].as_u64().expect("a timestamp"));
        assert!(age < 120, "published {age} s ago");
        let id = properties["message_id"].as_str().expect("a message id");
        assert!(id.starts_with(&format!("{topic}:")), "{id}");
        assert!(ids.insert(id.to_owned()), "{id} twice");
        let region = if line["body"].as_str().unwrap().contains("\"eu\"") { "eu" } else { "us" };
        assert_eq!(line["routing_key"], format!("orders.{region}"));
    }
}

#[test]
fn what_is_published_directly_arrives_once_with_its_properties() {
    arrives_once("direct");
}

#[test]
fn what_is_published_queued_arrives_once_with_its_properties() {
    arrives_once("queued");
}

#[test]
fn a_direct_publish_that_cannot_arrive_is_an_error_to_its_producer_alone() {
    let site = Site::start(ROUTES);
    let topic = site.name("direct.@");
    site.await_state("direct", "running");
    let mut other = Client::connect(site.server.tcp());
    other.publish(&topic, &order("eu", "before"));

    let no_route = "NO_ROUTE (312): no queue takes exchange";
    for (body, words) in [
        (order("mars", "unroutable"), no_route),
        (b"not json".to_vec(), "the body is not JSON"),
        (b"{}".to_vec(), "orders.{{ body.region }}"),
        (br#"{"region":null}"#.to_vec(), "orders.{{ body.region }}"),
    ] {
        let mut client = Client::connect(site.server.tcp());
        client.command_with(&format!("PUB {topic}"), &body);
        let error = client.error();
        assert!(error.starts_with("E_PUB_FAILED PUB failed route direct: "), "{error}");
        assert!(error.contains(words), "{error}");
        client.closed();
    }
    let mut client = Client::connect(site.server.tcp());
    let batch = [order("eu", "one"), order("mars", "two"), order("us", "three")];
    let batch: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
    client.command_with(&format!("MPUB {topic}"), &mpub_body(&batch));
    let error = client.error();
    assert!(error.starts_with("E_MPUB_FAILED MPUB failed ") && error.contains(no_route), "{error}");

    let refused = http::post(site.server.http(), &format!("/pub?topic={topic}"), batch[1]);
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains(no_route), "{}", refused.text());

    other.publish(&topic, &order("eu", "after"));
    let counters = site.settled("direct");
    assert_eq!(counters["returned"], 3);
    assert_eq!(counters["received"], 10);
    let names: Vec<Value> = site.drain("direct.@", site.length("direct.@") as usize);
    let whole = bodies(&names).concat();
    assert!(whole.contains("before") && whole.contains("after") && !whole.contains("unroutable"));
}

#[test]
fn http_publishes_directly_with_the_brokers_confirm() {
    let site = Site::start(ROUTES);
    let topic = site.name("direct.@");
    let at = site.server.http();
    let one = http::post(at, &format!("/pub?topic={topic}"), &order("eu", "one"));
    assert_eq!((one.status, one.text().as_str()), (200, "OK"));
    assert_eq!(site.length("direct.@"), 1, "it is there once it is answered");
    let lines = [order("eu", "two"), order("us", "three")].join(&b'\n');
    assert_eq!(http::post(at, &format!("/mpub?topic={topic}"), &lines).status, 200);
    let (four, five) = (order("eu", "four"), order("us", "five"));
    let binary = mpub_body(&[&four, &five]);
    assert_eq!(http::post(at, &format!("/mpub?topic={topic}&binary=true"), &binary).status, 200);
    let messages = site.drain("direct.@", 5);
    let names = ["one", "two", "three", "four", "five"];
    for (name, line) in names.iter().zip(&messages) {
        assert!(line["body"].as_str().unwrap().contains(&format!("\"{name}\"")), "{line}");
    }
    assert_eq!(site.settled("direct")["confirmed"], 5);
}

/// A route to queue `direct.TAG` through a proxy that can be silenced, with a publish timeout.
const THROUGH_PROXY: &str = r#"
routes:
  - name: direct
    from: { nsq: { topic: direct } }
    to: { amqp: { exchange: "", routing_key: "@", declare: { queues: [ { name: "@" } ] } } }
    mode: direct
    publish_timeout: 1s
"#;

#[test]
fn a_publish_waits_for_the_confirm_and_fails_after_its_timeout() {
    let rabbit = Rabbit::shared();
    let proxy = Proxy::to(rabbit.address());
    let queue = unique("slow");
    let uri = format!("amqp://guest:guest@{}/%2f", proxy.address());
    let server = plan(&uri, &THROUGH_PROXY.replace('@', &queue)).start();
    await_state(&server, "direct", "running");
    let mut client = Client::connect(server.tcp());

    proxy.silence();
    client.command_with("PUB direct", b"slow");
    assert_eq!(client.frame_within(Duration::from_millis(400)), None, "no OK without a confirm");
    proxy.open();
    client.ok();

    proxy.close();
    let began = Instant::now();
    client.command_with("PUB direct", b"late");
    let error = client.error();
    let took = began.elapsed();
    assert!(error.contains("not confirmed within 1 s"), "{error}");
    assert!((900..5000).contains(&took.as_millis()), "{took:?}");
    proxy.open();

    await_state(&server, "direct", "running");
    let mut again = Client::connect(server.tcp());
    again.publish("direct", b"after");
    let counters = settled(&server, "direct");
    assert_eq!((&counters["confirmed"], &counters["rejected"]), (&json!(2), &json!(1)));
    let drain = ["consume", "--queue", &queue, "--count", "2"];
    let (messages, _) = crate::support::drivers::pika(rabbit.uri(), &drain).finish();
    assert_eq!(bodies(&messages), ["after", "slow"], "what failed was not sent after all");
}

#[test]
fn a_full_queue_is_a_refusal_in_words() {
    let site = Site::start(
        r#"
routes:
  - name: full
    from: { nsq: { topic: full.@ } }
    to: { amqp: { exchange: "", routing_key: full.@ } }
    mode: direct
"#,
    );
    let arguments = r#"{"x-max-length": 1, "x-overflow": "reject-publish"}"#;
    site.pika(&["declare", "--queue", "full.@", "--arguments", arguments]).finish();
    let topic = site.name("full.@");
    Client::connect(site.server.tcp()).publish(&topic, b"fits");
    let mut client = Client::connect(site.server.tcp());
    client.command_with(&format!("PUB {topic}"), b"too many");
    let error = client.error();
    assert!(error.starts_with("E_PUB_FAILED PUB failed route full: "), "{error}");
    let counters = site.settled("full");
    assert_eq!((&counters["nacked"], &counters["rejected"]), (&json!(1), &json!(1)));
    assert_eq!(bodies(&site.drain("full.@", 1)), ["fits"]);
}

#[test]
fn a_refused_message_is_tried_again_and_then_a_dead_letter() {
    let site = Site::start(ROUTES);
    let topic = site.name("queued.@");
    let mut client = Client::connect(site.server.tcp());
    client.publish(&topic, &order("mars", "nowhere"));
    client.publish(&topic, b"not json");
    client.publish(&topic, &order("eu", "fine"));

    site.await_state("queued", "running");
    assert!(bodies(&site.drain("queued.@", 1))[0].contains("fine"));
    let dead = {
        let consume = ["consume", "--queue", "dead.@", "--count", "2"];
        site.pika(&consume).finish().0
    };
    let of = |text: &str| {
        let found = dead.iter().find(|line| line["body"].as_str().unwrap().contains(text));
        found.unwrap_or_else(|| panic!("no dead letter {text} in {dead:?}"))["properties"].clone()
    };
    let unroutable = of("nowhere");
    let headers = &unroutable["headers"];
    assert_eq!(headers["x-leveret-reason"], "unroutable");
    assert_eq!(headers["x-leveret-route"], "queued");
    assert_eq!(headers["x-leveret-attempts"], 3);
    assert_eq!(headers["x-leveret-origin"], format!("nsq {topic}/queued"));
    assert!(headers["x-leveret-error"].as_str().unwrap().contains("NO_ROUTE (312)"), "{headers}");
    let seen = headers["x-leveret-first-seen"].as_u64().expect("nanoseconds") / 1_000_000_000;
    assert_eq!(Some(seen), unroutable["timestamp"].as_u64());
    let headers = &of("not json")["headers"];
    assert_eq!(headers["x-leveret-reason"], "transform");
    assert_eq!(headers["x-leveret-attempts"], 1, "trying again cannot help");

    let counters = site.settled("queued");
    let found = ["received", "confirmed", "returned", "retried", "dead_lettered"]
        .map(|counter| counters[counter].as_u64().unwrap());
    assert_eq!(found, [3, 1, 3, 2, 2], "{counters}");
}

/// Queued routes to an exchange that has no queue, one for each other kind of `dead_letter`.
const NOWHERE: &str = r#"
routes:
  - name: stops
    from: { nsq: { topic: stops.@ } }
    to: { amqp: { exchange: nowhere.@, routing_key: k, declare: { exchange_type: fanout } } }
    mode: queued
    retry: { max_attempts: 2, backoff: { initial: 10ms, max: 300ms } }
  - name: drops
    from: { nsq: { topic: drops.@ } }
    to: { amqp: { exchange: nowhere.@, routing_key: k, declare: { exchange_type: fanout } } }
    mode: queued
    retry: { max_attempts: 2, backoff: { initial: 10ms, max: 300ms } }
    dead_letter: drop
  - name: parks
    from: { nsq: { topic: parks.@ } }
    to: { amqp: { exchange: nowhere.@, routing_key: k, declare: { exchange_type: fanout } } }
    mode: queued
    retry: { max_attempts: 2, backoff: { initial: 10ms, max: 300ms } }
    dead_letter: { nsq: { topic: parked.@ } }
"#;

#[test]
fn a_dead_letter_stops_its_route_is_dropped_or_parked_as_the_route_says() {
    let site = Site::start(NOWHERE);
    let mut client = Client::connect(site.server.tcp());
    for topic in ["stops.@", "drops.@", "parks.@"] {
        client.publish(&site.name(topic), topic.as_bytes());
    }
    let mut parked = Client::subscribed(site.server.tcp(), &site.name("parked.@"), "c", 1);
    let message = parked.message();
    assert_eq!(message.text(), "parks.@");
    parked.fin(&message);
    assert_eq!(site.settled("parks")["dead_lettered"], 1);
    assert_eq!(site.settled("drops")["dropped"], 1);
    let stopped = site.await_state("stops", "failed");
    let reason = stopped["reason"].as_str().unwrap();
    assert!(reason.contains("unroutable") && reason.contains("NO_ROUTE (312)"), "{reason}");
    assert_eq!(stopped["pending"], 1, "it is kept");

    // Mended on the broker's side, the route goes on by itself.
    let bind = ["declare", "--queue", "mended.@", "--exchange", "nowhere.@"];
    let mut bind = bind.to_vec();
    bind.extend(["--exchange-type", "fanout"]);
    site.pika(&bind).finish();
    assert_eq!(bodies(&site.drain_when_there("mended.@", 1)), ["stops.@"]);
    assert_eq!(site.settled("stops")["confirmed"], 1);
    site.await_state("stops", "running");
}

#[test]
fn a_template_sees_what_is_documented() {
    let site = Site::start(
        r#"
routes:
  - name: seen
    from: { nsq: { topic: seen.@, channel: ch } }
    to:
      amqp:
        exchange: seen.@
        routing_key: "{{ topic }}/{{ channel }}/{{ attempts }}/{{ id }}/{{ timestamp }}/{{ body.a.b | upper }}"
        declare: { exchange_type: topic, queues: [ { name: seen.@, routing_keys: [ '#' ] } ] }
    mode: queued
"#,
    );
    let topic = site.name("seen.@");
    Client::connect(site.server.tcp()).publish(&topic, br#"{"a":{"b":"deep"}}"#);
    let messages = site.drain_when_there("seen.@", 1);
    let key = messages[0]["routing_key"].as_str().unwrap().to_owned();
    let parts: Vec<&str> = key.split('/').collect();
    assert_eq!((parts[0], parts[1], parts[2], parts[5]), (topic.as_str(), "ch", "1", "DEEP"));
    assert_eq!(parts[3].len(), 16, "the id is 16 hexadecimal digits: {key}");
    assert!(parts[3].chars().all(|digit| digit.is_ascii_hexdigit()), "{key}");
    let seconds = parts[4].parse::<u64>().unwrap() / 1_000_000_000;
    assert_eq!(messages[0]["properties"]["timestamp"], seconds);
}
