//! `leveret bench`: measures NSQ servers side by side, and a bridge against the broker's own ceiling.
//!
//! | file | what it is |
//! | --- | --- |
//! | `contest` | who is measured, by turns, and the table with the ratios |
//! | `server` | the servers that are started for it |
//! | `publish`, `subscribe`, `latency`, `connections`, `fanout`, `topics` | what is measured of an NSQ server |
//! | `nsq`, `crowd` | the load: few connections with a thread each, or many in one thread |
//! | `bridge`, `node`, `kinds`, `amqp` | a bridge, a node with every kind of route, and the broker's ceiling |
//! | `scale` | what a rate asks for beyond this machine |
//! | `body` | what messages have in them |
//! | `wire`, `process`, `report` | a connection; what a process takes; figures |
//!
//! The measuring side is blocking code with frames encoded in advance, so that it takes as little as can be of a machine
//! that it shares with what it measures.

mod amqp;
mod body;
mod bridge;
mod connections;
mod contest;
mod crowd;
mod fanout;
mod kinds;
mod latency;
mod node;
mod nsq;
mod process;
mod publish;
mod report;
mod scale;
mod server;
mod subscribe;
mod topics;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use bridge::{Bridge, Broker, Measured, Size, ceiling};
use kinds::Ceiling;
use report::{say, say_error};
use wire::Outcome;

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// How much an NSQ server takes from producers
    Pub(publish::Publish),
    /// How much an NSQ server gives to consumers that finish everything
    Sub(subscribe::Subscribe),
    /// How long a message is on its way, at given rates
    Latency(latency::Latency),
    /// What an idle subscribed connection costs
    Connections(connections::Connections),
    /// What further channels on a topic cost
    Fanout(fanout::Fanout),
    /// What further topics cost
    Topics(topics::Topics),
    /// How much the broker can take and give, with frames encoded in advance
    Ceiling {
        #[command(flatten)]
        amqp: Broker,
        #[command(flatten)]
        size: Size,
        /// Unconfirmed publishes, and the prefetch
        #[arg(long, default_value_t = 2000)]
        window: u64,
        #[command(flatten)]
        of: Measured,
    },
    /// What a rate asks for, and what a loss does to it: by formulas and by simulation, without any server
    Scale(scale::Scale),
    /// How much a bridge between an NSQ server and a broker moves
    Bridge(Bridge),
    /// The ceiling and every kind of route of a Leveret that is started for it, by turns
    All {
        #[command(flatten)]
        amqp: Broker,
        #[command(flatten)]
        size: Size,
        /// How often everything is measured; the table has the medians
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Unconfirmed publishes of the ceiling
        #[arg(long, default_value_t = 2000)]
        window: u64,
        /// The routes' window, if not the default
        #[arg(long, value_name = "MESSAGES")]
        route_window: Option<u32>,
        /// Only routes whose name begins so
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
        /// Where the node's files are written
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
}

/// Measures and prints.
#[must_use]
pub fn main(args: Args) -> ExitCode {
    match run(args.what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(what: What) -> Outcome<()> {
    match what {
        What::Pub(publish) => publish.run(),
        What::Sub(subscribe) => subscribe.run(),
        What::Latency(latency) => latency.run(),
        What::Connections(connections) => connections.run(),
        What::Fanout(fanout) => fanout.run(),
        What::Topics(topics) => topics.run(),
        What::Ceiling { amqp, size, window, of } => {
            let figures = ceiling(&amqp.uri, size, window, of)?;
            for (ceiling, figure) in Ceiling::ALL.iter().zip(figures) {
                say(format!("{:<25}  {figure}", ceiling.title()));
            }
            Ok(())
        }
        What::Scale(scale) => scale.run(),
        What::Bridge(bridge) => {
            say(bridge.measure()?);
            Ok(())
        }
        What::All { amqp, size, rounds, window, route_window, only, dir } => {
            let uri = amqp.uri;
            node::measure(&node::Plan { uri, size, rounds, window, route_window, only, dir })
        }
    }
}
