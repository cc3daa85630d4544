//! NSQ's main verbs on a bare connection, and the few HTTP calls that go with them.
//!
//! With `NSQD` set, the same tests ask another nsqd, which tells whether they ask for the right thing.

use std::time::Duration;

use crate::support::leveret::Leveret;
use crate::support::nsq::Client;
use crate::support::{http, unique};

#[test]
fn a_message_goes_from_pub_to_fin() {
    let server = Leveret::nsqd().start();
    let topic = unique("basics");
    let mut consumer = Client::subscribed(server.tcp(), &topic, "c", 10);
    let mut producer = Client::connect(server.tcp());
    producer.publish(&topic, b"one");
    producer.publish_many(&topic, &[b"two", b"three"]);

    let mut seen: Vec<String> = (0..3)
        .map(|_| {
            let message = consumer.message();
            assert_eq!(message.attempts, 1);
            consumer.fin(&message);
            message.text()
        })
        .collect();
    seen.sort();
    assert_eq!(seen, ["one", "three", "two"]);
}

#[test]
fn a_requeued_message_comes_again_after_its_delay() {
    let server = Leveret::nsqd().start();
    let topic = unique("requeue");
    let mut client = Client::subscribed(server.tcp(), &topic, "c", 1);
    client.publish(&topic, b"again");
    let first = client.message();
    client.req(&first, Duration::from_millis(300));
    assert_eq!(client.message_within(Duration::from_millis(150)), None);
    let second = client.message();
    assert_eq!((second.attempts, &second.id), (2, &first.id));
    assert_eq!(second.timestamp, first.timestamp);
    client.fin(&second);
    client.fin(&second);
    let error = client.error();
    assert!(error.starts_with("E_FIN_FAILED "), "{error}");
}

#[test]
fn an_unanswered_message_times_out() {
    let server = Leveret::nsqd().arg("--msg-timeout=500ms").start();
    let topic = unique("timeout");
    let mut client = Client::subscribed(server.tcp(), &topic, "c", 1);
    client.publish(&topic, b"slow");
    assert_eq!(client.message().attempts, 1);
    assert_eq!(client.message().attempts, 2);
}

#[test]
fn garbage_closes_the_connection() {
    let server = Leveret::nsqd().start();
    let mut client = Client::silent(server.tcp());
    client.send(b"GET ");
    assert_eq!(client.error(), "E_BAD_PROTOCOL");
    client.closed();
}

#[test]
fn http_publishes_and_reports() {
    let server = Leveret::nsqd().start();
    let ping = http::get(server.http(), "/ping");
    assert_eq!((ping.status, ping.text().as_str()), (200, "OK"));
    let info = http::get(server.http(), "/info").json();
    assert_eq!(info["tcp_port"], server.tcp().port());

    let topic = unique("http");
    let sent = http::post(server.http(), &format!("/pub?topic={topic}"), b"by http");
    assert_eq!(sent.status, 200);
    let mut client = Client::subscribed(server.tcp(), &topic, "c", 1);
    assert_eq!(client.message().text(), "by http");
    let stats = http::get(server.http(), "/stats?format=json").json();
    assert_eq!(stats["topics"][0]["channels"][0]["in_flight_count"], 1);
}
