//! A topic and its channels: publish, deliver, finish, without a socket.

#![allow(clippy::expect_used, reason = "a benchmark that cannot be set up has nothing to measure")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use leveret::clock;
use leveret::engine::{
    Channel, Client, Consumer, Engine, Identity, Options, PullLimit, Signal, Subscriber, Topic,
};
use leveret::protocol::frame;

/// Messages of a round.
const BATCH: usize = 200;
const LIMIT: PullLimit = PullLimit { messages: u64::MAX, bytes: usize::MAX };

fn topic() -> (Arc<Engine>, Arc<Topic>) {
    let engine = Engine::new(Options::default());
    let topic = engine.topic("bench").expect("the engine runs");
    (engine, topic)
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
    consumer.set_ready(2500);
    consumer
}

fn publish(topic: &Topic, body: &[u8], signal: &Arc<Signal>) {
    let accepted = topic.publish((0..BATCH).map(|_| body), signal);
    drop(black_box(accepted.expect("the topic is there")));
    topic.wake();
}

/// Takes everything into `out` as frames and finishes it.
fn drain(consumer: &Consumer, out: &mut Vec<u8>) {
    let now = clock::now();
    let mut ids = Vec::with_capacity(BATCH);
    out.clear();
    consumer.pull(LIMIT, now, |delivery| {
        frame::push_message(out, delivery.id, delivery.timestamp, delivery.attempts, delivery.body);
        ids.push(delivery.id.to_hex());
    });
    let mut settling = consumer.settle(now);
    for id in &ids {
        settling.finish(id).expect("it is in flight");
    }
}

fn rounds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish, deliver, finish");
    group.throughput(Throughput::Elements(BATCH as u64));
    let (body, signal) = ([b'x'; 200], Arc::default());
    for channels in [1, 2, 10] {
        let (_engine, topic) = topic();
        let consumers: Vec<Consumer> = (0..channels)
            .map(|at| subscribe(&topic.channel(&format!("c{at}")).expect("the topic is there")))
            .collect();
        let mut out = Vec::new();
        group.bench_function(format!("{channels} channels"), |b| {
            b.iter(|| {
                publish(&topic, &body, &signal);
                consumers.iter().for_each(|consumer| drain(consumer, &mut out));
            });
        });
    }
    group.finish();
}

fn publishes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish alone");
    group.throughput(Throughput::Elements(BATCH as u64));
    let (body, signal) = ([b'x'; 200], Arc::default());
    for channels in [1, 10, 1000] {
        let (_engine, topic) = topic();
        let all: Vec<Arc<Channel>> = (0..channels)
            .map(|at| topic.channel(&format!("c{at:04}")).expect("the topic is there"))
            .collect();
        let mut queued = 0;
        group.bench_function(format!("{channels} channels"), |b| {
            b.iter(|| {
                publish(&topic, &body, &signal);
                queued += BATCH;
                if queued >= 100_000 {
                    // Memory is no part of this: a real queue that grows is measured with `leveret bench`.
                    all.iter().for_each(|channel| channel.empty());
                    queued = 0;
                }
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    rounds(&mut criterion);
    publishes(&mut criterion);
    criterion.final_summary();
}
