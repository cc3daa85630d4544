//! A folder in format version 1, as it was written: this version finds in it what is written beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::rig::*;
use crate::clock;
use crate::engine::Engine;
use crate::engine::policy::Durability;
use crate::storage::wal::writer::WalOptions;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/log-v1");
/// A day in the far future: what is deferred stays so.
const FAR: std::time::Duration = std::time::Duration::from_secs(200 * 365 * 86_400);

/// What an engine owes, a line each: pauses, and each message's attempts and body (the longer ones cut).
fn told(engine: &Engine) -> String {
    let mut lines = Vec::new();
    for topic in engine.topics() {
        let name = topic.name();
        lines.push(format!("topic {name} paused={}", topic.is_paused()));
        let body = |seq: u64| {
            let copy = topic.copy_of(seq, 0).expect("it can be read");
            let text = String::from_utf8(copy.body).unwrap();
            format!("{} ({} bytes)", text.chars().take(12).collect::<String>(), text.len())
        };
        lines.extend(topic.own().into_iter().map(|seq| format!("  own {}", body(seq))));
        for channel in topic.channels() {
            let counts = channel.counts();
            let (paused, deferred) = (counts.paused, counts.deferred);
            lines.push(format!("  channel {} paused={paused} deferred={deferred}", channel.name()));
            let owed = topic.owed_to(&channel).into_iter();
            lines.extend(owed.map(|(seq, tries)| format!("    attempts={tries} {}", body(seq))));
        }
    }
    lines.join("\n") + "\n"
}

fn open(folder: &Path) -> Arc<Engine> {
    let mut rig = Rig::new("format", Some(Durability::Disk));
    rig.folder = PathBuf::new();
    let wal = WalOptions {
        folder: folder.into(),
        file_bytes: 16 << 10,
        sync_interval: std::time::Duration::from_secs(60),
        reserve_bytes: 0,
    };
    Engine::open(rig.options.clone(), wal).unwrap()
}

/// Writes the fixture anew: only when the format changes, into a folder of its own version.
#[tokio::test]
#[ignore = "writes the fixture"]
async fn write_the_fixture() {
    let folder = Path::new(FIXTURE).join("data");
    let engine = open(&folder);
    for (topic, channel) in
        [("orders", "ship"), ("orders", "bill"), ("events", "all"), ("gone", "c")]
    {
        engine.topic(topic).unwrap().channel(channel).unwrap();
    }
    for number in 0..60 {
        let body = format!("order-{number}-{}", "o".repeat(number * 13 % 500));
        publish(&engine, "orders", &[&body]);
    }
    publish(&engine, "events", &["one", "two", "three"]);
    publish(&engine, "gone", &["never seen again"]);
    publish(&engine, "waiting", &["first", "second"]);
    publish_deferred(&engine, "events", "later", FAR);
    publish_deferred(&engine, "waiting", "third, later", FAR);
    let topic = engine.topic("orders").unwrap();
    let ship = subscribe(&topic, "ship");
    let got = pull(&ship, 8);
    finish(&ship, &got[..5]);
    let mut settling = ship.settle(clock::now());
    settling.requeue(&got[5].id, std::time::Duration::ZERO).unwrap();
    settling.requeue(&got[6].id, FAR).unwrap();
    drop(settling);
    drop(ship);
    topic.find_channel("bill").unwrap().set_paused(true);
    engine.topic("events").unwrap().set_paused(true);
    publish(&engine, "events", &["held back"]);
    engine.delete_topic("gone");
    let journal = Arc::clone(engine.journal().unwrap());
    wait_for(|| journal.store.segments.count() > 0 && journal.wal().files() <= 2);
    engine.sync().unwrap();
    drop((journal, topic));
    crash(engine);
    let engine = open(&folder);
    std::fs::write(Path::new(FIXTURE).join("owed.txt"), told(&engine)).unwrap();
    crash(engine);
}

#[tokio::test]
async fn a_folder_of_format_version_1_is_read() {
    let folder = std::env::temp_dir().join(format!("leveret-log-v1-{}", std::process::id()));
    std::fs::remove_dir_all(&folder).unwrap_or_default();
    std::fs::create_dir_all(&folder).unwrap();
    let mut kinds = Vec::new();
    for file in std::fs::read_dir(Path::new(FIXTURE).join("data")).unwrap() {
        let file = file.unwrap();
        kinds.push(file.file_name().into_string().unwrap().chars().take(4).collect::<String>());
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    kinds.sort();
    kinds.dedup();
    for kind in ["chec", "seg-", "wal-"] {
        assert!(kinds.iter().any(|other| other == kind), "{kind}* in {kinds:?}");
    }
    let expected = std::fs::read_to_string(Path::new(FIXTURE).join("owed.txt")).unwrap();
    let engine = open(&folder);
    assert_eq!(told(&engine), expected);
    crash(engine);
    std::fs::remove_dir_all(&folder).unwrap();
}
