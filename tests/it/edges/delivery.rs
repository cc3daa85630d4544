//! SUB, RDY and delivery: cases 52 to 65.

use std::time::Duration;

use serde_json::json;

use crate::support::leveret::{Leveret, is_nsqd};
use crate::support::nsq::{Client, Message};
use crate::support::wait::until_true;
use crate::support::{http, stats};

/// Long enough for a delivery that is not to come.
const MOMENT: Duration = Duration::from_millis(400);

fn bodies(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("m-{number:04}")).collect()
}

fn publish_all(server: &Leveret, topic: &str, bodies: &[String]) {
    let batch: Vec<&[u8]> = bodies.iter().map(String::as_bytes).collect();
    Client::connect(server.tcp()).publish_many(topic, &batch);
}

/// Receives and finishes `count` messages.
fn drain(client: &mut Client, count: usize) -> Vec<String> {
    (0..count)
        .map(|_| {
            let message = client.message();
            client.fin(&message);
            message.text()
        })
        .collect()
}

#[test]
fn edge_052_a_connection_subscribes_once() {
    let server = Leveret::nsqd().start();
    for closes in [false, true] {
        let mut client = Client::connect(server.tcp());
        client.sub("t", "c");
        if closes {
            client.command("CLS");
            assert_eq!(client.response(), b"CLOSE_WAIT");
        }
        client.command("SUB t d");
        client.fatal("E_INVALID cannot SUB in current state");
    }
}

#[test]
fn edge_053_a_channel_takes_no_more_consumers_than_allowed() {
    let server = Leveret::nsqd().arg("--max-channel-consumers=1").start();
    let mut first = Client::connect(server.tcp());
    first.sub("t", "c");
    let mut second = Client::connect(server.tcp());
    second.command("SUB t c");
    second.fatal("E_SUB_FAILED SUB failed consumers for t:c exceeds limit of 1");
    Client::connect(server.tcp()).sub("t", "d");
    drop(first);
    until_true("the first one is gone", || {
        stats::channel(server.http(), "t", "c")["client_count"] == 0
    });
    Client::connect(server.tcp()).sub("t", "c");
}

#[test]
fn edge_054_nothing_is_delivered_before_rdy() {
    let server = Leveret::nsqd().start();
    let mut client = Client::connect(server.tcp());
    client.sub("t", "c");
    client.publish("t", b"waits");
    stats::await_counts(server.http(), "t", "c", [1, 0, 0]);
    assert_eq!(client.message_within(MOMENT), None);
    client.rdy(1);
    assert_eq!(client.message().text(), "waits");
}

#[test]
fn edge_055_rdy_reads_its_parameter_in_its_own_way() {
    let server = Leveret::nsqd().start();
    let mut client = Client::connect(server.tcp());
    client.sub("t", "c");
    for (line, count) in [
        ("RDY", 1),
        ("RDY ", 0),
        ("RDY 05 junk", 5),
        ("RDY  7", 0),
        ("RDY 2500", 2500),
        ("RDY 0", 0),
    ] {
        client.command(line);
        until_true(&format!("{line:?} is {count}"), || {
            stats::client(server.http(), "t", "c")["ready_count"] == count
        });
    }
}

#[test]
fn edge_056_rdy_out_of_range_is_fatal_and_wraps() {
    let server = Leveret::nsqd().arg("--max-rdy-count=100").start();
    for (count, text) in [
        ("101", "RDY count 101 out of range 0-100"),
        ("-1", "RDY could not parse count -1"),
        ("many", "RDY could not parse count many"),
        ("18446744073709551615", "RDY count -1 out of range 0-100"),
    ] {
        let mut client = Client::connect(server.tcp());
        client.sub("t", "c");
        client.command(&format!("RDY {count}"));
        client.fatal(&format!("E_INVALID {text}"));
    }
    until_true("they are gone", || stats::channel(server.http(), "t", "c")["client_count"] == 0);
    let mut client = Client::connect(server.tcp());
    client.sub("t", "c");
    client.command("RDY 18446744073709551619");
    until_true("2^64 + 3 is 3", || stats::client(server.http(), "t", "c")["ready_count"] == 3);
}

#[test]
fn edge_057_rdy_is_a_level_and_not_a_credit() {
    let server = Leveret::nsqd().start();
    publish_all(&server, "t", &bodies(4));
    let mut client = Client::subscribed(server.tcp(), "t", "c", 2);
    let first = [client.message(), client.message()];
    client.rdy(1);
    client.fin(&first[0]);
    stats::await_counts(server.http(), "t", "c", [2, 1, 0]);
    assert_eq!(client.message_within(MOMENT), None, "one is in flight, as many as may be");
    client.fin(&first[1]);
    let third = client.message();
    assert_eq!(client.message_within(MOMENT), None);
    client.fin(&third);
    client.message();
}

#[test]
fn edge_058_a_paused_channel_delivers_nothing_and_grows() {
    let server = Leveret::nsqd().start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 10);
    http::done(server.http(), "/channel/pause?topic=t&channel=c");
    publish_all(&server, "t", &bodies(5));
    stats::await_counts(server.http(), "t", "c", [5, 0, 0]);
    assert_eq!(client.message_within(MOMENT), None);
    http::done(server.http(), "/channel/unpause?topic=t&channel=c");
    assert_eq!(drain(&mut client, 5), bodies(5));
}

#[test]
fn edge_059_every_ready_consumer_gets_some() {
    let server = Leveret::nsqd().start();
    let consumers = [(); 3].map(|()| Client::subscribed(server.tcp(), "t", "c", 1));
    let consuming = consumers.map(|mut client| {
        std::thread::spawn(move || {
            let mut came = Vec::new();
            while let Some(message) = client.message_within(Duration::from_secs(2)) {
                client.fin(&message);
                came.push(message.text());
            }
            came
        })
    });
    publish_all(&server, "t", &bodies(300));
    let came = consuming.map(|thread| thread.join().unwrap());
    assert!(came.iter().all(|some| !some.is_empty()), "{:?}", came.each_ref().map(Vec::len));
    let mut all = came.concat();
    all.sort();
    assert_eq!(all, bodies(300), "each message once");
}

/// Leveret's topics are logs: what does not fit into the memory queue keeps its place.
#[test]
fn edge_060_what_overflows_keeps_its_order() {
    let server = Leveret::nsqd().arg("--mem-queue-size=10").start();
    http::done(server.http(), "/topic/create?topic=t");
    http::done(server.http(), "/channel/create?topic=t&channel=c");
    publish_all(&server, "t", &bodies(200));
    stats::await_counts(server.http(), "t", "c", [200, 0, 0]);
    let mut client = Client::subscribed(server.tcp(), "t", "c", 1);
    let mut came = drain(&mut client, 200);
    if is_nsqd() {
        assert_ne!(came, bodies(200), "memory and disk take turns");
        came.sort();
    }
    assert_eq!(came, bodies(200));
}

#[test]
fn edge_061_one_consumer_gets_everything_in_order() {
    let server = Leveret::nsqd().start();
    for rdy in [1, 100] {
        let topic = format!("t{rdy}");
        let mut client = Client::subscribed(server.tcp(), &topic, "c", rdy);
        publish_all(&server, &topic, &bodies(500));
        assert_eq!(drain(&mut client, 500), bodies(500));
    }
}

#[test]
fn edge_062_what_is_sampled_out_is_gone() {
    let server = Leveret::nsqd().start();
    let mut client = Client::connect(server.tcp());
    client.identify(&json!({ "sample_rate": 50 }));
    client.consume("t", "c", 2500);
    publish_all(&server, "t", &bodies(2000));
    until_true("all are taken from the channel", || {
        let channel = stats::channel(server.http(), "t", "c");
        channel["message_count"] == 2000 && channel["depth"] == 0
    });
    let mut came = Vec::new();
    while let Some(message) = client.message_within(MOMENT) {
        came.push(message);
    }
    // 51 of 100 on average, with a deviation of 22 in 2000.
    assert!((850..1200).contains(&came.len()), "{}", came.len());
    assert!(came.iter().all(|message| message.attempts == 1));
    stats::await_counts(server.http(), "t", "c", [0, came.len() as u64, 0]);
    came.iter().for_each(|message| client.fin(message));
    stats::await_counts(server.http(), "t", "c", [0, 0, 0]);
}

#[test]
fn edge_063_the_first_channel_takes_the_backlog() {
    let server = Leveret::nsqd().start();
    publish_all(&server, "t", &bodies(5));
    http::done(server.http(), "/channel/create?topic=t&channel=first");
    stats::await_counts(server.http(), "t", "first", [5, 0, 0]);
    http::done(server.http(), "/channel/create?topic=t&channel=second");
    publish_all(&server, "t", &bodies(1));
    stats::await_counts(server.http(), "t", "first", [6, 0, 0]);
    stats::await_counts(server.http(), "t", "second", [1, 0, 0]);
    assert_eq!(stats::topic(server.http(), "t")["depth"], 0);
}

#[test]
fn edge_064_a_paused_topic_keeps_its_messages() {
    let server = Leveret::nsqd().start();
    publish_all(&server, "t", &bodies(5));
    http::done(server.http(), "/topic/pause?topic=t");
    let mut client = Client::subscribed(server.tcp(), "t", "c", 10);
    assert_eq!(client.message_within(MOMENT), None);
    stats::await_depth(server.http(), "t", 5);
    stats::await_counts(server.http(), "t", "c", [0, 0, 0]);
    http::done(server.http(), "/topic/unpause?topic=t");
    assert_eq!(drain(&mut client, 5), bodies(5));
}

#[test]
fn edge_065_channels_deliver_the_same_message_and_settle_it_alone() {
    let server = Leveret::nsqd().start();
    let mut first = Client::subscribed(server.tcp(), "t", "first", 1);
    let mut second = Client::subscribed(server.tcp(), "t", "second", 1);
    publish_all(&server, "t", &bodies(1));
    let both: [Message; 2] = [first.message(), second.message()];
    assert_eq!(both[0], both[1]);
    first.fin(&both[0]);
    stats::await_counts(server.http(), "t", "first", [0, 0, 0]);
    stats::await_counts(server.http(), "t", "second", [0, 1, 0]);
    second.req(&both[1], Duration::ZERO);
    let again = second.message();
    assert_eq!((&again.id, again.attempts), (&both[0].id, 2));
    second.fin(&again);
    stats::await_counts(server.http(), "t", "second", [0, 0, 0]);
}
