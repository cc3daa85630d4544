//! AMQP 0-9-1 with as little between the measurement and the broker as can be: frames are encoded once and sent many
//! times, and of what comes back only what counts is looked at. This is the ceiling that a bridge is measured against.

mod uri;

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use super::body::body;
use super::wire::{Outcome, Wire, fail};
use uri::Uri;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const FRAME_END: u8 = 0xce;
/// The one channel that is used.
const CHANNEL: u16 = 1;
const FRAME_MAX: u32 = 131_072;

/// How often a forwarder looks what its other side has done.
const LOOK: Duration = Duration::from_micros(500);

/// A method's class and number.
type Method = (u16, u16);
const CONNECTION_CLOSE: Method = (10, 50);
const CHANNEL_CLOSE: Method = (20, 40);
const BASIC_ACK: Method = (60, 80);
const BASIC_NACK: Method = (60, 120);
const BASIC_RETURN: Method = (60, 50);

/// A kind of queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum QueueType {
    Classic,
    Quorum,
}

/// Arguments of a method, as they are written.
#[derive(Debug, Default)]
struct Arguments(Vec<u8>);

impl Arguments {
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn short_string(mut self, text: &str) -> Self {
        let text = text.as_bytes().get(..text.len().min(255)).unwrap_or_default();
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.bytes(text)
    }

    fn long_string(self, bytes: &[u8]) -> Self {
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.bytes(&size.to_be_bytes()).bytes(bytes)
    }
}

fn push_frame(out: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(FRAME_END);
}

fn push_method(out: &mut Vec<u8>, channel: u16, method: Method, arguments: &Arguments) {
    let mut payload = Vec::with_capacity(4 + arguments.0.len());
    payload.extend_from_slice(&method.0.to_be_bytes());
    payload.extend_from_slice(&method.1.to_be_bytes());
    payload.extend_from_slice(&arguments.0);
    push_frame(out, METHOD, channel, &payload);
}

/// A `basic.publish` to `queue` through the default exchange: persistent, mandatory, with the properties that a bridge sets.
fn encode_publish(queue: &str, size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    // Ticket, exchange, routing key, mandatory.
    let to = Arguments::default().bytes(&[0, 0]).short_string("").short_string(queue).bytes(&[1]);
    push_method(&mut out, CHANNEL, (60, 40), &to);
    // delivery_mode, message_id and timestamp.
    let flags: u16 = 1 << 12 | 1 << 7 | 1 << 6;
    let header = Arguments::default()
        .bytes(&60_u16.to_be_bytes())
        .bytes(&[0, 0])
        .bytes(&(size as u64).to_be_bytes())
        .bytes(&flags.to_be_bytes())
        .bytes(&[2])
        .short_string("bench:0123456789abcdef")
        .bytes(&1_700_000_000_u64.to_be_bytes());
    push_frame(&mut out, HEADER, CHANNEL, &header.0);
    let body = body(size);
    for part in body.chunks(FRAME_MAX as usize - 8) {
        push_frame(&mut out, BODY, CHANNEL, part);
    }
    out
}

/// A frame's head; the payload lies between 7 and `length - 1`.
struct Frame {
    kind: u8,
    length: usize,
}

fn next_frame(bytes: &[u8]) -> Option<Frame> {
    let (&kind, rest) = bytes.split_first()?;
    let size: [u8; 4] = *rest.get(2..)?.first_chunk()?;
    let length = u32::from_be_bytes(size) as usize + 8;
    (bytes.len() >= length).then_some(Frame { kind, length })
}

fn read_method(payload: &[u8]) -> Option<(Method, &[u8])> {
    let (class, rest) = payload.split_first_chunk()?;
    let (number, arguments) = rest.split_first_chunk()?;
    Some(((u16::from_be_bytes(*class), u16::from_be_bytes(*number)), arguments))
}

/// Which publishes are confirmed: all up to a number, and some beyond it.
#[derive(Debug, Default)]
struct Confirmed {
    up_to: u64,
    beyond: BTreeSet<u64>,
}

impl Confirmed {
    fn ack(&mut self, tag: u64, is_multiple: bool) {
        if is_multiple && tag > self.up_to {
            self.up_to = tag;
            self.beyond = self.beyond.split_off(&(tag + 1));
        } else if tag > self.up_to {
            self.beyond.insert(tag);
        }
        while self.beyond.remove(&(self.up_to + 1)) {
            self.up_to += 1;
        }
    }

    fn count(&self) -> u64 {
        self.up_to + self.beyond.len() as u64
    }
}

/// A connection with one channel.
#[derive(Debug)]
pub(super) struct Amqp {
    wire: Wire,
}

impl Amqp {
    pub(super) fn open(uri: &str) -> Outcome<Self> {
        let uri = Uri::parse(uri)?;
        let mut amqp = Self { wire: Wire::connect(&uri.address)? };
        amqp.wire.send(b"AMQP\x00\x00\x09\x01")?;
        amqp.expect((10, 10))?;
        let login = format!("\0{}\0{}", uri.user, uri.password);
        let start_ok = Arguments::default()
            .long_string(b"")
            .short_string("PLAIN")
            .long_string(login.as_bytes())
            .short_string("en_US");
        amqp.call(0, (10, 11), &start_ok, (10, 30))?;
        // Channels, frame size, and no heartbeats: a measurement is short.
        let tune_ok = Arguments::default()
            .bytes(&CHANNEL.to_be_bytes())
            .bytes(&FRAME_MAX.to_be_bytes())
            .bytes(&[0, 0]);
        amqp.send(0, (10, 31), &tune_ok)?;
        let open = Arguments::default().short_string(&uri.vhost).short_string("").bytes(&[0]);
        amqp.call(0, (10, 40), &open, (10, 41))?;
        amqp.call(CHANNEL, (20, 10), &Arguments::default().short_string(""), (20, 11))?;
        Ok(amqp)
    }

    fn send(&mut self, channel: u16, method: Method, arguments: &Arguments) -> Outcome<()> {
        let mut out = Vec::new();
        push_method(&mut out, channel, method, arguments);
        self.wire.send(&out)
    }

    fn call(
        &mut self,
        channel: u16,
        method: Method,
        arguments: &Arguments,
        reply: Method,
    ) -> Outcome<Vec<u8>> {
        self.send(channel, method, arguments)?;
        self.expect(reply)
    }

    /// Takes every complete frame that has arrived.
    fn take(&mut self, mut each: impl FnMut(u8, &[u8]) -> Outcome<()>) -> Outcome<()> {
        let mut used = 0;
        let bytes = self.wire.bytes();
        while let Some(frame) = next_frame(bytes.get(used..).unwrap_or_default()) {
            let payload = bytes.get(used + 7..used + frame.length - 1).unwrap_or_default();
            each(frame.kind, payload)?;
            used += frame.length;
        }
        self.wire.advance(used);
        Ok(())
    }

    /// Waits for a method and returns its arguments. What came behind it is left.
    fn expect(&mut self, wanted: Method) -> Outcome<Vec<u8>> {
        loop {
            let bytes = self.wire.bytes();
            let Some(Frame { kind, length }) = next_frame(bytes) else {
                self.wire.fill()?;
                continue;
            };
            let payload = bytes.get(7..length - 1).unwrap_or_default();
            let found = match read_method(payload) {
                _ if kind == HEARTBEAT => None,
                Some((method, arguments)) if method == wanted => Some(arguments.to_vec()),
                _ => return unexpected(payload),
            };
            self.wire.advance(length);
            if let Some(arguments) = found {
                return Ok(arguments);
            }
        }
    }

    /// Declares a durable classic queue and empties it.
    pub(super) fn fresh_queue(&mut self, queue: &str) -> Outcome<()> {
        self.fresh_queue_of(QueueType::Classic, queue)
    }

    /// Declares a durable queue of this type and empties it.
    pub(super) fn fresh_queue_of(&mut self, of: QueueType, queue: &str) -> Outcome<()> {
        self.declare(of, queue, 2)?;
        let purge = Arguments::default().bytes(&[0, 0]).short_string(queue).bytes(&[0]);
        self.call(CHANNEL, (50, 30), &purge, (50, 31)).map(drop)
    }

    /// How many messages wait in the queue.
    pub(super) fn depth(&mut self, queue: &str) -> Outcome<u64> {
        self.declare(QueueType::Classic, queue, 1)
    }

    fn declare(&mut self, of: QueueType, queue: &str, flags: u8) -> Outcome<u64> {
        let table = match of {
            QueueType::Classic => Arguments::default(),
            QueueType::Quorum => {
                Arguments::default().short_string("x-queue-type").bytes(b"S").long_string(b"quorum")
            }
        };
        let declare = Arguments::default().bytes(&[0, 0]).short_string(queue).bytes(&[flags]);
        let declare = declare.long_string(&table.0);
        let reply = self.call(CHANNEL, (50, 10), &declare, (50, 11))?;
        // The queue's name, then messages and consumers.
        let count = reply.split_first().and_then(|(&size, rest)| rest.get(usize::from(size)..));
        match count.and_then(|rest| rest.first_chunk()) {
            Some(count) => Ok(u32::from_be_bytes(*count).into()),
            None => fail("a queue.declare-ok that is cut off"),
        }
    }

    pub(super) fn delete_queue(&mut self, queue: &str) -> Outcome<()> {
        let delete = Arguments::default().bytes(&[0, 0]).short_string(queue).bytes(&[0]);
        self.call(CHANNEL, (50, 40), &delete, (50, 41)).map(drop)
    }

    /// Publishes and waits until everything is confirmed, with at most `window` unconfirmed.
    pub(super) fn publish(&mut self, queue: &str, load: Load) -> Outcome<()> {
        self.publish_after(queue, load, || load.messages, |_| ())
    }

    /// As [`Amqp::publish`], with no more sent than `there` says, which is told of what is confirmed.
    pub(super) fn publish_after(
        &mut self,
        queue: &str,
        load: Load,
        there: impl Fn() -> u64,
        told: impl Fn(u64),
    ) -> Outcome<()> {
        self.call(CHANNEL, (85, 10), &Arguments::default().bytes(&[0]), (85, 11))?;
        let one = encode_publish(queue, load.size);
        let burst = one.repeat(usize::try_from(load.window).unwrap_or(usize::MAX));
        let mut confirmed = Confirmed::default();
        let mut sent = 0;
        while confirmed.count() < load.messages {
            let room = load.window - (sent - confirmed.count());
            let count = room.min(there().min(load.messages) - sent);
            if count == 0 && sent == confirmed.count() {
                thread::park_timeout(LOOK);
                continue;
            }
            let size = usize::try_from(count).unwrap_or(0) * one.len();
            self.wire.send(burst.get(..size).unwrap_or_default())?;
            sent += count;
            self.wire.fill()?;
            self.take(|kind, payload| confirm(&mut confirmed, kind, payload))?;
            told(confirmed.count());
        }
        Ok(())
    }

    /// Consumes with a bounded prefetch and one ack for many. `first` is called when the first message is there.
    pub(super) fn consume(
        &mut self,
        queue: &str,
        load: Load,
        mut first: impl FnMut(),
    ) -> Outcome<()> {
        let mut is_first = true;
        let told = |_| {
            if std::mem::take(&mut is_first) {
                first();
            }
        };
        self.consume_before(queue, load, told, || load.messages)
    }

    /// As [`Amqp::consume`], with no more acked than `done` says; `told` hears how many there are.
    pub(super) fn consume_before(
        &mut self,
        queue: &str,
        load: Load,
        mut told: impl FnMut(u64),
        done: impl Fn() -> u64,
    ) -> Outcome<()> {
        let prefetch = u16::try_from(load.window).unwrap_or(u16::MAX);
        let qos = Arguments::default().bytes(&[0; 4]).bytes(&prefetch.to_be_bytes()).bytes(&[0]);
        self.call(CHANNEL, (60, 10), &qos, (60, 11))?;
        let consume = Arguments::default()
            .bytes(&[0, 0])
            .short_string(queue)
            .short_string("bench")
            .bytes(&[0; 5]);
        self.call(CHANNEL, (60, 20), &consume, (60, 21))?;
        let ack_every = u64::from(prefetch / 8).max(1);
        let (mut taken, mut acked) = (0, 0);
        loop {
            self.take(|kind, payload| match kind {
                // Small messages have one body frame each.
                BODY => {
                    taken += 1;
                    Ok(())
                }
                METHOD if read_method(payload).is_none_or(|(method, _)| method.0 != 60) => {
                    unexpected(payload)
                }
                _ => Ok(()),
            })?;
            if taken > 0 {
                told(taken);
            }
            let may = taken.min(done());
            if may - acked >= ack_every || (may == load.messages && acked < may) {
                acked = may;
                let ack = Arguments::default().bytes(&acked.to_be_bytes()).bytes(&[1]);
                self.send(CHANNEL, BASIC_ACK, &ack)?;
            }
            if acked >= load.messages {
                return Ok(());
            }
            // Whoever waits for acks that may not be sent yet sends nothing that would wake this up.
            self.wire.set_patience((acked < taken).then_some(LOOK))?;
            self.wire.fill()?;
        }
    }

    /// Cancels the consumer and closes in good order, so that the broker has handled every ack.
    pub(super) fn close(mut self) -> Outcome<()> {
        let reason =
            Arguments::default().bytes(&200_u16.to_be_bytes()).short_string("").bytes(&[0; 4]);
        self.send(CHANNEL, CHANNEL_CLOSE, &reason)?;
        let mut is_closed = false;
        while !is_closed {
            self.take(|kind, payload| {
                is_closed |= kind == METHOD
                    && read_method(payload).is_some_and(|(method, _)| method == (20, 41));
                Ok(())
            })?;
            if !is_closed {
                self.wire.fill()?;
            }
        }
        Ok(())
    }
}

/// How much to move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) messages: u64,
    pub(super) size: usize,
    /// Unconfirmed publishes, or the prefetch.
    pub(super) window: u64,
}

fn confirm(confirmed: &mut Confirmed, kind: u8, payload: &[u8]) -> Outcome<()> {
    if kind != METHOD {
        return Ok(());
    }
    let Some((method, arguments)) = read_method(payload) else {
        return unexpected(payload);
    };
    match (method, arguments.split_first_chunk()) {
        (BASIC_ACK, Some((tag, flags))) => {
            confirmed
                .ack(u64::from_be_bytes(*tag), flags.first().is_some_and(|flags| flags & 1 == 1));
            Ok(())
        }
        (BASIC_NACK, _) => fail("the broker refused a message (basic.nack)"),
        (BASIC_RETURN, _) => fail("the broker returned a message (basic.return)"),
        _ => unexpected(payload),
    }
}

/// The error for a method that nobody waits for; a close carries the broker's words.
fn unexpected<T>(payload: &[u8]) -> Outcome<T> {
    match read_method(payload) {
        Some((CONNECTION_CLOSE | CHANNEL_CLOSE, arguments)) => {
            let words = arguments.get(3..).unwrap_or_default();
            let size = arguments.get(2).copied().map_or(0, usize::from);
            fail(String::from_utf8_lossy(words.get(..size).unwrap_or_default()))
        }
        Some((method, _)) => fail(format!("the broker sent method {}.{}", method.0, method.1)),
        None => fail("the broker sent a frame that is cut off"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_message_is_three_frames() {
        let bytes = encode_publish("q", 3);
        let mut rest = &bytes[..];
        let mut kinds = Vec::new();
        while let Some(frame) = next_frame(rest) {
            assert_eq!(rest[frame.length - 1], FRAME_END);
            kinds.push(frame.kind);
            rest = &rest[frame.length..];
        }
        assert!(rest.is_empty());
        assert_eq!(kinds, [METHOD, HEADER, BODY]);
        assert!(next_frame(&bytes[..6]).is_none());
    }

    #[test]
    fn confirms_are_counted_once() {
        let mut confirmed = Confirmed::default();
        confirmed.ack(3, false);
        confirmed.ack(5, false);
        assert_eq!(confirmed.count(), 2);
        confirmed.ack(4, true);
        assert_eq!((confirmed.count(), confirmed.up_to), (5, 5));
        confirmed.ack(2, true);
        assert_eq!(confirmed.count(), 5);
    }
}
