//! The server is killed (SIGKILL) again and again at random moments under load, and the books are held at the end: whose
//! publish was answered comes out of every channel that was there, unless its FIN was sent; what is deferred not too
//! early; attempts, pauses and deletions stay; a FIN that is known to be written stays.
//!
//! A few rounds run with all tests. `scripts/crash` runs as many as one likes: `LEVERET_CRASH_ROUNDS` says how many, and
//! `LEVERET_CRASH_SEED` what chance does. The moment of a kill is the machine's: a seed repeats the load, not the run.

mod books;
mod load;
mod wire;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use books::Name;
use load::{MARKS, PAUSED, World, consumer, operator, publisher};
use wire::{Link, command};

use crate::support::dice::Dice;
use crate::support::leveret::Leveret;
use crate::support::{http, stats};

/// Kills of each level in an ordinary run.
const ROUNDS: u32 = 5;
/// For what is owed at the end to come out.
const DRAIN: Duration = Duration::from_secs(300);
/// The channels that are there from the beginning, and whether somebody reads them all the time.
const CHANNELS: [(Name, bool); 6] = [
    (("orders", "ship"), true),
    (("orders", "bill"), true),
    (("orders", "idle"), false),
    (("events", "all"), true),
    (("events", "held"), false),
    (MARKS, true),
];
/// Those that come later; the first of them gets all that its topic has gathered.
const LATER: [Name; 2] = [("late", "first"), ("late", "second")];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// A run: a server, its load, and how it went.
struct Run {
    server: Leveret,
    world: Arc<World>,
    dice: Dice,
    seed: u64,
    rounds: u32,
    workers: Vec<JoinHandle<()>>,
    kills: u32,
    recoveries: Vec<Duration>,
    /// How often the message of the topic `tries` was delivered.
    tries: u16,
}

impl Run {
    fn start(level: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let seed = number("LEVERET_CRASH_SEED").unwrap_or(now as u64 % 1_000_000_007);
        let rounds = number("LEVERET_CRASH_ROUNDS").map_or(ROUNDS, |rounds| rounds as u32);
        eprintln!("crash {level}: {rounds} rounds, seed {seed}");
        let server = Leveret::nsqd().arg(&format!("--durability={level}")).start();
        let world = Arc::new(World { is_durable: level != "memory", ..World::default() });
        let (workers, recoveries) = (Vec::new(), Vec::new());
        let dice = Dice::new(seed);
        Self { server, world, dice, seed, rounds, workers, kills: 0, recoveries, tries: 0 }
    }

    fn post(&self, path: &str) {
        http::done(self.server.http(), path);
    }

    /// Makes channels and sees to it that they are written down.
    fn make(&self, names: &[Name], is_first: bool) -> io::Result<()> {
        for (topic, channel) in names {
            self.post(&format!("/topic/create?topic={topic}"));
            self.post(&format!("/channel/create?topic={topic}&channel={channel}"));
        }
        let mut link = Link::connect(self.server.tcp())?;
        self.world.publish(&mut link, MARKS.0, &[40])?;
        for name in names {
            self.world.books.channel(*name, is_first);
        }
        Ok(())
    }

    fn work(&mut self, name: &str, work: impl FnOnce(&Arc<World>, Dice) + Send + 'static) {
        let (world, dice) = (Arc::clone(&self.world), Dice::new(self.dice.below(u64::MAX)));
        let worker = std::thread::Builder::new().name(name.into());
        self.workers.push(worker.spawn(move || work(&world, dice)).expect("a thread starts"));
    }

    fn begin(&mut self) {
        for _ in 0..3 {
            self.work("publisher", publisher);
        }
        self.work("operator", operator);
        let read = CHANNELS.into_iter().filter(|(_, is_read)| *is_read);
        for (name, _) in read {
            self.work("consumer", move |world, dice| consumer(world, name, dice));
        }
    }

    /// Ends the load; the server stays.
    fn end(&mut self) {
        self.world.stop.store(true, Ordering::Release);
        for worker in self.workers.drain(..) {
            worker.join().expect("no worker fails");
        }
        self.world.stop.store(false, Ordering::Release);
    }

    fn open(&self) {
        self.world.books.begin_life();
        *self.world.doors.lock() = Some((self.server.tcp(), self.server.http()));
    }

    /// SIGKILL, and the next start.
    fn kill(&mut self) {
        self.server.kill();
        self.kills += 1;
        *self.world.doors.lock() = None;
        let began = Instant::now();
        self.server.restart();
        self.recoveries.push(began.elapsed());
        self.look();
    }

    /// What has to be as it was, right after a start.
    fn look(&self) {
        let (firm, asked) = *self.world.pause.lock();
        let is_paused = stats::channel(self.server.http(), PAUSED.0, PAUSED.1)["paused"].as_bool();
        if is_paused != Some(firm) && is_paused != asked {
            let what = format!("{PAUSED:?}: paused is {is_paused:?}, not {firm} (asked {asked:?})");
            self.world.books.complain(what);
        }
        *self.world.pause.lock() = (is_paused.unwrap_or(firm), None);
        let events = stats::topic(self.server.http(), "events");
        let names: Vec<&str> = events["channels"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|channel| channel["channel_name"].as_str())
            .collect();
        for name in self.world.deleted.lock().drain(..) {
            if names.contains(&name.as_str()) {
                self.world.books.complain(format!("events/{name} was deleted and is there"));
            }
        }
        if !self.world.is_durable {
            return;
        }
        for (name, _) in CHANNELS.iter().filter(|(name, _)| name.0 == "events") {
            if !names.contains(&name.1) {
                self.world.books.complain(format!("{name:?} is gone"));
            }
        }
    }

    /// Delivers one message once more and gives it back: attempts are counted over restarts.
    fn try_once(&mut self) -> io::Result<()> {
        let mut link = Link::connect(self.server.tcp())?;
        if self.tries == 0 {
            self.post("/topic/create?topic=tries");
            self.post("/channel/create?topic=tries&channel=c");
            link.send(&command("PUB tries", b"again"))?;
            link.ok()?;
        }
        let mut consumer = Link::subscribed(self.server.tcp(), "tries", "c", 1)?;
        let message = consumer.message(Duration::from_secs(20))?;
        let message = message.ok_or(io::ErrorKind::TimedOut)?;
        if message.attempts != self.tries + 1 || message.body != b"again" {
            let what = format!("attempts were {} and are {message:?}", self.tries);
            self.world.books.complain(what);
        }
        self.tries = message.attempts;
        consumer.send(format!("RDY 0\nREQ {} 0\n", message.id).as_bytes())?;
        self.world.publish(&mut consumer, MARKS.0, &[40])
    }

    /// Everything that is owed comes out, and is entered.
    fn drain(&self) {
        self.world.books.begin_drain();
        let began = Instant::now();
        let mut names: Vec<Name> = CHANNELS.map(|(name, _)| name).to_vec();
        names.extend(LATER);
        std::thread::scope(|scope| {
            let (world, tcp) = (&self.world, self.server.tcp());
            for name in &names {
                scope.spawn(move || {
                    let mut link = Link::subscribed(tcp, name.0, name.1, 500).expect("SUB");
                    while !world.is_over() {
                        let message = link.message(Duration::from_millis(50)).expect("no end");
                        let Some(message) = message else { continue };
                        world.books.came(*name, &message);
                        link.send(format!("FIN {}\n", message.id).as_bytes()).expect("no end");
                    }
                });
            }
            for (topic, channel) in &names {
                self.post(&format!("/channel/unpause?topic={topic}&channel={channel}"));
            }
            let is_empty = |(topic, channel): &Name| {
                stats::counts(self.server.http(), topic, channel).iter().all(|count| *count == 0)
            };
            while !names.iter().all(is_empty) && began.elapsed() < DRAIN {
                std::thread::sleep(Duration::from_millis(20));
            }
            self.world.stop.store(true, Ordering::Release);
        });
        self.world.stop.store(false, Ordering::Release);
        eprintln!("drained in {:.1?}", began.elapsed());
    }

    fn verdict(&self, level: &str) {
        let figures = self.world.books.figures();
        let (missing, wrong) = (self.world.books.missing(), self.world.books.wrong());
        let slowest = self.recoveries.iter().max().copied().unwrap_or_default();
        let all: Duration = self.recoveries.iter().sum();
        let mean = all / u32::try_from(self.recoveries.len().max(1)).expect("a few");
        eprintln!(
            "crash {level}: seed {}, {} kills; {} published, {} answered, {} deliveries, {} came again after a FIN \
             that was not written yet; start after a kill {mean:.0?}, at most {slowest:.0?}; {} missing, {} wrong",
            self.seed,
            self.kills,
            figures.published,
            figures.acked,
            figures.came,
            figures.duplicates,
            missing.len(),
            wrong.len()
        );
        let some = |all: &[String]| all.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
        assert!(missing.is_empty(), "{level}, seed {}: missing\n{}", self.seed, some(&missing));
        assert!(wrong.is_empty(), "{level}, seed {}: wrong\n{}", self.seed, some(&wrong));
        assert!(!self.server.log().contains("panicked"), "a thread of the server failed");
    }

    /// The rounds of killing.
    fn rounds(&mut self) {
        let begun = CHANNELS.map(|(name, _)| name);
        self.make(&begun, false).expect("the server runs");
        self.post("/channel/pause?topic=events&channel=held");
        self.begin();
        for round in 0..self.rounds {
            if self.world.is_durable {
                self.try_once().expect("the server runs");
                if round == self.rounds / 3 {
                    self.make(&LATER[..1], true).expect("the server runs");
                }
                if round == self.rounds * 2 / 3 {
                    self.make(&LATER[1..], false).expect("the server runs");
                }
            }
            self.open();
            // Sometimes at once, sometimes after a while; seldom so late that what is lazy is written.
            let while_ = 20 + self.dice.below(if round % 8 == 7 { 2500 } else { 500 });
            std::thread::sleep(Duration::from_millis(while_));
            self.kill();
            if round % 16 == 15 {
                self.catch_up();
            }
        }
    }

    /// Reads what nobody reads otherwise, so that the backlog does not grow with the rounds.
    fn catch_up(&mut self) {
        let name = ("orders", "idle");
        let mut link = Link::subscribed(self.server.tcp(), name.0, name.1, 500).expect("SUB");
        let mut finished = Vec::new();
        while let Some(message) = link.message(Duration::from_millis(200)).expect("the server runs")
        {
            let Some(id) = self.world.books.came(name, &message) else { continue };
            self.world.books.finishing(name, id);
            link.send(format!("FIN {}\n", message.id).as_bytes()).expect("the server runs");
            finished.push(id);
        }
        if self.world.is_durable {
            self.world.publish(&mut link, MARKS.0, &[40]).expect("the server runs");
            self.world.books.firm(name, &mut finished);
        }
    }
}

fn loses_nothing(level: &str) {
    let mut run = Run::start(level);
    run.rounds();
    run.open();
    std::thread::sleep(Duration::from_millis(200));
    run.end();
    run.kill();
    run.drain();
    run.verdict(level);
}

#[test]
fn what_was_answered_outlives_kills_with_durability_disk() {
    loses_nothing("disk");
}

#[test]
fn what_was_answered_outlives_kills_with_durability_fsync() {
    loses_nothing("fsync");
}

#[test]
fn with_durability_memory_nothing_broken_comes_after_kills_and_a_clean_stop_loses_nothing() {
    let mut run = Run::start("memory");
    run.rounds();
    run.world.books.forgive();
    let there = CHANNELS.map(|(name, _)| name);
    run.make(&there, false).expect("the server runs");
    run.make(&LATER, true).expect("the server runs");
    run.open();
    std::thread::sleep(Duration::from_millis(500));
    // The stop comes under load, and whoever was answered before is owed.
    *run.world.doors.lock() = None;
    assert!(run.server.stop().success(), "a clean exit");
    run.end();
    run.server.restart();
    run.look();
    run.drain();
    run.verdict("memory");
}
