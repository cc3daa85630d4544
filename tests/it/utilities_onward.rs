//! nsq_to_nsq and nsq_to_http. `NSQ_BIN` and `NSQD` may name the originals.

use serde_json::Value;

use crate::support::authd::Authd;
use crate::support::leveret::Leveret;
use crate::support::nsq::Client;
use crate::support::nsqds::{collect, make, publish};
use crate::support::stats;
use crate::support::utility::Utility;
use crate::support::wait::until_true;

fn at(node: &Leveret) -> String {
    format!("--nsqd-tcp-address={}", node.tcp())
}

fn counts(node: &Leveret, topic: &str, channel: &str) -> Value {
    stats::channel(node.http(), topic, channel)
}

#[test]
fn nsq_to_nsq_copies_what_its_filter_lets_pass() {
    let [from, to] = [Leveret::nsqd().start(), Leveret::nsqd().start()];
    make(&from, "t", "nsq_to_nsq");
    make(&to, "t", "c");
    publish(from.tcp(), "t", "m", 500);
    let destination = format!("--destination-nsqd-tcp-address={}", to.tcp());
    let copying = Utility::start("nsq_to_nsq", &["--topic=t", &at(&from), &destination], b"");
    let mut consumer = Client::subscribed(to.tcp(), "t", "c", 100);
    let came = collect(&mut consumer, 500);
    assert!(came.values().all(|times| *times == 1), "{came:?}");
    stats::await_counts(from.http(), "t", "nsq_to_nsq", [0, 0, 0]);
    assert_eq!(copying.stop().code, Some(0));

    make(&from, "json", "filter");
    make(&to, "picked", "c");
    let mut producer = Client::connect(from.tcp());
    for body in [
        r#"{"kind":"order","id":1.0,"secret":"x"}"#,
        r#"{"kind":"other","id":2}"#,
        "not JSON",
        r#"{"kind":"order","id":3}"#,
    ] {
        producer.publish("json", body.as_bytes());
    }
    let copying = Utility::start(
        "nsq_to_nsq",
        &[
            "--topic=json",
            "--channel=filter",
            "--destination-topic=picked",
            "--require-json-field=kind",
            "--require-json-value=order",
            "--whitelist-json-field=id",
            "--whitelist-json-field=kind",
            &at(&from),
            &destination,
        ],
        b"",
    );
    let mut consumer = Client::subscribed(to.tcp(), "picked", "c", 10);
    let came = collect(&mut consumer, 2);
    let bodies: Vec<&str> = came.keys().map(String::as_str).collect();
    assert_eq!(bodies, [r#"{"id":1,"kind":"order"}"#, r#"{"id":3,"kind":"order"}"#]);
    stats::await_counts(from.http(), "json", "filter", [0, 0, 0]);
    // Edge 160: where the field is missing and its value matters, the message comes again.
    producer.publish("json", br#"{"id":4}"#);
    until_true("it is requeued", || counts(&from, "json", "filter")["requeue_count"] == 1);
    drop(copying);
}

#[test]
fn nsq_to_nsq_goes_to_who_is_there() {
    let [from, to] = [Leveret::nsqd().start(), Leveret::nsqd().start()];
    make(&from, "t", "nsq_to_nsq");
    make(&to, "t", "c");
    publish(from.tcp(), "t", "m", 200);
    let _copying = Utility::start(
        "nsq_to_nsq",
        &[
            "--topic=t",
            &at(&from),
            "--destination-nsqd-tcp-address=127.0.0.1:1",
            &format!("--destination-nsqd-tcp-address={}", to.tcp()),
            "--consumer-opt=default_requeue_delay,10ms",
            "--consumer-opt=max_attempts,0",
            "--consumer-opt=max_backoff_duration,0",
        ],
        b"",
    );
    let mut consumer = Client::subscribed(to.tcp(), "t", "c", 100);
    assert_eq!(collect(&mut consumer, 200).len(), 200);
}

#[test]
fn edge_154_nsq_to_http_posts_and_gets() {
    let node = Leveret::nsqd().start();
    for channel in ["post", "get"] {
        make(&node, "t", channel);
    }
    publish(node.tcp(), "t", "a b&c", 1);
    let server = Authd::start("thanks");
    server.answers(204, "");
    let post = format!("--post=http://{}/in", server.address());
    let sending = Utility::start(
        "nsq_to_http",
        &[
            "--topic=t",
            "--channel=post",
            &post,
            "--header=X-Key: v:1",
            "--content-type=text/x",
            &at(&node),
        ],
        b"",
    );
    stats::await_counts(node.http(), "t", "post", [0, 0, 0]);
    let asked = server.asked();
    assert_eq!(asked[0].target, "/in");
    assert_eq!(asked[0].body, "a b&c-0");
    let has = |name: &str, value: &str| {
        asked[0]
            .headers
            .iter()
            .any(|header| header.eq_ignore_ascii_case(&format!("{name}: {value}")))
    };
    assert!(has("content-type", "text/x") && has("x-key", "v:1"), "{asked:?}");
    assert!(has("user-agent", "nsq_to_http v1.3.0"), "{asked:?}");
    assert_eq!(sending.stop().code, Some(0));
    // A GET wants 200 and nothing else.
    let get = format!("--get=http://{}/in?m=%s", server.address());
    let _sending = Utility::start(
        "nsq_to_http",
        &[
            "--topic=t",
            "--channel=get",
            &get,
            "--consumer-opt=default_requeue_delay,10ms",
            "--consumer-opt=max_backoff_duration,0",
            &at(&node),
        ],
        b"",
    );
    until_true("204 is a failure", || {
        counts(&node, "t", "get")["requeue_count"].as_u64() > Some(0)
    });
    server.answers(200, "");
    stats::await_counts(node.http(), "t", "get", [0, 0, 0]);
    assert!(server.asked().iter().any(|asked| asked.target == "/in?m=a+b%26c-0"));
}

#[test]
fn edge_155_any_other_mode_sends_to_all() {
    let node = Leveret::nsqd().start();
    make(&node, "t", "nsq_to_http");
    publish(node.tcp(), "t", "m", 20);
    let servers = [Authd::start("ok"), Authd::start("ok")];
    let posts: Vec<String> =
        servers.iter().map(|server| format!("--post=http://{}/", server.address())).collect();
    let sending = Utility::start(
        "nsq_to_http",
        &["--topic=t", "--mode=everybody", &posts[0], &posts[1], &at(&node)],
        b"",
    );
    stats::await_counts(node.http(), "t", "nsq_to_http", [0, 0, 0]);
    assert_eq!(sending.stop().code, Some(0));
    for server in &servers {
        assert_eq!(server.asked().len(), 20);
    }
    // By turns, each gets half.
    publish(node.tcp(), "t", "m", 20);
    let sending = Utility::start(
        "nsq_to_http",
        &["--topic=t", "--mode=round-robin", "--sample=1", &posts[0], &posts[1], &at(&node)],
        b"",
    );
    stats::await_counts(node.http(), "t", "nsq_to_http", [0, 0, 0]);
    assert_eq!(sending.stop().code, Some(0));
    for server in &servers {
        assert_eq!(server.asked().len(), 30);
    }
}
