//! What time does to messages in flight and deferred: cases 76 to 83. nsqd looks at the channels every 100 ms, and for
//! the first five seconds of a channel's life not at all; Leveret has timers.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::leveret::{Leveret, is_nsqd};
use crate::support::nsq::{Client, Frame, Message};
use crate::support::stats;
use crate::support::wait::until_true;

/// Touches `message` again and again until it is delivered anew, and gives how long that took.
fn touch_until_it_comes_again(client: &mut Client, message: &Message) -> Duration {
    let began = Instant::now();
    loop {
        match client.frame_within(Duration::from_millis(50)) {
            Some(Frame::Message(again)) => {
                assert_eq!((&again.id, again.attempts), (&message.id, message.attempts + 1));
                return began.elapsed();
            }
            // It has timed out: nothing is left to touch.
            Some(Frame::Error(text)) => assert!(text.starts_with("E_TOUCH_FAILED "), "{text}"),
            Some(other) => panic!("a delivery was due, not {other:?}"),
            None => client.touch(message),
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it stays in flight");
    }
}

#[test]
fn edge_076_touch_goes_no_further_than_the_longest_timeout() {
    let server = Leveret::nsqd().arg("--msg-timeout=600ms").arg("--max-msg-timeout=1500ms").start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 1);
    client.publish("t", b"touched");
    let first = client.message();
    let held = touch_until_it_comes_again(&mut client, &first);
    assert!(held > Duration::from_millis(1400), "{held:?}");
    if !is_nsqd() {
        assert!(held < Duration::from_secs(5), "{held:?}");
    }
}

#[test]
fn edge_077_a_young_channel_keeps_time_too() {
    let server = Leveret::nsqd().arg("--msg-timeout=100ms").start();
    let began = Instant::now();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 2);
    client.publish("t", b"slow");
    client.publish_deferred("t", Duration::from_millis(100), b"later");
    let mut came = [client.message(), client.message(), client.message()];
    came.sort_by_key(|message| (message.text(), message.attempts));
    let came: Vec<_> = came.iter().map(|m| (m.text(), m.attempts)).collect();
    // Either may time out first; the first two are these.
    assert!(came.contains(&("slow".to_owned(), 1)) && came.len() == 3, "{came:?}");
    // nsqd: at its next look at the list of channels.
    let limit = Duration::from_secs(if is_nsqd() { 12 } else { 4 });
    assert!(began.elapsed() < limit, "{:?}", began.elapsed());
}

/// Leveret gives back at once what a lost consumer held; nsqd lets the timeouts pass.
#[test]
fn edge_078_what_a_lost_consumer_held_comes_again() {
    let server = Leveret::nsqd().start();
    let mut lost = Client::subscribed(server.tcp(), "t", "c", 2);
    lost.publish_many("t", &[b"x", b"y"]);
    let held = [lost.message(), lost.message()];
    drop(lost);
    until_true("it is gone", || stats::channel(server.http(), "t", "c")["client_count"] == 0);
    if is_nsqd() {
        stats::await_counts(server.http(), "t", "c", [0, 2, 0]);
        return;
    }
    stats::await_counts(server.http(), "t", "c", [2, 0, 0]);
    let mut next = Client::subscribed(server.tcp(), "t", "c", 2);
    for message in held {
        assert_eq!(next.message(), Message { attempts: 2, ..message });
    }
}

#[test]
fn edge_079_attempts_go_on_through_req_timeout_and_overflow() {
    let server = Leveret::nsqd().arg("--msg-timeout=200ms").arg("--mem-queue-size=0").start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 1);
    client.publish("t", b"again");
    let first = client.message();
    assert_eq!(first.attempts, 1);
    client.req(&first, Duration::ZERO);
    assert_eq!(client.message(), Message { attempts: 2, ..first.clone() });
    client.req(&first, Duration::from_millis(100));
    assert_eq!(client.message(), Message { attempts: 3, ..first.clone() });
    assert_eq!(client.message(), Message { attempts: 4, ..first }, "it has timed out");
}

/// Leveret scans nothing, so there is nothing to switch off.
#[test]
fn edge_080_timeouts_do_not_depend_on_a_scan() {
    let server =
        Leveret::nsqd().arg("--queue-scan-selection-count=0").arg("--msg-timeout=200ms").start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 1);
    client.publish("t", b"slow");
    assert_eq!(client.message().attempts, 1);
    if is_nsqd() {
        // Beyond the first look at the list of channels.
        assert_eq!(client.message_within(Duration::from_secs(7)), None);
    } else {
        assert_eq!(client.message().attempts, 2);
    }
}

#[test]
fn edge_083_the_default_timeout_may_exceed_the_longest() {
    let server =
        Leveret::nsqd().arg("--msg-timeout=1700ms").arg("--max-msg-timeout=1200ms").start();
    let mut client = Client::connect(server.tcp());
    let features = client.identify(&json!({ "feature_negotiation": true }));
    assert_eq!(
        (&features["msg_timeout"], &features["max_msg_timeout"]),
        (&json!(1700), &json!(1200))
    );
    client.consume("t", "c", 1);
    client.publish("t", b"slow");
    client.message();
    let began = Instant::now();
    assert_eq!(client.message().attempts, 2);
    assert!(began.elapsed() > Duration::from_millis(1600), "{:?}", began.elapsed());

    let mut client = Client::connect(server.tcp());
    client.command_with("IDENTIFY", br#"{"msg_timeout":1700}"#);
    client.fatal("E_BAD_BODY IDENTIFY msg timeout (1700) is invalid");
}
