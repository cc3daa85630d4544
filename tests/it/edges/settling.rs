//! FIN, REQ and TOUCH: cases 68 to 75.

use std::time::{Duration, Instant};

use crate::support::leveret::Leveret;
use crate::support::nsq::{Client, Message};
use crate::support::stats;
use crate::support::wait::until_true;

const UNKNOWN: &str = "0123456789abcdef";

/// The three commands on a message, and the error that each gives.
fn verbs(id: &str, reason: &str) -> [(String, String); 3] {
    [("FIN", ""), ("REQ", " 0"), ("TOUCH", "")].map(|(verb, delay)| {
        (format!("{verb} {id}{delay}"), format!("E_{verb}_FAILED {verb} {id} failed {reason}"))
    })
}

/// Each of the three gives its error, and the connection stays open.
fn are_refused(client: &mut Client, id: &str, reason: &str) {
    for (line, text) in verbs(id, reason) {
        client.command(&line);
        assert_eq!(client.error(), text);
    }
    client.publish("open", b"open");
}

fn one_in_flight(server: &Leveret) -> (Client, Message) {
    let mut client = Client::subscribed(server.tcp(), "t", "c", 1);
    client.publish("t", b"one");
    let message = client.message();
    (client, message)
}

#[test]
fn edge_068_what_is_not_in_flight_cannot_be_settled() {
    let server = Leveret::nsqd().start();
    let mut client = Client::connect(server.tcp());
    client.sub("t", "c");
    are_refused(&mut client, UNKNOWN, "ID not in flight");
}

#[test]
fn edge_069_what_is_in_flight_elsewhere_cannot_be_settled() {
    let server = Leveret::nsqd().start();
    let (mut owner, message) = one_in_flight(&server);
    let mut other = Client::connect(server.tcp());
    other.sub("t", "c");
    are_refused(&mut other, &message.id, "client does not own message");
    let mut elsewhere = Client::connect(server.tcp());
    elsewhere.sub("t", "d");
    are_refused(&mut elsewhere, &message.id, "ID not in flight");
    owner.fin(&message);
    stats::await_counts(server.http(), "t", "c", [0, 0, 0]);
}

#[test]
fn edge_070_an_id_has_16_bytes_of_any_kind() {
    let server = Leveret::nsqd().start();
    for id in ["", "0", "0123456789abcde", "0123456789abcdef0"] {
        for (line, _) in verbs(id, "") {
            let mut client = Client::connect(server.tcp());
            client.sub("t", "c");
            client.command(&line);
            client.fatal("E_INVALID invalid message ID");
        }
    }
    let mut client = Client::connect(server.tcp());
    client.sub("t", "c");
    for id in ["ABCDEF0123456789", "zzzzzzzzzzzzzzzz", "\u{7f}\t\"\\{}[]%d%s\u{fc}xx"] {
        are_refused(&mut client, id, "ID not in flight");
    }
}

#[test]
fn edge_071_a_message_is_settled_once() {
    let server = Leveret::nsqd().start();
    let (mut client, message) = one_in_flight(&server);
    client.fin(&message);
    are_refused(&mut client, &message.id, "ID not in flight");
}

#[test]
fn edge_072_what_has_timed_out_cannot_be_settled_and_comes_again() {
    let server = Leveret::nsqd().arg("--msg-timeout=300ms").start();
    let (mut client, message) = one_in_flight(&server);
    client.rdy(0);
    stats::await_counts(server.http(), "t", "c", [1, 0, 0]);
    are_refused(&mut client, &message.id, "ID not in flight");
    assert_eq!(stats::channel(server.http(), "t", "c")["timeout_count"], 1);
    client.rdy(1);
    let again = client.message();
    assert_eq!(again, Message { attempts: 2, ..message });
}

#[test]
fn edge_073_each_has_its_parameters() {
    let server = Leveret::nsqd().start();
    let params = "insufficient number of params";
    for (line, text) in [
        (format!("REQ {UNKNOWN}"), format!("REQ {params}")),
        ("REQ".to_owned(), format!("REQ {params}")),
        ("FIN".to_owned(), format!("FIN {params}")),
        ("TOUCH".to_owned(), format!("TOUCH {params}")),
        (format!("REQ {UNKNOWN} -1"), "REQ could not parse timeout -1".to_owned()),
        (format!("REQ {UNKNOWN} 1s"), "REQ could not parse timeout 1s".to_owned()),
    ] {
        let mut client = Client::connect(server.tcp());
        client.sub("t", "c");
        client.command(&line);
        client.fatal(&format!("E_INVALID {text}"));
    }
    for verb in ["FIN", "REQ", "TOUCH", "RDY", "CLS"] {
        let mut client = Client::connect(server.tcp());
        client.command(verb);
        client.fatal(&format!("E_INVALID cannot {verb} in current state"));
    }
}

#[test]
fn edge_074_a_delay_of_req_is_clamped() {
    let server = Leveret::nsqd().arg("--max-req-timeout=400ms").start();
    let (mut client, message) = one_in_flight(&server);
    for delay in ["401", "3600000"] {
        let began = Instant::now();
        client.command(&format!("REQ {} {delay}", message.id));
        assert_eq!(client.message().id, message.id);
        assert!(began.elapsed() > Duration::from_millis(350), "{delay}: {:?}", began.elapsed());
    }
    // It wraps below zero, and an empty one is zero: at once, so that it is never seen as deferred.
    for (attempts, delay) in [(4, "18446744073709551615"), (5, "")] {
        client.command(&format!("REQ {} {delay}", message.id));
        assert_eq!(client.message().attempts, attempts);
    }
}

#[test]
fn edge_075_req_0_puts_a_message_behind_what_is_queued() {
    let server = Leveret::nsqd().start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 1);
    client.publish_many("t", &[b"a", b"b", b"c"]);
    stats::await_counts(server.http(), "t", "c", [2, 1, 0]);
    let first = client.message();
    assert_eq!(first.text(), "a");
    client.req(&first, Duration::ZERO);
    for (text, attempts) in [("b", 1), ("c", 1), ("a", 2)] {
        let message = client.message();
        assert_eq!((message.text().as_str(), message.attempts), (text, attempts));
        client.fin(&message);
    }
    until_true("they are counted", || stats::client(server.http(), "t", "c")["finish_count"] == 3);
    let channel = stats::channel(server.http(), "t", "c");
    assert_eq!((&channel["requeue_count"], &channel["message_count"]), (&1.into(), &3.into()));
    let shown = stats::client(server.http(), "t", "c");
    assert_eq!((&shown["requeue_count"], &shown["message_count"]), (&1.into(), &4.into()));
}
