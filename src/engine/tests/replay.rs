//! What a topic keeps for channels to come, and what they get of it.

use std::sync::Arc;
use std::time::Duration;

use super::rig::*;
use crate::clock;
use crate::engine::policy::{
    ChannelRow, Durability, Pattern, Policies, Retention, Rules, TopicRow,
};
use crate::engine::{Engine, Replay};

fn rig(name: &str, retention: Retention, replay: Option<Replay>) -> Rig {
    let mut rig = Rig::new(name, Some(Durability::Disk));
    let mut row = TopicRow::new(Pattern::any());
    row.retention = Some(retention);
    let pattern = Pattern::new("old*").unwrap();
    row.channels = vec![ChannelRow { pattern, rules: Rules::default(), rate: None, replay }];
    rig.options.policies = Arc::new(Policies::new(vec![row], |letter| letter.body.to_vec()));
    rig.file_bytes = 512 << 10;
    rig
}

fn read(engine: &Engine, channel: &str) -> Vec<String> {
    let consumer = subscribe(&engine.topic("t").unwrap(), channel);
    let got = pull(&consumer, 99);
    finish(&consumer, &got);
    got.into_iter().map(|message| message.body).collect()
}

#[tokio::test]
async fn a_new_channel_gets_what_is_retained_and_then_what_is_new() {
    let all = Retention { messages: Some(1000), ..Retention::default() };
    let rig = rig("replay", all, Some(Replay::Start));
    let engine = rig.start();
    publish(&engine, "t", &["1", "2"]);
    assert_eq!(read(&engine, "live"), ["1", "2"]);
    let moment = clock::unix_nanos();
    publish(&engine, "t", &["3"]);
    assert_eq!(read(&engine, "live"), ["3"]);
    let topic = engine.topic("t").unwrap();
    let offset = topic.owed_to(&topic.channel("old1").unwrap()).into_keys().nth(1).unwrap();
    for (name, replay, expected) in [
        ("start", Replay::Start, &["1", "2", "3"][..]),
        ("since", Replay::Since(moment), &["3"]),
        ("back", Replay::Back(Duration::from_secs(3600)), &["1", "2", "3"]),
        ("now", Replay::Back(Duration::ZERO), &[]),
        ("offset", Replay::Offset(offset), &["2", "3"]),
        ("before", Replay::Offset(0), &["1", "2", "3"]),
        ("behind", Replay::Offset(u64::MAX), &[]),
        ("new", Replay::New, &[]),
    ] {
        topic.channel_from(name, replay).unwrap();
        assert_eq!(read(&engine, name), expected, "{name}");
    }
    publish(&engine, "t", &["4"]);
    assert_eq!(read(&engine, "old1"), ["1", "2", "3", "4"], "old ones first");
    assert_eq!(read(&engine, "start"), ["4"]);
    drop(topic);
    crash(engine);

    let engine = rig.start();
    assert_eq!(read(&engine, "old2"), ["1", "2", "3", "4"], "after a crash");
    assert_eq!(
        read(&engine, "start"),
        Vec::<String>::new(),
        "a channel that is there stays where it is"
    );
    publish(&engine, "t", &["5"]);
    stop(engine);
    let engine = rig.start();
    assert_eq!(read(&engine, "old3"), ["1", "2", "3", "4", "5"], "after a stop");
    assert_eq!(read(&engine, "old2"), ["5"]);
    crash(engine);
}

#[tokio::test]
async fn retention_can_come_and_go_with_a_start() {
    let all = Retention { messages: Some(1000), ..Retention::default() };
    let mut rig = rig("replay-comes", all, Some(Replay::Start));
    let with = std::mem::take(&mut rig.options.policies);
    let engine = rig.start();
    publish(&engine, "t", &["1"]);
    assert_eq!(read(&engine, "live"), ["1"]);
    crash(engine);
    let without = std::mem::replace(&mut rig.options.policies, with);
    let engine = rig.start();
    publish(&engine, "t", &["2"]);
    assert_eq!(read(&engine, "live"), ["2"]);
    assert_eq!(read(&engine, "old1"), ["2"], "kept from the start with it on");
    stop(engine);
    rig.options.policies = without;
    let engine = rig.start();
    let topic = engine.topic("t").unwrap();
    topic.channel_from("old2", Replay::Start).unwrap();
    assert_eq!(read(&engine, "old2"), Vec::<String>::new(), "given up without it");
    drop(topic);
    crash(engine);
}

/// Bytes of all files.
fn on_disk(rig: &Rig) -> u64 {
    let files = std::fs::read_dir(&rig.folder).unwrap();
    // One may go meanwhile.
    files.map(|file| file.unwrap().metadata().map_or(0, |metadata| metadata.len())).sum()
}

/// Publishes so many bodies of a kilobyte, which a channel takes, and tells what is left of them for a new one.
fn passes(rig: &Rig, engine: &Engine, bodies: usize) -> usize {
    let topic = engine.topic("t").unwrap();
    topic.channel("live").unwrap();
    let body = "x".repeat(1000);
    for _ in 0..bodies / 100 {
        publish(engine, "t", &vec![&*body; 100]);
        let consumer = subscribe(&topic, "live");
        let got = pull_all(&consumer, 100);
        finish(&consumer, &got);
        topic.trim();
    }
    // Another file's end has the first ones let go.
    let few = 4 << 20;
    wait_for(|| {
        publish(engine, "t", &[&body]);
        let consumer = subscribe(&topic, "live");
        let got = pull(&consumer, 99);
        finish(&consumer, &got);
        topic.trim();
        on_disk(rig) < few
    });
    let channel = topic.channel_from("all", Replay::Start).unwrap();
    topic.owed_to(&channel).len()
}

#[tokio::test]
async fn bytes_beyond_the_bound_are_deleted_from_the_disk() {
    let bytes = Retention { bytes: Some(1 << 20), ..Retention::default() };
    let rig = rig("replay-bytes", bytes, None);
    let engine = rig.start();
    let kept = passes(&rig, &engine, 8000);
    assert!((1000..1700).contains(&kept), "{kept} kilobytes are kept");
    crash(engine);
}

#[tokio::test]
async fn messages_that_are_too_old_are_deleted_from_the_disk() {
    let age = Retention { age: Some(Duration::from_millis(1)), ..Retention::default() };
    let rig = rig("replay-age", age, None);
    let engine = rig.start();
    let kept = passes(&rig, &engine, 8000);
    assert!(kept < 600, "{kept} are kept: no more than the last blocks");
    crash(engine);
}
