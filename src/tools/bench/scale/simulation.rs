//! Tries a plan in steps of 10 ms: what arrives, what is served, what waits.
//!
//! Messages arrive at the rate with a noise of their square root, evenly over the queues. Leaders are
//! spread evenly at first, and by chance after an election. A queue is served as fast as one core goes, as long as its broker has cores left. While a region
//! is away, leaders there move to members elsewhere after an election, and back when somebody has them balanced; a classic queue
//! waits until its broker is back. What producers may not publish meanwhile waits with them, and is counted.

use std::fmt;

use super::plan::{Plan, Queue, float};
use crate::tools::chance::Chance;

/// Steps a second.
const STEPS: u64 = 100;
/// Seconds until leaders of a lost region are replaced: a broker that is gone without a word is missed by its peers after
/// `net_ticktime`, at most a quarter more than its 60 s, and at once if its connections break. Here they break.
const ELECTION: u64 = 2;
/// Seconds that are simulated after an outage.
const AFTER: u64 = 120;

/// A region that goes and comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outage {
    /// Seconds from the beginning.
    pub(super) begins: u64,
    pub(super) lasts: u64,
}

impl Outage {
    pub(super) const NONE: Self = Self { begins: 0, lasts: 0 };
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// The most messages that waited at once.
    waiting_max: f64,
    /// The longest that one waited, seconds.
    wait_max: f64,
    /// Seconds from the region's return until nothing waited any more; `None` if something still does.
    caught_up: Option<f64>,
    /// Whether a region went.
    has_outage: bool,
    /// The busiest broker, of its cores.
    busiest: f64,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "at most {:.0} messages waited, {:.2} s at most; the busiest broker at {:.0} %",
            self.waiting_max,
            self.wait_max,
            self.busiest * 100.0
        )?;
        match self.caught_up {
            _ if !self.has_outage => Ok(()),
            Some(seconds) => write!(f, "; caught up {seconds:.1} s after it was back"),
            None => write!(f, "; not caught up {AFTER} s after it was back"),
        }
    }
}

/// A queue: where its leader is, and what waits for it.
#[derive(Clone, Copy, Debug)]
struct State {
    home: u64,
    leader: u64,
    waiting: f64,
}

/// Runs the plan through an outage.
pub(super) fn simulate(plan: &Plan, outage: Outage, seed: u64) -> Seen {
    let mut chance = Chance::new(seed);
    let queues = plan.queues;
    let mut states: Vec<State> = (0..queues)
        // As RabbitMQ's `queue-leader-locator: balanced` does it.
        .map(|number| number % plan.brokers)
        .map(|home| State { home, leader: home, waiting: 0.0 })
        .collect();
    let in_region = |broker: u64| broker.is_multiple_of(plan.demand.regions);
    let (begins, back) = (outage.begins * STEPS, (outage.begins + outage.lasts) * STEPS);
    let is_away = |step: u64| (begins..back).contains(&step);
    let mut seen = Seen { has_outage: outage.lasts > 0, ..Seen::default() };
    let each = float(plan.demand.rate) / float(STEPS) / float(queues);
    let one_core = plan.constants.queue_rate / float(STEPS);
    let micros = plan.broker_micros();
    let is_quorum = plan.demand.queue == Queue::Quorum;
    let members = if is_quorum { float(plan.demand.replicas) } else { 1.0 };
    for step in 0..back + AFTER * STEPS {
        if is_away(step) && step == begins + ELECTION * STEPS && is_quorum {
            let leaders = states.iter_mut().filter(|state| in_region(state.leader));
            leaders.for_each(|state| state.leader = other_than(&mut chance, plan, in_region));
        }
        let brokers = usize::try_from(plan.brokers).unwrap_or_default();
        let full = float(plan.demand.broker_cores) * 1e6 / float(STEPS);
        // What followers take is spread evenly over the brokers that are there.
        let there = if is_away(step) { 1.0 - 1.0 / float(plan.demand.regions) } else { 1.0 };
        let present = float(plan.brokers) * there;
        let asked: f64 =
            each * float(queues) + states.iter().map(|state| state.waiting).sum::<f64>();
        let possible = asked.min(present * full / micros);
        let share = possible * micros * (members - 1.0) / members / present;
        let mut budget = vec![(full - share).max(0.0); brokers];
        // A broker's cores are shared evenly by its queues; what one does not need is the others'.
        let mut order: Vec<usize> = (0..states.len()).collect();
        order.sort_by(|one, other| {
            let of = |at: &usize| states.get(*at).map_or(0.0, |state| state.waiting);
            of(one).total_cmp(&of(other))
        });
        let mut unserved = led(&states, brokers);
        for at in order {
            let Some(state) = states.get_mut(at) else { continue };
            state.waiting += (each + each.sqrt() * noise(&mut chance)).max(0.0);
            if is_away(step) && in_region(state.leader) {
                continue;
            }
            let leader = usize::try_from(state.leader).unwrap_or_default();
            let (Some(left), Some(count)) = (budget.get_mut(leader), unserved.get_mut(leader))
            else {
                continue;
            };
            let fair = *left * members / micros / float(*count);
            *count -= 1;
            let served = state.waiting.min(one_core).min(fair);
            state.waiting -= served;
            *left -= served * micros / members;
        }
        let waiting: f64 = states.iter().map(|state| state.waiting).sum();
        let longest = states.iter().map(|state| state.waiting).fold(0.0, f64::max);
        seen.waiting_max = seen.waiting_max.max(waiting);
        seen.wait_max = seen.wait_max.max(longest / each / float(STEPS));
        let used = budget.iter().map(|left| 1.0 - left / full);
        seen.busiest = seen.busiest.max(used.fold(0.0, f64::max));
        let is_idle = waiting <= each * float(queues) * 2.0;
        if step >= back && is_idle {
            seen.caught_up = seen.caught_up.or_else(|| Some(float(step - back) / float(STEPS)));
        }
        // Leaders do not come back by themselves: `rabbitmq-queues rebalance all`.
        if step == back {
            states.iter_mut().for_each(|state| state.leader = state.home);
        }
    }
    seen
}

/// How many queues each broker leads.
fn led(states: &[State], brokers: usize) -> Vec<u64> {
    let mut led = vec![0; brokers];
    for state in states {
        if let Some(count) = led.get_mut(usize::try_from(state.leader).unwrap_or_default()) {
            *count += 1;
        }
    }
    led
}

/// A broker that is not in the region; any if all are.
fn other_than(chance: &mut Chance, plan: &Plan, in_region: impl Fn(u64) -> bool) -> u64 {
    let mut tries = (0..1000).map(|_| chance.below(plan.brokers));
    tries.find(|broker| !in_region(*broker)).unwrap_or_default()
}

/// Around nought, with a deviation of 1: twelve even numbers make nearly a normal one.
fn noise(chance: &mut Chance) -> f64 {
    (0..12).map(|_| chance.part()).sum::<f64>() - 6.0
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::demand;
    use super::super::plan::{Constants, Plan};
    use super::*;

    fn plan(rate: u64, queue: Queue) -> Plan {
        Plan::of(demand(rate, queue), Constants::MEASURED).unwrap()
    }

    #[test]
    fn a_plan_bears_its_rate_and_the_loss_of_a_region() {
        for rate in [10_000, 100_000, 1_000_000] {
            let plan = plan(rate, Queue::Quorum);
            let usual = simulate(&plan, Outage::NONE, 7);
            assert!(usual.wait_max < 1.0, "{plan}\n{usual}");
            let lost = simulate(&plan, Outage { begins: 5, lasts: 20 }, 7);
            assert!(lost.caught_up.is_some() && lost.wait_max < 20.0, "{plan}\n{lost}");
            assert_eq!(lost, simulate(&plan, Outage { begins: 5, lasts: 20 }, 7), "repeatable");
        }
    }

    #[test]
    fn classic_queues_wait_for_their_broker() {
        let plan = plan(100_000, Queue::Classic);
        let lost = simulate(&plan, Outage { begins: 5, lasts: 20 }, 7);
        assert!(lost.wait_max >= 20.0, "{lost}");
    }

    #[test]
    fn too_few_brokers_are_seen() {
        let mut plan = plan(100_000, Queue::Quorum);
        plan.brokers /= 3;
        let seen = simulate(&plan, Outage::NONE, 7);
        assert!(seen.busiest > 0.99 && seen.wait_max > 5.0, "{seen}");
    }
}
