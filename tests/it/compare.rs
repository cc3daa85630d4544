//! `leveret compare`: what two places have of the same messages.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::http;
use crate::support::nsq::Client;
use crate::support::site::{Site, await_count};

const COPIES: &str = r#"
routes:
  - name: copy
    from: { nsq: { topic: orders.@, channel: copy } }
    to: { amqp: { exchange: "", routing_key: copied.@, declare: { queues: [ { name: copied.@, type: classic } ] } } }
    mode: queued
  - name: fan
    from: { nsq: { topic: orders.@, channel: fan } }
    to: { amqp: { exchange: fan.@, routing_key: k, declare: { exchange_type: fanout, queues: [ { name: fanned.@, type: classic } ] } } }
    mode: queued
"#;

/// Runs `leveret compare` with `left`, `right` and options; the exit code and what it says.
fn compare(site: &Site, left: &str, right: &str, options: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_leveret"))
        .current_dir(site.server.dir().join("data"))
        .args([
            "compare",
            "--left",
            &site.name(left).replace('%', "@"),
            "--right",
            &site.name(right),
            "--amqp",
            site.rabbit.uri(),
        ])
        .args(options)
        .output()
        .expect("leveret runs");
    let text = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    (output.status.code().expect("an exit code"), text)
}

fn json(site: &Site, left: &str, right: &str, options: &[&str]) -> (i32, Value) {
    let (code, text) = compare(site, left, right, &[options, &["--json"]].concat());
    (code, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

/// A channel of the node's topic `orders.@`, as a place.
fn channel(site: &Site, name: &str) -> String {
    format!("nsqd:{}/orders.@/{name}", site.server.tcp())
}

fn publish(site: &Site, bodies: impl Iterator<Item = String>) {
    let mut client = Client::connect(site.server.tcp());
    for body in bodies {
        client.publish(&site.name("orders.@"), body.as_bytes());
    }
}

#[test]
fn a_queue_and_a_channel_with_the_same_messages_are_the_same_until_one_is_gone() {
    let site = Site::start(COPIES);
    let topic = site.name("orders.@");
    for name in ["first", "second", "third"] {
        let path = format!("/channel/create?topic={topic}&channel={name}");
        assert_eq!(http::post(site.server.http(), &path, b"").status, 200);
    }
    publish(&site, (0..300).map(|n| format!(r#"{{"order": {n}}}"#)));
    await_count(&site.server, "copy", "confirmed", 300);
    let (code, text) =
        compare(&site, &channel(&site, "first"), "queue:copied.@", &["--grace", "1s", "--bodies"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("same   300") && text.contains("both have the same"), "{text}");
    assert_eq!(site.length("copied.@"), 300, "what was looked at is still there");

    // One is consumed on the right, one comes twice, and one that nobody knows.
    site.pika(&["consume", "--queue", "copied.@", "--count", "1", "--prefetch", "1"]).finish();
    let id = site.name("orders.@:0123456789abcdef");
    for _ in 0..2 {
        let properties = format!(r#"{{"message_id": "{id}"}}"#);
        let publish =
            ["publish", "--routing-key", "copied.@", "--body", "x", "--properties", &properties];
        site.pika(&publish).finish();
    }
    let (code, report) =
        json(&site, &channel(&site, "second"), "queue:copied.@", &["--grace", "1s"]);
    assert_eq!(code, 1, "{report}");
    assert_eq!(
        [
            &report["same"],
            &report["missing"]["count"],
            &report["extra"]["count"],
            &report["double_right"]["count"]
        ],
        [299, 1, 1, 1],
        "{report}"
    );
    assert_eq!(report["extra"]["first"][0]["key"], "0123456789abcdef");

    let by_order = ["--grace", "1s", "--key", "{{ body.order }}"];
    let (code, report) = json(&site, &channel(&site, "third"), "queue:copied.@", &by_order);
    assert_eq!(code, 1);
    assert_eq!(report["missing"]["first"][0]["key"], "0", "the first order was consumed: {report}");
    assert_eq!(
        report["unknown"],
        serde_json::json!([0, 2]),
        "what is not JSON has no order: {report}"
    );
}

#[test]
fn two_sides_that_go_on_are_compared_while_they_do() {
    let site = Site::start(COPIES);
    let place = format!("nsqd:{}/orders.@", site.server.tcp());
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let site = &site;
        scope.spawn(move || {
            let mut client = Client::connect(site.server.tcp());
            let mut count = 0;
            // Five hundred a second, until the comparison is done.
            while stopped
                .recv_timeout(Duration::from_millis(2))
                .is_err_and(|e| e == std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                client.publish(&site.name("orders.@"), format!("m-{count}").as_bytes());
                count += 1;
            }
        });
        let (code, report) =
            json(site, &place, "exchange:fan.@", &["--for", "3s", "--grace", "1s"]);
        assert_eq!(code, 0, "{report}");
        assert!(report["same"].as_u64() > Some(300), "{report}");
        // Nothing is on the other exchange.
        let (code, report) = json(
            site,
            &place,
            "exchange:amq.topic",
            &["--for", "1s", "--grace", "500ms", "--show", "3"],
        );
        assert_eq!((code, report["same"].as_u64()), (1, Some(0)), "{report}");
        assert_eq!(report["missing"]["first"].as_array().map(Vec::len), Some(3));
        stop.send(()).unwrap();
    });
}

#[test]
fn what_cannot_be_compared_says_why() {
    let site = Site::start(COPIES);
    for (left, right, options, words) in [
        ("queue:none.@", "queue:copied.@", &[][..], "NOT_FOUND"),
        ("queue%other:copied.@", "queue:copied.@", &[], "no such broker is configured"),
        ("table:x", "queue:copied.@", &[], "expected queue:NAME"),
        ("queue:copied.@", "queue:copied.@", &["--key", "{{ bodi.x }}"], "bodi"),
        ("queue:copied.@", "queue:copied.@", &["--from", "yesterday"], "RFC 3339"),
        ("queue:copied.@", "queue:copied.@", &["--grace", "5"], "without a unit"),
    ] {
        let (code, text) = compare(&site, left, right, options);
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(words), "{words}: {text}");
    }
    publish(&site, (0..20).map(|n| format!("m-{n}")));
    await_count(&site.server, "copy", "confirmed", 20);
    let (code, text) =
        compare(&site, "queue:copied.@", "queue:copied.@", &["--most", "10", "--grace", "1s"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("more than 10 different messages"), "{text}");
}

#[test]
fn a_stream_is_read_as_often_as_one_likes() {
    let site = Site::start(COPIES);
    let stream = site.name("stream.@");
    site.pika(&["declare", "--queue", &stream, "--type", "stream"]).finish();
    let publish = [
        "publish",
        "--routing-key",
        &stream,
        "--count",
        "50",
        "--properties",
        r#"{"message_id": "m"}"#,
    ];
    site.pika(&publish).finish();
    for _ in 0..2 {
        let options = ["--key", "body", "--grace", "1s"];
        let (code, report) = json(&site, "stream:stream.@", "stream:stream.@", &options);
        assert_eq!((code, report["same"].as_u64()), (0, Some(50)), "{report}");
    }
    let late = ["--key", "body", "--grace", "1s", "--from", "4000000000"];
    let (code, report) = json(&site, "stream:stream.@", "stream:stream.@", &late);
    assert_eq!(
        (code, report["same"].as_u64()),
        (0, Some(0)),
        "it is read from that time on: {report}"
    );
}
