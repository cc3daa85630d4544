//! Folders that a real nsqd 1.3.0 made (`tests/fixtures/nsqd-1.3.0/README.md`), against what that nsqd delivers from them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Imported, import};
use crate::storage::disk::RealDisk;
use crate::storage::nsqd::Message;

#[derive(Deserialize)]
struct Delivered {
    timestamp: i64,
    attempts: u16,
    id: String,
    /// Hexadecimal.
    body: String,
}

impl From<&Delivered> for Message {
    fn from(delivered: &Delivered) -> Self {
        let digits = delivered.body.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        Self {
            timestamp: delivered.timestamp,
            attempts: delivered.attempts,
            id: delivered.id.as_bytes().try_into().unwrap(),
            body: digits.map(byte).collect(),
        }
    }
}

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/nsqd-1.3.0");

/// The folder, and that each channel's messages, followed by its topic's, are what nsqd delivered.
fn checked(name: &str) -> Imported {
    let text = std::fs::read_to_string(format!("{FIXTURES}/delivered.json")).unwrap();
    let delivered: BTreeMap<String, BTreeMap<String, Vec<Delivered>>> =
        serde_json::from_str(&text).unwrap();
    let imported = import(&RealDisk, &format!("{FIXTURES}/{name}")).unwrap().unwrap();
    for (channel, expected) in &delivered[name] {
        let (topic, _) = channel.split_once(':').unwrap();
        let expected: Vec<Message> = expected.iter().map(Message::from).collect();
        let found = [imported.messages(channel), imported.messages(topic)].concat();
        assert_eq!(found, expected, "{name}: {channel}");
    }
    imported
}

#[test]
fn after_a_clean_exit_everything_is_there_in_order() {
    let imported = checked("clean");
    assert_eq!(imported.problems, []);
    let queues: Vec<_> = imported
        .queues
        .iter()
        .map(|(name, (paused, messages))| (name.as_str(), *paused, messages.len()))
        .collect();
    assert_eq!(
        queues,
        [
            ("orders", false, 0),
            ("orders:billing", false, 12),
            ("orders:audit", true, 20),
            ("events", true, 12),
            ("events:all", false, 3),
        ]
    );
    let attempts = |queue| -> Vec<u16> {
        imported.messages(queue).iter().map(|message| message.attempts).collect()
    };
    assert_eq!(attempts("orders:billing"), [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
    let bodies: Vec<_> =
        imported.messages("events").iter().map(|message| message.body.as_slice()).collect();
    let every: Vec<u8> = (0..=255).collect();
    assert_eq!(&bodies[..4], [b"x".as_slice(), &every, &[b'y'; 300], b"late-00"]);
}

#[test]
fn after_a_kill_all_that_reached_the_disk_is_there() {
    let imported = checked("killed");
    assert_eq!(imported.problems, []);
    assert_eq!(imported.texts("orders:billing").len(), 22);
    assert_eq!(imported.texts("orders:audit").len(), 30);
    assert_eq!((imported.texts("events").len(), imported.texts("events:all").len()), (10, 24));
}
