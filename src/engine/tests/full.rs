//! A disk that is full of the log itself empties as its messages are consumed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::rig::{bodies, finish, pull_all, subscribe, wait_for};
use crate::engine::policy::Durability;
use crate::engine::{Engine, Options, Outcome, PublishError, Topic};
use crate::storage::disk::Disk as _;
use crate::storage::sim::SimDisk;
use crate::storage::wal::writer::{Trouble, WalOptions};

const CAPACITY: u64 = 3 << 20;
const RESERVE: u64 = 1 << 20;
/// Bytes of a message.
const SIZE: usize = 4000;

fn open(disk: &SimDisk) -> Arc<Engine> {
    let wal = WalOptions {
        folder: "/data/leveret".into(),
        file_bytes: 256 << 10,
        sync_interval: Duration::from_millis(20),
        reserve_bytes: RESERVE,
    };
    let options = Options { durability: Some(Durability::Disk), ..Options::default() };
    Engine::open_on(Arc::new(disk.clone()), options, wal).unwrap()
}

/// Publishes one message, and waits until it is written.
fn publish(engine: &Engine, topic: &Topic, number: usize) -> Result<(), PublishError> {
    let body = format!("{number:0SIZE$}");
    let accepted = topic.publish(std::iter::once(body.as_bytes()), &Arc::default())?;
    let crate::engine::Accepted::Logged(mark) = accepted else { panic!("{accepted:?}") };
    let journal = engine.journal().unwrap();
    wait_for(|| journal.outcome(mark) != Outcome::Pending);
    match journal.outcome(mark) {
        Outcome::Failed(trouble) => Err(trouble.into()),
        _ => Ok(()),
    }
}

#[tokio::test]
async fn a_disk_that_is_full_of_the_log_empties_as_messages_are_consumed() {
    let disk = SimDisk::new(CAPACITY);
    let engine = open(&disk);
    let topic = engine.topic("t").unwrap();
    let consumer = subscribe(&topic, "c");
    let mut count = 0;
    let refused = loop {
        match publish(&engine, &topic, count) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, PublishError::Storage(Trouble::Reserve { .. })), "{refused}");
    let left = 10;
    assert!(count > 50 + left, "{count}");
    assert!(disk.free_bytes(Path::new("/")).unwrap() > 0, "the reserve is kept");

    let got = pull_all(&consumer, count - left);
    finish(&consumer, &got);
    wait_for(|| publish(&engine, &topic, count).is_ok());
    drop((consumer, topic));
    super::rig::crash(engine);

    let engine = open(&disk);
    let consumer = subscribe(&engine.topic("t").unwrap(), "c");
    let counts = consumer.channel().counts();
    assert!(counts.depth > left as u64, "{counts:?}");
    let got = pull_all(&consumer, usize::try_from(counts.depth).unwrap());
    let last: Vec<usize> =
        bodies(&got).iter().rev().take(left + 1).map(|body| body.parse().unwrap()).collect();
    assert_eq!(last, (count - left..=count).rev().collect::<Vec<_>>());
}
