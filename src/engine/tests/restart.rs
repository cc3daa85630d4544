//! What is there again after a stop, and after a crash.

use std::sync::Arc;
use std::time::Duration;

use super::rig::*;
use crate::clock;
use crate::engine::policy::Durability;
use crate::engine::{Engine, Signal};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_clean_stop_keeps_everything_at_every_durability() {
    for durability in [None, Some(Durability::Disk), Some(Durability::Fsync)] {
        let rig = Rig::new("clean-stop", durability);
        let engine = rig.start();
        engine.topic("t").unwrap().channel("c").unwrap();
        engine.topic("t").unwrap().channel("gone#ephemeral").unwrap();
        publish(&engine, "t", &["1", "2", "3", "4", "5"]);
        publish_deferred(&engine, "t", "later", HOUR);
        publish(&engine, "quiet", &["early"]);
        publish_deferred(&engine, "quiet", "early-later", HOUR);
        publish(&engine, "no#ephemeral", &["not kept"]);
        let consumer = subscribe(&engine.topic("t").unwrap(), "c");
        let first = pull(&consumer, 3);
        assert_eq!(bodies(&first), ["1", "2", "3"]);
        finish(&consumer, &first[..1]);
        consumer.settle(clock::now()).requeue(&first[2].id, HOUR).unwrap();
        engine.topic("t").unwrap().find_channel("c").unwrap().set_paused(true);
        drop(consumer);
        stop(engine);

        let engine = rig.start();
        let channel = engine.topic("t").unwrap().find_channel("c").unwrap();
        let counts = channel.counts();
        assert_eq!((counts.depth, counts.deferred, counts.paused), (3, 2, true));
        let quiet = engine.topic("quiet").unwrap();
        assert_eq!(quiet.depth(), 2);
        assert!(engine.find_topic("no#ephemeral").is_none());
        channel.set_paused(false);
        let consumer = subscribe(&engine.topic("t").unwrap(), "c");
        let again = pull(&consumer, 99);
        let mut seen: Vec<_> = again.iter().map(|got| (got.body.as_str(), got.attempts)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [("2", 2), ("4", 1), ("5", 1)], "{durability:?}");
        let two = again.iter().find(|got| got.body == "2").unwrap();
        assert_eq!(two.id, first[1].id, "the id is kept");
        publish(&engine, "t", &["new"]);
        assert!(pull(&consumer, 9)[0].id > two.id, "new messages get numbers of their own");
        let made = subscribe(&quiet, "made");
        assert_eq!(bodies(&pull(&made, 9)), ["early"]);
        assert_eq!(quiet.find_channel("made").unwrap().counts().deferred, 1);
    }
}

#[tokio::test]
async fn a_crash_loses_nothing_that_was_answered() {
    let rig = Rig::new("crash", Some(Durability::Disk));
    let engine = rig.start();
    engine.topic("t").unwrap().channel("a").unwrap();
    engine.topic("t").unwrap().channel("b").unwrap();
    publish(&engine, "t", &["1", "2", "3"]);
    publish_deferred(&engine, "t", "later", HOUR);
    let consumer = subscribe(&engine.topic("t").unwrap(), "a");
    let got = pull(&consumer, 9);
    finish(&consumer, &got[1..2]);
    consumer.settle(clock::now()).requeue(&got[0].id, HOUR).unwrap();
    publish(&engine, "t", &["4"]);
    drop(consumer);
    crash(engine);

    let engine = rig.start();
    let topic = engine.topic("t").unwrap();
    let counts = topic.find_channel("a").unwrap().counts();
    assert_eq!((counts.depth, counts.deferred), (2, 2), "3 and 4; 1 and later");
    let counts = topic.find_channel("b").unwrap().counts();
    assert_eq!((counts.depth, counts.deferred), (4, 1));
    let mut left = pull(&subscribe(&topic, "a"), 9);
    left.sort_by(|one, other| one.body.cmp(&other.body));
    assert_eq!(bodies(&left), ["3", "4"]);
    assert_eq!(left[0].attempts, 2, "the delivery before the crash counts: its consumer left");
}

#[tokio::test]
async fn topics_and_channels_that_were_deleted_stay_so() {
    let rig = Rig::new("deleted", Some(Durability::Disk));
    let engine = rig.start();
    engine.topic("t").unwrap().channel("a").unwrap();
    engine.topic("t").unwrap().channel("b").unwrap();
    publish(&engine, "t", &["1"]);
    publish(&engine, "gone", &["x"]);
    engine.topic("t").unwrap().delete_channel("a");
    engine.topic("t").unwrap().find_channel("b").unwrap().empty();
    engine.delete_topic("gone");
    publish(&engine, "t", &["2"]);
    crash(engine);
    let engine = rig.start();
    assert!(engine.find_topic("gone").is_none());
    let topic = engine.topic("t").unwrap();
    assert!(topic.find_channel("a").is_none());
    assert_eq!(bodies(&pull(&subscribe(&topic, "b"), 9)), ["2"]);
}

#[tokio::test]
async fn what_memory_has_no_room_for_survives_a_crash() {
    let mut rig = Rig::new("overflow", None);
    rig.options.mem_queue_size = 10;
    let engine = rig.start();
    engine.topic("t").unwrap().channel("c").unwrap();
    for n in 0..30 {
        publish(&engine, "t", &[&n.to_string()]);
    }
    let channel = engine.topic("t").unwrap().find_channel("c").unwrap();
    assert_eq!((channel.counts().depth, channel.counts().backend_depth), (30, 20));
    drop(channel);
    crash(engine);
    let engine = rig.start();
    let topic = engine.topic("t").unwrap();
    let expected: Vec<String> = (10..30).map(|n| n.to_string()).collect();
    assert_eq!(bodies(&pull(&subscribe(&topic, "c"), 99)), expected);
}

/// Enough for several files of the log, and for blocks to go away.
fn fill(engine: &Engine, topics: &[&str], messages: usize) {
    let filler = "x".repeat(1000);
    for n in 0..messages / 50 {
        for topic in topics {
            let batch: Vec<String> = (0..50).map(|m| format!("{}-{filler}", n * 50 + m)).collect();
            let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
            publish(engine, topic, &batch);
        }
    }
}

fn number(got: &Got) -> usize {
    got.body.split_once('-').unwrap().0.parse().unwrap()
}

#[tokio::test]
async fn a_backlog_moves_to_segments_and_is_read_back_in_order() {
    let mut rig = Rig::new("segments", Some(Durability::Disk));
    rig.file_bytes = 1 << 20;
    let engine = rig.start();
    for topic in ["one", "two"] {
        engine.topic(topic).unwrap().channel("c").unwrap();
    }
    fill(&engine, &["one", "two"], 12_000);
    let journal = Arc::clone(engine.journal().unwrap());
    wait_for(|| journal.store.segments.count() > 0);
    let topic = engine.topic("one").unwrap();
    wait_for(|| topic.memory() < 8 << 20);
    drop((topic, journal));
    let consume = |engine: &Engine, topic: &str, numbers: std::ops::Range<usize>| {
        let consumer = subscribe(&engine.topic(topic).unwrap(), "c");
        let got = pull_all(&consumer, numbers.len());
        assert_eq!(got.iter().map(number).collect::<Vec<_>>(), numbers.collect::<Vec<_>>());
        finish(&consumer, &got);
    };
    consume(&engine, "one", 0..3000);
    // What was settled last may not be written yet; the next publish takes it along.
    publish(&engine, "one", &["12000-"]);
    crash(engine);
    let engine = rig.start();
    consume(&engine, "one", 3000..6000);
    stop(engine);
    let engine = rig.start();
    consume(&engine, "one", 6000..12_001);
    consume(&engine, "two", 0..12_000);
    stop(engine);
    let engine = rig.start();
    assert_eq!(engine.topic("two").unwrap().find_channel("c").unwrap().counts().depth, 0);
    assert_eq!(engine.journal().unwrap().store.segments.count(), 0, "consumed files are deleted");
}

#[tokio::test]
async fn consumed_segments_are_deleted_though_nothing_more_is_published() {
    let mut rig = Rig::new("consumed", Some(Durability::Disk));
    rig.file_bytes = 1 << 20;
    let engine = rig.start();
    let topic = engine.topic("t").unwrap();
    let consumer = subscribe(&topic, "c");
    fill(&engine, &["t"], 4000);
    let journal = Arc::clone(engine.journal().unwrap());
    wait_for(|| journal.wal().files() == 1 && journal.store.segments.count() > 0);
    let got = pull_all(&consumer, 4000);
    finish(&consumer, &got);
    wait_for(|| journal.store.segments.count() == 0);
    drop((consumer, topic, journal));
    crash(engine);
    let engine = rig.start();
    assert_eq!(engine.topic("t").unwrap().find_channel("c").unwrap().counts().depth, 0);
}

/// What came back lies behind everybody's cursor: its block must stay until it is delivered, however many others are read.
#[tokio::test]
async fn what_came_back_is_read_back_while_others_read_elsewhere() {
    const MESSAGES: usize = 24_000;
    let mut rig = Rig::new("came-back", Some(Durability::Disk));
    rig.file_bytes = 1 << 20;
    let engine = rig.start();
    let topic = engine.topic("t").unwrap();
    let others = ["d0", "d1", "d2", "d3"];
    for name in others.iter().chain(&["c"]) {
        topic.channel(name).unwrap();
    }
    fill(&engine, &["t"], MESSAGES);
    for (at, name) in others.iter().enumerate() {
        let consumer = subscribe(&topic, name);
        let got = pull_all(&consumer, MESSAGES / 4 * at + 1);
        finish(&consumer, &got);
    }
    let consumer = subscribe(&topic, "c");
    let got = pull_all(&consumer, MESSAGES);
    let (back, done): (Vec<_>, Vec<_>) =
        got.into_iter().partition(|got| number(got).is_multiple_of(200));
    finish(&consumer, &done);
    let mut settling = consumer.settle(crate::clock::now());
    for got in &back {
        settling.requeue(&got.id, Duration::ZERO).unwrap();
    }
    drop(settling);
    publish(&engine, "t", &["24000-"]);
    drop((consumer, topic));
    crash(engine);

    let engine = rig.start();
    let topic = engine.topic("t").unwrap();
    let readers: Vec<_> = others.iter().map(|name| subscribe(&topic, name)).collect();
    for reader in &readers {
        pull_all(reader, 100);
    }
    let signal = Arc::<Signal>::default();
    let consumer = subscribe_with(&topic, "c", Arc::clone(&signal));
    let mut again = Vec::new();
    while again.len() <= back.len() {
        let got = pull(&consumer, 50);
        if got.is_empty() {
            // As a connection does: it looks again when it is told to.
            let woken = tokio::time::timeout(Duration::from_secs(20), signal.woken()).await;
            assert!(woken.is_ok(), "{} of {} came", again.len(), back.len() + 1);
        }
        again.extend(got);
    }
    let mut numbers: Vec<usize> = again.iter().map(number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..=MESSAGES).step_by(200).collect::<Vec<_>>());
}

#[tokio::test]
async fn many_short_lives_do_not_fill_the_log_with_files() {
    let mut rig = Rig::new("short-lives", Some(Durability::Disk));
    rig.file_bytes = 64 << 10;
    rig.start().topic("t").unwrap().channel("c").unwrap();
    for n in 0..30 {
        let engine = rig.start();
        publish(&engine, "t", &[&n.to_string()]);
        if n % 2 == 0 { crash(engine) } else { stop(engine) }
    }
    let engine = rig.start();
    let journal = Arc::clone(engine.journal().unwrap());
    wait_for(|| journal.wal().files() < 8);
    drop(journal);
    // And a log that is full goes on.
    fill(&engine, &["t"], 2000);
    let got = pull_all(&subscribe(&engine.topic("t").unwrap(), "c"), 2030);
    let first: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    assert_eq!(bodies(&got[..30]), first);
}
