//! Channels and topics, emptied and deleted: cases 87 to 89 and 94.

use std::fs;
use std::time::Duration;

use crate::support::leveret::{Leveret, is_nsqd};
use crate::support::nsq::{Client, Message};
use crate::support::{http, stats};

#[test]
fn edge_087_emptying_a_channel_drops_what_is_in_flight_and_deferred_too() {
    let server = Leveret::nsqd().start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 2);
    client.publish_many("t", &[b"a", b"b", b"c", b"d"]);
    let held: [Message; 2] = [client.message(), client.message()];
    client.rdy(0);
    client.req(&held[1], Duration::from_secs(60));
    stats::await_counts(server.http(), "t", "c", [2, 1, 1]);
    http::done(server.http(), "/channel/empty?topic=t&channel=c");
    stats::await_counts(server.http(), "t", "c", [0, 0, 0]);
    assert_eq!(stats::client(server.http(), "t", "c")["in_flight_count"], 0);
    let channel = stats::channel(server.http(), "t", "c");
    assert_eq!((&channel["message_count"], &channel["requeue_count"]), (&4.into(), &1.into()));
    client.fin(&held[0]);
    let error = client.error();
    assert_eq!(error, format!("E_FIN_FAILED FIN {} failed ID not in flight", held[0].id));
    client.rdy(2);
    client.publish("t", b"after");
    assert_eq!(client.message().text(), "after");
}

#[test]
fn edge_088_deleting_a_channel_or_topic_closes_its_clients_without_a_word() {
    let server = Leveret::nsqd().start();
    for path in ["/channel/delete?topic=t&channel=c", "/topic/delete?topic=t"] {
        let mut clients = [0, 1].map(|rdy| Client::subscribed(server.tcp(), "t", "c", rdy));
        clients[1].publish("t", b"held");
        clients[1].message();
        http::done(server.http(), path);
        clients.iter_mut().for_each(Client::closed);
        assert!(stats::channel(server.http(), "t", "c").is_null());
        assert_eq!(stats::topic(server.http(), "t").is_null(), path.starts_with("/topic"));
        assert_eq!(http::post(server.http(), path, b"").status, 404, "it is gone");
    }
}

#[test]
fn edge_089_emptying_a_topic_leaves_its_channels_their_messages() {
    let server = Leveret::nsqd().start();
    Client::connect(server.tcp()).sub("t", "c");
    let mut client = Client::connect(server.tcp());
    client.publish_many("t", &[b"a", b"b"]);
    stats::await_counts(server.http(), "t", "c", [2, 0, 0]);
    http::done(server.http(), "/topic/pause?topic=t");
    client.publish_many("t", &[b"c", b"d", b"e"]);
    stats::await_depth(server.http(), "t", 3);
    http::done(server.http(), "/topic/empty?topic=t");
    stats::await_depth(server.http(), "t", 0);
    http::done(server.http(), "/topic/unpause?topic=t");
    stats::await_counts(server.http(), "t", "c", [2, 0, 0]);
    client.publish("t", b"f");
    stats::await_counts(server.http(), "t", "c", [3, 0, 0]);
    assert_eq!(stats::topic(server.http(), "t")["message_count"], 6, "counters stay");
}

/// nsqd writes its list at some time and often before the deletion is through, so a crash brings back what was deleted.
/// Leveret has written it down before it answers.
#[test]
fn edge_094_what_was_deleted_does_not_come_back() {
    let mut server = Leveret::nsqd().start();
    for topic in ["gone", "stays"] {
        http::done(server.http(), &format!("/topic/create?topic={topic}"));
        http::done(server.http(), &format!("/channel/create?topic={topic}&channel=gone"));
        http::done(server.http(), &format!("/channel/create?topic={topic}&channel=stays"));
    }
    http::done(server.http(), "/topic/delete?topic=gone");
    http::done(server.http(), "/channel/delete?topic=stays&channel=gone");
    if is_nsqd() {
        assert!(server.stop().success());
    } else {
        let kept = fs::read_to_string(server.dir().join("nsqd.dat")).unwrap();
        assert!(kept.contains("stays") && !kept.contains("gone"), "{kept}");
        server.kill();
    }
    server.restart();
    assert_eq!(stats::topics(server.http()), ["stays"]);
    assert!(stats::channel(server.http(), "stays", "gone").is_null());
    assert!(!stats::channel(server.http(), "stays", "stays").is_null());
}
