//! The durable log: what a publish costs that is written down, and how fast a node comes back.
//!
//! The files are in the folder for temporary files: set `TMPDIR` to measure another disk.

#![allow(clippy::expect_used, reason = "a benchmark that cannot be set up has nothing to measure")]

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};
use leveret::clock;
use leveret::engine::policy::Durability;
use leveret::engine::{
    Accepted, Channel, Client, Consumer, Engine, Identity, Options, Outcome, PullLimit, Signal,
    Subscriber, Topic,
};
use leveret::storage::wal::writer::WalOptions;

/// Messages of a publish.
const BATCH: usize = 200;
/// Messages that are read back at a start.
const BACKLOG: usize = 100_000;
const LIMIT: PullLimit = PullLimit { messages: u64::MAX, bytes: usize::MAX };

/// A folder for a node's log, which goes with this.
struct Folder(PathBuf);

impl Folder {
    fn new(stem: &str) -> Self {
        let name = format!("leveret-bench-{stem}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn open(&self, durability: Durability) -> Arc<Engine> {
        let options = Options { durability: Some(durability), ..Options::default() };
        let wal = WalOptions {
            folder: self.0.clone(),
            file_bytes: 64 << 20,
            sync_interval: Duration::from_secs(60),
            reserve_bytes: 0,
        };
        Engine::open(options, wal).expect("the log can be opened")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

fn subscribe(channel: &Arc<Channel>) -> Consumer {
    let client = Client::new("bench:1".into(), 0, Identity::default());
    let subscriber = Subscriber {
        client: Arc::new(client),
        signal: Arc::default(),
        msg_timeout: Duration::from_secs(60),
        touch_timeout: Duration::from_secs(60),
        sample_rate: 0,
    };
    let consumer = channel.subscribe(subscriber, 0).expect("there is room");
    consumer.set_ready(u64::MAX);
    consumer
}

/// Publishes `count` messages at once, and does not wait.
fn publish(topic: &Topic, count: usize, signal: &Arc<Signal>) -> Accepted {
    let body = [b'x'; 200];
    topic.publish((0..count).map(|_| &body[..]), signal).expect("the topic is there")
}

/// Waits as a connection does that has nothing else to do.
fn wait(
    runtime: &tokio::runtime::Runtime,
    engine: &Engine,
    taken: &Accepted,
    signal: &Arc<Signal>,
) {
    let (Accepted::Logged(mark), Some(journal)) = (taken, engine.journal()) else { return };
    while journal.outcome(*mark) == Outcome::Pending {
        journal.wake_at(*mark, signal);
        runtime.block_on(signal.woken());
    }
}

/// Takes and finishes everything.
fn drain(consumer: &Consumer) {
    let now = clock::now();
    let mut ids = Vec::with_capacity(BATCH);
    consumer.pull(LIMIT, now, |delivery| ids.push(delivery.id.to_hex()));
    let mut settling = consumer.settle(now);
    for id in &ids {
        settling.finish(id).expect("it is in flight");
    }
}

/// One publish after the other, each waited for, delivered and finished.
fn rounds(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut group = criterion.benchmark_group("publish, wait, deliver, finish");
    for (name, durability) in
        [("memory", Durability::Memory), ("disk", Durability::Disk), ("fsync", Durability::Fsync)]
    {
        for batch in [1, BATCH] {
            let folder = Folder::new(name);
            let engine = folder.open(durability);
            let topic = engine.topic("bench").expect("the engine runs");
            let consumer = subscribe(&topic.channel("c").expect("the topic is there"));
            let signal = Arc::default();
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(format!("{name}, {batch} at once"), |b| {
                b.iter(|| {
                    let taken = publish(&topic, batch, &signal);
                    wait(&runtime, &engine, &taken, &signal);
                    drain(&consumer);
                });
            });
            drop(consumer);
            engine.close();
        }
    }
    group.finish();
}

/// A start with a backlog, as after a crash.
fn starts(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let folder = Folder::new("start");
    let engine = folder.open(Durability::Disk);
    let signal = Arc::default();
    let topic = engine.topic("bench").expect("the engine runs");
    topic.channel("c").expect("the topic is there");
    for _ in 0..BACKLOG / BATCH {
        let taken = publish(&topic, BATCH, &signal);
        wait(&runtime, &engine, &taken, &signal);
    }
    drop((topic, engine));
    let mut group = criterion.benchmark_group("start");
    group.throughput(Throughput::Elements(BACKLOG as u64));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function(format!("{BACKLOG} messages"), |b| {
        b.iter(|| {
            let engine = folder.open(Durability::Disk);
            let topic = engine.find_topic("bench").expect("it was written down");
            black_box(topic.find_channel("c").expect("it was written down"));
        });
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    rounds(&mut criterion);
    starts(&mut criterion);
    criterion.final_summary();
}
