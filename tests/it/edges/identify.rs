//! IDENTIFY, without its upgrades: cases 17 and 19 to 28.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::leveret::{Leveret, is_nsqd};
use crate::support::nsq::{Client, Frame, declared};
use crate::support::stats;

/// Sends IDENTIFY with this body, which need not be JSON.
fn identify(server: &Leveret, body: &[u8]) -> Client {
    let mut client = Client::connect(server.tcp());
    client.command_with("IDENTIFY", body);
    client
}

#[test]
fn edge_017_without_negotiation_no_upgrade_follows() {
    let server = Leveret::nsqd().start();
    let mut client = identify(&server, br#"{"tls_v1":true,"snappy":true,"deflate":true}"#);
    client.ok();
    client.publish("t", b"in the clear");
}

#[test]
fn edge_019_an_empty_identify_empties_the_names() {
    let server = Leveret::nsqd().start();
    let mut client = identify(&server, b"{}");
    client.ok();
    client.sub("t", "c");
    let shown = stats::client(server.http(), "t", "c");
    assert_eq!((&shown["client_id"], &shown["hostname"]), (&json!(""), &json!("")));
}

#[test]
fn edge_020_keys_match_in_any_case_and_the_last_one_counts() {
    let server = Leveret::nsqd().start();
    let mut client = identify(
        &server,
        br#" {"client_id":"first","CLIENT_ID":"last","unknown":{"a":[1,{}]},"Hostname":"h","user_agent":null,
            "Feature_Negotiation":true,"heartbeat_interval":null,"MSG_TIMEOUT":2000,"sample_rate":7} "#,
    );
    let features: Value = serde_json::from_slice(&client.response()).unwrap();
    assert_eq!((&features["msg_timeout"], &features["sample_rate"]), (&json!(2000), &json!(7)));
    client.sub("t", "c");
    let shown = stats::client(server.http(), "t", "c");
    assert_eq!((&shown["client_id"], &shown["hostname"]), (&json!("last"), &json!("h")));
    assert_eq!(shown["user_agent"], "");
}

#[test]
fn edge_021_a_body_that_go_would_not_decode_is_refused() {
    let server = Leveret::nsqd().start();
    for body in [
        r#"{"heartbeat_interval":1000.0}"#,
        r#"{"heartbeat_interval":1e3}"#,
        r#"{"heartbeat_interval":"1000"}"#,
        r#"{"sample_rate":3000000000}"#,
        r#"{"client_id":1}"#,
        "{} x",
        "{}{}",
        "[]",
        "1",
        "{",
        " ",
    ] {
        let mut client = identify(&server, body.as_bytes());
        client.fatal("E_BAD_BODY IDENTIFY failed to decode JSON body");
    }
    identify(&server, b"null").ok();
    identify(&server, b"\t{}\r\n").ok();
    identify(&server, b"{\"client_id\":\"\xff\"}").ok();
}

#[test]
fn edge_022_a_body_size_out_of_range_is_refused() {
    let server = Leveret::nsqd().arg("--max-body-size=100").start();
    for (size, text) in [
        (0, "IDENTIFY invalid body size 0"),
        (-1, "IDENTIFY invalid body size -1"),
        (i32::MIN, "IDENTIFY invalid body size -2147483648"),
        (101, "IDENTIFY body too big 101 > 100"),
    ] {
        let mut client = Client::connect(server.tcp());
        client.send(&declared("IDENTIFY", size));
        client.fatal(&format!("E_BAD_BODY {text}"));
    }
    identify(&server, format!("{{}}{}", " ".repeat(98)).as_bytes()).ok();
}

#[test]
fn edge_023_a_second_identify_moves_the_deadline_and_not_the_heartbeat() {
    let server = Leveret::nsqd().start();
    let twice = |first: u32, second: u32| {
        let mut client = Client::connect(server.tcp());
        client.identify(&json!({ "heartbeat_interval": first }));
        client.identify(&json!({ "heartbeat_interval": second }));
        client
    };
    let began = Instant::now();
    let mut patient = twice(1000, 60_000);
    let mut impatient = twice(60_000, 1000);
    assert_eq!(impatient.until_closed(), [], "without a heartbeat");
    assert!(
        began.elapsed() > Duration::from_millis(1900) && began.elapsed() < Duration::from_secs(20)
    );
    for _ in 0..3 {
        let frame = patient.frame();
        assert_eq!(frame, Some(Frame::Response(b"_heartbeat_".to_vec())), "it is mute and open");
    }
    assert!(began.elapsed() > Duration::from_millis(2900));
    patient.publish("t", b"open");
}

#[test]
fn edge_024_identify_has_its_time_before_sub() {
    let server = Leveret::nsqd().start();
    for closes in [false, true] {
        let mut client = Client::connect(server.tcp());
        client.sub("t", "c");
        if closes {
            client.command("CLS");
            assert_eq!(client.response(), b"CLOSE_WAIT");
        }
        client.command_with("IDENTIFY", b"{}");
        client.fatal("E_INVALID cannot IDENTIFY in current state");
    }
}

#[test]
fn edge_025_no_output_buffer_is_one_of_a_byte_without_a_timeout() {
    let server = Leveret::nsqd().start();
    for timeout in [0, -1, 500] {
        let mut client = Client::connect(server.tcp());
        let features = client.identify(&json!({
            "feature_negotiation": true, "output_buffer_size": -1, "output_buffer_timeout": timeout,
        }));
        assert_eq!(features["output_buffer_size"], 1);
        assert_eq!(features["output_buffer_timeout"], 0);
    }
}

#[test]
fn edge_026_every_field_has_its_bounds() {
    let server = Leveret::nsqd().start();
    for (key, what, fine, bad) in [
        (
            "output_buffer_timeout",
            "output buffer timeout",
            &[-1, 0, 25, 30_000][..],
            &[-2, 1, 24, 30_001][..],
        ),
        (
            "output_buffer_size",
            "output buffer size",
            &[-1, 0, 64, 65_536],
            &[-2, 1, 63, 65_537][..],
        ),
        (
            "heartbeat_interval",
            "heartbeat interval",
            &[-1, 0, 1000, 60_000],
            &[-2, 1, 999, 60_001][..],
        ),
        ("sample_rate", "sample rate", &[0, 99], &[-1, 100][..]),
        ("msg_timeout", "msg timeout", &[0, 1000, 900_000], &[-1, 1, 999, 900_001][..]),
    ] {
        for value in fine {
            identify(&server, json!({ key: value }).to_string().as_bytes()).ok();
        }
        for value in bad {
            let mut client = identify(&server, json!({ key: value }).to_string().as_bytes());
            client.fatal(&format!("E_BAD_BODY IDENTIFY {what} ({value}) is invalid"));
        }
    }
}

/// How long a lone message takes to a consumer with these options.
fn latency(server: &Leveret, options: &Value, rdy: u32) -> Duration {
    let topic = crate::support::unique("latency");
    let mut consumer = Client::connect(server.tcp());
    consumer.identify(options);
    consumer.consume(&topic, "c", rdy);
    // An answer shows that RDY was read.
    consumer.command("FIN 0123456789abcdef");
    assert!(consumer.error().starts_with("E_FIN_FAILED"));
    let mut producer = Client::connect(server.tcp());
    let began = Instant::now();
    producer.publish(&topic, b"lone");
    assert_eq!(consumer.message().text(), "lone");
    began.elapsed()
}

/// Leveret writes what it has as soon as nothing more is at hand: no timer holds a message back.
#[test]
fn edge_027_a_lone_message_does_not_wait_for_a_timer_that_is_off() {
    let server = Leveret::nsqd().start();
    let options = json!({ "output_buffer_timeout": -1, "heartbeat_interval": 3000 });
    let passed = latency(&server, &options, 10);
    if is_nsqd() {
        assert!(passed > Duration::from_secs(1), "it comes with the heartbeat: {passed:?}");
    } else {
        assert!(passed < Duration::from_secs(2), "{passed:?}");
    }
}

#[test]
fn edge_028_a_lone_message_fills_the_window_of_rdy_1() {
    let server = Leveret::nsqd().start();
    let long = json!({ "output_buffer_timeout": 30_000 });
    let passed = latency(&server, &long, 1);
    assert!(passed < Duration::from_secs(5), "at once: {passed:?}");
    let passed = latency(&server, &json!({}), 10);
    assert!(passed < Duration::from_secs(5), "within the 250 ms of the buffer: {passed:?}");
}
