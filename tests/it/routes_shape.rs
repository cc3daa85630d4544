//! What routes change of messages on their way: filters, addresses, headers and properties, envelopes.

use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};

use crate::support::leveret::Leveret;
use crate::support::nsq::Client;
use crate::support::rabbit::Rabbit;
use crate::support::site::{Site, await_count};
use crate::support::wait::until_true;

fn publish(site: &Site, queue: &str, body: &str, properties: &str) {
    let what = ["publish", "--routing-key", queue, "--body", body, "--properties", properties];
    site.pika(&what).finish();
}

fn header<'v>(line: &'v Value, name: &str) -> &'v Value {
    &line["properties"]["headers"][name]
}

const FILTERED: &str = r#"
routes:
  - name: direct
    from: { nsq: { topic: direct.@ } }
    to: { amqp: { exchange: "", routing_key: filtered.@, declare: { queues: [ { name: filtered.@ } ] } } }
    mode: direct
    when: body.region == 'eu' and body.n > 1
  - name: queued
    from: { nsq: { topic: queued.@ } }
    to: { amqp: { exchange: "", routing_key: filtered.@ } }
    mode: queued
    when: body.region == 'eu' and body.n > 1
    retry: { max_attempts: 3, backoff: { initial: 10ms } }
    dead_letter: { nsq: { topic: dead.@ } }
  - name: delivered
    from: { amqp: { queue: in.@, declare: {} } }
    to: { nsq: { topic: out.@, channel: c } }
    mode: direct
    when: headers.kind == 'order' and properties.priority > 3
"#;

#[test]
fn what_a_route_does_not_take_is_done_with() {
    let site = Site::start(FILTERED);
    let mut producer = Client::connect(site.server.tcp());
    for topic in ["direct.@", "queued.@"] {
        for body in [
            r#"{"region":"eu","n":2}"#,
            r#"{"region":"eu","n":1}"#,
            r#"{"region":"us","n":2}"#,
            r#"{"n":2}"#,
        ] {
            // A producer gets its OK for what the route does not take, too.
            producer.publish(&site.name(topic), body.as_bytes());
        }
    }
    let came = site.drain_when_there("filtered.@", 2);
    assert!(came.iter().all(|line| line["body"] == r#"{"region":"eu","n":2}"#), "{came:?}");
    for route in ["direct", "queued"] {
        let counters = site.settled(route);
        assert_eq!((&counters["confirmed"], &counters["filtered"]), (&1.into(), &3.into()));
    }
    // A body that is not JSON cannot be judged.
    producer.command_with(&format!("PUB {}", site.name("direct.@")), b"text");
    let error = producer.error();
    assert!(error.contains("the body is not JSON"), "{error}");
    // That ends a connection, as with nsqd.
    let mut producer = Client::connect(site.server.tcp());
    producer.publish(&site.name("queued.@"), b"text");
    let mut dead = Client::subscribed(site.server.tcp(), &site.name("dead.@"), "c", 1);
    let letter = dead.message();
    assert_eq!(letter.text(), "text");
    dead.fin(&letter);
    assert_eq!(site.settled("queued")["dead_lettered"], 1);
}

#[test]
fn deliveries_are_filtered_by_headers_and_properties() {
    let site = Site::start(FILTERED);
    site.pika(&["declare", "--queue", "in.@"]).finish();
    for (body, properties) in [
        ("taken", r#"{"priority":4,"headers":{"kind":"order"}}"#),
        ("low", r#"{"priority":3,"headers":{"kind":"order"}}"#),
        ("other", r#"{"priority":4,"headers":{"kind":"note"}}"#),
        ("bare", "{}"),
        ("taken too", r#"{"priority":9,"headers":{"kind":"order"}}"#),
    ] {
        publish(&site, "in.@", body, properties);
    }
    let mut client = Client::subscribed(site.server.tcp(), &site.name("out.@"), "c", 5);
    for expected in ["taken", "taken too"] {
        let message = client.message();
        assert_eq!(message.text(), expected);
        client.fin(&message);
    }
    await_count(&site.server, "delivered", "filtered", 3);
    site.settled("delivered");
    until_true("all are acked", || site.length("in.@") == 0);
}

#[test]
fn address_headers_and_properties_come_of_the_message() {
    let site = Site::start(
        r#"
routes:
  - name: shaped
    from: { nsq: { topic: shaped.@ } }
    to:
      amqp:
        exchange: "{{ body.shop }}.@"
        routing_key: "{{ headers.region }}.{{ body.n }}"
    mode: queued
    transform:
      nsq_headers: true
      set:
        headers: { region: "{{ body.region | lower }}", fixed: yes }
        properties: { priority: "{{ body.n }}", type: order, expiration: 600000, message_id: "order-{{ body.n }}" }
  - name: topics
    from: { nsq: { topic: split.@ } }
    to: { nsq: { topic: "split.{{ body.region }}.@" } }
    mode: queued
    dead_letter: drop
"#,
    );
    let declare = ["declare", "--queue", "eu.@", "--exchange", "shop.@", "--routing-key", "eu.#"];
    site.pika(&[&declare[..], &["--exchange-type", "topic"]].concat()).finish();
    let mut producer = Client::connect(site.server.tcp());
    for n in 1..=2 {
        let body = format!(r#"{{"shop":"shop","region":"EU","n":{n}}}"#);
        producer.publish(&site.name("shaped.@"), body.as_bytes());
    }
    let came = site.drain_when_there("eu.@", 2);
    for (line, n) in came.iter().zip(1..) {
        let properties = &line["properties"];
        assert_eq!(line["routing_key"], format!("eu.{n}"));
        assert_eq!((&properties["priority"], &properties["type"]), (&n.into(), &"order".into()));
        assert_eq!(properties["expiration"], "600000");
        assert_eq!(properties["message_id"], format!("order-{n}"));
        assert_eq!((header(line, "region"), header(line, "fixed")), (&"eu".into(), &"yes".into()));
        assert_eq!(header(line, "x-nsq-topic"), &site.name("shaped.@"));
        assert_eq!(header(line, "x-nsq-channel"), "shaped");
        assert_eq!(header(line, "x-nsq-attempts"), 1);
        assert_eq!(header(line, "x-leveret-hops"), &Value::Null);
    }
    assert_eq!(site.settled("shaped")["confirmed"], 2);
    for region in ["eu", "us", "not a name"] {
        let body = json!({ "region": region }).to_string();
        producer.publish(&site.name("split.@"), body.as_bytes());
    }
    for region in ["eu", "us"] {
        let topic = site.name(&format!("split.{region}.@"));
        let mut client = Client::subscribed(site.server.tcp(), &topic, "c", 1);
        let message = client.message();
        assert!(message.text().contains(region));
        client.fin(&message);
    }
    await_count(&site.server, "topics", "dropped", 1);
    assert_eq!(site.settled("topics")["dropped"], 1);
}

/// Headers of every type that there is.
fn every_type() -> FieldTable {
    let mut inner = FieldTable::default();
    inner.insert("deep".into(), AMQPValue::LongString("é".into()));
    inner.insert("$u8".into(), AMQPValue::ShortShortUInt(200));
    let mut table = FieldTable::default();
    for (name, value) in [
        ("void", AMQPValue::Void),
        ("bool", AMQPValue::Boolean(true)),
        ("i8", AMQPValue::ShortShortInt(-5)),
        ("u8", AMQPValue::ShortShortUInt(250)),
        ("i16", AMQPValue::ShortInt(-30_000)),
        ("u16", AMQPValue::ShortUInt(60_000)),
        ("i32", AMQPValue::LongInt(-2_000_000_000)),
        ("u32", AMQPValue::LongUInt(4_000_000_000)),
        ("i64", AMQPValue::LongLongInt(i64::MIN)),
        ("f32", AMQPValue::Float(0.1)),
        ("f64", AMQPValue::Double(0.1)),
        ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 1999 })),
        ("text", AMQPValue::LongString("text".into())),
        ("broken", AMQPValue::LongString(vec![0xff, 0xfe].into())),
        ("bytes", AMQPValue::ByteArray(vec![0, 1, 255].into())),
        ("time", AMQPValue::Timestamp(1_700_000_000)),
        (
            "list",
            AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::LongInt(1), AMQPValue::Void])),
        ),
        ("table", AMQPValue::FieldTable(inner)),
    ] {
        table.insert(name.into(), value);
    }
    table
}

async fn connect(rabbit: &Rabbit) -> (Connection, Channel) {
    let connection =
        Connection::connect(rabbit.uri(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn get(channel: &Channel, queue: &str) -> (Vec<u8>, BasicProperties) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let options = BasicGetOptions { no_ack: true };
    while std::time::Instant::now() < deadline {
        if let Some(message) = channel.basic_get(queue.into(), options).await.unwrap() {
            return (message.data.clone(), message.properties.clone());
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("nothing comes in {queue}");
}

/// The headers without those that routes write.
fn plain(properties: &BasicProperties) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in properties.headers().as_ref().unwrap() {
        if !name.as_str().starts_with("x-leveret-") {
            table.insert(name.clone(), value.clone());
        }
    }
    table
}

fn hops(properties: &BasicProperties) -> AMQPValue {
    let headers = properties.headers().as_ref().unwrap();
    headers.inner().get("x-leveret-hops").unwrap().clone()
}

/// Every property but the user.
fn every_property() -> BasicProperties {
    BasicProperties::default()
        .with_content_type("application/x-thing".into())
        .with_content_encoding("identity".into())
        .with_correlation_id("c-1".into())
        .with_reply_to("answers".into())
        .with_expiration("600000".into())
        .with_message_id("m-1".into())
        .with_timestamp(1_600_000_000)
        .with_type("thing".into())
        .with_app_id("test".into())
        .with_priority(5)
        .with_delivery_mode(1)
        .with_headers(every_type())
}

/// Asserts that nothing but the user is lost.
fn assert_same(sent: &BasicProperties, properties: &BasicProperties) {
    for (name, was, is) in [
        ("content_type", sent.content_type(), properties.content_type()),
        ("content_encoding", sent.content_encoding(), properties.content_encoding()),
        ("correlation_id", sent.correlation_id(), properties.correlation_id()),
        ("reply_to", sent.reply_to(), properties.reply_to()),
        ("expiration", sent.expiration(), properties.expiration()),
        ("message_id", sent.message_id(), properties.message_id()),
        ("type", sent.kind(), properties.kind()),
        ("app_id", sent.app_id(), properties.app_id()),
    ] {
        assert_eq!(was, is, "{name}");
    }
    assert_eq!(properties.user_id(), &None);
    assert_eq!(
        (properties.priority(), properties.delivery_mode(), properties.timestamp()),
        (&Some(5), &Some(1), &Some(1_600_000_000))
    );
}

/// From queue to queue, through an envelope in NSQ, and to a queue again.
const THROUGH: &str = r#"
routes:
  - name: shovel
    from: { amqp: { queue: one.@, declare: {} } }
    to: { amqp: { exchange: "", routing_key: two.@, declare: { queues: [ { name: two.@ } ] } } }
    mode: queued
  - name: wrap
    from: { amqp: { queue: two.@, declare: {} } }
    to: { nsq: { topic: through.@ } }
    mode: queued
    transform: { envelope: json }
  - name: unwrap
    from: { nsq: { topic: through.@ } }
    to: { amqp: { exchange: "", routing_key: three.@, declare: { queues: [ { name: three.@ } ] } } }
    mode: queued
    transform: { envelope: json }
    dead_letter: { nsq: { topic: dead.@ } }
"#;

#[test]
fn typed_headers_get_through_nsq_in_an_envelope_and_from_broker_to_broker() {
    let site = Site::start(THROUGH);
    site.await_state("unwrap", "running");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = [0xff, 0x00, b'x'];
    let sent = every_property();
    let came = runtime.block_on(async {
        let (_connection, channel) = connect(&site.rabbit).await;
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel
            .queue_declare(site.name("one.@").as_str().into(), options, FieldTable::default())
            .await
            .unwrap();
        let user = user_of(site.rabbit.uri());
        let properties = sent.clone().with_user_id(user.into());
        let options = BasicPublishOptions::default();
        channel
            .basic_publish(
                "".into(),
                site.name("one.@").as_str().into(),
                options,
                &body,
                properties,
            )
            .await
            .unwrap();
        get(&channel, &site.name("three.@")).await
    });
    let (came_body, properties) = came;
    assert_eq!(came_body, body);
    assert_eq!(plain(&properties), every_type());
    // Shovelled, wrapped, unwrapped.
    assert_eq!(hops(&properties), AMQPValue::LongInt(3));
    assert_same(&sent, &properties);
    // What is no envelope is a dead letter.
    let mut producer = Client::connect(site.server.tcp());
    producer.publish(&site.name("through.@"), b"no envelope");
    let mut dead = Client::subscribed(site.server.tcp(), &site.name("dead.@"), "c", 1);
    let letter = dead.message();
    assert_eq!(letter.text(), "no envelope");
    dead.fin(&letter);
    for route in ["shovel", "wrap", "unwrap"] {
        assert_eq!(site.settled(route)["confirmed"], 1, "{route}");
    }
}

/// The user of an `amqp://user:password@host` address.
fn user_of(uri: &str) -> &str {
    uri.strip_prefix("amqp://").unwrap().split(':').next().unwrap()
}

#[test]
fn what_rabbitmq_would_close_the_channel_for_is_a_dead_letter() {
    let site = Site::start(
        r#"
routes:
  - name: strict
    from: { nsq: { topic: strict.@ } }
    to: { amqp: { exchange: "", routing_key: strict.@, declare: { queues: [ { name: strict.@ } ] } } }
    mode: queued
    transform: { envelope: json }
    dead_letter: { nsq: { topic: dead.@ } }
"#,
    );
    let mut producer = Client::connect(site.server.tcp());
    let large = json!({ "big": "x".repeat(200_000) });
    for (properties, headers) in [
        (json!({ "expiration": "soon" }), json!({})),
        (json!({ "reply_to": "amq.rabbitmq.reply-to" }), json!({})),
        (json!({ "delivery_mode": 7 }), json!({})),
        (json!({}), json!({ "CC": "text" })),
        (json!({}), large),
    ] {
        let envelope =
            json!({ "leveret": 1, "properties": properties, "headers": headers, "body": "b" });
        producer.publish(&site.name("strict.@"), envelope.to_string().as_bytes());
    }
    producer.publish(&site.name("strict.@"), br#"{"leveret":1,"body":"good"}"#);
    assert_eq!(site.drain_when_there("strict.@", 1)[0]["body"], "good");
    let counters = site.settled("strict");
    assert_eq!((&counters["dead_lettered"], &counters["confirmed"]), (&5.into(), &1.into()));
    assert_eq!((&counters["retried"], &counters["redelivered"]), (&0.into(), &0.into()));
}

#[test]
fn a_circle_that_nobody_saw_comes_to_an_end() {
    let site = Site::start(
        r#"
routes:
  - name: forth
    from: { amqp: { queue: a.@, declare: {} } }
    to: { amqp: { exchange: "", routing_key: "{{ headers.next }}.@" } }
    mode: queued
    transform: { max_hops: 5, set: { headers: { seen: "{{ body }}" } } }
    dead_letter: { amqp: { exchange: "", routing_key: dead.@, declare: { queues: [ { name: dead.@ } ] } } }
"#,
    );
    site.pika(&["declare", "--queue", "a.@"]).finish();
    publish(&site, "a.@", "7", r#"{"headers":{"next":"a"}}"#);
    let dead = site.drain_when_there("dead.@", 1);
    assert_eq!(header(&dead[0], "x-leveret-hops"), 5);
    assert_eq!(header(&dead[0], "x-leveret-reason"), "transform");
    let error = header(&dead[0], "x-leveret-error").as_str().unwrap();
    assert!(error.contains("has been through 5 routes"), "{error}");
    assert_eq!(header(&dead[0], "seen"), "7");
    let counters = site.settled("forth");
    assert_eq!((&counters["confirmed"], &counters["dead_lettered"]), (&5.into(), &1.into()));
}

#[test]
fn a_route_whose_expression_is_wrong_is_refused_with_its_place() {
    let text = "routes:\n  - name: r\n    from: { nsq: { topic: t } }\n    to: { nsq: { topic: u } }\n    mode: queued\n    when: body.n >\n";
    let configuration = "nsqd:\n  data_path: '{dir}/data'\nbridges: bridges\n";
    let (code, refused) = Leveret::serve(configuration).file("bridges/routes.yaml", text).run();
    assert_ne!(code, Some(0));
    assert!(refused.contains("routes.yaml:6:"), "{refused}");
    assert!(refused.contains("routes[0].when: the expression is wrong"), "{refused}");
}
