//! What a bridge between an NSQ server and a broker moves, and the broker's ceiling that it is held against.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;

use super::amqp::{Amqp, Load, QueueType};
use super::nsq;
use super::process::cpu_time;
use super::report::Figure;
use super::wire::{Outcome, fail};
use crate::clock;

/// How often the broker is asked how many messages a queue holds. Each question costs it a little.
const DEPTH_PAUSE: Duration = Duration::from_millis(25);
/// A queue that has not grown for this long will not.
const DEPTH_PATIENCE: Duration = Duration::from_secs(30);

#[derive(clap::Args, Clone, Debug)]
pub(super) struct Broker {
    /// The broker's address
    #[arg(long = "amqp", value_name = "URI")]
    pub(super) uri: String,
}

#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Size {
    /// Messages to move
    #[arg(long, default_value_t = 200_000)]
    pub(super) messages: u64,
    /// Bytes of a body
    #[arg(long, default_value_t = 200)]
    pub(super) size: usize,
}

/// What of a broker is measured.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Measured {
    /// The kind of queue
    #[arg(long, value_enum, default_value_t = QueueType::Classic)]
    pub(super) queue: QueueType,
    /// The broker's process, if it is on this machine: its processor time is read
    #[arg(long = "pid")]
    pub(super) broker: Option<u32>,
}

impl Measured {
    /// Classic queues, and no process.
    pub(super) const CLASSIC: Self = Self { queue: QueueType::Classic, broker: None };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Route {
    /// From NSQ to the broker
    Publish,
    /// From the broker to NSQ
    Deliver,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct Bridge {
    /// The NSQ server's TCP address
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) nsq: String,
    #[command(flatten)]
    pub(super) amqp: Broker,
    #[arg(long, value_enum)]
    pub(super) route: Route,
    #[arg(long)]
    pub(super) topic: String,
    /// The channel that is consumed, with `deliver`
    #[arg(long, default_value = "bench")]
    pub(super) channel: String,
    #[arg(long)]
    pub(super) queue: String,
    /// The bridge's process, whose processor time is read
    #[arg(long)]
    pub(super) pid: Option<u32>,
    #[command(flatten)]
    pub(super) size: Size,
    /// Connections of producers or consumers
    #[arg(long, default_value_t = 4)]
    pub(super) connections: u64,
    /// Messages in one MPUB; 1 sends PUB
    #[arg(long, default_value_t = 100)]
    pub(super) batch: u64,
    /// Messages of one connection that may be unanswered, or its RDY
    #[arg(long, default_value_t = 1000)]
    pub(super) window: u32,
}

/// Runs something, and reads the processor time that a process took meanwhile.
pub(super) fn with_cpu(
    pid: Option<u32>,
    work: impl FnOnce() -> Outcome<nsq::Span>,
) -> Outcome<Figure> {
    let (span, cpu) = cpu_of(pid, work)?;
    Ok(Figure { messages: span.messages, time: span.time, cpu })
}

/// Runs something, with the processor time that a process took meanwhile.
fn cpu_of<T>(
    pid: Option<u32>,
    work: impl FnOnce() -> Outcome<T>,
) -> Outcome<(T, Option<Duration>)> {
    let before = pid.map(cpu_time).transpose()?;
    let done = work()?;
    let after = pid.map(cpu_time).transpose()?;
    Ok((done, before.zip(after).map(|(before, after)| after.saturating_sub(before))))
}

/// What the broker takes from a publisher and gives to a consumer.
/// In the order of [`super::kinds::Ceiling::ALL`].
pub(super) fn ceiling(uri: &str, size: Size, window: u64, of: Measured) -> Outcome<[Figure; 3]> {
    const QUEUE: &str = "leveret-bench-ceiling";
    const OTHER: &str = "leveret-bench-ceiling-out";
    let Size { messages, size } = size;
    let load = Load { messages, size, window };
    let mut amqp = Amqp::open(uri)?;
    amqp.fresh_queue_of(of.queue, QUEUE)?;
    let began = clock::now();
    let ((), cpu) = cpu_of(of.broker, || amqp.publish(QUEUE, load))?;
    let published = Figure { messages, time: clock::since(began), cpu };
    let mut consumer = Amqp::open(uri)?;
    let mut first = None;
    let ((), cpu) =
        cpu_of(of.broker, || consumer.consume(QUEUE, load, || first = Some(clock::now())))?;
    let time = first.map(clock::since).unwrap_or_default();
    consumer.close()?;
    let consumed = Figure { messages, time, cpu };
    let (mut forwarded, cpu) = cpu_of(of.broker, || forward(uri, of.queue, [QUEUE, OTHER], load))?;
    // The filling of the first queue is in it.
    forwarded.cpu = cpu;
    amqp.delete_queue(QUEUE)?;
    amqp.delete_queue(OTHER)?;
    Ok([published, consumed, forwarded])
}

/// Moves a full queue into another one: what is consumed is published, and acked when that is confirmed.
fn forward(uri: &str, of: QueueType, [from, to]: [&str; 2], load: Load) -> Outcome<Figure> {
    let (mut taker, mut giver) = (Amqp::open(uri)?, Amqp::open(uri)?);
    taker.fresh_queue_of(of, from)?;
    giver.fresh_queue_of(of, to)?;
    Amqp::open(uri)?.publish(from, load)?;
    let (taken, confirmed) = (AtomicU64::new(0), AtomicU64::new(0));
    let began = clock::now();
    thread::scope(|scope| {
        let giving = scope.spawn(|| {
            let there = || taken.load(Ordering::Acquire);
            giver.publish_after(to, load, there, |count| confirmed.store(count, Ordering::Release))
        });
        let told = |count| taken.store(count, Ordering::Release);
        taker.consume_before(from, load, told, || confirmed.load(Ordering::Acquire))?;
        giving.join().unwrap_or_else(|_| fail("the publishing thread panicked"))
    })?;
    let figure = Figure { messages: load.messages, time: clock::since(began), cpu: None };
    taker.close()?;
    Ok(figure)
}

/// Waits until a queue holds so many.
pub(super) fn await_depth(amqp: &mut Amqp, queue: &str, messages: u64) -> Outcome<()> {
    let (mut depth, mut since) = (0, clock::now());
    loop {
        let now = amqp.depth(queue)?;
        if now >= messages {
            return Ok(());
        }
        if now > depth {
            (depth, since) = (now, clock::now());
        } else if clock::since(since) > DEPTH_PATIENCE {
            return fail(format!("{depth} of {messages} messages arrived in {queue}"));
        }
        // Nothing tells when a queue grows.
        thread::park_timeout(DEPTH_PAUSE);
    }
}

impl Bridge {
    pub(super) fn measure(&self) -> Outcome<Figure> {
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
            topics: std::slice::from_ref(&self.topic),
            messages: self.size.messages,
            size: self.size.size,
            connections: self.connections,
            batch: self.batch,
            window: self.window.into(),
        };
        let figure = with_cpu(self.pid, || {
            let began = clock::now();
            nsq::produce(&load)?;
            await_depth(&mut amqp, &self.queue, load.messages)?;
            Ok(nsq::Span { messages: load.messages, time: clock::since(began) })
        })?;
        let depth = amqp.depth(&self.queue)?;
        if depth != load.messages {
            return fail(format!("{} messages sent, {depth} in the queue", load.messages));
        }
        amqp.fresh_queue(&self.queue)?;
        Ok(figure)
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
