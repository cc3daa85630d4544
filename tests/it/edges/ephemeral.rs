//! Ephemeral topics and channels: cases 90 to 93.

use std::fs;

use crate::support::leveret::{Leveret, is_nsqd};
use crate::support::nsq::Client;
use crate::support::wait::until_true;
use crate::support::{http, stats};

const TOPIC: &str = "t#ephemeral";
const CHANNEL: &str = "c#ephemeral";

#[test]
fn edge_090_an_ephemeral_channel_goes_with_its_last_client() {
    let server = Leveret::nsqd().start();
    let clients = [(); 2].map(|()| Client::subscribed(server.tcp(), "t", CHANNEL, 0));
    let [first, mut last] = clients;
    last.publish("t", b"gone with it");
    drop(first);
    until_true("one is left", || stats::channel(server.http(), "t", CHANNEL)["client_count"] == 1);
    stats::await_counts(server.http(), "t", CHANNEL, [1, 0, 0]);
    drop(last);
    until_true("it is gone", || stats::channel(server.http(), "t", CHANNEL).is_null());
    assert_eq!(stats::topic(server.http(), "t")["message_count"], 1, "the topic stays");
    let again = Client::subscribed(server.tcp(), "t", CHANNEL, 1);
    stats::await_counts(server.http(), "t", CHANNEL, [0, 0, 0]);
    drop(again);
}

#[test]
fn edge_091_an_ephemeral_topic_goes_with_its_last_channel() {
    let server = Leveret::nsqd().start();
    let client = Client::subscribed(server.tcp(), TOPIC, "c", 1);
    drop(client);
    until_true("the client is gone", || {
        stats::channel(server.http(), TOPIC, "c")["client_count"] == 0
    });
    http::done(server.http(), &format!("/channel/create?topic={TOPIC}&channel=d"));
    http::done(server.http(), &format!("/channel/delete?topic={TOPIC}&channel=c"));
    assert!(!stats::topic(server.http(), TOPIC).is_null(), "it has a channel");
    http::done(server.http(), &format!("/channel/delete?topic={TOPIC}&channel=d"));
    until_true("it is gone", || stats::topic(server.http(), TOPIC).is_null());

    let client = Client::subscribed(server.tcp(), TOPIC, CHANNEL, 1);
    drop(client);
    until_true("both go with the client", || stats::topic(server.http(), TOPIC).is_null());
}

#[test]
fn edge_092_an_ephemeral_channel_that_nobody_had_stays() {
    let server = Leveret::nsqd().start();
    http::done(server.http(), "/topic/create?topic=t");
    http::done(server.http(), &format!("/channel/create?topic=t&channel={CHANNEL}"));
    http::done(server.http(), &format!("/topic/create?topic={TOPIC}"));
    Client::connect(server.tcp()).publish("t", b"kept");
    stats::await_counts(server.http(), "t", CHANNEL, [1, 0, 0]);
    assert!(!stats::topic(server.http(), TOPIC).is_null());
    until_true("only the topic is written down", || {
        let kept = fs::read_to_string(server.dir().join("nsqd.dat")).unwrap_or_default();
        kept.contains("\"t\"") && !kept.contains("#ephemeral")
    });
    drop(Client::subscribed(server.tcp(), "t", CHANNEL, 1));
    until_true("it is gone", || stats::channel(server.http(), "t", CHANNEL).is_null());
}

#[test]
fn edge_093_what_is_too_much_for_an_ephemeral_one_is_dropped_and_counted() {
    let server = Leveret::nsqd().arg("--mem-queue-size=5").start();
    let mut client = Client::connect(server.tcp());
    client.publish_many(TOPIC, &[&b"x"[..]; 20]);
    let topic = stats::topic(server.http(), TOPIC);
    assert_eq!((&topic["depth"], &topic["message_count"]), (&5.into(), &20.into()));

    http::done(server.http(), "/topic/create?topic=t");
    http::done(server.http(), &format!("/channel/create?topic=t&channel={CHANNEL}"));
    http::done(server.http(), "/channel/create?topic=t&channel=c");
    let bodies: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let batch: Vec<&[u8]> = bodies.iter().map(String::as_bytes).collect();
    client.publish_many("t", &batch);
    stats::await_counts(server.http(), "t", "c", [20, 0, 0]);
    stats::await_counts(server.http(), "t", CHANNEL, [5, 0, 0]);
    assert_eq!(stats::channel(server.http(), "t", CHANNEL)["message_count"], 20);
    let mut consumer = Client::subscribed(server.tcp(), "t", CHANNEL, 10);
    let came: Vec<String> = (0..5).map(|_| consumer.message().text()).collect();
    if is_nsqd() {
        // The topic has overflowed to disk too, which mixes its order.
        assert!(came.iter().all(|body| bodies.contains(body)), "{came:?}");
    } else {
        assert_eq!(came, bodies[..5], "the newest are dropped");
    }
}
