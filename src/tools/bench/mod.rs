//! `leveret bench`: measures an NSQ server, a bridge, and the broker's own ceiling that a bridge is held against.
//!
//! The measuring side is blocking code with frames encoded in advance, so that it takes as little as can be of a machine
//! that it shares with the broker and the bridge.

mod amqp;
mod node;
mod nsq;
mod report;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use crate::clock;
use amqp::{Amqp, Load};
use report::{Figure, cpu_time, say, say_error};
use wire::{Outcome, fail};

/// How often the broker is asked how many messages a queue holds. Each question costs it a little.
const DEPTH_PAUSE: Duration = Duration::from_millis(25);
/// A queue that has not grown for this long will not.
const DEPTH_PATIENCE: Duration = Duration::from_secs(30);

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// How much the broker can take and give, with frames encoded in advance
    Ceiling {
        #[command(flatten)]
        amqp: Broker,
        #[command(flatten)]
        size: Size,
        /// Unconfirmed publishes, and the prefetch
        #[arg(long, default_value_t = 2000)]
        window: u64,
    },
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
        /// Where the node's files are written
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// How much an NSQ server takes from producers
    Pub {
        #[command(flatten)]
        nsq: Server,
        #[command(flatten)]
        size: Size,
        #[command(flatten)]
        producers: Producers,
    },
    /// How much an NSQ server gives to consumers that finish everything
    Sub {
        #[command(flatten)]
        nsq: Server,
        /// Messages to take
        #[arg(long, default_value_t = 200_000)]
        messages: u64,
        #[command(flatten)]
        consumers: Consumers,
    },
}

#[derive(clap::Args, Clone, Debug)]
struct Broker {
    /// The broker's address
    #[arg(long = "amqp", value_name = "URI")]
    uri: String,
}

#[derive(clap::Args, Clone, Copy, Debug)]
struct Size {
    /// Messages to move
    #[arg(long, default_value_t = 200_000)]
    messages: u64,
    /// Bytes of a body
    #[arg(long, default_value_t = 200)]
    size: usize,
}

#[derive(clap::Args, Clone, Debug)]
struct Server {
    /// The NSQ server's TCP address
    #[arg(long, value_name = "HOST:PORT")]
    against: String,
    #[arg(long, default_value = "bench")]
    topic: String,
    /// A process whose processor time is read
    #[arg(long)]
    pid: Option<u32>,
}

#[derive(clap::Args, Clone, Copy, Debug)]
struct Producers {
    /// Connections of producers
    #[arg(long, default_value_t = 4)]
    connections: u64,
    /// Messages in one MPUB; 1 sends PUB
    #[arg(long, default_value_t = 100)]
    batch: u64,
    /// Messages of one connection that may be unanswered; 1 waits for every OK
    #[arg(long, default_value_t = 2000)]
    window: u64,
}

#[derive(clap::Args, Clone, Debug)]
struct Consumers {
    #[arg(long, default_value = "bench")]
    channel: String,
    /// Connections of consumers
    #[arg(long, default_value_t = 4)]
    connections: u64,
    /// RDY of each connection
    #[arg(long, default_value_t = 1000)]
    ready: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Route {
    /// From NSQ to the broker
    Publish,
    /// From the broker to NSQ
    Deliver,
}

#[derive(clap::Args, Clone, Debug)]
struct Bridge {
    /// The NSQ server's TCP address
    #[arg(long, value_name = "HOST:PORT")]
    nsq: String,
    #[command(flatten)]
    amqp: Broker,
    #[arg(long, value_enum)]
    route: Route,
    #[arg(long)]
    topic: String,
    /// The channel that is consumed, with `deliver`
    #[arg(long, default_value = "bench")]
    channel: String,
    #[arg(long)]
    queue: String,
    /// The bridge's process, whose processor time is read
    #[arg(long)]
    pid: Option<u32>,
    #[command(flatten)]
    size: Size,
    /// Connections of producers or consumers
    #[arg(long, default_value_t = 4)]
    connections: u64,
    /// Messages in one MPUB; 1 sends PUB
    #[arg(long, default_value_t = 100)]
    batch: u64,
    /// Messages of one connection that may be unanswered, or its RDY
    #[arg(long, default_value_t = 1000)]
    window: u32,
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
        What::Ceiling { amqp, size, window } => {
            let [publish, consume] = ceiling(&amqp.uri, size, window)?;
            say(format!("raw frames, publish with confirms  {publish}"));
            say(format!("raw frames, consume with acks      {consume}"));
        }
        What::Bridge(bridge) => say(bridge.measure()?),
        What::All { amqp, size, rounds, window, route_window, dir } => {
            let plan = node::Plan { uri: amqp.uri, size, rounds, window, route_window, dir };
            node::measure(&plan)?;
        }
        What::Pub { nsq, size, producers } => say(publish(&nsq, size, producers)?),
        What::Sub { nsq, messages, consumers } => {
            let load = nsq::Consume {
                address: &nsq.against,
                topic: &nsq.topic,
                channel: &consumers.channel,
                messages,
                connections: consumers.connections,
                ready: consumers.ready,
            };
            say(with_cpu(nsq.pid, || nsq::consume(&load))?);
        }
    }
    Ok(())
}

/// Runs something, and reads the processor time that a process took meanwhile.
fn with_cpu(pid: Option<u32>, work: impl FnOnce() -> Outcome<nsq::Span>) -> Outcome<Figure> {
    let before = pid.map(cpu_time).transpose()?;
    let span = work()?;
    let after = pid.map(cpu_time).transpose()?;
    let cpu = before.zip(after).map(|(before, after)| after.saturating_sub(before));
    Ok(Figure { messages: span.messages, time: span.time, cpu })
}

fn publish(nsq: &Server, size: Size, producers: Producers) -> Outcome<Figure> {
    let load = nsq::Produce {
        address: &nsq.against,
        topic: &nsq.topic,
        messages: size.messages,
        size: size.size,
        connections: producers.connections,
        batch: producers.batch,
        window: producers.window,
    };
    with_cpu(nsq.pid, || nsq::produce(&load))
}

/// What the broker takes from a publisher and gives to a consumer.
fn ceiling(uri: &str, size: Size, window: u64) -> Outcome<[Figure; 2]> {
    const QUEUE: &str = "leveret-bench-ceiling";
    let Size { messages, size } = size;
    let load = Load { messages, size, window };
    let mut amqp = Amqp::open(uri)?;
    amqp.fresh_queue(QUEUE)?;
    let began = clock::now();
    amqp.publish(QUEUE, load)?;
    let published = Figure { messages, time: clock::since(began), cpu: None };
    let mut consumer = Amqp::open(uri)?;
    let mut first = None;
    consumer.consume(QUEUE, load, || first = Some(clock::now()))?;
    let time = first.map(clock::since).unwrap_or_default();
    consumer.close()?;
    amqp.delete_queue(QUEUE)?;
    Ok([published, Figure { messages, time, cpu: None }])
}

impl Bridge {
    fn measure(&self) -> Outcome<Figure> {
        match self.route {
            Route::Publish => self.publish(),
            Route::Deliver => self.deliver(),
        }
    }

    /// The time until every producer has its last OK *and* the queue holds everything: a queued route answers before.
    fn publish(&self) -> Outcome<Figure> {
        let mut amqp = Amqp::open(&self.amqp.uri)?;
        amqp.fresh_queue(&self.queue)?;
        let load = nsq::Produce {
            address: &self.nsq,
            topic: &self.topic,
            messages: self.size.messages,
            size: self.size.size,
            connections: self.connections,
            batch: self.batch,
            window: self.window.into(),
        };
        let figure = with_cpu(self.pid, || {
            let began = clock::now();
            nsq::produce(&load)?;
            self.await_depth(&mut amqp)?;
            Ok(nsq::Span { messages: load.messages, time: clock::since(began) })
        })?;
        let depth = amqp.depth(&self.queue)?;
        if depth != load.messages {
            return fail(format!("{} messages sent, {depth} in the queue", load.messages));
        }
        amqp.fresh_queue(&self.queue)?;
        Ok(figure)
    }

    fn await_depth(&self, amqp: &mut Amqp) -> Outcome<()> {
        let (mut depth, mut since) = (0, clock::now());
        loop {
            let now = amqp.depth(&self.queue)?;
            if now >= self.size.messages {
                return Ok(());
            }
            if now > depth {
                (depth, since) = (now, clock::now());
            } else if clock::since(since) > DEPTH_PATIENCE {
                return fail(format!("{depth} of {} messages arrived", self.size.messages));
            }
            // Nothing tells when a queue grows.
            thread::park_timeout(DEPTH_PAUSE);
        }
    }

    /// The time from the first message to the last, each finished by its consumer.
    fn deliver(&self) -> Outcome<Figure> {
        let mut amqp = Amqp::open(&self.amqp.uri)?;
        amqp.fresh_queue(&self.queue)?;
        let Size { messages, size } = self.size;
        amqp.publish(&self.queue, Load { messages, size, window: 2000 })?;
        let load = nsq::Consume {
            address: &self.nsq,
            topic: &self.topic,
            channel: &self.channel,
            messages: self.size.messages,
            connections: self.connections,
            ready: self.window,
        };
        let figure = with_cpu(self.pid, || nsq::consume(&load))?;
        if figure.messages != self.size.messages {
            return fail(format!(
                "{} messages in the queue, {} came",
                load.messages, figure.messages
            ));
        }
        Ok(figure)
    }
}
