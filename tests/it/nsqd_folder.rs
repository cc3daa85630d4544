//! The data folder of an nsqd under Leveret: taken over at the first start, written again by `leveret export`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::leveret::{Leveret, Plan};
use crate::support::nsq::Client;
use crate::support::wait::until_true;
use crate::support::{Scratch, http};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/nsqd-1.3.0");

/// What is told of a message: timestamp, attempts before this delivery, body.
type Told = (i64, u16, Vec<u8>);

/// Leveret as nsqd on this folder, whatever `NSQD` says.
fn on(folder: &Path) -> Plan {
    Leveret::bare()
        .arg("nsqd")
        .arg("--tcp-address=127.0.0.1:0")
        .arg("--http-address=127.0.0.1:0")
        .arg(&format!("--data-path={}", folder.display()))
}

fn export(from: &Path, to: &Path) -> (Option<i32>, String) {
    let flags = [format!("--nsqd={}", to.display()), format!("--data-path={}", from.display())];
    Leveret::bare().arg("export").arg(&flags[0]).arg(&flags[1]).run()
}

fn copy(from: &str, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn post(server: &Leveret, path: &str) {
    assert_eq!(http::post(server.http(), path, b"").status, 200, "{path}");
}

/// The topics and channels, and whether each is paused.
fn pauses(server: &Leveret) -> BTreeMap<String, bool> {
    let stats = http::get(server.http(), "/stats?format=json").json();
    let mut pauses = BTreeMap::new();
    for topic in stats["topics"].as_array().unwrap() {
        let name = topic["topic_name"].as_str().unwrap();
        pauses.insert(name.to_owned(), topic["paused"].as_bool().unwrap());
        for channel in topic["channels"].as_array().unwrap() {
            let channel_name = channel["channel_name"].as_str().unwrap();
            pauses.insert(format!("{name}:{channel_name}"), channel["paused"].as_bool().unwrap());
        }
    }
    pauses
}

/// Takes everything that a channel owes, one at a time, in order.
fn drain(server: &Leveret, queue: &str, count: usize) -> Vec<Told> {
    let (topic, channel) = queue.split_once(':').unwrap();
    for path in [
        format!("/topic/unpause?topic={topic}"),
        format!("/channel/unpause?topic={topic}&channel={channel}"),
    ] {
        post(server, &path);
    }
    let mut consumer = Client::subscribed(server.tcp(), topic, channel, 1);
    let told = (0..count)
        .map(|_| {
            let message = consumer.message();
            consumer.fin(&message);
            (message.timestamp, message.attempts - 1, message.body)
        })
        .collect();
    assert_eq!(consumer.message_within(Duration::from_millis(100)), None, "{queue}");
    told
}

/// In the order of publishing: what was tried before comes in another order from a node that knows when it came back.
fn sorted(told: &[Told]) -> Vec<Told> {
    let mut sorted = told.to_vec();
    sorted.sort();
    sorted
}

/// What nsqd delivers from the fixture, by queue.
fn delivered(fixture: &str) -> BTreeMap<String, Vec<Told>> {
    let text = fs::read_to_string(format!("{FIXTURES}/delivered.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let told = |message: &Value| {
        let hex = message["body"].as_str().unwrap().as_bytes().chunks(2);
        let body = hex.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16));
        let attempts = u16::try_from(message["attempts"].as_u64().unwrap()).unwrap();
        (message["timestamp"].as_i64().unwrap(), attempts, body.map(Result::unwrap).collect())
    };
    let queues = all[fixture].as_object().unwrap();
    queues
        .iter()
        .map(|(queue, messages)| {
            (queue.clone(), messages.as_array().unwrap().iter().map(told).collect())
        })
        .collect()
}

#[test]
fn what_nsqd_owed_is_delivered_once_it_was_taken_over() {
    for fixture in ["clean", "killed"] {
        let scratch = Scratch::new("taken-over");
        let folder = scratch.path().join("data");
        copy(&format!("{FIXTURES}/{fixture}"), &folder);
        let first = on(&folder).start();
        let paused = pauses(&first);
        assert!(paused["events"] && !paused["orders"], "{paused:?}");
        assert!(folder.join("nsqd-imported/events.diskqueue.meta.dat").exists());
        assert!(!folder.join("events.diskqueue.meta.dat").exists());
        // A crash after the start: what was taken over is safe, and taken over once.
        let mut first = first;
        first.kill();
        let mut second = on(&folder).start();
        assert_eq!(pauses(&second), paused);
        for (queue, expected) in delivered(fixture) {
            assert_eq!(drain(&second, &queue, expected.len()), expected, "{fixture}: {queue}");
        }
        assert!(second.stop().success());
        let third = on(&folder).start();
        for (queue, _) in delivered(fixture) {
            assert_eq!(drain(&third, &queue, 0), [], "{fixture}: {queue}");
        }
        assert!(!folder.join("nsqd-imported.2").exists());
    }
}

/// Topic `t` with channels `c` and `held`, topic `own`, which is paused and has messages that no channel has got.
fn fill(server: &Leveret) {
    for path in [
        "/topic/create?topic=t",
        "/channel/create?topic=t&channel=c",
        "/channel/create?topic=t&channel=held",
        "/channel/pause?topic=t&channel=held",
        "/topic/create?topic=own",
        "/channel/create?topic=own&channel=c",
        "/topic/pause?topic=own",
        "/topic/create?topic=gone%23ephemeral",
    ] {
        post(server, path);
    }
    let mut client = Client::connect(server.tcp());
    for number in 0..50 {
        client.publish("t", format!("t-{number}").as_bytes());
        client.publish("own", &vec![b'o'; number * 40 + 1]);
        client.publish("gone#ephemeral", b"gone");
    }
    let mut consumer = Client::subscribed(server.tcp(), "t", "c", 5);
    let first = consumer.message();
    consumer.fin(&first);
    // Five are in flight at the end, and come again with an attempt each.
    for _ in 0..4 {
        consumer.message();
    }
    let depth = || {
        let stats = http::get(server.http(), "/stats?format=json&topic=t&channel=c").json();
        stats["topics"][0]["channels"][0]["in_flight_count"].as_u64()
    };
    until_true("the first is finished", || depth() == Some(5));
}

#[test]
fn what_was_exported_is_taken_over_by_the_next() {
    let scratch = Scratch::new("exported");
    let [data, target] = ["data", "for-nsqd"].map(|name| scratch.path().join(name));
    fs::create_dir(&data).unwrap();
    let mut first = on(&data).arg("--durability=disk").start();
    fill(&first);
    let (code, text) = export(&data, &target);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("is locked"), "{text}");
    assert!(first.stop().success());

    let (code, text) = export(&data, &target);
    assert_eq!(code, Some(0), "{text}");
    // Of t 49 and 50, of own 50: c has got none.
    assert!(text.contains("2 topics, 3 channels, 149 messages"), "{text}");
    let (code, text) = export(&data, &target);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("empty"), "{text}");

    // The node itself goes on as if nothing had been.
    let mut original = on(&data).start();
    let mut copied = on(&target).start();
    assert_eq!(
        pauses(&copied),
        [("own", true), ("own:c", false), ("t", false), ("t:c", false), ("t:held", true)]
            .map(|(name, paused)| (name.to_owned(), paused))
            .into()
    );
    for (queue, count) in [("t:c", 49), ("t:held", 50), ("own:c", 50)] {
        let told = drain(&copied, queue, count);
        assert_eq!(sorted(&told), sorted(&drain(&original, queue, count)), "{queue}");
        let tried = told.iter().filter(|(_, attempts, _)| *attempts > 0).count();
        assert_eq!(tried, if queue == "t:c" { 5 } else { 0 }, "{queue}");
    }
    assert!(original.stop().success() && copied.stop().success());
}

#[test]
fn an_export_opens_in_nsqd() {
    let Some(nsqd) = std::env::var_os("NSQD") else {
        eprintln!("NSQD is not set: nothing to open it with");
        return;
    };
    let scratch = Scratch::new("opened");
    let [data, target] = ["data", "for-nsqd"].map(|name| scratch.path().join(name));
    fs::create_dir(&data).unwrap();
    let mut first = on(&data).arg("--durability=disk").start();
    fill(&first);
    assert!(first.stop().success());
    let (code, text) = export(&data, &target);
    assert_eq!(code, Some(0), "{text}");
    let original = on(&data).start();
    let copied = Leveret::nsqd().arg(&format!("--data-path={}", target.display())).start();
    assert!(!nsqd.is_empty() && !copied.log().contains("ERROR"), "{}", copied.log());
    for (queue, count) in [("t:c", 49), ("t:held", 50), ("own:c", 50)] {
        let (told, kept) = (drain(&copied, queue, count), drain(&original, queue, count));
        assert_eq!(sorted(&told), sorted(&kept), "{queue}");
    }
}
