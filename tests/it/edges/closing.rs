//! CLS and what follows it: cases 84 to 86.

use std::time::Duration;

use serde_json::json;

use crate::support::leveret::Leveret;
use crate::support::nsq::{Client, Frame};
use crate::support::stats;
use crate::support::wait::until_true;

fn close(client: &mut Client) {
    client.command("CLS");
    assert_eq!(client.response(), b"CLOSE_WAIT");
}

#[test]
fn edge_084_a_closing_client_settles_what_it_has_and_gets_no_more() {
    let server = Leveret::nsqd().start();
    let mut client = Client::connect(server.tcp());
    client.identify(&json!({ "heartbeat_interval": 1000 }));
    client.consume("t", "c", 3);
    client.publish_many("t", &[b"a", b"b", b"c", b"d"]);
    let held = [client.message(), client.message(), client.message()];
    close(&mut client);
    let shown = stats::client(server.http(), "t", "c");
    assert_eq!((&shown["state"], &shown["ready_count"]), (&json!(4), &json!(0)));
    client.touch(&held[0]);
    client.fin(&held[0]);
    client.req(&held[1], Duration::ZERO);
    stats::await_counts(server.http(), "t", "c", [2, 1, 0]);
    // Heartbeats go on, and nothing else comes.
    assert_eq!(client.frame(), Some(Frame::Response(b"_heartbeat_".to_vec())));
    client.fin(&held[2]);
    stats::await_counts(server.http(), "t", "c", [2, 0, 0]);
    client.publish("t", b"still open");
    assert_eq!(client.message_within(Duration::from_millis(300)), None);
}

#[test]
fn edge_085_a_closing_client_may_say_rdy_and_not_cls() {
    let server = Leveret::nsqd().start();
    let mut client = Client::connect(server.tcp());
    client.sub("t", "c");
    close(&mut client);
    client.send(b"RDY 1\nRDY garbage\nRDY -1\nRDY 99999\nRDY\n");
    client.publish("t", b"not for this one");
    stats::await_counts(server.http(), "t", "c", [1, 0, 0]);
    assert_eq!(stats::client(server.http(), "t", "c")["ready_count"], 0);
    assert_eq!(client.message_within(Duration::from_millis(200)), None);
    client.command("CLS");
    client.fatal("E_INVALID cannot CLS in current state");
}

#[test]
fn edge_086_what_comes_behind_close_wait_can_be_settled() {
    let server = Leveret::nsqd().start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 100);
    Client::connect(server.tcp()).publish_many("t", &[&b"x"[..]; 1000]);
    let mut came = vec![client.message()];
    client.command("CLS");
    let mut is_waiting = false;
    while let Some(frame) = client.frame_within(Duration::from_millis(500)) {
        match frame {
            Frame::Message(message) => came.push(message),
            Frame::Response(data) if data == b"CLOSE_WAIT" => is_waiting = true,
            other => panic!("{other:?}"),
        }
    }
    assert!(is_waiting && came.len() <= 100, "{}", came.len());
    came.iter().for_each(|message| client.fin(message));
    let left = 1000 - came.len() as u64;
    stats::await_counts(server.http(), "t", "c", [left, 0, 0]);
    until_true("each is finished", || {
        stats::client(server.http(), "t", "c")["finish_count"] == came.len()
    });
    client.publish("t", b"no error came");
}
