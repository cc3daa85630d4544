//! NSQ's main verbs on a bare connection, and the few HTTP calls that go with them.
//!
//! With `NSQD` set, the same tests ask another nsqd, which tells whether they ask for the right thing.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::leveret::Leveret;
use crate::support::nsq::Client;
use crate::support::wait::until_true;
use crate::support::{http, unique};

#[test]
fn a_message_goes_from_pub_to_fin() {
    pub_to_fin(&Leveret::nsqd().start());
}

pub(crate) fn pub_to_fin(server: &Leveret) {
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
    requeued(&Leveret::nsqd().start());
}

pub(crate) fn requeued(server: &Leveret) {
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
    times_out(&Leveret::nsqd().arg("--msg-timeout=500ms").start());
}

pub(crate) fn times_out(server: &Leveret) {
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

#[test]
fn a_producer_that_does_not_read_is_not_answered_without_limit() {
    let server = Leveret::nsqd().start();
    let topic = unique("deaf");
    let mut stream = std::net::TcpStream::connect(server.tcp()).unwrap();
    let mut writer = stream.try_clone().unwrap();
    // The answers are more than what the system holds of them.
    let count = 2_000_000;
    let written = Arc::new(AtomicUsize::new(0));
    let progress = Arc::clone(&written);
    let writing = std::thread::spawn(move || {
        let command = [format!("PUB {topic}\n").as_bytes(), b"\0\0\0\x01x"].concat();
        let burst = command.repeat(1000);
        writer.write_all(b"  V2").unwrap();
        for _ in 0..count / 1000 {
            writer.write_all(&burst).unwrap();
            progress.fetch_add(1000, Ordering::Relaxed);
        }
    });
    let mut before = 1;
    until_true("the server takes no more", || {
        let now = written.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(300));
        let stands = now > 0 && now == std::mem::replace(&mut before, now);
        stands && now < count
    });
    let mut answers = vec![0; count * 10];
    stream.read_exact(&mut answers).unwrap();
    assert!(answers.chunks(10).all(|answer| answer == b"\0\0\0\x06\0\0\0\0OK"));
    writing.join().unwrap();
}
