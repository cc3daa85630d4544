//! What a rate asks for: how many gateways, brokers and queues, and what the loss of a region does to it. Formulas give the
//! numbers, and a simulation in steps of time tries them: messages arrive by chance, queues are spread over brokers by
//! chance, a region goes and comes back.
//!
//! The constants are measured ones (docs/scaling.md says how), each for one core; others can be given.

mod plan;
mod simulation;

use super::report::say;
use super::wire::{Outcome, fail};
use plan::{Constants, Demand, Plan, Queue};
use simulation::{Outage, simulate};

/// What is planned for.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Scale {
    /// Messages a second, in and out
    #[arg(long, value_name = "RATE", default_value_t = 10_000)]
    rate: u64,
    /// Bytes of a message
    #[arg(long, default_value_t = 200)]
    size: u64,
    /// The kind of queue
    #[arg(long, value_enum, default_value_t = Queue::Quorum)]
    queue: Queue,
    /// Members of each quorum queue
    #[arg(long, default_value_t = 3)]
    replicas: u64,
    /// Regions that gateways and brokers are spread over, evenly
    #[arg(long, default_value_t = 3)]
    regions: u64,
    /// Cores of a gateway
    #[arg(long, default_value_t = 4)]
    gateway_cores: u64,
    /// Cores of a broker
    #[arg(long, default_value_t = 8)]
    broker_cores: u64,
    /// The part of a machine that is used when all regions are there, 0 to 1
    #[arg(long, default_value_t = 0.6)]
    load: f64,
    /// Seconds that a region is away in the simulation
    #[arg(long, default_value_t = 60)]
    outage: u64,
    /// What is left to chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// µs CPU of a gateway for a message from NSQ to a queue and from a queue to NSQ, together
    #[arg(long, value_name = "MICROS", default_value_t = Constants::MEASURED.gateway_micros)]
    gateway_micros: f64,
    /// µs CPU of a broker for a message that goes through a classic queue, in and out
    #[arg(long, value_name = "MICROS", default_value_t = Constants::MEASURED.classic_micros)]
    classic_micros: f64,
    /// µs CPU of the members of a quorum queue for a message, all together, for each member
    #[arg(long, value_name = "MICROS", default_value_t = Constants::MEASURED.quorum_micros)]
    quorum_micros: f64,
    /// Messages a second that one queue takes: it has one core
    #[arg(long, value_name = "RATE", default_value_t = Constants::MEASURED.queue_rate)]
    queue_rate: f64,
}

impl Scale {
    /// Plans, simulates and prints.
    pub(super) fn run(&self) -> Outcome<()> {
        let demand = Demand {
            rate: self.rate,
            size: self.size,
            queue: self.queue,
            replicas: self.replicas,
            regions: self.regions,
            gateway_cores: self.gateway_cores,
            broker_cores: self.broker_cores,
            load: self.load,
        };
        let constants = Constants {
            gateway_micros: self.gateway_micros,
            classic_micros: self.classic_micros,
            quorum_micros: self.quorum_micros,
            queue_rate: self.queue_rate,
        };
        let plan = match Plan::of(demand, constants) {
            Ok(plan) => plan,
            Err(error) => return fail(error.to_string()),
        };
        say(plan);
        let usual = simulate(&plan, Outage::NONE, self.seed);
        say(format!("simulated, all regions there: {usual}"));
        if self.regions > 1 {
            let outage = Outage { begins: 30, lasts: self.outage };
            let lost = simulate(&plan, outage, self.seed);
            say(format!("simulated, one region away for {} s: {lost}", self.outage));
        }
        Ok(())
    }
}
