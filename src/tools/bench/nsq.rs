//! Load on an NSQ server: producers and consumers that encode once and read in bursts, so that they take little of the
//! machine that they share with what is measured.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

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
    pub(super) topic: &'a str,
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

fn connect(address: &str) -> Outcome<Wire> {
    let mut wire = Wire::connect(address)?;
    let mut out = encode::MAGIC_V2.to_vec();
    // nsqd holds small bursts back for 250 ms otherwise.
    encode::push_identify(&mut out, br#"{"client_id":"bench","output_buffer_timeout":25}"#);
    wire.send(&out)?;
    wait_ok(&mut wire)?;
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
fn take_answers(wire: &mut Wire) -> Outcome<u64> {
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

fn take(wire: &mut Wire, mut each: impl FnMut(FrameType, &[u8]) -> Outcome<()>) -> Outcome<()> {
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
fn shares(whole: u64, parts: u64) -> impl Iterator<Item = u64> {
    (0..parts).map(move |part| whole / parts + u64::from(part < whole % parts))
}

/// Runs one thread for each share of the messages, all starting together, and returns when they did.
fn together(
    messages: u64,
    connections: u64,
    address: &str,
    work: impl Fn(Wire, u64) -> Outcome<()> + Sync,
    prepare: impl Fn(&mut Wire) -> Outcome<()> + Sync,
) -> Outcome<Instant> {
    let shares: Vec<u64> = shares(messages, connections.max(1)).collect();
    let gate = Barrier::new(shares.len() + 1);
    let (gate, work, prepare) = (&gate, &work, &prepare);
    thread::scope(|scope| {
        let threads: Vec<_> = shares
            .into_iter()
            .map(|share| {
                scope.spawn(move || {
                    let wire = connect(address).and_then(|mut wire| {
                        prepare(&mut wire)?;
                        Ok(wire)
                    });
                    gate.wait();
                    work(wire?, share)
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
    let work = |wire, share| produce_one(wire, load, share);
    let began = together(load.messages, load.connections, load.address, work, |_| Ok(()))?;
    Ok(Span { messages: load.messages, time: clock::since(began) })
}

fn encode_publishes(load: &Produce<'_>, count: u64) -> Vec<u8> {
    let body = vec![b'x'; load.size];
    let mut out = Vec::new();
    if load.batch <= 1 {
        encode::push_pub(&mut out, load.topic, &body);
    } else {
        let bodies = vec![&body[..]; usize::try_from(count).unwrap_or(0)];
        encode::push_mpub(&mut out, load.topic, &bodies);
    }
    out
}

fn produce_one(mut wire: Wire, load: &Produce<'_>, messages: u64) -> Outcome<()> {
    let batch = load.batch.max(1);
    let commands_open = (load.window / batch).max(1);
    let full = encode_publishes(load, batch);
    let burst = full.repeat(usize::try_from(commands_open).unwrap_or(1));
    let commands = messages / batch;
    let (mut sent, mut answered) = (0, 0);
    while answered < commands {
        let count = (commands_open - (sent - answered)).min(commands - sent);
        let size = usize::try_from(count).unwrap_or(0) * full.len();
        wire.send(burst.get(..size).unwrap_or_default())?;
        sent += count;
        wire.fill()?;
        answered += take_answers(&mut wire)?;
    }
    if !messages.is_multiple_of(batch) {
        wire.send(&encode_publishes(load, messages % batch))?;
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
    let work = |wire, _| consume_one(wire, load, &tally, zero);
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
}
