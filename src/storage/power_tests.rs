//! The store on a disk that loses its power: whatever was synced is there, what is found is what was written, and finding it
//! changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::image::{ChannelImage, Image};
use super::ranges::RangeSet;
use super::segment::encode;
use super::sim::{Dice, SimDisk};
use super::store::{Recovered, RecoveredTopic, Store};
use super::wal::record::{Records, Write as _};
use super::wal::writer::WalOptions;
use super::wal::{Level, Lsn};

const TOPIC: u32 = 1;
const CHANNEL: u32 = 1;

#[derive(Clone, Debug)]
enum Op {
    /// Bodies of this size, appended at a level, and waited for or not.
    Publish {
        count: u64,
        size: usize,
        level: Level,
        waits: bool,
    },
    Defer {
        size: usize,
        level: Level,
    },
    /// So many of what is owed, from a place in it on.
    Settle {
        at: usize,
        count: u64,
    },
    Attempts {
        at: usize,
        attempts: u16,
    },
    Pause(bool),
    Sync,
    /// What the engine does with a full file: segments, a checkpoint, away with the file.
    Move,
}

/// What happens until the power goes.
#[derive(Clone, Debug)]
struct Life {
    ops: Vec<Op>,
    /// The power goes after so many calls, or at the end.
    cut: u64,
    /// It goes during the recovery too.
    cut_again: Option<u64>,
    seed: u64,
}

fn op() -> impl Strategy<Value = Op> {
    let level = prop_oneof![Just(Level::Lazy), Just(Level::Written), Just(Level::Synced)];
    prop_oneof![
        6 => (1..6_u64, 0..700_usize, level.clone(), any::<bool>())
            .prop_map(|(count, size, level, waits)| Op::Publish { count, size, level, waits }),
        1 => (0..300_usize, level).prop_map(|(size, level)| Op::Defer { size, level }),
        4 => (0..50_usize, 1..20_u64).prop_map(|(at, count)| Op::Settle { at, count }),
        1 => (0..50_usize, 1..9_u16).prop_map(|(at, attempts)| Op::Attempts { at, attempts }),
        1 => any::<bool>().prop_map(Op::Pause),
        2 => Just(Op::Sync),
        2 => Just(Op::Move),
    ]
}

fn life() -> impl Strategy<Value = Life> {
    let again = prop::option::of(0..12_u64);
    (prop::collection::vec(op(), 1..25), 0..150_u64, again, any::<u64>())
        .prop_map(|(ops, cut, cut_again, seed)| Life { ops, cut, cut_again, seed })
}

/// A channel without what is only a matter of where things are: name, pause, owed, details.
type Reader = (String, bool, Vec<std::ops::Range<u64>>, Vec<(u64, u16, i64)>);

/// What a topic owes, for comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Face {
    paused: bool,
    unreleased: Vec<std::ops::Range<u64>>,
    held: Vec<(u64, u64)>,
    readers: Vec<Reader>,
}

fn reader(channel: &ChannelImage) -> Reader {
    let details = channel.details.iter().map(|(seq, detail)| (*seq, detail.attempts, detail.due));
    (channel.name.clone(), channel.paused, channel.owed.iter().collect(), details.collect())
}

fn face(image: &Image) -> Face {
    let Some(topic) = image.topics.get(&TOPIC) else { return Face::default() };
    Face {
        paused: topic.paused,
        unreleased: topic.unreleased.iter().collect(),
        held: topic.held.iter().map(|(seq, delay)| (*seq, *delay)).collect(),
        readers: topic.channels.values().map(reader).collect(),
    }
}

/// The machine, and what its disk may say after the power has gone.
struct Machine {
    disk: SimDisk,
    image: Image,
    /// The image behind each record since the last start.
    history: Vec<(Lsn, Image)>,
    /// All up to here must be there.
    synced: Lsn,
    bodies: BTreeMap<u64, Vec<u8>>,
    next: u64,
}

/// Files of the log that are left to lie.
const FILES: usize = 6;

impl Machine {
    fn open(&self) -> Result<(Store, Recovered), super::StorageError> {
        let options = WalOptions {
            folder: PathBuf::from("/log"),
            file_bytes: 1500,
            sync_interval: Duration::from_secs(600),
            reserve_bytes: 0,
        };
        Store::open(Arc::new(self.disk.clone()), options, Arc::new(|_| {}))
    }

    fn append(&mut self, store: &Store, level: Level, write: impl FnOnce(&mut Vec<u8>)) -> Lsn {
        let mut bytes = Vec::new();
        write(&mut bytes);
        let before = store.wal.end();
        let end = store.wal.append(level, |out| out.extend(&bytes));
        for (at, record) in Records::new(&bytes) {
            self.image.apply(before + at, &record);
            self.history.push((before + at, self.image.clone()));
        }
        end
    }

    /// Number and body of a new message.
    fn mint(&mut self, size: usize) -> (u64, Vec<u8>) {
        let seq = self.next;
        self.next += 1;
        let body: Vec<u8> = seq.to_be_bytes().into_iter().cycle().take(size).collect();
        self.bodies.insert(seq, body.clone());
        (seq, body)
    }

    fn owed(&self) -> Vec<u64> {
        let channel = self.image.topics.get(&TOPIC).and_then(|topic| topic.channels.get(&CHANNEL));
        channel.map(|channel| channel.owed.iter().flatten().collect()).unwrap_or_default()
    }

    /// `false` once something fails.
    fn act(&mut self, store: &Store, op: &Op) -> bool {
        // A log with too many files waits for its keeper, which is nobody here.
        if store.wal.files() > FILES && self.move_out(store).is_none() {
            return false;
        }
        match *op {
            Op::Publish { count, size, level, waits } => {
                let made: Vec<_> = (0..count).map(|_| self.mint(size)).collect();
                let first = made[0].0;
                let bodies: Vec<&[u8]> = made.iter().map(|(_, body)| &**body).collect();
                let end = self.append(store, level, |out| {
                    out.publish(TOPIC, first, 5, bodies.into_iter());
                });
                return !waits || self.wait(store, end, level);
            }
            Op::Defer { size, level } => {
                let (seq, body) = self.mint(size);
                self.append(store, level, |out| out.publish_deferred(TOPIC, seq, 5, 70, &body));
            }
            Op::Settle { at, count } => {
                let owed = self.owed();
                let Some(first) = owed.get(at % owed.len().max(1)).copied() else {
                    return true;
                };
                let range = first..first + count;
                self.append(store, Level::Lazy, |out| out.settled(TOPIC, CHANNEL, &[range]));
            }
            Op::Attempts { at, attempts } => {
                let owed = self.owed();
                let Some(seq) = owed.get(at % owed.len().max(1)).copied() else {
                    return true;
                };
                self.append(store, Level::Lazy, |out| {
                    out.state(TOPIC, CHANNEL, seq, attempts, 9);
                });
            }
            Op::Pause(paused) => {
                self.append(store, Level::Written, |out| out.topic_paused(TOPIC, paused, 6));
            }
            Op::Sync => {
                let end = store.wal.end();
                let is_done = store.wal.sync_to(end).is_ok();
                if is_done {
                    self.synced = end;
                }
                return is_done;
            }
            Op::Move => return self.move_out(store).is_some(),
        }
        true
    }

    fn wait(&mut self, store: &Store, end: Lsn, level: Level) -> bool {
        let is_done = store.wal.wait(end, level).is_ok();
        if is_done && level == Level::Synced {
            self.synced = end;
        }
        is_done
    }

    fn move_out(&mut self, store: &Store) -> Option<()> {
        let end = store.wal.end();
        let topic = self.image.topics.get_mut(&TOPIC)?;
        let owed = topic.owed();
        let mut homeless = owed.clone();
        for home in &topic.homes {
            homeless.remove(home.base..home.base + u64::from(home.count));
        }
        let mut writer = store.segments.writer();
        for range in homeless.iter() {
            let messages = range.clone().map(|seq| (5, Some(&*self.bodies[&seq])));
            let mut block = Vec::new();
            encode(&mut block, TOPIC, range.start, messages);
            let home = writer.add(&block).ok()?;
            let count = u32::try_from(range.end - range.start).unwrap();
            topic.homes.push(super::image::HomeImage { base: range.start, count, home });
        }
        writer.finish().ok()?;
        topic.homes.retain(|home| {
            owed.within(home.base..home.base + u64::from(home.count)).next().is_some()
        });
        topic.homes.sort_by_key(|home| home.base);
        topic.lsn = end;
        self.image.wal_from = end;
        store.wal.sync_to(end).ok()?;
        self.synced = end;
        store.save(&self.image).ok()
    }

    /// Every body that is owed is there, and is what was published.
    fn read_all(&self, store: &Store, found: &Recovered) -> Result<(), TestCaseError> {
        for RecoveredTopic { image, batches, .. } in &found.topics {
            let mut had = RangeSet::new();
            for (first, batch) in batches {
                for at in 0..batch.ends.len() {
                    let seq = first + at as u64;
                    had.insert(seq..seq + 1);
                    prop_assert_eq!(batch.body(at), self.bodies.get(&seq).map(|body| &**body));
                }
            }
            for home in &image.homes {
                let (_, data) = store.segments.read(home.home).unwrap();
                let mut at = 0;
                for (seq, (_, length)) in (home.base..).zip(&data.index) {
                    let Some(length) = length else { continue };
                    let end = at + *length as usize;
                    had.insert(seq..seq + 1);
                    prop_assert_eq!(
                        Some(&data.bodies[at..end]),
                        self.bodies.get(&seq).map(|b| &**b)
                    );
                    at = end;
                }
            }
            for seq in image.owed().iter().flatten() {
                prop_assert!(had.contains(seq), "no body of {seq}");
            }
        }
        Ok(())
    }

    /// What was found is a state that there was, and not one from before what was synced.
    fn judge(&self, found: &Recovered) -> Result<Image, TestCaseError> {
        let image = Image {
            wal_from: found.wal_from,
            last_topic: found.last_topic,
            topics: found.topics.iter().map(|topic| (topic.id, topic.image.clone())).collect(),
        };
        let seen = face(&image);
        if found.damage.is_empty() {
            let mut possible = self.history.iter().filter(|(lsn, _)| *lsn >= self.synced);
            prop_assert!(
                possible.any(|(_, state)| face(state) == seen),
                "{seen:?}\nis no state from {} on:\n{:?}",
                self.synced,
                self.history.iter().map(|(lsn, state)| (*lsn, face(state))).collect::<Vec<_>>()
            );
        }
        // Frames that were never synced may be there without those before them. What was synced is there all the same.
        let synced = self.history.iter().rfind(|(lsn, _)| *lsn <= self.synced);
        let firm = synced.and_then(|(_, state)| state.topics.get(&TOPIC));
        let last = self.image.topics.get(&TOPIC);
        let (Some(firm), Some(last)) = (firm, last) else { return Ok(image) };
        let found = image.topics.get(&TOPIC);
        prop_assert!(found.is_some(), "the topic is gone");
        let found = found.unwrap().owed();
        let last = last.owed();
        for seq in firm.owed().iter().flatten().filter(|seq| last.contains(*seq)) {
            prop_assert!(found.contains(seq), "{seq} was synced and is gone");
        }
        Ok(image)
    }

    /// Goes on with what was found, which is safe now.
    fn adopt(&mut self, store: &Store, image: Image) {
        self.synced = store.wal.end();
        self.image = image;
        self.history = vec![(self.synced, self.image.clone())];
        if !self.image.topics.contains_key(&TOPIC) {
            self.append(store, Level::Written, |out| out.topic(TOPIC, false, "t"));
        }
        if self.image.topics.get(&TOPIC).is_some_and(|topic| topic.channels.is_empty()) {
            self.append(store, Level::Written, |out| {
                out.channel(TOPIC, CHANNEL, false, 3, 0, "c");
            });
        }
    }

    /// One life; `true` if the recovery behind it found holes.
    fn live(&mut self, store: Store, life: &Life) -> Result<(Store, bool), TestCaseError> {
        self.disk.cut_power(life.cut);
        let _ = life.ops.iter().all(|op| self.act(&store, op));
        if !self.disk.is_off() {
            self.disk.cut_power(0);
        }
        drop(store);
        let mut dice = Dice::new(life.seed);
        self.disk.crash(&mut dice);
        if let Some(cut) = life.cut_again {
            self.disk.cut_power(cut);
            drop(self.open());
            self.disk.crash(&mut dice);
        }
        let (store, found) = self.open().unwrap();
        self.read_all(&store, &found)?;
        let image = self.judge(&found)?;
        let has_holes = !found.damage.is_empty();
        // Once more, and what it has made is lost or not.
        drop(store);
        self.disk.crash(&mut dice);
        let (store, again) = self.open().unwrap();
        self.read_all(&store, &again)?;
        prop_assert_eq!(face(&self.judge(&again)?), face(&image), "found anew");
        prop_assert_eq!(again.damage, found.damage);
        self.adopt(&store, image);
        Ok((store, has_holes))
    }
}

fn survives(lives: &[Life]) -> Result<(), TestCaseError> {
    let mut machine = Machine {
        disk: SimDisk::new(64 << 20),
        image: Image::default(),
        history: Vec::new(),
        synced: 0,
        bodies: BTreeMap::new(),
        next: 100,
    };
    let (mut store, found) = machine.open().unwrap();
    assert!(found.topics.is_empty());
    machine.adopt(&store, Image::default());
    for life in lives {
        (store, _) = machine.live(store, life)?;
    }
    let names = super::disk::Disk::list(&machine.disk, Path::new("/log")).unwrap();
    drop(store);
    prop_assert!(names.len() < 100, "{names:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(150), ..ProptestConfig::default() })]

    #[test]
    fn what_was_synced_outlives_the_power(lives in prop::collection::vec(life(), 1..4)) {
        survives(&lives)?;
    }
}

/// How many cases: `PROPTEST_CASES`, or as many as all tests together have time for.
fn cases(few: u32) -> u32 {
    let (asked, usual) = (ProptestConfig::default().cases, 256);
    if asked == usual { few } else { asked }
}
