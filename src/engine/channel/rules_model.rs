//! A channel with every rule at once against its books: whatever happens, each message is finished, dropped, dead or still
//! owed, the bound holds after every publish, and in the end the log owes nothing.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::tests::{Got, pull_at, subscribe};
use crate::clock::{self, Instant};
use crate::engine::alarms::OnAlarm as _;
use crate::engine::policy::{DeadLetterTo, Envelope, OnFull, Pattern, Policies, Rules, TopicRow};
use crate::engine::{Consumer, Engine, Options, Topic};

/// Messages that may wait, and deliveries that each may have.
const MOST: u64 = 7;
const ATTEMPTS: u16 = 3;

#[derive(Clone, Debug)]
enum Step {
    Publish(u8),
    Defer(u8),
    Pull(bool, u64),
    Finish(bool, prop::sample::Index),
    Requeue(bool, prop::sample::Index, u8),
    Pass(u8),
    Pause(bool),
    Leave(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let who = any::<bool>();
    let at = any::<prop::sample::Index>();
    prop_oneof![
        5 => (1_u8..12).prop_map(Step::Publish),
        1 => (1_u8..90).prop_map(Step::Defer),
        5 => (who, 0_u64..6).prop_map(|(who, ready)| Step::Pull(who, ready)),
        3 => (who, at.clone()).prop_map(|(who, at)| Step::Finish(who, at)),
        4 => (who, at, 0_u8..60).prop_map(|(who, at, delay)| Step::Requeue(who, at, delay)),
        2 => (1_u8..70).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Pause),
        1 => who.prop_map(Step::Leave),
    ]
}

struct World {
    engine: Arc<Engine>,
    topic: Arc<Topic>,
    seats: [(Consumer, Vec<Got>); 2],
    now: Instant,
    published: u64,
    finished: u64,
}

impl World {
    fn new(dead_letter: bool) -> Self {
        let to =
            dead_letter.then(|| DeadLetterTo { topic: "dead".into(), envelope: Envelope::None });
        let rules = Rules {
            max_messages: Some(MOST),
            on_full: Some(OnFull::DropOldest),
            max_attempts: Some(ATTEMPTS),
            dead_letter: Some(to),
            ..Rules::default()
        };
        let row = TopicRow { rules, ..TopicRow::new(Pattern::new("t").unwrap()) };
        let policies = Arc::new(Policies::new(vec![row], |letter| letter.body.to_vec()));
        let engine = Engine::new(Options { policies, ..Options::default() });
        let topic = engine.topic("t").unwrap();
        let seats = [0, 1].map(|_| (subscribe(&topic, "c", 0).0, Vec::new()));
        Self { engine, topic, seats, now: clock::now(), published: 0, finished: 0 }
    }

    fn seat(&mut self, who: bool) -> &mut (Consumer, Vec<Got>) {
        &mut self.seats[usize::from(who)]
    }

    fn run(&mut self, step: &Step) {
        let now = self.now;
        match step {
            Step::Publish(count) => {
                let bodies = (0..*count).map(|_| &b"body"[..]);
                assert!(self.topic.publish(bodies, &Arc::default()).is_ok());
                self.published += u64::from(*count);
                self.check_bound();
            }
            Step::Defer(delay) => {
                let delay = Duration::from_secs((*delay).into());
                assert!(self.topic.publish_deferred(b"body", delay, &Arc::default()).is_ok());
                self.published += 1;
                self.check_bound();
            }
            Step::Pull(who, ready) => {
                let (consumer, holds) = self.seat(*who);
                consumer.set_ready(*ready);
                let got = pull_at(consumer, now);
                assert!(got.iter().all(|got| got.attempts <= ATTEMPTS));
                holds.extend(got);
            }
            Step::Finish(who, at) => {
                let (consumer, holds) = self.seat(*who);
                if !holds.is_empty() {
                    let got = holds.remove(at.index(holds.len()));
                    consumer.settle(now).finish(&got.id).unwrap();
                    self.finished += 1;
                }
            }
            Step::Requeue(who, at, delay) => {
                let (consumer, holds) = self.seat(*who);
                if !holds.is_empty() {
                    let got = holds.remove(at.index(holds.len()));
                    let delay = Duration::from_secs((*delay).into());
                    consumer.settle(now).requeue(&got.id, delay).unwrap();
                }
            }
            Step::Pass(seconds) => {
                self.now += Duration::from_secs((*seconds).into());
                self.topic.find_channel("c").unwrap().on_alarm(self.now);
                // What timed out is not theirs any more: the next settling would say so.
                for (consumer, holds) in &mut self.seats {
                    holds.retain(|got| consumer.settle(now).touch(&got.id).is_ok());
                }
            }
            Step::Pause(paused) => self.topic.set_paused(*paused),
            Step::Leave(who) => {
                let seat = (subscribe(&self.topic, "c", 0).0, Vec::new());
                *self.seat(*who) = seat;
            }
        }
        self.check_books();
    }

    /// What waits in the channel or in the paused topic is within the bound.
    fn check_bound(&self) {
        let counts = self.topic.find_channel("c").unwrap().counts();
        if self.topic.is_paused() {
            assert!(self.topic.depth() <= MOST, "{}", self.topic.depth());
        } else {
            assert!(counts.depth + counts.deferred <= MOST, "{counts:?}");
        }
    }

    fn check_books(&self) {
        let counts = self.topic.find_channel("c").unwrap().counts();
        let held: usize = self.seats.iter().map(|(_, holds)| holds.len()).sum();
        assert_eq!(counts.in_flight, held as u64, "{counts:?}");
        let left = counts.depth + counts.deferred + counts.in_flight + self.topic.depth();
        let gone = counts.dropped + counts.dead_letters + self.topic.dropped() + self.finished;
        assert_eq!(left + gone, self.published, "{counts:?}");
        let dead = self.engine.find_topic("dead").map_or(0, |topic| topic.depth());
        assert_eq!(dead, counts.dead_letters);
        assert_eq!(self.engine.owed(), left + dead);
    }

    /// In the end everything is finished or dead, and no block of the log is owed anything.
    fn drain(&mut self) {
        self.run(&Step::Pause(false));
        for _ in 0..20 {
            self.run(&Step::Pass(100));
            self.run(&Step::Pull(true, 100));
            while !self.seats[1].1.is_empty() {
                let (consumer, holds) = self.seat(true);
                let got = holds.remove(0);
                consumer.settle(clock::now()).finish(&got.id).unwrap();
                self.finished += 1;
            }
        }
        let counts = self.topic.find_channel("c").unwrap().counts();
        assert_eq!((counts.depth, counts.deferred, counts.in_flight), (0, 0, 0));
        let mut feed = self.topic.write();
        feed.maintain();
        assert!(feed.log.is_settled(), "claims are left");
    }
}

proptest! {
    #[test]
    fn the_books_balance(dead in any::<bool>(), steps in proptest::collection::vec(step(), 1..150)) {
        let mut world = World::new(dead);
        for step in &steps {
            world.run(step);
        }
        world.drain();
    }
}
