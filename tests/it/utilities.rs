//! NSQ's utilities by their names and flags. `NSQ_BIN` may name a folder with the originals, and `NSQD` a real nsqd's binary: the
//! same tests then ask those.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http;
use crate::support::leveret::Leveret;
use crate::support::lookupd::{await_producers, nsqlookupd};
use crate::support::nsq::Client;
use crate::support::nsqds::{collect, make, publish};
use crate::support::stats;
use crate::support::utility::{Utility, is_original};
use crate::support::wait::{eventually, until_true};

fn at(node: &Leveret) -> String {
    format!("--nsqd-tcp-address={}", node.tcp())
}

fn counts(node: &Leveret, topic: &str, channel: &str) -> Value {
    stats::channel(node.http(), topic, channel)
}

#[test]
fn edge_152_to_nsq_publishes_every_piece_everywhere() {
    let nodes = [Leveret::nsqd().start(), Leveret::nsqd().start()];
    for node in &nodes {
        make(node, "t", "c");
    }
    let ended = Utility::run(
        "to_nsq",
        &["--topic=t", &at(&nodes[0]), &at(&nodes[1])],
        b"one\ntwo\n\nthree\n",
    );
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for node in &nodes {
        let mut consumer = Client::subscribed(node.tcp(), "t", "c", 10);
        let came: Vec<String> = (0..3).map(|_| consumer.message().text()).collect();
        assert_eq!(came, ["one", "two", "three"], "in their order");
    }
    if is_original() {
        return;
    }
    let input = b"a;b\n;last";
    let ended =
        Utility::run("to_nsq", &["-topic", "u", "--delimiter=;", &at(&nodes[0]), "--json"], input);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let shown: Value = serde_json::from_str(ended.out.lines().last().unwrap()).unwrap();
    assert_eq!((&shown["messages"], &shown["done"]), (&json!(3), &json!(true)));
    let mut consumer = Client::subscribed(nodes[0].tcp(), "u", "c", 10);
    let came: Vec<String> = (0..3).map(|_| consumer.message().text()).collect();
    assert_eq!(came, ["a", "b\n", "last"], "the last byte is the message's");
}

#[test]
fn to_nsq_says_why_it_cannot() {
    let node = Leveret::nsqd().arg("--max-msg-size=10").start();
    for (arguments, code, words) in [
        (vec![], 1, "--topic"),
        (vec!["--topic=t".to_owned()], 1, "--nsqd-tcp-address required"),
        (vec!["--no-such-flag".to_owned()], 2, "flag provided but not defined: -no-such-flag"),
        (
            vec!["--topic=t".to_owned(), "--nsqd-tcp-address=127.0.0.1:1".to_owned()],
            1,
            "127.0.0.1:1",
        ),
        (vec!["--topic=t".to_owned(), at(&node), "--delimiter=ab".to_owned()], 1, "single byte"),
        (vec!["--topic=t".to_owned(), at(&node), "--producer-opt=nope".to_owned()], 2, "nope"),
        (vec!["--topic=t".to_owned(), at(&node)], 1, "E_BAD_MESSAGE"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ended = Utility::run("to_nsq", &arguments, b"a line that is too long\n");
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(words), "{arguments:?}: {}", ended.err);
    }
}

#[test]
fn to_nsq_keeps_to_its_rate() {
    let node = Leveret::nsqd().start();
    make(&node, "t", "c");
    let began = Instant::now();
    let ended = Utility::run("to_nsq", &["--topic=t", &at(&node), "--rate=20"], &b"x\n".repeat(41));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1700) && took < Duration::from_secs(8), "{took:?}");
    stats::await_counts(node.http(), "t", "c", [41, 0, 0]);
}

#[test]
fn nsq_tail_shows_what_comes_on_a_channel_of_its_own() {
    let node = Leveret::nsqd().start();
    let tail =
        Utility::start("nsq_tail", &["--topic=a", "--topic", "b", "-print-topic", &at(&node)], b"");
    for topic in ["a", "b"] {
        let channel = eventually("it has subscribed", || {
            let shown = http::get(node.http(), &format!("/stats?format=json&topic={topic}")).json();
            shown["topics"][0]["channels"][0]["channel_name"].as_str().map(str::to_owned)
        });
        assert!(channel.starts_with("tail") && channel.ends_with("#ephemeral"), "{channel}");
        publish(node.tcp(), topic, topic, 2);
    }
    let mut lines = tail.await_lines(4);
    lines.sort();
    assert_eq!(lines, ["a | a-0", "a | a-1", "b | b-0", "b | b-1"]);
    let ended = tail.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

#[test]
fn edge_153_the_last_message_that_nsq_tail_shows_comes_again() {
    let node = Leveret::nsqd().start();
    make(&node, "t", "c");
    publish(node.tcp(), "t", "m", 3);
    let arguments = ["--topic=t", "--channel=c", "-n", "2", &at(&node)];
    let ended = Utility::run("nsq_tail", &arguments, b"");
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "m-0\nm-1\n"), "{}", ended.err);
    let mut consumer = Client::subscribed(node.tcp(), "t", "c", 10);
    if is_original() {
        // What it finished before is on its way when it goes, and may come again too.
        while consumer.message().text() != "m-1" {}
        return;
    }
    let came = collect(&mut consumer, 2);
    assert_eq!(came.keys().collect::<Vec<_>>(), ["m-1", "m-2"]);
}

#[test]
fn edge_156_the_sixth_delivery_is_finished_unseen() {
    let node = Leveret::nsqd().arg("--msg-timeout=1s").start();
    let mut consumer = Client::subscribed(node.tcp(), "t", "c", 1);
    publish(node.tcp(), "t", "tried", 1);
    for _ in 0..5 {
        let message = consumer.message();
        consumer.req(&message, Duration::ZERO);
    }
    drop(consumer);
    let tail = Utility::start("nsq_tail", &["--topic=t", "--channel=c", &at(&node)], b"");
    until_true("it is given up", || {
        let shown = counts(&node, "t", "c");
        shown["depth"] == 0 && shown["in_flight_count"] == 0 && shown["client_count"] == 1
    });
    publish(node.tcp(), "t", "fresh", 1);
    assert_eq!(tail.await_lines(1), ["fresh-0"]);
    assert!(tail.err().contains("giving up"), "{}", tail.err());
    drop(tail);
    let all = ["--topic=t", "--channel=c", "--consumer-opt=max_attempts,0", "-n", "1", &at(&node)];
    let mut consumer = Client::subscribed(node.tcp(), "t", "c", 1);
    publish(node.tcp(), "t", "tried", 1);
    for _ in 0..6 {
        let message = consumer.message();
        consumer.req(&message, Duration::ZERO);
    }
    drop(consumer);
    assert_eq!(Utility::run("nsq_tail", &all, b"").out, "tried-0\n");
}

#[test]
fn nsq_stat_shows_the_sum_over_all_nodes() {
    let lookupd = nsqlookupd().start();
    let nodes: Vec<Leveret> = (0..2)
        .map(|_| {
            Leveret::nsqd()
                .arg("--broadcast-address=127.0.0.1")
                .arg(&format!("--lookupd-tcp-address={}", lookupd.tcp()))
                .start()
        })
        .collect();
    for node in &nodes {
        make(node, "t", "c");
        publish(node.tcp(), "t", "m", 5);
    }
    let mut names: Vec<String> =
        nodes.iter().map(|node| format!("127.0.0.1:{}", node.tcp().port())).collect();
    names.sort();
    await_producers(lookupd.http(), "t", &names);
    let named: Vec<String> =
        nodes.iter().map(|node| format!("--nsqd-http-address={}", node.http())).collect();
    let found = format!("--lookupd-http-address={}", lookupd.http());
    let common = ["--topic=t", "--channel=c", "--count=2", "--interval=200ms"];
    for addresses in [vec![named[0].as_str(), named[1].as_str()], vec![found.as_str()]] {
        let ended = Utility::run("nsq_stat", &[&common[..], &addresses].concat(), b"");
        let lines: Vec<&str> = ended.out.lines().collect();
        assert_eq!((ended.code, lines.len()), (Some(0), 4), "{}{}", ended.out, ended.err);
        assert!(lines[0].starts_with("------rate------+-----"), "{}", ended.out);
        assert!(lines[1].starts_with("ingress  egress |   total     mem"), "{}", ended.out);
        let figures: Vec<&str> =
            lines[3].split_whitespace().filter(|figure| *figure != "|").collect();
        let of = |at: usize| figures[at].parse::<u64>().unwrap();
        assert_eq!((of(0), of(2), of(9), of(10)), (0, 10, 10, 0), "{}", lines[3]);
    }
    let address = [named[0].as_str()];
    let unknown = [&["--topic=t", "--channel=nobody"][..], &address].concat();
    let ended = Utility::run("nsq_stat", &unknown, b"");
    assert_eq!(ended.code, Some(1));
    let words = "failed to find channel(nobody) in stats metadata for topic(t)";
    assert!(ended.err.contains(words), "{}", ended.err);
    if !is_original() {
        let ended = Utility::run("nsq_stat", &[&common[..], &address, &["--json"]].concat(), b"");
        let row: Value = serde_json::from_str(ended.out.lines().next().unwrap()).unwrap();
        assert_eq!((&row["depth"], &row["message_count"]), (&json!(5), &json!(5)));
    }
}

#[test]
fn what_cannot_be_asked_for_is_said() {
    for (name, arguments, code, words) in [
        ("nsq_tail", vec!["--topic=t"], 1, "--nsqd-tcp-address or --lookupd-http-address required"),
        (
            "nsq_tail",
            vec!["--topic=t", "--nsqd-tcp-address=a:1", "--lookupd-http-address=b:1"],
            1,
            "not both",
        ),
        ("nsq_tail", vec!["--topic=t", "--nsqd-tcp-address=127.0.0.1:1"], 1, "127.0.0.1:1"),
        ("nsq_to_http", vec!["--topic=t", "--nsqd-tcp-address=a:1"], 1, "--get or --post required"),
        (
            "nsq_to_http",
            vec!["--topic=t", "--nsqd-tcp-address=a:1", "--get=http://h/"],
            1,
            "invalid GET address",
        ),
        (
            "nsq_to_http",
            vec!["--topic=t", "--nsqd-tcp-address=a:1", "--post=http://h/", "--sample=2"],
            1,
            "--sample must be between 0.0 and 1.0",
        ),
        ("nsq_stat", vec!["--topic=t"], 1, "--topic and --channel are required"),
        (
            "nsq_stat",
            vec!["--topic=t", "--channel=c", "--nsqd-http-address=http://a:1"],
            1,
            "address should not contain scheme",
        ),
        (
            "nsq_to_file",
            vec!["--topic=t", "--nsqd-tcp-address=a:1", "--gzip-level=10"],
            1,
            "should be 1-9",
        ),
        (
            "nsq_to_file",
            vec!["--topic=t", "--nsqd-tcp-address=a:1", "left"],
            1,
            "unknown arguments: [left]",
        ),
        (
            "nsq_to_nsq",
            vec!["--topic=t", "--nsqd-tcp-address=a:1"],
            1,
            "--destination-nsqd-tcp-address required",
        ),
    ] {
        let ended = Utility::run(name, &arguments, b"");
        assert_eq!(ended.code, Some(code), "{name} {arguments:?}: {}", ended.err);
        assert!(ended.err.contains(words), "{name} {arguments:?}: {}", ended.err);
    }
    let ended = Utility::run("nsq_tail", &["--version"], b"");
    assert!(ended.out.starts_with("nsq_tail v1.3.0"), "{}", ended.out);
}

#[test]
fn leveret_top_writes_what_nodes_tell() {
    let node = Leveret::nsqd().start();
    make(&node, "orders", "billing");
    publish(node.tcp(), "orders", "m", 30);
    let (code, text) = Leveret::bare()
        .arg("top")
        .arg(&format!("--http={}", node.http()))
        .arg("--http=127.0.0.1:1")
        .arg("--once")
        .run();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("1 nodes | 127.0.0.1:1: "), "{text}");
    let has = |cells: &str| {
        text.lines().any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") == cells)
    };
    assert!(has("orders billing 0 0 30 0 0 0 0 0"), "{text}");
    assert!(has("orders 0 0 30 1"), "{text}");
}
