//! Channels that begin with what their topic has retained.

use crate::support::leveret::Leveret;
use crate::support::nsq::Client;
use crate::support::{http, stats};

const CONFIGURATION: &str = r#"
nsqd: { tcp_address: "127.0.0.1:0", http_address: "127.0.0.1:0", data_path: "{dir}", durability: disk }
topics:
- match: kept
  retention: { age: 1h }
  channel:
  - { match: "again*", replay: start }
  - { match: "hour*", replay: 1h }
  - { match: "moment*", replay: { time: "2020-01-01T00:00:00Z" } }
"#;

/// What a channel has, in order.
fn read(server: &Leveret, channel: &str, count: usize) -> Vec<String> {
    let mut client = Client::subscribed(server.tcp(), "kept", channel, 10);
    let texts = (0..count).map(|_| {
        let message = client.message();
        client.fin(&message);
        message.text()
    });
    let texts = texts.collect();
    stats::await_counts(server.http(), "kept", channel, [0, 0, 0]);
    texts
}

#[test]
fn a_channel_begins_where_it_is_asked_to_and_stays_there() {
    let mut server = Leveret::serve(CONFIGURATION).start();
    let mut client = Client::connect(server.tcp());
    for body in ["1", "2", "3"] {
        client.publish("kept", body.as_bytes());
    }
    assert_eq!(read(&server, "live", 3), ["1", "2", "3"]);
    for channel in ["again1", "hour1", "moment1"] {
        assert_eq!(read(&server, channel, 3), ["1", "2", "3"], "{channel}");
    }
    for (from, count) in
        [("start", 3), ("new", 0), ("offset:0", 3), ("1577836800", 3), ("2120-01-01T00:00:00Z", 0)]
    {
        let channel = format!("by{count}-{}", from.len());
        http::done(
            server.http(),
            &format!("/channel/create?topic=kept&channel={channel}&from={from}"),
        );
        stats::await_counts(server.http(), "kept", &channel, [count, 0, 0]);
    }
    server.restart();
    let mut client = Client::connect(server.tcp());
    client.publish("kept", b"4");
    assert_eq!(read(&server, "again2", 4), ["1", "2", "3", "4"], "after a kill");
    assert_eq!(read(&server, "again1", 1), ["4"]);
    assert!(server.stop().success());
    server.restart();
    assert_eq!(read(&server, "again3", 4), ["1", "2", "3", "4"], "after a clean stop");
}

#[test]
fn what_is_not_kept_cannot_be_asked_for() {
    let server = Leveret::serve(CONFIGURATION).start();
    http::done(server.http(), "/topic/create?topic=passing");
    let create = |topic: &str, from: &str| {
        let path = format!("/channel/create?topic={topic}&channel=c&from={from}");
        let answer = http::post(server.http(), &path, b"");
        (answer.status, answer.text())
    };
    let (status, text) = create("passing", "start");
    assert!(status == 400 && text.contains("NOTHING_RETAINED"), "{status} {text}");
    assert_eq!(create("passing", "new").0, 200);
    http::done(server.http(), "/topic/create?topic=kept");
    let (status, text) = create("kept", "yesterday");
    assert!(status == 400 && text.contains("INVALID_ARG_FROM"), "{status} {text}");
}
