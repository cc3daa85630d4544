//! The binary under the name `nsqd`, with nsqd's flags.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http;
use crate::support::leveret::{Leveret, Plan};
use crate::support::nsq::Client;
use crate::support::wait::until_true;

fn nsqd() -> Plan {
    Leveret::named("nsqd")
        .arg("-tcp-address")
        .arg("127.0.0.1:0")
        .arg("--http-address=127.0.0.1:0")
        .arg("-data-path={dir}")
}

#[test]
fn flags_are_taken_in_each_of_gos_forms() {
    let server = nsqd().arg("--max-msg-size").arg("2048").arg("-msg-timeout=400ms").start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 1);
    client.publish("t", &[b'x'; 2048]);
    assert_eq!(client.message().attempts, 1);
    assert_eq!(client.message().attempts, 2, "-msg-timeout=400ms");
    let mut client = Client::connect(server.tcp());
    client.command_with("PUB t", &[b'x'; 2049]);
    assert_eq!(client.error(), "E_BAD_MESSAGE PUB message too big 2049 > 2048");
}

#[test]
fn version_help_and_unknown_flags() {
    for flag in ["--version", "-version", "-version=true"] {
        let (code, text) = Leveret::named("nsqd").arg(flag).run();
        assert_eq!(code, Some(0), "{text}");
        assert!(text.starts_with("nsqd v1.3.0 "), "{text}");
    }
    for (flag, words) in [
        ("-no-such-flag", "flag provided but not defined: -no-such-flag"),
        ("--mem-queue-size=many", "invalid value \"many\" for flag -mem-queue-size"),
        ("--tcp-address", "flag needs an argument: -tcp-address"),
    ] {
        let (code, text) = Leveret::named("nsqd").arg(flag).run();
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(words), "{text}");
    }
    let (code, text) = Leveret::named("nsqd").arg("-help").run();
    assert!(code == Some(0) && text.contains("-mem-queue-size"), "{text}");
}

fn topic(server: &Leveret) -> Value {
    http::get(server.http(), "/stats?format=json&topic=t").json()["topics"][0].clone()
}

#[test]
fn what_was_published_paused_and_attempted_is_there_after_a_restart() {
    let mut server = nsqd().start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 1);
    http::post(server.http(), "/channel/create?topic=t&channel=paused", b"");
    http::post(server.http(), "/channel/pause?topic=t&channel=paused", b"");
    let bodies: Vec<String> = (0..20).map(|number| format!("m-{number}")).collect();
    let batch: Vec<&[u8]> = bodies.iter().map(String::as_bytes).collect();
    client.publish_many("t", &batch);
    let first = client.message();
    client.fin(&first);
    let tried = client.message();
    client.req(&tried, Duration::ZERO);
    let mut again = client.message();
    while again.id != tried.id {
        client.fin(&again);
        again = client.message();
    }
    assert_eq!(again.attempts, 2);
    drop(client);
    until_true("nothing is in flight", || topic(&server)["channels"][0]["in_flight_count"] == 0);
    Client::connect(server.tcp()).publish_many("t", &batch);
    let owed = topic(&server)["channels"][0]["depth"].as_u64().unwrap();
    http::post(server.http(), "/topic/pause?topic=t", b"");
    Client::connect(server.tcp()).publish("t", b"held");

    assert!(server.stop().success());
    server.restart();
    let kept = topic(&server);
    assert_eq!((&kept["paused"], &kept["depth"]), (&json!(true), &json!(1)), "{kept}");
    let channels: Vec<_> = kept["channels"].as_array().unwrap().iter().collect();
    let view = |at: usize| {
        (
            channels[at]["channel_name"].as_str().unwrap(),
            channels[at]["depth"].as_u64().unwrap(),
            channels[at]["paused"].as_bool().unwrap(),
        )
    };
    assert_eq!(view(0), ("c", owed, false));
    assert_eq!(view(1), ("paused", 40, true));

    http::post(server.http(), "/topic/unpause?topic=t", b"");
    let mut client = Client::subscribed(server.tcp(), "t", "c", 1);
    let mut came = Vec::new();
    for _ in 0..=owed {
        let message = client.message();
        client.fin(&message);
        came.push(message);
    }
    let tried_again = came.iter().find(|message| message.id == tried.id).expect("it is owed");
    assert_eq!((tried_again.attempts, tried_again.timestamp), (3, tried.timestamp));
    assert!(came.iter().any(|message| message.body == b"held"));
    assert_eq!(client.message_within(Duration::from_millis(200)), None, "and no more");
}

#[test]
fn a_second_instance_on_the_same_data_path_is_refused() {
    let first = nsqd().start();
    let path = format!("--data-path={}", first.dir().display());
    let (code, text) = Leveret::named("nsqd")
        .arg("--tcp-address=127.0.0.1:0")
        .arg("--http-address=127.0.0.1:0")
        .arg(&path)
        .run();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("locked by another process"), "{text}");
    Client::connect(first.tcp()).publish("t", b"goes on");
}
