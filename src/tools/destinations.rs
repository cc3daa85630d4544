//! To which of several destinations a message goes: in turn, or to those that are well.
//!
//! A destination that fails is left out for a while, which doubles with each failure; when all are left out, all are
//! tried again. Where response times count, the fastest ones get most, and one message in ten goes to one by chance so
//! that a destination that has become fast is found.

use std::time::Duration;

use parking_lot::Mutex;

use super::chance::Chance;
use crate::clock::Instant;

/// The first and the longest time for which one that failed is left out.
const RETRY: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(15 * 60));
/// A response time counts half after so long.
const HALF_LIFE: Duration = Duration::from_secs(100);
/// The share of messages that go anywhere.
const EXPLORED: f64 = 0.1;

/// How a destination is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In turn over those that are well.
    HostPool,
    /// The fastest of those that are well, mostly.
    EpsilonGreedy,
    /// In turn, whatever happens.
    RoundRobin,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Destinations {
    mode: Mode,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: usize,
    all: Vec<Destination>,
    chance: Chance,
}

#[derive(Clone, Debug, Default)]
struct Destination {
    /// Until when it is left out, and for how long that was.
    resting: Option<(Instant, Duration)>,
    /// The mean response time in seconds, and when it was last told.
    speed: Option<(f64, Instant)>,
}

impl Destinations {
    /// `count` of them, 1 and more, numbered from 0; `seed` decides what is left to chance.
    pub(super) fn new(mode: Mode, count: usize, seed: u64) -> Self {
        let all = vec![Destination::default(); count.max(1)];
        Self { mode, state: Mutex::new(State { next: 0, all, chance: Chance::new(seed) }) }
    }

    /// Where the next message goes.
    pub(super) fn choose(&self, now: Instant) -> usize {
        let mut state = self.state.lock();
        match self.mode {
            // The original begins with the second.
            Mode::RoundRobin => {
                state.next = (state.next + 1) % state.all.len();
                state.next
            }
            Mode::HostPool => state.turn(now),
            Mode::EpsilonGreedy => {
                if state.chance.part() < EXPLORED {
                    return state.turn(now);
                }
                state.fastest(now).unwrap_or_else(|| state.turn(now))
            }
        }
    }

    /// What became of it.
    pub(super) fn report(&self, chosen: usize, is_good: bool, took: Duration, now: Instant) {
        if self.mode == Mode::RoundRobin {
            return;
        }
        let mut state = self.state.lock();
        let Some(destination) = state.all.get_mut(chosen) else { return };
        if is_good {
            destination.resting = None;
            destination.note(took, now);
        } else {
            let span = destination.resting.map_or(RETRY.0, |(_, span)| (span * 2).min(RETRY.1));
            destination.resting = Some((now + span, span));
        }
    }
}

impl State {
    /// The next one in turn that is well, or the next one if none is.
    fn turn(&mut self, now: Instant) -> usize {
        let count = self.all.len();
        for step in 0..count {
            let at = (self.next + step) % count;
            if self.all.get(at).is_some_and(|one| one.is_well(now)) {
                self.next = (at + 1) % count;
                return at;
            }
        }
        for one in &mut self.all {
            one.resting = None;
        }
        let at = self.next % count;
        self.next = (at + 1) % count;
        at
    }

    /// The fastest of those that are well; one that has told nothing yet comes first.
    fn fastest(&self, now: Instant) -> Option<usize> {
        let well = self.all.iter().enumerate().filter(|(_, one)| one.is_well(now));
        let speed = |one: &Destination| one.speed.map_or(0.0, |(seconds, _)| seconds);
        well.min_by(|(_, one), (_, other)| speed(one).total_cmp(&speed(other))).map(|(at, _)| at)
    }
}

impl Destination {
    fn is_well(&self, now: Instant) -> bool {
        self.resting.is_none_or(|(until, _)| until <= now)
    }

    /// A mean in which what is old counts less.
    fn note(&mut self, took: Duration, now: Instant) {
        let took = took.as_secs_f64();
        let mean = self.speed.map_or(took, |(mean, at)| {
            let age = now.saturating_duration_since(at).as_secs_f64() / HALF_LIFE.as_secs_f64();
            let weight = 0.9 * 0.5_f64.powf(age);
            mean * weight + took * (1.0 - weight)
        });
        self.speed = Some((mean, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn choose(pool: &Destinations, times: usize, now: Instant) -> Vec<usize> {
        (0..times).map(|_| pool.choose(now)).collect()
    }

    #[test]
    fn in_turn_means_in_turn() {
        let now = clock::now();
        let pool = Destinations::new(Mode::RoundRobin, 3, 1);
        assert_eq!(choose(&pool, 4, now), [1, 2, 0, 1]);
        pool.report(2, false, Duration::ZERO, now);
        assert_eq!(choose(&pool, 3, now), [2, 0, 1]);
        assert_eq!(choose(&Destinations::new(Mode::RoundRobin, 1, 1), 2, now), [0, 0]);
    }

    #[test]
    fn what_fails_is_left_out_for_longer_and_longer() {
        let now = clock::now();
        let pool = Destinations::new(Mode::HostPool, 3, 1);
        assert_eq!(choose(&pool, 3, now), [0, 1, 2]);
        pool.report(1, false, Duration::ZERO, now);
        assert_eq!(choose(&pool, 4, now), [0, 2, 0, 2]);
        let later = now + RETRY.0;
        assert_eq!(choose(&pool, 3, later), [0, 1, 2]);
        pool.report(1, false, Duration::ZERO, later);
        assert_eq!(choose(&pool, 2, later + RETRY.0), [0, 2], "twice as long");
        pool.report(1, true, Duration::ZERO, later);
        assert_eq!(choose(&pool, 3, later), [0, 1, 2]);
        for one in 0..3 {
            pool.report(one, false, Duration::ZERO, later);
        }
        assert_eq!(choose(&pool, 3, later), [0, 1, 2], "all are tried again");
    }

    #[test]
    fn the_fastest_gets_most() {
        let now = clock::now();
        let pool = Destinations::new(Mode::EpsilonGreedy, 3, 42);
        for (one, millis) in [(0, 50), (1, 5), (2, 80)] {
            pool.report(one, true, Duration::from_millis(millis), now);
        }
        let chosen = choose(&pool, 1000, now);
        let share = |one| chosen.iter().filter(|chosen| **chosen == one).count();
        assert!(share(1) > 850 && share(0) > 10 && share(2) > 10, "{} {}", share(0), share(1));
        pool.report(1, false, Duration::ZERO, now);
        assert!(!choose(&pool, 100, now).contains(&1));
    }
}
