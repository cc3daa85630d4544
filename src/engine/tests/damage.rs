//! Files that are not as they were written: flipped bits, ends that are missing. Nothing wrong comes out, the rest does, and
//! what is damaged is kept aside.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;

use super::rig::{cases, crash, finish, publish, pull, subscribe, wait_for};
use crate::engine::policy::Durability;
use crate::engine::{Engine, Options};
use crate::storage::StorageError;
use crate::storage::disk::Disk as _;
use crate::storage::sim::SimDisk;
use crate::storage::wal::writer::WalOptions;

const FOLDER: &str = "/log";
const MESSAGES: usize = 60;

#[derive(Clone, Copy, Debug)]
enum Harm {
    Flip(u8),
    Cut,
    Zeros,
}

fn open(disk: &SimDisk) -> Result<Arc<Engine>, StorageError> {
    let wal = WalOptions {
        folder: PathBuf::from(FOLDER),
        file_bytes: 3000,
        sync_interval: Duration::from_secs(600),
        reserve_bytes: 0,
    };
    let options = Options { durability: Some(Durability::Disk), ..Options::default() };
    Engine::open_on(Arc::new(disk.clone()), options, wal)
}

fn body(number: usize) -> String {
    format!("{number}-{}", "x".repeat(number * 37 % 400))
}

/// A folder with messages in segments and in the log, one to a frame.
fn filled() -> SimDisk {
    let disk = SimDisk::new(1 << 30);
    let engine = open(&disk).unwrap();
    engine.topic("t").unwrap().channel("c").unwrap();
    for number in 0..MESSAGES {
        publish(&engine, "t", &[&body(number)]);
    }
    let journal = Arc::clone(engine.journal().unwrap());
    wait_for(|| journal.wal().files() <= 2 && journal.store.segments.count() > 0);
    drop(journal);
    crash(engine);
    disk
}

fn files(disk: &SimDisk) -> Vec<String> {
    disk.list(Path::new(FOLDER)).unwrap()
}

/// Everything that comes, as numbers.
fn drain(engine: &Engine) -> Result<Vec<usize>, TestCaseError> {
    let topic = engine.topic("t").unwrap();
    let consumer = subscribe(&topic, "c");
    let mut came = Vec::new();
    let mut wrong = None;
    wait_for(|| {
        let got = pull(&consumer, 99);
        for message in &got {
            let number = message.body.split('-').next().and_then(|text| text.parse().ok());
            match number.filter(|number| message.body == body(*number)) {
                Some(number) => came.push(number),
                None => wrong = Some(message.body.clone()),
            }
        }
        finish(&consumer, &got);
        let counts = topic.find_channel("c").unwrap().counts();
        counts.depth == 0 && counts.in_flight == 0
    });
    prop_assert_eq!(wrong, None, "was never published");
    Ok(came)
}

fn harm(disk: &SimDisk, name: &str, at: Index, harm: Harm) {
    disk.damage(&Path::new(FOLDER).join(name), |bytes| {
        if bytes.is_empty() {
            return;
        }
        let at = at.index(bytes.len());
        match harm {
            Harm::Flip(bit) => bytes[at] ^= 1 << (bit % 8),
            Harm::Cut => bytes.truncate(at),
            Harm::Zeros => bytes.iter_mut().skip(at).take(64).for_each(|byte| *byte = 0),
        }
    });
}

fn holds(which: Index, at: Index, what: Harm) -> Result<(), TestCaseError> {
    let disk = filled();
    let names = files(&disk);
    let name = &names[which.index(names.len())];
    harm(&disk, name, at, what);
    let engine = open(&disk).map_err(|error| TestCaseError::fail(format!("{name}: {error}")))?;
    let came = drain(&engine)?;
    prop_assert!(came.is_sorted_by(|one, next| one < next), "{came:?}");
    let lost: Vec<usize> = (0..MESSAGES).filter(|number| !came.contains(number)).collect();
    let is_run = lost.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    prop_assert!(is_run, "{name}, {what:?}: {lost:?} are lost, which were not all in one place");
    if name.starts_with("checkpoint") {
        prop_assert!(lost.is_empty(), "{name}: {lost:?} are lost although there is a copy");
    }
    if name.starts_with("wal-") && matches!(what, Harm::Flip(_)) {
        prop_assert!(lost.len() <= 1, "{name}: {lost:?} are lost with one frame");
    }
    // It goes on, and what is damaged is kept.
    for number in 0..MESSAGES {
        publish(&engine, "t", &[&body(number)]);
    }
    let again = drain(&engine)?;
    prop_assert_eq!(again.len(), MESSAGES);
    // The end of the last file cannot be told from a write that the loss of power cut short.
    let is_end = name.starts_with("wal-") && lost.last() == Some(&(MESSAGES - 1));
    if !lost.is_empty() && !is_end && !matches!(what, Harm::Cut) {
        let bad = format!("{name}.bad");
        wait_for(|| {
            publish(&engine, "t", &[&body(9)]);
            files(&disk).contains(&bad)
        });
    }
    crash(engine);
    Ok(())
}

/// Without either nobody knows what is owed: an operator has to decide.
#[tokio::test]
async fn with_both_checkpoints_damaged_it_does_not_start() {
    let disk = filled();
    for name in ["checkpoint.dat", "checkpoint-copy.dat"] {
        disk.damage(&Path::new(FOLDER).join(name), |bytes| bytes[20] ^= 1);
    }
    let error = open(&disk).unwrap_err().to_string();
    assert!(error.contains("/log/checkpoint.dat"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(60), ..ProptestConfig::default() })]

    #[test]
    fn damage_loses_what_it_hits_and_nothing_else(
        which: Index,
        at: Index,
        what in prop_oneof![
            4 => any::<u8>().prop_map(Harm::Flip),
            1 => Just(Harm::Cut),
            1 => Just(Harm::Zeros),
        ],
    ) {
        holds(which, at, what)?;
    }
}
