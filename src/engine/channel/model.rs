//! The channel against a model: random publishes, pulls, FIN, REQ, TOUCH, timeouts, pauses, emptying and consumers that
//! come and go. After every step each message is in exactly one place, and no credit is exceeded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::clock::{self, Instant};
use crate::engine::alarms::OnAlarm as _;
use crate::engine::{
    Client, Consumer, Engine, Identity, Options, PullLimit, Signal, Subscriber, Topic,
};

/// How long a message may be in flight here.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
enum Step {
    Publish(u8),
    Defer(u8),
    Pull(usize, u8),
    Ready(usize, u8),
    Finish(usize, prop::sample::Index),
    Requeue(usize, prop::sample::Index, u8),
    Touch(usize, prop::sample::Index),
    Pass(u8),
    Leave(usize),
    Empty,
    Pause(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0_usize..3;
    prop_oneof![
        4 => (1_u8..20).prop_map(Step::Publish),
        1 => (1_u8..90).prop_map(Step::Defer),
        6 => (who.clone(), 1_u8..10).prop_map(|(who, max)| Step::Pull(who, max)),
        2 => (who.clone(), 0_u8..12).prop_map(|(who, ready)| Step::Ready(who, ready)),
        5 => (who.clone(), any::<prop::sample::Index>()).prop_map(|(who, at)| Step::Finish(who, at)),
        2 => (who.clone(), any::<prop::sample::Index>(), 0_u8..90)
            .prop_map(|(who, at, delay)| Step::Requeue(who, at, delay)),
        1 => (who.clone(), any::<prop::sample::Index>()).prop_map(|(who, at)| Step::Touch(who, at)),
        3 => (1_u8..70).prop_map(Step::Pass),
        1 => who.prop_map(Step::Leave),
        1 => Just(Step::Empty),
        1 => any::<bool>().prop_map(Step::Pause),
    ]
}

/// One consumer and what the model says it holds: id → (body, deadline, latest deadline).
struct Seat {
    consumer: Consumer,
    ready: u64,
    holds: BTreeMap<[u8; 16], (u32, Instant, Instant)>,
}

struct World {
    engine: Arc<Engine>,
    topic: Arc<Topic>,
    now: Instant,
    next: u32,
    seats: Vec<Seat>,
    /// Bodies that were published and are neither finished nor emptied away.
    owed: BTreeSet<u32>,
    /// Bodies that no consumer may get before this moment.
    held: BTreeMap<u32, Instant>,
    attempts: BTreeMap<u32, u16>,
    paused: bool,
}

impl World {
    fn new() -> Self {
        let engine = Engine::new(Options::default());
        let topic = engine.topic("t").unwrap();
        topic.channel("c").unwrap();
        let mut world = Self {
            engine,
            topic,
            now: clock::now(),
            next: 0,
            seats: Vec::new(),
            owed: BTreeSet::new(),
            held: BTreeMap::new(),
            attempts: BTreeMap::new(),
            paused: false,
        };
        world.seats = (0..3).map(|_| world.sit()).collect();
        world
    }

    fn sit(&self) -> Seat {
        let subscriber = Subscriber {
            client: Arc::new(Client::new("@".into(), 0, Identity::default())),
            signal: Arc::<Signal>::default(),
            msg_timeout: TIMEOUT,
            touch_timeout: TIMEOUT,
            sample_rate: 0,
        };
        let consumer = self.topic.channel("c").unwrap().subscribe(subscriber, 0).unwrap();
        Seat { consumer, ready: 0, holds: BTreeMap::new() }
    }

    fn publish(&mut self, delay: Option<u8>) {
        let body = self.next;
        self.next += 1;
        let bytes = body.to_be_bytes();
        let accepted = match delay {
            None => self.topic.publish(std::iter::once(&bytes[..]), &Arc::default()),
            Some(delay) => {
                let delay = Duration::from_secs(delay.into());
                // The engine counts from its own now; the model's runs ahead of it by the same steps.
                self.held.insert(body, clock::now() + delay);
                self.topic.publish_deferred(&bytes, delay, &Arc::default())
            }
        };
        assert!(accepted.is_ok());
        self.owed.insert(body);
    }

    fn pull(&mut self, who: usize, max: u8) {
        let seat = &mut self.seats[who];
        let credit = seat.ready.saturating_sub(seat.holds.len() as u64);
        let mut got = Vec::new();
        let limit = PullLimit { messages: max.into(), bytes: usize::MAX };
        seat.consumer.pull(limit, self.now, |delivery| {
            let body = u32::from_be_bytes(delivery.body.try_into().unwrap());
            got.push((delivery.id.to_hex(), body, delivery.attempts));
        });
        assert!(got.is_empty() || !self.paused, "delivered while paused");
        assert!(got.len() as u64 <= credit, "credit exceeded");
        for (id, body, attempts) in got {
            assert!(self.owed.contains(&body), "{body} was finished or emptied away");
            assert!(self.held.get(&body).is_none_or(|due| *due <= self.now), "{body} came early");
            let before = self.attempts.insert(body, attempts).unwrap_or(0);
            assert_eq!(attempts, before + 1, "attempts of {body}");
            let ends = (body, self.now + TIMEOUT, self.now + Options::default().max_msg_timeout);
            assert!(self.seats[who].holds.insert(id, ends).is_none(), "{body} came twice");
        }
    }

    fn pick(&self, who: usize, at: prop::sample::Index) -> Option<[u8; 16]> {
        let holds = &self.seats[who].holds;
        (!holds.is_empty()).then(|| *holds.keys().nth(at.index(holds.len())).unwrap())
    }

    fn settle(&mut self, step: &Step) {
        match step {
            Step::Finish(who, at) => {
                let Some(id) = self.pick(*who, *at) else { return };
                let seat = &mut self.seats[*who];
                seat.consumer.settle(self.now).finish(&id).unwrap();
                assert!(seat.consumer.settle(self.now).finish(&id).is_err());
                let (body, ..) = seat.holds.remove(&id).unwrap();
                assert!(self.owed.remove(&body));
            }
            Step::Requeue(who, at, delay) => {
                let Some(id) = self.pick(*who, *at) else { return };
                let seat = &mut self.seats[*who];
                let delay = Duration::from_secs((*delay).into());
                seat.consumer.settle(self.now).requeue(&id, delay).unwrap();
                let (body, ..) = seat.holds.remove(&id).unwrap();
                self.held.insert(body, self.now + delay);
            }
            Step::Touch(who, at) => {
                let Some(id) = self.pick(*who, *at) else { return };
                let seat = &mut self.seats[*who];
                seat.consumer.settle(self.now).touch(&id).unwrap();
                let (_, deadline, latest) = seat.holds.get_mut(&id).unwrap();
                *deadline = (self.now + TIMEOUT).min(*latest);
            }
            _ => {}
        }
    }

    fn pass(&mut self, seconds: u8) {
        self.now += Duration::from_secs(seconds.into());
        self.topic.find_channel("c").unwrap().on_alarm(self.now);
        for seat in &mut self.seats {
            seat.holds.retain(|_, (_, deadline, _)| *deadline > self.now);
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Publish(count) => (0..*count).for_each(|_| self.publish(None)),
            Step::Defer(delay) => self.publish(Some(*delay)),
            Step::Pull(who, max) => self.pull(*who, *max),
            Step::Ready(who, ready) => {
                let seat = &mut self.seats[*who];
                seat.ready = (*ready).into();
                seat.consumer.set_ready(seat.ready);
            }
            Step::Pass(seconds) => self.pass(*seconds),
            Step::Leave(who) => {
                let seat = self.sit();
                self.seats[*who] = seat;
            }
            Step::Empty => {
                self.topic.find_channel("c").unwrap().empty();
                self.owed.clear();
                self.seats.iter_mut().for_each(|seat| seat.holds.clear());
            }
            Step::Pause(paused) => {
                self.paused = *paused;
                self.topic.find_channel("c").unwrap().set_paused(*paused);
            }
            settling => self.settle(settling),
        }
        let counts = self.topic.find_channel("c").unwrap().counts();
        let in_flight: usize = self.seats.iter().map(|seat| seat.holds.len()).sum();
        assert_eq!(counts.in_flight, in_flight as u64, "in flight");
        let elsewhere = counts.depth + counts.deferred;
        assert_eq!(elsewhere + counts.in_flight, self.owed.len() as u64, "all that is owed");
    }

    /// In the end everything owed can be had and finished.
    fn drain(&mut self) {
        self.run(&Step::Pause(false));
        for seat in &mut self.seats {
            seat.ready = 50;
            seat.consumer.set_ready(50);
        }
        for _ in 0..100 {
            self.run(&Step::Pass(120));
            for who in 0..self.seats.len() {
                self.run(&Step::Pull(who, 50));
                while !self.seats[who].holds.is_empty() {
                    let seat = &mut self.seats[who];
                    let first = *seat.holds.keys().next().unwrap();
                    seat.consumer.settle(self.now).finish(&first).unwrap();
                    let (body, ..) = seat.holds.remove(&first).unwrap();
                    assert!(self.owed.remove(&body));
                }
            }
        }
        assert!(self.owed.is_empty(), "never came: {:?}", self.owed);
        assert!(self.engine.find_topic("t").is_some());
    }
}

proptest! {
    #[test]
    fn every_message_is_in_exactly_one_place(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
        }
        world.drain();
    }
}
