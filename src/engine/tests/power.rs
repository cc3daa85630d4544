//! The engine on a disk that loses its power, is full, or fails: what was promised is held against a model.
//!
//! A message is *written* once a publish behind it was answered, and *firm* once it is synced: with durability `fsync` that is
//! the same. The end of the process must leave what is written, the loss of power what is firm.

mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rustix::io::Errno;

use self::work::{CHANNELS, End, Op, Place, TOPICS, lives};
use super::rig::{Got, crash, pull, subscribe, wait_for};
use crate::clock;
use crate::engine::policy::Durability;
use crate::engine::{Accepted, Consumer, Engine, Options, Outcome, PublishError};
use crate::storage::sim::{Call, Dice, SimDisk};
use crate::storage::wal::writer::WalOptions;

const HOUR: Duration = Duration::from_secs(3600);
/// Room enough.
const ROOM: u64 = 1 << 30;

/// How sure something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Safety {
    Hoped,
    Written,
    Firm,
}

#[derive(Clone, Debug)]
struct Told {
    topic: usize,
    body: String,
    safety: Safety,
    /// The channels that were there; none for a message that waits in its topic.
    channels: BTreeSet<usize>,
    deferred: bool,
    /// It may be gone with its topic or its topic's first channel.
    gone: bool,
    /// Channels that are done with it, by FIN or otherwise,
    touched: BTreeSet<usize>,
    /// and by FIN, and how sure that is.
    finished: BTreeMap<usize, Safety>,
}

struct Machine {
    disk: SimDisk,
    durability: Durability,
    engine: Option<Arc<Engine>>,
    consumers: BTreeMap<Place, (Consumer, Vec<Got>)>,
    told: BTreeMap<u32, Told>,
    channels: [BTreeSet<usize>; TOPICS.len()],
    next: u32,
    /// A sync may have failed: nobody knows what of it the disk has, whatever reads say until the power goes.
    is_doubtful: bool,
}

fn id_of(body: &str) -> Option<u32> {
    body.split_once('-')?.0.parse().ok()
}

impl Machine {
    fn new(durability: Durability) -> Self {
        let (disk, channels) = (SimDisk::new(ROOM), Default::default());
        let (consumers, told) = (BTreeMap::new(), BTreeMap::new());
        Self {
            disk,
            durability,
            engine: None,
            consumers,
            told,
            channels,
            next: 0,
            is_doubtful: false,
        }
    }

    fn open(&mut self) {
        let wal = WalOptions {
            folder: PathBuf::from("/log"),
            file_bytes: 3000,
            sync_interval: Duration::from_secs(600),
            reserve_bytes: 0,
        };
        let options = Options { durability: Some(self.durability), ..Options::default() };
        let engine = Engine::open_on(Arc::new(self.disk.clone()), options, wal);
        self.engine = Some(engine.expect("nothing is damaged"));
    }

    fn engine(&self) -> Arc<Engine> {
        Arc::clone(self.engine.as_ref().unwrap())
    }

    /// Everything up to now is at least so safe.
    fn reached(&mut self, safety: Safety) {
        for told in self.told.values_mut() {
            told.safety = told.safety.max(safety);
            for finished in told.finished.values_mut() {
                *finished = (*finished).max(safety);
            }
        }
    }

    /// What became of the last `count` messages.
    fn published(&mut self, count: usize, accepted: &Result<Accepted, PublishError>) {
        let &Ok(Accepted::Logged(mark)) = accepted else {
            // Refused at once: never to be seen.
            for _ in 0..count {
                self.told.pop_last();
            }
            return;
        };
        let engine = self.engine();
        let journal = engine.journal().unwrap();
        wait_for(|| journal.outcome(mark) != Outcome::Pending);
        if journal.outcome(mark) == Outcome::Done {
            let is_synced = self.durability == Durability::Fsync;
            self.reached(if is_synced { Safety::Firm } else { Safety::Written });
        }
    }

    fn mint(&mut self, topic: usize, size: usize, deferred: bool) -> String {
        let body = format!("{}-{}", self.next, "x".repeat(size));
        let told = Told {
            topic,
            body: body.clone(),
            safety: Safety::Hoped,
            channels: self.channels[topic].clone(),
            deferred,
            gone: false,
            touched: BTreeSet::new(),
            finished: BTreeMap::new(),
        };
        self.told.insert(self.next, told);
        self.next += 1;
        body
    }

    /// The topic loses what a channel had.
    fn touch(&mut self, (topic, channel): Place) {
        for told in self.told.values_mut().filter(|told| told.topic == topic) {
            told.touched.insert(channel);
            told.gone |= told.channels.is_empty();
        }
    }

    fn pull(&mut self, place: Place, count: u64) -> Result<(), TestCaseError> {
        if !self.channels[place.0].contains(&place.1) {
            return Ok(());
        }
        let topic = self.engine().topic(TOPICS[place.0]).unwrap();
        let (consumer, got) = self
            .consumers
            .entry(place)
            .or_insert_with(|| (subscribe(&topic, CHANNELS[place.1]), Vec::new()));
        for message in pull(consumer, count) {
            let told = id_of(&message.body).and_then(|id| self.told.get(&id));
            prop_assert!(told.is_some(), "{} was never published", message.body);
            let told = told.unwrap();
            prop_assert_eq!(&told.body, &message.body);
            prop_assert_eq!(told.topic, place.0);
            prop_assert!(!told.deferred, "{} is an hour too early", message.body);
            got.push(message);
        }
        Ok(())
    }

    fn finish(&mut self, place: Place, count: usize) {
        let Some((consumer, got)) = self.consumers.get_mut(&place) else { return };
        let first: Vec<Got> = got.drain(..count.min(got.len())).collect();
        let mut settling = consumer.settle(clock::now());
        for message in &first {
            let id = id_of(&message.body).unwrap();
            if settling.finish(&message.id).is_ok() {
                let told = self.told.get_mut(&id).unwrap();
                told.touched.insert(place.1);
                told.gone |= told.channels.is_empty();
                told.finished.insert(place.1, Safety::Hoped);
            }
        }
    }

    fn requeue(&mut self, place: Place, later: bool) {
        if let Some((consumer, got)) = self.consumers.get_mut(&place)
            && let Some(message) = got.pop()
        {
            let delay = if later { HOUR } else { Duration::ZERO };
            consumer.settle(clock::now()).requeue(&message.id, delay).unwrap_or_default();
        }
    }

    fn act(&mut self, op: &Op) -> Result<(), TestCaseError> {
        let engine = self.engine();
        let topic = |at: usize| engine.topic(TOPICS[at]).unwrap();
        let channel = |(at, channel): Place| topic(at).find_channel(CHANNELS[channel]);
        match *op {
            Op::Publish { topic: at, count, size } => {
                let bodies: Vec<String> = (0..count).map(|_| self.mint(at, size, false)).collect();
                let bodies = bodies.iter().map(|body| body.as_bytes());
                self.published(count, &topic(at).publish(bodies, &Arc::default()));
            }
            Op::Defer { topic: at } => {
                let body = self.mint(at, 20, true);
                let accepted = topic(at).publish_deferred(body.as_bytes(), HOUR, &Arc::default());
                self.published(1, &accepted);
            }
            Op::Pull(place, count) => self.pull(place, count)?,
            Op::Finish(place, count) => self.finish(place, count),
            Op::Requeue(place, later) => self.requeue(place, later),
            Op::Leave(place) => drop(self.consumers.remove(&place)),
            Op::Create(place) => {
                topic(place.0).channel(CHANNELS[place.1]).unwrap();
                self.channels[place.0].insert(place.1);
            }
            Op::Delete(place) => {
                self.consumers.remove(&place);
                topic(place.0).delete_channel(CHANNELS[place.1]);
                self.channels[place.0].remove(&place.1);
                self.touch(place);
            }
            Op::Empty(place) => {
                if let Some(channel) = channel(place) {
                    self.consumers.remove(&place);
                    channel.empty();
                    self.touch(place);
                }
            }
            Op::EmptyTopic(at) => {
                topic(at).empty();
                self.lose_topic(at);
            }
            Op::DeleteTopic(at) => {
                self.consumers.retain(|place, _| place.0 != at);
                engine.delete_topic(TOPICS[at]);
                self.channels[at].clear();
                self.lose_topic(at);
            }
            Op::Pause(at, paused) => topic(at).set_paused(paused),
            Op::PauseChannel(place, paused) => {
                if let Some(channel) = channel(place) {
                    channel.set_paused(paused);
                }
            }
            Op::Sync => {
                if engine.journal().unwrap().check().is_ok() && engine.sync().is_ok() {
                    self.reached(Safety::Firm);
                }
            }
            Op::Fail { call, passes } => {
                self.is_doubtful |= call == Call::Sync;
                self.disk.fail(Some(call), passes, Errno::IO);
            }
            Op::Full => self.disk.set_capacity(0),
            Op::Space => self.heal(),
            Op::Cut(passes) => self.disk.cut_power(passes),
        }
        Ok(())
    }

    fn lose_topic(&mut self, at: usize) {
        self.told.values_mut().filter(|told| told.topic == at).for_each(|told| told.gone = true);
    }

    /// There is space again: publishing goes on by itself, unless the log has failed for good.
    fn heal(&mut self) {
        self.disk.set_capacity(ROOM);
        let engine = self.engine();
        let journal = engine.journal().unwrap();
        wait_for(|| match journal.check() {
            Ok(()) => true,
            Err(trouble) => trouble.to_string().contains("restart"),
        });
    }

    fn end(&mut self, end: End) -> Result<(), TestCaseError> {
        let end = if std::mem::take(&mut self.is_doubtful) { End::Power(3) } else { end };
        if !matches!(end, End::Power(_)) {
            self.disk.calm();
        }
        if end == End::Stopped {
            self.heal();
            if self.engine().save().is_ok() {
                self.reached(Safety::Firm);
            }
        }
        if matches!(end, End::Power(_)) && !self.disk.is_off() {
            self.disk.cut_power(0);
        }
        self.consumers.clear();
        let engine = self.engine.take().unwrap();
        crash(engine);
        let had_power = !self.disk.is_off();
        self.disk.set_capacity(ROOM);
        self.disk.calm();
        let seed = if let End::Power(seed) = end { seed } else { 7 };
        if !had_power || matches!(end, End::Power(_)) {
            self.disk.crash(&mut Dice::new(seed));
            self.open();
            return self.look(Safety::Firm);
        }
        self.open();
        self.look(Safety::Written)
    }

    /// Whose safety is enough is there; the model goes on with what is found.
    fn look(&mut self, enough: Safety) -> Result<(), TestCaseError> {
        let engine = self.engine();
        let mut found: BTreeMap<u32, Told> = BTreeMap::new();
        for (at, name) in TOPICS.iter().enumerate() {
            let mut own = BTreeSet::new();
            let mut owed: BTreeMap<usize, BTreeSet<u32>> = BTreeMap::new();
            if let Some(topic) = engine.find_topic(name) {
                let read = |seq| topic.copy_of(seq, 0).map(|moved| String::from_utf8(moved.body));
                for seq in topic.own() {
                    own.insert(self.known(at, read(seq))?);
                }
                for (number, name) in CHANNELS.iter().enumerate() {
                    let Some(channel) = topic.find_channel(name) else { continue };
                    let ids = owed.entry(number).or_default();
                    for seq in topic.owed_to(&channel).into_keys() {
                        let id = self.known(at, read(seq))?;
                        prop_assert!(ids.insert(id), "{id} is there twice");
                    }
                }
            }
            for (id, told) in self.told.iter().filter(|(_, told)| told.topic == at) {
                self.compare(*id, told, &own, &owed, enough)?;
                let channels: BTreeSet<usize> =
                    owed.iter().filter(|(_, ids)| ids.contains(id)).map(|(c, _)| *c).collect();
                if own.contains(id) || !channels.is_empty() {
                    // A FIN that was lost is none.
                    let mut finished = told.finished.clone();
                    finished.retain(|channel, _| !own.contains(id) && !channels.contains(channel));
                    let now = Told {
                        safety: Safety::Firm,
                        // In a topic that is paused the channels that are there have yet to get it.
                        channels: if own.contains(id) {
                            owed.keys().copied().collect()
                        } else {
                            channels
                        },
                        gone: false,
                        touched: BTreeSet::new(),
                        finished,
                        ..told.clone()
                    };
                    found.insert(*id, now);
                }
            }
            self.channels[at] = owed.into_keys().collect();
        }
        self.told = found;
        Ok(())
    }

    /// The message of a body that was found.
    fn known(
        &self,
        topic: usize,
        body: Option<Result<String, std::string::FromUtf8Error>>,
    ) -> Result<u32, TestCaseError> {
        let body = body.and_then(Result::ok);
        prop_assert!(body.is_some(), "a message that is owed cannot be read");
        let body = body.unwrap();
        let told = id_of(&body).and_then(|id| Some((id, self.told.get(&id)?)));
        prop_assert!(told.is_some(), "{body} was never published, or is back");
        let (id, told) = told.unwrap();
        prop_assert_eq!(&told.body, &body);
        prop_assert_eq!(told.topic, topic);
        Ok(id)
    }

    fn compare(
        &self,
        id: u32,
        told: &Told,
        own: &BTreeSet<u32>,
        owed: &BTreeMap<usize, BTreeSet<u32>>,
        enough: Safety,
    ) -> Result<(), TestCaseError> {
        for (channel, safety) in &told.finished {
            let is_back = owed.get(channel).is_some_and(|ids| ids.contains(&id));
            prop_assert!(!is_back || *safety < enough, "{id} is back in {channel} after its FIN");
        }
        if told.safety < enough || told.gone {
            return Ok(());
        }
        if told.channels.is_empty() {
            let is_there = own.contains(&id) || owed.values().any(|ids| ids.contains(&id));
            prop_assert!(is_there, "{id} is gone from its topic: {told:?}");
        }
        for channel in told.channels.difference(&told.touched) {
            let is_there =
                own.contains(&id) || owed.get(channel).is_some_and(|ids| ids.contains(&id));
            prop_assert!(is_there, "{id} is gone from channel {channel}: {told:?}");
        }
        Ok(())
    }
}

fn keeps_its_promise(
    durability: Durability,
    lives: &[(Vec<Op>, End)],
) -> Result<(), TestCaseError> {
    let mut machine = Machine::new(durability);
    machine.open();
    for (ops, end) in lives {
        for op in ops {
            machine.act(op)?;
        }
        machine.end(*end)?;
    }
    crash(machine.engine.take().unwrap());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: super::rig::cases(60), ..ProptestConfig::default() })]

    #[test]
    fn with_fsync_the_loss_of_power_loses_nothing_that_was_answered(lives in lives()) {
        keeps_its_promise(Durability::Fsync, &lives)?;
    }

    #[test]
    fn with_disk_the_loss_of_power_loses_nothing_that_was_synced(lives in lives()) {
        keeps_its_promise(Durability::Disk, &lives)?;
    }
}
