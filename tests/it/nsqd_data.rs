//! A folder goes from a real nsqd to Leveret's import, through its export, and to a real nsqd again. Only with `NSQD` set:
//! the formats themselves are checked beside the code, with folders that nsqd made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use leveret::storage::StorageError;
use leveret::storage::nsqd::{Message, export, import};

use crate::support::leveret::{Leveret, Plan};
use crate::support::nsq::Client;
use crate::support::wait::until_true;
use crate::support::{Scratch, http};

/// Small, so that there are many files.
const MAX_BYTES: u64 = 1000;

/// What is told of a message: id, timestamp, attempts and body.
type Told = (String, i64, u16, Vec<u8>);

fn nsqd() -> Plan {
    Leveret::nsqd().arg("--mem-queue-size=5").arg(&format!("--max-bytes-per-file={MAX_BYTES}"))
}

fn post(server: &Leveret, path: &str) {
    assert_eq!(http::post(server.http(), path, b"").status, 200, "{path}");
}

fn depth(server: &Leveret, topic: &str, channel: usize) -> u64 {
    let stats = http::get(server.http(), &format!("/stats?format=json&topic={topic}")).json();
    stats["topics"][0]["channels"][channel]["depth"].as_u64().unwrap_or_default()
}

/// Fills a folder: topic `t` with channels `c` and `paused`, topic `held`, which is paused. The client holds messages.
fn fill(server: &Leveret) -> Client {
    for path in [
        "/channel/create?topic=t&channel=c",
        "/channel/create?topic=t&channel=paused",
        "/channel/pause?topic=t&channel=paused",
        "/channel/create?topic=held&channel=c",
        "/topic/pause?topic=held",
    ] {
        let (kind, query) = path.rsplit_once('?').unwrap();
        let topic = query.split('&').next().unwrap();
        post(server, &format!("/topic/create?{topic}"));
        post(server, &format!("{kind}?{query}"));
    }
    let mut client = Client::connect(server.tcp());
    for number in 0..100 {
        client.publish("t", format!("t-{number}").as_bytes());
        client.publish("held", &vec![b'h'; number * 15 + 1]);
    }
    until_true("the channels have them", || [0, 1].iter().all(|&at| depth(server, "t", at) == 100));
    // Ten are finished, then three are tried and kept: nsqd writes those down with an attempt when it stops.
    let mut consumer = Client::subscribed(server.tcp(), "t", "c", 1);
    for _ in 0..10 {
        let message = consumer.message();
        consumer.fin(&message);
    }
    consumer.message();
    consumer.rdy(3);
    consumer.message();
    consumer.message();
    until_true("ten are finished, three in flight", || depth(server, "t", 0) == 87);
    consumer
}

/// The topics and channels that are paused, sorted.
fn paused(server: &Leveret) -> Vec<String> {
    let stats = http::get(server.http(), "/stats?format=json").json();
    let mut names = Vec::new();
    for topic in stats["topics"].as_array().unwrap() {
        let name = topic["topic_name"].as_str().unwrap();
        names.extend(topic["paused"].as_bool().unwrap().then(|| name.to_owned()));
        for channel in topic["channels"].as_array().unwrap() {
            let channel_name = channel["channel_name"].as_str().unwrap();
            let is_paused = channel["paused"].as_bool().unwrap();
            names.extend(is_paused.then(|| format!("{name}/{channel_name}")));
        }
    }
    names.sort();
    names
}

/// Reads a folder and writes the same to another.
fn through_leveret(from: &Path, to: &Path) -> BTreeMap<String, Vec<Message>> {
    let import = import::open(from).unwrap().expect("there are queues");
    let mut queues: BTreeMap<String, Vec<Message>> = BTreeMap::new();
    let name = |topic: &str, channel: Option<&str>| format!("{topic}/{}", channel.unwrap_or("-"));
    let problems = import
        .visit(4096, |topic, channel, batch| {
            queues.entry(name(topic, channel)).or_default().extend(batch);
            Ok::<_, StorageError>(())
        })
        .unwrap();
    assert_eq!(problems, []);
    let mut writer = export::Writer::new(to, MAX_BYTES).unwrap();
    let messages = |name: String| {
        let owed = queues.get(&name).cloned().unwrap_or_default();
        owed.into_iter().map(Ok::<_, StorageError>)
    };
    for topic in import.topics() {
        writer.topic(&topic.name, topic.paused, messages(name(&topic.name, None))).unwrap();
        for channel in &topic.channels {
            let owed = messages(name(&topic.name, Some(&channel.name)));
            writer.channel(&channel.name, channel.paused, owed).unwrap();
        }
    }
    writer.finish().unwrap();
    queues
}

fn drain(server: &Leveret, topic: &str, channel: &str, count: usize) -> BTreeSet<Told> {
    let mut consumer = Client::subscribed(server.tcp(), topic, channel, 10);
    let all = (0..count)
        .map(|_| {
            let message = consumer.message();
            consumer.fin(&message);
            (message.id, message.timestamp, message.attempts - 1, message.body)
        })
        .collect();
    assert_eq!(consumer.message_within(Duration::from_millis(300)), None, "{topic}/{channel}");
    all
}

#[test]
fn nsqd_opens_what_was_imported_from_it_and_exported_again() {
    if std::env::var_os("NSQD").is_none() {
        eprintln!("NSQD is not set: nothing to compare with");
        return;
    }
    let mut first = nsqd().start();
    let holding = fill(&first);
    assert!(first.stop().success());
    drop(holding);
    let scratch = Scratch::new("exported");
    let folder = scratch.path().join("data");
    let queues = through_leveret(first.dir(), &folder);
    assert_eq!(queues.values().map(Vec::len).sum::<usize>(), 90 + 100 + 100);

    let second = nsqd().arg(&format!("--data-path={}", folder.display())).start();
    assert_eq!(paused(&second), ["held", "t/paused"]);
    post(&second, "/channel/unpause?topic=t&channel=paused");
    post(&second, "/topic/unpause?topic=held");
    for (queue, topic, channel) in
        [("t/c", "t", "c"), ("t/paused", "t", "paused"), ("held/-", "held", "c")]
    {
        let owed: BTreeSet<Told> = queues[queue]
            .iter()
            .map(|message| {
                let id = String::from_utf8(message.id.to_vec()).unwrap();
                (id, message.timestamp, message.attempts, message.body.clone())
            })
            .collect();
        assert_eq!(drain(&second, topic, channel, owed.len()), owed, "{queue}");
    }
    let tried = queues["t/c"].iter().filter(|message| message.attempts > 0).count();
    assert_eq!(tried, 3);
    assert!(!second.log().contains("ERROR"), "{}", second.log());
}
