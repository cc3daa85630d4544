//! A clean exit and a new start: cases 95 to 97.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::leveret::{Leveret, is_nsqd};
use crate::support::nsq::Client;
use crate::support::{http, stats};

/// nsqd's files do not know delays; Leveret goes on waiting.
#[test]
fn edge_095_what_is_in_flight_and_deferred_at_a_clean_exit_comes_again() {
    let mut server = Leveret::nsqd().start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 3);
    client.publish_many("t", &[b"a", b"b", b"c", b"d", b"e", b"f"]);
    let held = [client.message(), client.message(), client.message()];
    client.rdy(0);
    let delay = Duration::from_secs(2);
    let began = Instant::now();
    client.req(&held[1], delay);
    stats::await_counts(server.http(), "t", "c", [3, 2, 1]);
    assert!(server.stop().success());
    server.restart();

    let mut client = Client::subscribed(server.tcp(), "t", "c", 10);
    let mut came = Vec::new();
    let mut deferred = Duration::ZERO;
    for _ in 0..6 {
        let message = client.message();
        if message.body == b"b" {
            deferred = began.elapsed();
        }
        came.push((message.text(), message.attempts, message.id));
    }
    let fresh: Vec<&str> =
        came.iter().filter(|(_, attempts, _)| *attempts == 1).map(|m| m.0.as_str()).collect();
    assert_eq!(fresh, ["d", "e", "f"], "in order");
    let again: BTreeMap<&str, (&str, u16)> =
        came.iter().filter(|m| m.1 != 1).map(|m| (m.0.as_str(), (m.2.as_str(), m.1))).collect();
    let expected = held.iter().zip(["a", "b", "c"]).map(|(m, text)| (text, (m.id.as_str(), 2)));
    assert_eq!(again, expected.collect(), "with their ids and attempts");
    if !is_nsqd() {
        assert!(deferred > delay - Duration::from_millis(100), "{deferred:?}");
    }
}

#[test]
fn edge_096_pauses_survive_a_restart() {
    let mut server = Leveret::nsqd().start();
    http::done(server.http(), "/topic/create?topic=t");
    http::done(server.http(), "/channel/create?topic=t&channel=c");
    http::done(server.http(), "/channel/create?topic=t&channel=d");
    http::done(server.http(), "/topic/create?topic=u");
    let paused = |server: &Leveret| {
        let at = server.http();
        let topics = ["t", "u"].map(|topic| stats::topic(at, topic)["paused"].clone());
        let channels = ["c", "d"].map(|name| stats::channel(at, "t", name)["paused"].clone());
        [topics, channels].concat()
    };
    http::done(server.http(), "/topic/pause?topic=t");
    http::done(server.http(), "/channel/pause?topic=t&channel=c");
    assert!(server.stop().success());
    server.restart();
    assert_eq!(paused(&server), [true, false, true, false]);

    // A pause is written down before it is answered.
    http::done(server.http(), "/topic/unpause?topic=t");
    http::done(server.http(), "/channel/unpause?topic=t&channel=c");
    http::done(server.http(), "/channel/pause?topic=t&channel=d");
    server.kill();
    server.restart();
    assert_eq!(paused(&server), [false, false, false, true]);
}

#[test]
fn edge_097_counters_start_anew_and_depth_does_not() {
    let mut server = Leveret::nsqd().start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 1);
    client.publish_many("t", &[b"a", b"b", b"c"]);
    client.publish("u", b"held");
    let first = client.message();
    client.req(&first, Duration::ZERO);
    client.message();
    stats::await_counts(server.http(), "t", "c", [2, 1, 0]);
    assert!(server.stop().success());
    server.restart();
    stats::await_counts(server.http(), "t", "c", [3, 0, 0]);
    let channel = stats::channel(server.http(), "t", "c");
    for counter in ["message_count", "requeue_count", "timeout_count"] {
        assert_eq!(channel[counter], 0, "{counter}");
    }
    let topic = stats::topic(server.http(), "u");
    assert_eq!((&topic["depth"], &topic["message_count"]), (&1.into(), &0.into()));
}
