//! The formulas.
//!
//! A message costs a gateway and a broker processor time; a quorum queue costs each of its members as much. Machines are
//! filled to `load` when all regions are there, and to three quarters when one is gone. A queue is served by one
//! process of its broker: there must be enough of them, and some more, since chance does not spread them evenly.

use std::fmt;

/// How far machines are filled while a region is away: leaders that have moved by chance are not spread evenly.
const WITH_ONE_LESS: f64 = 0.75;

/// With two to a broker, the simulation has one broker in ten overloaded after an election; with eight hardly any.
const QUEUES_A_BROKER: u64 = 8;

/// A kind of queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::tools::bench) enum Queue {
    Classic,
    Quorum,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Constants {
    pub(super) gateway_micros: f64,
    pub(super) classic_micros: f64,
    pub(super) quorum_micros: f64,
    pub(super) queue_rate: f64,
}

impl Constants {
    /// Those of docs/scaling.md.
    pub(super) const MEASURED: Self = Self {
        gateway_micros: 15.0,
        classic_micros: 102.0,
        quorum_micros: 33.0,
        queue_rate: 16_000.0,
    };
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Demand {
    pub(super) rate: u64,
    pub(super) size: u64,
    pub(super) queue: Queue,
    pub(super) replicas: u64,
    pub(super) regions: u64,
    pub(super) gateway_cores: u64,
    pub(super) broker_cores: u64,
    pub(super) load: f64,
}

/// A demand that cannot be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlanError {
    #[error("--load is above 0 and at most 1")]
    Load,
    #[error("--rate, --size, --regions, --replicas and cores are 1 and more")]
    Zero,
    #[error("a quorum queue has an odd number of members, so that it can lose some")]
    Even,
}

/// What a demand comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) demand: Demand,
    pub(super) constants: Constants,
    /// Gateways in all, as many in each region.
    pub(super) gateways: u64,
    /// Brokers in all, as many in each region.
    pub(super) brokers: u64,
    /// Queues that the messages are spread over.
    pub(super) queues: u64,
}

impl Plan {
    pub(super) fn of(demand: Demand, constants: Constants) -> Result<Self, PlanError> {
        let Demand { rate, size, regions, replicas, gateway_cores, broker_cores, load, .. } =
            demand;
        if !(load > 0.0 && load <= 1.0) {
            return Err(PlanError::Load);
        }
        if [rate, size, regions, replicas, gateway_cores, broker_cores].contains(&0) {
            return Err(PlanError::Zero);
        }
        if demand.queue == Queue::Quorum && replicas.is_multiple_of(2) {
            return Err(PlanError::Even);
        }
        let mut plan = Self { demand, constants, gateways: 0, brokers: 0, queues: 0 };
        let gateway = constants.gateway_micros;
        plan.gateways = plan.machines(gateway, gateway_cores);
        plan.brokers = plan.machines(plan.broker_micros(), broker_cores);
        if demand.queue == Queue::Quorum {
            plan.brokers = plan.brokers.max(round_up(replicas, regions));
        }
        // Half as many again as the rate needs; and so many to a broker that leaders which move by chance spread well.
        let queues = ceil(float(rate) * 1.5 / constants.queue_rate);
        plan.queues = queues.max(if queues > 1 { plan.brokers * QUEUES_A_BROKER } else { 1 });
        Ok(plan)
    }

    /// µs CPU of all brokers together for a message.
    pub(super) fn broker_micros(&self) -> f64 {
        match self.demand.queue {
            Queue::Classic => self.constants.classic_micros,
            Queue::Quorum => self.constants.quorum_micros * float(self.demand.replicas),
        }
    }

    /// How many machines with so many cores, the same number in each region: enough for the load that is wanted, and for
    /// everything with one region less.
    fn machines(&self, micros: f64, cores: u64) -> u64 {
        let Demand { rate, regions, load, .. } = self.demand;
        let busy = float(rate) * micros / 1e6;
        let usual = ceil(busy / (float(cores) * load));
        let one_less = match regions {
            1 => 0,
            _ => ceil(busy / (float(cores) * WITH_ONE_LESS) / float(regions - 1)) * regions,
        };
        round_up(usual.max(one_less).max(1), regions)
    }

    /// Bits a second on all wires between gateways and brokers, and between members of queues.
    fn gigabits(&self) -> f64 {
        let copies = match self.demand.queue {
            Queue::Classic => 2.0,
            Queue::Quorum => float(self.demand.replicas) + 1.0,
        };
        // Some 100 bytes of frames and properties around a message.
        float(self.demand.rate) * float(self.demand.size + 100) * 8.0 * copies / 1e9
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Demand { rate, size, regions, replicas, gateway_cores, broker_cores, .. } = self.demand;
        let busy = |micros: f64, count: u64, cores: u64| {
            float(rate) * micros / 1e6 / float(count * cores) * 100.0
        };
        let kind = match self.demand.queue {
            Queue::Classic => "classic queues".to_owned(),
            Queue::Quorum => format!("quorum queues of {replicas} members"),
        };
        writeln!(f, "{rate} msg/s of {size} bytes in {regions} regions, {kind}")?;
        writeln!(
            f,
            "  {} gateways with {gateway_cores} cores, {:.0} % busy",
            self.gateways,
            busy(self.constants.gateway_micros, self.gateways, gateway_cores)
        )?;
        writeln!(
            f,
            "  {} brokers with {broker_cores} cores, {:.0} % busy",
            self.brokers,
            busy(self.broker_micros(), self.brokers, broker_cores)
        )?;
        writeln!(f, "  {} queues", self.queues)?;
        write!(f, "  {:.2} Gbit/s on the wires between them", self.gigabits())
    }
}

/// The next multiple of `step`.
const fn round_up(count: u64, step: u64) -> u64 {
    count.div_ceil(step) * step
}

#[allow(clippy::cast_precision_loss, reason = "rates are far below 2^53")]
pub(super) const fn float(count: u64) -> f64 {
    count as f64
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of machines, which are small and not negative"
)]
fn ceil(count: f64) -> u64 {
    count.ceil() as u64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn demand(rate: u64, queue: Queue) -> Demand {
        Demand {
            rate,
            size: 200,
            queue,
            replicas: 3,
            regions: 3,
            gateway_cores: 4,
            broker_cores: 8,
            load: 0.6,
        }
    }

    #[test]
    fn machines_bear_the_loss_of_a_region() {
        for rate in [1, 10_000, 100_000, 1_000_000] {
            for queue in [Queue::Classic, Queue::Quorum] {
                let plan = Plan::of(demand(rate, queue), Constants::MEASURED).unwrap();
                let left = |count: u64| float(count * 2 / 3);
                let busy = float(rate) * plan.broker_micros() / 1e6;
                assert!(left(plan.brokers) * 8.0 >= busy, "{plan}");
                let busy = float(rate) * plan.constants.gateway_micros / 1e6;
                assert!(left(plan.gateways) * 4.0 >= busy, "{plan}");
                assert!(float(plan.queues) * plan.constants.queue_rate >= float(rate), "{plan}");
                assert!(plan.brokers.is_multiple_of(3) && plan.gateways.is_multiple_of(3));
            }
        }
    }

    #[test]
    fn a_demand_has_its_bounds() {
        let of = |change: fn(&mut Demand)| {
            let mut demand = demand(10, Queue::Quorum);
            change(&mut demand);
            Plan::of(demand, Constants::MEASURED).unwrap_err()
        };
        assert_eq!(of(|demand| demand.load = 0.0), PlanError::Load);
        assert_eq!(of(|demand| demand.rate = 0), PlanError::Zero);
        assert_eq!(of(|demand| demand.replicas = 2), PlanError::Even);
    }
}
