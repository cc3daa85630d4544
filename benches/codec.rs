//! Frames and commands: what a message costs in bytes moved and looked at, without a socket or an engine.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use leveret::names::MessageId;
use leveret::protocol::command::{Command, Gate, Limits, Parser, Phase};
use leveret::protocol::{encode, frame};

const LIMITS: Limits = Limits {
    max_msg_size: 1024 * 1024,
    max_body_size: 5 * 1024 * 1024,
    max_rdy_count: 2500,
    max_req_timeout: Duration::from_secs(3600),
    max_defer_time: None,
    explain_errors: false,
};
const GATE: Gate =
    Gate { phase: Phase::Subscribed, heartbeats: true, lacks_tls: false, judges_mpub: false };
/// Commands or frames in one buffer: about what a read brings.
const BURST: usize = 200;

/// Parses every command of `input` and returns how many messages they hold.
fn parse_all(input: &[u8]) -> usize {
    let mut parser = Parser::default();
    let (mut used, mut messages) = (0, 0);
    while let Some(rest) = input.get(used..)
        && let Ok(Some((command, length))) = parser.next(rest, GATE, &LIMITS)
    {
        used += length;
        messages += match command {
            Command::Mpub { bodies, .. } => bodies.map(black_box).count(),
            command => {
                black_box(command);
                1
            }
        };
    }
    messages
}

fn commands(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(BURST as u64));
    let body = [b'x'; 200];
    let mut input = Vec::new();
    for _ in 0..BURST {
        encode::push_pub(&mut input, "bench", &body);
    }
    group.bench_function("PUB, 200 bytes", |b| b.iter(|| parse_all(black_box(&input))));
    input.clear();
    encode::push_mpub(&mut input, "bench", &[&body[..]; BURST]);
    group.bench_function("MPUB of 200, 200 bytes", |b| b.iter(|| parse_all(black_box(&input))));
    input.clear();
    for id in 0..BURST as u64 {
        encode::push_fin(&mut input, &MessageId(id << 20).to_hex());
    }
    group.bench_function("FIN", |b| b.iter(|| parse_all(black_box(&input))));
    group.finish();
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(BURST as u64));
    for size in [200, 1024] {
        let body = vec![b'x'; size];
        let mut out = Vec::new();
        group.bench_function(format!("message frame, {size} bytes"), |b| {
            b.iter(|| {
                out.clear();
                for id in 0..BURST as u64 {
                    frame::push_message(&mut out, MessageId(id), 1, 1, black_box(&body));
                }
                out.len()
            });
        });
    }
    let mut out = Vec::new();
    group.bench_function("OK", |b| {
        b.iter(|| {
            out.clear();
            (0..BURST).for_each(|_| frame::push_response(&mut out, frame::OK));
            out.len()
        });
    });
    group.finish();
    let mut group = criterion.benchmark_group("id");
    let id = MessageId(0x0123_4567_89ab_cdef);
    group.bench_function("to hex", |b| b.iter(|| black_box(id).to_hex()));
    let hex = id.to_hex();
    group.bench_function("from hex", |b| b.iter(|| MessageId::from_hex(black_box(&hex))));
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    commands(&mut criterion);
    frames(&mut criterion);
    criterion.final_summary();
}
