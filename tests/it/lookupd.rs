//! nsqlookupd to the letter: its TCP protocol and its HTTP API. `NSQLOOKUPD` may name another one's binary: the same tests
//! then tell whether they ask for the right thing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http;
use crate::support::leveret::Leveret;
use crate::support::lookupd::{
    Peer, await_producers, channels, identity, is_other, nsqlookupd, producers,
};
use crate::support::wait::until_true;

#[test]
fn edge_133_answers_have_a_length_and_no_type() {
    let server = nsqlookupd().start();
    let mut peer = Peer::connect(server.tcp());
    assert_eq!(peer.ask("PING"), "OK", "before IDENTIFY as well");
    let answer: Value =
        serde_json::from_str(&peer.identify(&identity("a", 4151).to_string())).unwrap();
    assert_eq!(answer["tcp_port"], server.tcp().port());
    assert_eq!(answer["http_port"], server.http().port());
    assert_eq!(answer["version"], "1.3.0");
    assert!(!answer["hostname"].as_str().unwrap().is_empty());
    assert_eq!(peer.ask("REGISTER t c"), "OK");
    assert_eq!(peer.ask("  REGISTER u  \r"), "OK", "white space around is taken off");
    assert_eq!(peer.ask("UNREGISTER t c surplus"), "OK");
}

#[test]
fn errors_are_nsqlookupds_and_the_last_word() {
    let server = nsqlookupd().start();
    for (line, answer) in [
        ("REGISTER t", "E_INVALID client must IDENTIFY"),
        ("HELLO you", "E_INVALID invalid command HELLO"),
        ("ping", "E_INVALID invalid command ping"),
    ] {
        let mut peer = Peer::connect(server.tcp());
        assert_eq!(peer.ask(line), answer);
        assert_eq!(peer.answer(), None, "{line}");
    }
    for (line, answer) in [
        ("IDENTIFY", "E_INVALID cannot IDENTIFY again"),
        ("REGISTER", "E_INVALID REGISTER insufficient number of params"),
        ("REGISTER bad$", "E_BAD_TOPIC REGISTER topic name 'bad$' is not valid"),
        ("REGISTER t bad$", "E_BAD_CHANNEL REGISTER channel name 'bad$' is not valid"),
        ("UNREGISTER bad$ c", "E_BAD_TOPIC UNREGISTER topic name 'bad$' is not valid"),
    ] {
        let mut peer = Peer::identified(server.tcp(), "a", 4151);
        assert_eq!(peer.ask(line), answer);
        assert_eq!(peer.answer(), None, "{line}");
    }
    for (body, answer) in [
        ("nonsense", "E_BAD_BODY IDENTIFY failed to decode JSON body"),
        ("{}", "E_BAD_BODY IDENTIFY missing fields"),
        (
            r#"{"broadcast_address":"a","tcp_port":1,"http_port":0,"version":"1"}"#,
            "E_BAD_BODY IDENTIFY missing fields",
        ),
    ] {
        let mut peer = Peer::connect(server.tcp());
        assert_eq!(peer.identify(body), answer);
        assert_eq!(peer.answer(), None, "{body}");
    }
    let other = std::net::TcpStream::connect(server.tcp()).unwrap();
    std::io::Write::write_all(&mut &other, b"  V2").unwrap();
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut &other, &mut answer).unwrap();
    assert_eq!(answer, b"\x00\x00\x00\x0eE_BAD_PROTOCOL");
}

#[test]
fn edge_134_a_length_that_cannot_be_ends_one_connection() {
    if is_other() {
        eprintln!("skipped: the original dies of it");
        return;
    }
    let server = nsqlookupd().start();
    for length in [-1, i32::MIN, i32::MAX] {
        let mut peer = Peer::connect(server.tcp());
        assert_eq!(peer.identify_with(length, ""), "E_BAD_BODY IDENTIFY failed to read body");
        assert_eq!(peer.answer(), None);
    }
    let mut peer = Peer::connect(server.tcp());
    assert_eq!(peer.ask(&"x".repeat(4096)), "E_INVALID a line may have 4096 bytes");
    assert_eq!(http::get(server.http(), "/ping").text(), "OK");
}

#[test]
fn who_has_a_topic_is_told_key_for_key() {
    let server = nsqlookupd().start();
    let at = server.http();
    let mut peer = Peer::identified(server.tcp(), "a", 4151);
    assert_eq!(http::get(at, "/lookup?topic=t").json(), json!({"message": "TOPIC_NOT_FOUND"}));
    assert_eq!(peer.ask("REGISTER t c"), "OK");
    let answer = http::get(at, "/lookup?topic=t");
    assert_eq!(answer.header("x-nsq-content-type"), Some("nsq; version=1.0"));
    let answer = answer.json();
    let producer = &answer["producers"][0];
    assert_eq!(answer["channels"], json!(["c"]));
    assert_eq!(producer["hostname"], "host-of-a");
    assert_eq!((&producer["tcp_port"], &producer["http_port"]), (&4150.into(), &4151.into()));
    assert!(producer["remote_address"].as_str().unwrap().starts_with("127.0.0.1:"));
    let node = http::get(at, "/nodes").json()["producers"][0].clone();
    assert_eq!((&node["topics"], &node["tombstones"]), (&json!(["t"]), &json!([false])));
    assert_eq!(node["remote_address"], producer["remote_address"]);
    let debug = http::get(at, "/debug").json();
    for key in ["client::", "topic:t:", "channel:t:c"] {
        let entry = &debug[key][0];
        assert_eq!(entry["id"], producer["remote_address"], "{key}");
        assert_eq!(entry["tombstoned_at"], -6_795_364_578_871_345_152_i64, "{key}");
        assert!(entry["last_update"].as_i64().unwrap() > 1_700_000_000_000_000_000, "{key}");
    }
    assert_eq!(http::get(at, "/topics").json(), json!({"topics": ["t"]}));
    assert_eq!(http::get(at, "/channels?topic=unknown").json(), json!({"channels": []}));
    assert_eq!(http::get(at, "/info").json(), json!({"version": "1.3.0"}));
    drop(peer);
    await_producers(at, "t", &[]);
    assert_eq!(channels(at, "t"), ["c"], "the channel stays known");
    assert_eq!(http::get(at, "/nodes").json(), json!({"producers": []}));
}

#[test]
fn what_is_missing_or_wrong_is_refused_in_its_words() {
    let server = nsqlookupd().start();
    let at = server.http();
    for (method, path, status, message) in [
        ("GET", "/lookup", 400, "MISSING_ARG_TOPIC"),
        ("GET", "/channels", 400, "MISSING_ARG_TOPIC"),
        ("GET", "/lookup?topic=%zz", 400, "INVALID_REQUEST"),
        ("POST", "/topic/create", 400, "MISSING_ARG_TOPIC"),
        ("POST", "/topic/create?topic=bad$", 400, "INVALID_ARG_TOPIC"),
        ("POST", "/topic/delete", 400, "MISSING_ARG_TOPIC"),
        ("POST", "/topic/tombstone", 400, "MISSING_ARG_TOPIC"),
        ("POST", "/topic/tombstone?topic=t", 400, "MISSING_ARG_NODE"),
        ("POST", "/channel/create?topic=bad$", 400, "INVALID_ARG_TOPIC"),
        ("POST", "/channel/create?topic=t", 400, "MISSING_ARG_CHANNEL"),
        ("POST", "/channel/delete?topic=t&channel=bad$", 400, "INVALID_ARG_CHANNEL"),
        ("POST", "/channel/delete?topic=t&channel=c", 404, "CHANNEL_NOT_FOUND"),
        ("GET", "/topic/create?topic=t", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/delete_topic?topic=t", 404, "NOT_FOUND"),
    ] {
        let answer = http::request(at, method, path, &[], b"");
        assert_eq!((answer.status, answer.json()), (status, json!({"message": message})), "{path}");
    }
    for path in ["/topic/delete?topic=bad$", "/topic/tombstone?topic=t&node=nobody:1"] {
        http::done(at, path);
    }
    http::done(at, "/channel/create?topic=t&channel=c");
    assert_eq!((producers(at, "t"), channels(at, "t")), (Some(vec![]), vec!["c".to_owned()]));
    http::done(at, "/channel/delete?topic=t&channel=c");
    assert_eq!((producers(at, "t"), channels(at, "t")), (Some(vec![]), vec![]));
    assert_eq!(http::get(at, "/debug/pprof/").status, 301);
    assert_eq!(http::get(at, "/debug/pprof").status, 200);
}

#[test]
fn edge_136_unknown_things_can_be_unregistered_and_channels_stay() {
    let server = nsqlookupd().start();
    let mut peer = Peer::identified(server.tcp(), "a", 4151);
    for line in ["UNREGISTER nothing", "UNREGISTER nothing c", "REGISTER t c", "UNREGISTER t c"] {
        assert_eq!(peer.ask(line), "OK", "{line}");
    }
    assert_eq!(channels(server.http(), "t"), ["c"]);
    for line in ["REGISTER t e#ephemeral", "UNREGISTER t e#ephemeral"] {
        assert_eq!(peer.ask(line), "OK", "{line}");
    }
    assert_eq!(channels(server.http(), "t"), ["c"]);
}

#[test]
fn edge_137_a_tombstone_hides_until_its_time_or_a_new_registration() {
    let server = nsqlookupd().arg("-tombstone-lifetime=3s").start();
    let at = server.http();
    let mut peer = Peer::identified(server.tcp(), "a", 4151);
    for line in ["REGISTER t c", "REGISTER u"] {
        assert_eq!(peer.ask(line), "OK");
    }
    let tombstone = || http::done(at, "/topic/tombstone?topic=t&node=a:4151");
    tombstone();
    assert_eq!(producers(at, "t"), Some(vec![]));
    assert_eq!(producers(at, "u"), Some(vec!["a:4150".to_owned()]));
    let node = http::get(at, "/nodes").json()["producers"][0].clone();
    let mut topics = node["topics"].as_array().unwrap().iter();
    let taken = topics.position(|topic| topic == "t").unwrap();
    assert_eq!(node["tombstones"][taken], true);
    assert_eq!(peer.ask("REGISTER t c"), "OK");
    assert_eq!(producers(at, "t"), Some(vec![]), "to register again changes nothing");
    await_producers(at, "t", &["a:4150".to_owned()]);
    tombstone();
    assert_eq!(producers(at, "t"), Some(vec![]));
    for line in ["UNREGISTER t", "REGISTER t"] {
        assert_eq!(peer.ask(line), "OK");
    }
    assert_eq!(producers(at, "t"), Some(vec!["a:4150".to_owned()]));
}

#[test]
fn edge_138_who_sends_no_ping_is_hidden_until_the_next_one() {
    let server = nsqlookupd().arg("--inactive-producer-timeout=1s").start();
    let at = server.http();
    let mut peer = Peer::identified(server.tcp(), "a", 4151);
    assert_eq!(peer.ask("REGISTER t"), "OK");
    until_true("it is hidden", || {
        assert_eq!(peer.ask("REGISTER t other"), "OK", "a registration is no sign of life");
        producers(at, "t").unwrap().is_empty()
    });
    assert_eq!(http::get(at, "/nodes").json()["producers"], json!([]));
    assert_eq!(peer.ask("PING"), "OK");
    assert_eq!(producers(at, "t"), Some(vec!["a:4150".to_owned()]));
}

#[test]
fn edge_139_and_140_deleted_topics_come_back_with_the_next_registration() {
    let server = nsqlookupd().start();
    let at = server.http();
    let mut peer = Peer::identified(server.tcp(), "a", 4151);
    for line in ["REGISTER t c", "REGISTER u d"] {
        assert_eq!(peer.ask(line), "OK");
    }
    http::done(at, "/topic/delete?topic=t");
    assert_eq!((producers(at, "t"), channels(at, "t")), (None, vec![]));
    assert_eq!(peer.ask("REGISTER t e"), "OK");
    assert_eq!(producers(at, "t"), Some(vec!["a:4150".to_owned()]));
    assert_eq!(channels(at, "*"), ["d", "e"]);
    http::done(at, "/topic/delete?topic=*");
    assert_eq!(http::get(at, "/topics").json(), json!({"topics": []}));
}

#[test]
fn it_stops_at_once_whoever_is_connected() {
    if is_other() {
        eprintln!("skipped: the original waits for a connection that never says anything");
        return;
    }
    let mut server = nsqlookupd().start();
    let _silent = std::net::TcpStream::connect(server.tcp()).unwrap();
    let _peer = Peer::identified(server.tcp(), "a", 4151);
    let began = std::time::Instant::now();
    assert_eq!(server.stop().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn its_flags_and_its_file_are_nsqlookupds() {
    let (code, text) = Leveret::named("nsqlookupd").arg("--version").run();
    assert!(code == Some(0) && text.starts_with("nsqlookupd v1.3.0 "), "{text}");
    let (code, text) = Leveret::bare().arg("nsqlookupd").arg("-no-such-flag").run();
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("Usage of nsqlookupd:") && text.contains("-tombstone-lifetime"),
        "{text}"
    );
    let (code, text) = Leveret::named("nsqlookupd").arg("--tls-cert=x").run();
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("[nsqlookupd] ") && text.contains("failed to instantiate nsqlookupd"),
        "{text}"
    );
    let server = Leveret::named("nsqlookupd")
        .file(
            "lookupd.toml",
            "tcp_address = \"127.0.0.1:0\"\nhttp_address = \"127.0.0.1:0\"\n\
             inactive_producer_timeout = 1000\nno_such_key = 1\nlog_prefix = \"[seen] \"\n",
        )
        .arg("--config={dir}/lookupd.toml")
        .start();
    let log = server.log();
    assert!(log.contains("[seen] ") && log.contains("\"no_such_key\" is not an option"), "{log}");
}
