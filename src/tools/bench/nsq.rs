//! Load on an NSQ server: producers and consumers that encode once and read in bursts, so that they take little of the
//! machine that they share with what is measured.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::body::body;
use super::wire::{Fail, Outcome, Wire, fail};
use crate::clock::{self, Instant};
use crate::protocol::encode;
use crate::protocol::frame::{FrameType, HEARTBEAT, read_frame, read_message};

const FRAME_MAX: u32 = 16 * 1024 * 1024;
/// How often a consumer looks whether the others have taken the rest.
const GLANCE: Duration = Duration::from_millis(100);
/// Nothing for this long is the end of a measurement without a result.
const PATIENCE: Duration = Duration::from_secs(60);

/// What producers do.
#[derive(Clone, Debug)]
pub(super) struct Produce<'a> {
    pub(super) address: &'a str,
    /// Commands go to them by turns.
    pub(super) topics: &'a [String],
    pub(super) messages: u64,
    pub(super) size: usize,
    pub(super) connections: u64,
    /// Messages in one MPUB; with 1 each message is a PUB.
    pub(super) batch: u64,
    /// Messages of a connection that may be unanswered.
    pub(super) window: u64,
}

/// What consumers do.
#[derive(Clone, Debug)]
pub(super) struct Consume<'a> {
    pub(super) address: &'a str,
    pub(super) topic: &'a str,
    pub(super) channel: &'a str,
    pub(super) messages: u64,
    pub(super) connections: u64,
    pub(super) ready: u32,
}

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) messages: u64,
    pub(super) time: Duration,
}

/// What a client says of itself that wants its messages soon: nsqd holds small bursts back for 250 ms otherwise.
const SOON: &str = r#"{"client_id":"bench","output_buffer_timeout":25}"#;
/// What a client says of itself that leaves everything at the server's defaults.
pub(super) const DEFAULTS: &str = r#"{"client_id":"bench"}"#;

/// A connection that has identified itself with `identify`, a JSON object.
pub(super) fn connect(address: &str, identify: &str) -> Outcome<Wire> {
    let mut wire = Wire::connect(address)?;
    let mut out = encode::MAGIC_V2.to_vec();
    encode::push_identify(&mut out, identify.as_bytes());
    wire.send(&out)?;
    wait_ok(&mut wire)?;
    Ok(wire)
}

/// A connection that has subscribed; `ready` is its RDY.
pub(super) fn subscribe(address: &str, topic: &str, channel: &str, ready: u32) -> Outcome<Wire> {
    let mut wire = connect(address, DEFAULTS)?;
    let mut out = Vec::new();
    encode::push_sub(&mut out, topic, channel);
    wire.send(&out)?;
    wait_ok(&mut wire)?;
    out.clear();
    encode::push_rdy(&mut out, ready);
    wire.send(&out)?;
    Ok(wire)
}

/// Waits for one OK.
fn wait_ok(wire: &mut Wire) -> Outcome<()> {
    loop {
        let answers = take_answers(wire)?;
        if answers > 0 {
            return Ok(());
        }
        wire.fill()?;
    }
}

/// Takes every complete frame; returns how many OKs there were and answers heartbeats.
pub(super) fn take_answers(wire: &mut Wire) -> Outcome<u64> {
    let (mut answers, mut beats) = (0, 0);
    take(wire, |kind, data| {
        match kind {
            FrameType::Response if data == HEARTBEAT => beats += 1,
            FrameType::Response => answers += 1,
            FrameType::Error => return fail(String::from_utf8_lossy(data)),
            FrameType::Message => {}
        }
        Ok(())
    })?;
    beat(wire, beats)?;
    Ok(answers)
}

fn beat(wire: &mut Wire, beats: usize) -> Outcome<()> {
    let mut out = Vec::new();
    (0..beats).for_each(|_| encode::push_nop(&mut out));
    wire.send(&out)
}

pub(super) fn take(
    wire: &mut Wire,
    mut each: impl FnMut(FrameType, &[u8]) -> Outcome<()>,
) -> Outcome<()> {
    let mut used = 0;
    let bytes = wire.bytes();
    loop {
        let rest = bytes.get(used..).unwrap_or_default();
        match read_frame(rest, FRAME_MAX) {
            Ok(Some((frame, length))) => {
                each(frame.kind, frame.data)?;
                used += length;
            }
            Ok(None) => break,
            Err(error) => return fail(error.to_string()),
        }
    }
    wire.advance(used);
    Ok(())
}

/// `whole` shared out over `parts`, as evenly as goes.
pub(super) fn shares(whole: u64, parts: u64) -> impl Iterator<Item = u64> {
    (0..parts).map(move |part| whole / parts + u64::from(part < whole % parts))
}

/// Runs one thread for each share of the messages, all starting together, and returns when they did.
fn together(
    messages: u64,
    connections: u64,
    address: &str,
    work: impl Fn(Wire, usize, u64) -> Outcome<()> + Sync,
    prepare: impl Fn(&mut Wire) -> Outcome<()> + Sync,
) -> Outcome<Instant> {
    let shares: Vec<u64> = shares(messages, connections.max(1)).collect();
    let gate = Barrier::new(shares.len() + 1);
    let (gate, work, prepare) = (&gate, &work, &prepare);
    thread::scope(|scope| {
        let threads: Vec<_> = shares
            .into_iter()
            .enumerate()
            .map(|(at, share)| {
                scope.spawn(move || {
                    let wire = connect(address, SOON).and_then(|mut wire| {
                        prepare(&mut wire)?;
                        Ok(wire)
                    });
                    gate.wait();
                    work(wire?, at, share)
                })
            })
            .collect();
        gate.wait();
        let began = clock::now();
        for thread in threads {
            thread.join().map_err(|_| Fail::Said("a measuring thread panicked".into()))??;
        }
        Ok(began)
    })
}

/// Publishes and waits for every OK.
pub(super) fn produce(load: &Produce<'_>) -> Outcome<Span> {
    let work = |wire, at, share| produce_one(wire, load, at, share);
    let began = together(load.messages, load.connections, load.address, work, |_| Ok(()))?;
    Ok(Span { messages: load.messages, time: clock::since(began) })
}

/// Encoded commands of one length, to be sent round and round.
struct Ring {
    bytes: Vec<u8>,
    each: usize,
    at: usize,
}

impl Ring {
    /// At least `count` commands, all topics equally often, starting with the topic `start`. Topics' names are of one
    /// length.
    fn new(load: &Produce<'_>, count: usize, start: usize) -> Self {
        let rounds = count.div_ceil(load.topics.len().max(1)).max(1);
        let mut bytes = Vec::new();
        for topic in load.topics.iter().cycle().skip(start).take(rounds * load.topics.len()) {
            push_publish(&mut bytes, topic, load.size, load.batch);
        }
        let each = bytes.len() / (rounds * load.topics.len()).max(1);
        Self { bytes, each, at: 0 }
    }

    /// The next commands, `count` at most.
    fn take(&mut self, count: u64) -> (&[u8], u64) {
        let wanted = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(self.each);
        let start = self.at;
        let end = start.saturating_add(wanted).min(self.bytes.len());
        self.at = if end == self.bytes.len() { 0 } else { end };
        let taken = (end - start) / self.each.max(1);
        (self.bytes.get(start..end).unwrap_or_default(), taken as u64)
    }
}

fn push_publish(out: &mut Vec<u8>, topic: &str, size: usize, batch: u64) {
    let body = body(size);
    if batch <= 1 {
        encode::push_pub(out, topic, &body);
    } else {
        let bodies = vec![&body[..]; usize::try_from(batch).unwrap_or(0)];
        encode::push_mpub(out, topic, &bodies);
    }
}

fn produce_one(mut wire: Wire, load: &Produce<'_>, at: usize, messages: u64) -> Outcome<()> {
    let batch = load.batch.max(1);
    let commands_open = (load.window / batch).max(1);
    let start = at * load.topics.len() / usize::try_from(load.connections).unwrap_or(1).max(1);
    let mut ring = Ring::new(load, usize::try_from(commands_open).unwrap_or(1), start);
    let commands = messages / batch;
    let (mut sent, mut answered) = (0, 0);
    while answered < commands {
        let mut room = (commands_open - (sent - answered)).min(commands - sent);
        while room > 0 {
            let (bytes, count) = ring.take(room);
            wire.send(bytes)?;
            sent += count;
            room -= count;
        }
        wire.fill()?;
        answered += take_answers(&mut wire)?;
    }
    if !messages.is_multiple_of(batch)
        && let Some(topic) = load.topics.first()
    {
        let mut rest = Vec::new();
        push_publish(&mut rest, topic, load.size, messages % batch);
        wire.send(&rest)?;
        wait_ok(&mut wire)?;
    }
    Ok(())
}

/// When the first message came, and how many there were.
struct Tally {
    taken: AtomicU64,
    /// Nanoseconds after the start, of the first and the last message.
    first: AtomicU64,
    last: AtomicU64,
}

/// Consumes and finishes; the time is that between the first message and the last.
pub(super) fn consume(load: &Consume<'_>) -> Outcome<Span> {
    let tally = Tally {
        taken: AtomicU64::new(0),
        first: AtomicU64::new(u64::MAX),
        last: AtomicU64::new(0),
    };
    let zero = clock::now();
    let work = |wire, _, _| consume_one(wire, load, &tally, zero);
    let prepare = |wire: &mut Wire| {
        let mut out = Vec::new();
        encode::push_sub(&mut out, load.topic, load.channel);
        encode::push_rdy(&mut out, load.ready);
        wire.send(&out)?;
        wire.set_patience(Some(GLANCE))
    };
    together(load.messages, load.connections, load.address, work, prepare)?;
    let nanos = tally.last.into_inner().saturating_sub(tally.first.into_inner());
    Ok(Span { messages: tally.taken.into_inner(), time: Duration::from_nanos(nanos) })
}

fn consume_one(mut wire: Wire, load: &Consume<'_>, tally: &Tally, zero: Instant) -> Outcome<()> {
    let mut out = Vec::new();
    let mut heard = clock::now();
    while tally.taken.load(Ordering::Relaxed) < load.messages {
        let mut count = 0;
        out.clear();
        take(&mut wire, |kind, data| {
            match kind {
                FrameType::Message => {
                    let Some(message) = read_message(data) else {
                        return fail("a message that is cut off");
                    };
                    encode::push_fin(&mut out, &message.id);
                    count += 1;
                }
                FrameType::Response if data == HEARTBEAT => encode::push_nop(&mut out),
                FrameType::Response => {}
                FrameType::Error => return fail(String::from_utf8_lossy(data)),
            }
            Ok(())
        })?;
        wire.send(&out)?;
        if count > 0 {
            heard = clock::now();
            let nanos = u64::try_from(clock::since(zero).as_nanos()).unwrap_or(u64::MAX);
            tally.first.fetch_min(nanos, Ordering::Relaxed);
            tally.last.fetch_max(nanos, Ordering::Relaxed);
            let taken = tally.taken.fetch_add(count, Ordering::Relaxed) + count;
            if taken >= load.messages {
                break;
            }
        }
        if clock::since(heard) > PATIENCE {
            let taken = tally.taken.load(Ordering::Relaxed);
            return fail(format!("{taken} of {} messages came", load.messages));
        }
        wire.fill()?;
    }
    close(wire)
}

/// CLS and its answer, behind which every FIN has been read.
fn close(mut wire: Wire) -> Outcome<()> {
    let mut out = Vec::new();
    encode::push_cls(&mut out);
    wire.send(&out)?;
    let mut is_closed = false;
    let began = clock::now();
    while !is_closed && clock::since(began) < PATIENCE {
        take(&mut wire, |kind, data| {
            is_closed |= kind == FrameType::Response && data == b"CLOSE_WAIT";
            Ok(())
        })?;
        if !is_closed {
            wire.fill()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_has_a_connection() {
        assert_eq!(shares(10, 4).collect::<Vec<_>>(), [3, 3, 2, 2]);
        assert_eq!(shares(2, 3).sum::<u64>(), 2);
    }

    #[test]
    fn a_ring_goes_round_all_topics() {
        let topics = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let load = Produce {
            address: "",
            topics: &topics,
            messages: 0,
            size: 1,
            connections: 1,
            batch: 1,
            window: 1,
        };
        let mut ring = Ring::new(&load, 4, 1);
        let command = b"PUB b\n\0\0\0\x01x";
        assert_eq!(ring.take(1), (&command[..], 1));
        assert_eq!(ring.take(9).1, 5);
        assert_eq!(ring.take(1).0, command);
    }
}
