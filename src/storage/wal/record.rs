//! What is written down, one record a change.
//!
//! A record is `kind u8, length u32`, then `length` bytes. Unknown kinds are passed over by [`Records`] as [`Record::Unknown`],
//! so that a later version may add some that an earlier one can do without.

use super::super::ranges::RangeSet;

/// Bytes of a record before its fields.
const HEADER: usize = 5;

/// A topic's number in the log; never used for another topic.
pub type TopicId = u32;
/// A channel's number within its topic; never used for another channel of it.
pub type ChannelId = u32;

/// A record as it is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// A topic has something to keep from here on.
    Topic { topic: TopicId, paused: bool, name: &'a str },
    /// A topic is deleted with all that it has.
    TopicGone { topic: TopicId },
    /// A channel is there; it gets what is published from now on, and what `from` asks for of earlier messages.
    Channel { topic: TopicId, channel: ChannelId, paused: bool, at: i64, from: u64, name: &'a str },
    /// A channel is deleted.
    ChannelGone { topic: TopicId, channel: ChannelId },
    /// A topic is paused or goes on.
    TopicPaused { topic: TopicId, paused: bool, at: i64 },
    /// A channel is paused or goes on.
    ChannelPaused { topic: TopicId, channel: ChannelId, paused: bool },
    /// Messages were published: consecutive numbers from `first` on.
    Publish { topic: TopicId, first: u64, timestamp: i64, bodies: Bodies<'a> },
    /// A message was published that is not to be delivered before a delay (nanoseconds) has passed.
    PublishDeferred { topic: TopicId, seq: u64, timestamp: i64, delay: u64, body: &'a [u8] },
    /// A channel is done with these messages.
    Settled { topic: TopicId, channel: ChannelId, ranges: Vec<std::ops::Range<u64>> },
    /// A topic gave these up without handing them to a channel that is kept.
    Dropped { topic: TopicId, first: u64, end: u64 },
    /// A message was delivered `attempts` times on a channel; not to be delivered before `due` (Unix nanoseconds; 0: at once).
    State { topic: TopicId, channel: ChannelId, seq: u64, attempts: u16, due: i64 },
    /// A topic with retention keeps nothing before `from` any more.
    Retained { topic: TopicId, from: u64 },
    /// Messages that no channel had got yet were handed to one channel alone.
    Handed { topic: TopicId, channel: ChannelId, first: u64, end: u64 },
    /// Written by a later version.
    Unknown { kind: u8 },
}

/// The messages of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bodies<'a>(&'a [u8]);

impl<'a> Iterator for Bodies<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (body, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        self.0 = rest;
        Some(body)
    }
}

const TOPIC: u8 = 1;
const TOPIC_GONE: u8 = 2;
const CHANNEL: u8 = 3;
const CHANNEL_GONE: u8 = 4;
const TOPIC_PAUSED: u8 = 5;
const CHANNEL_PAUSED: u8 = 6;
const PUBLISH: u8 = 7;
const PUBLISH_DEFERRED: u8 = 8;
const SETTLED: u8 = 9;
const DROPPED: u8 = 10;
const STATE: u8 = 11;
const RETAINED: u8 = 12;
const HANDED: u8 = 13;

/// Appends records to a buffer.
pub(crate) trait Write {
    /// See [`Record::Topic`].
    fn topic(&mut self, topic: TopicId, paused: bool, name: &str);
    /// See [`Record::TopicGone`].
    fn topic_gone(&mut self, topic: TopicId);
    /// See [`Record::Channel`].
    fn channel(
        &mut self,
        topic: TopicId,
        channel: ChannelId,
        paused: bool,
        at: i64,
        from: u64,
        name: &str,
    );
    /// See [`Record::ChannelGone`].
    fn channel_gone(&mut self, topic: TopicId, channel: ChannelId);
    /// See [`Record::TopicPaused`].
    fn topic_paused(&mut self, topic: TopicId, paused: bool, at: i64);
    /// See [`Record::ChannelPaused`].
    fn channel_paused(&mut self, topic: TopicId, channel: ChannelId, paused: bool);
    /// See [`Record::Publish`].
    fn publish<'a>(
        &mut self,
        topic: TopicId,
        first: u64,
        timestamp: i64,
        bodies: impl Iterator<Item = &'a [u8]>,
    );
    /// See [`Record::PublishDeferred`].
    fn publish_deferred(
        &mut self,
        topic: TopicId,
        seq: u64,
        timestamp: i64,
        delay: u64,
        body: &[u8],
    );
    /// See [`Record::Settled`].
    fn settled(&mut self, topic: TopicId, channel: ChannelId, ranges: &[std::ops::Range<u64>]);
    /// See [`Record::Dropped`].
    fn dropped(&mut self, topic: TopicId, range: std::ops::Range<u64>);
    /// See [`Record::State`].
    fn state(&mut self, topic: TopicId, channel: ChannelId, seq: u64, attempts: u16, due: i64);
    /// See [`Record::Retained`].
    fn retained(&mut self, topic: TopicId, from: u64);
    /// See [`Record::Handed`].
    fn handed(&mut self, topic: TopicId, channel: ChannelId, range: std::ops::Range<u64>);
}

/// Appends a record whose length is known once its fields are written.
fn put(out: &mut Vec<u8>, kind: u8, fields: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(kind);
    out.extend_from_slice(&[0; 4]);
    fields(out);
    // Bounded by --max-body-size and the number of a channel's messages: far below four gibibytes.
    let length = u32::try_from(out.len() - start - HEADER).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start + 1..start + HEADER) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

impl Write for Vec<u8> {
    fn topic(&mut self, topic: TopicId, paused: bool, name: &str) {
        put(self, TOPIC, |out| {
            out.extend(topic.to_be_bytes());
            out.push(u8::from(paused));
            out.extend(name.as_bytes());
        });
    }

    fn topic_gone(&mut self, topic: TopicId) {
        put(self, TOPIC_GONE, |out| out.extend(topic.to_be_bytes()));
    }

    fn channel(
        &mut self,
        topic: TopicId,
        channel: ChannelId,
        paused: bool,
        at: i64,
        from: u64,
        name: &str,
    ) {
        put(self, CHANNEL, |out| {
            out.extend(topic.to_be_bytes());
            out.extend(channel.to_be_bytes());
            out.push(u8::from(paused));
            out.extend(at.to_be_bytes());
            out.extend(from.to_be_bytes());
            out.extend(name.as_bytes());
        });
    }

    fn channel_gone(&mut self, topic: TopicId, channel: ChannelId) {
        put(self, CHANNEL_GONE, |out| {
            out.extend(topic.to_be_bytes());
            out.extend(channel.to_be_bytes());
        });
    }

    fn topic_paused(&mut self, topic: TopicId, paused: bool, at: i64) {
        put(self, TOPIC_PAUSED, |out| {
            out.extend(topic.to_be_bytes());
            out.push(u8::from(paused));
            out.extend(at.to_be_bytes());
        });
    }

    fn channel_paused(&mut self, topic: TopicId, channel: ChannelId, paused: bool) {
        put(self, CHANNEL_PAUSED, |out| {
            out.extend(topic.to_be_bytes());
            out.extend(channel.to_be_bytes());
            out.push(u8::from(paused));
        });
    }

    fn publish<'a>(
        &mut self,
        topic: TopicId,
        first: u64,
        timestamp: i64,
        bodies: impl Iterator<Item = &'a [u8]>,
    ) {
        put(self, PUBLISH, |out| {
            out.extend(topic.to_be_bytes());
            out.extend(first.to_be_bytes());
            out.extend(timestamp.to_be_bytes());
            for body in bodies {
                // A body is at most two gibibytes on the wire.
                let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(body);
            }
        });
    }

    fn publish_deferred(
        &mut self,
        topic: TopicId,
        seq: u64,
        timestamp: i64,
        delay: u64,
        body: &[u8],
    ) {
        put(self, PUBLISH_DEFERRED, |out| {
            out.extend(topic.to_be_bytes());
            out.extend(seq.to_be_bytes());
            out.extend(timestamp.to_be_bytes());
            out.extend(delay.to_be_bytes());
            out.extend_from_slice(body);
        });
    }

    fn settled(&mut self, topic: TopicId, channel: ChannelId, ranges: &[std::ops::Range<u64>]) {
        put(self, SETTLED, |out| {
            out.extend(topic.to_be_bytes());
            out.extend(channel.to_be_bytes());
            for range in ranges {
                out.extend(range.start.to_be_bytes());
                out.extend(range.end.to_be_bytes());
            }
        });
    }

    fn dropped(&mut self, topic: TopicId, range: std::ops::Range<u64>) {
        put(self, DROPPED, |out| {
            out.extend(topic.to_be_bytes());
            out.extend(range.start.to_be_bytes());
            out.extend(range.end.to_be_bytes());
        });
    }

    fn state(&mut self, topic: TopicId, channel: ChannelId, seq: u64, attempts: u16, due: i64) {
        put(self, STATE, |out| {
            out.extend(topic.to_be_bytes());
            out.extend(channel.to_be_bytes());
            out.extend(seq.to_be_bytes());
            out.extend(attempts.to_be_bytes());
            out.extend(due.to_be_bytes());
        });
    }

    fn retained(&mut self, topic: TopicId, from: u64) {
        put(self, RETAINED, |out| {
            out.extend(topic.to_be_bytes());
            out.extend(from.to_be_bytes());
        });
    }

    fn handed(&mut self, topic: TopicId, channel: ChannelId, range: std::ops::Range<u64>) {
        put(self, HANDED, |out| {
            out.extend(topic.to_be_bytes());
            out.extend(channel.to_be_bytes());
            out.extend(range.start.to_be_bytes());
            out.extend(range.end.to_be_bytes());
        });
    }
}

/// A record's fields, taken from the front.
pub(in crate::storage) struct Fields<'a>(pub(in crate::storage) &'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(in crate::storage) fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(in crate::storage) fn flag(&mut self) -> Option<bool> {
        self.byte().map(|byte| byte != 0)
    }

    pub(in crate::storage) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    pub(in crate::storage) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(in crate::storage) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub(in crate::storage) fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    /// `length u32` and as many bytes of text.
    pub(in crate::storage) fn text(&mut self) -> Option<&'a str> {
        let length = self.u32()? as usize;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    /// Ranges up to the end.
    fn ranges(&mut self) -> Option<Vec<std::ops::Range<u64>>> {
        let mut ranges = Vec::with_capacity(self.0.len() / 16);
        while !self.0.is_empty() {
            ranges.push(self.u64()?..self.u64()?);
        }
        Some(ranges)
    }

    /// `count u32` and as many ranges.
    pub(in crate::storage) fn range_set(&mut self) -> Option<RangeSet> {
        let count = self.u32()?;
        (0..count).map(|_| Some(self.u64()?..self.u64()?)).collect()
    }
}

fn decode(kind: u8, fields: &[u8]) -> Option<Record<'_>> {
    let mut fields = Fields(fields);
    let topic = fields.u32()?;
    let text = |rest| std::str::from_utf8(rest).ok();
    Some(match kind {
        TOPIC => Record::Topic { topic, paused: fields.flag()?, name: text(fields.0)? },
        TOPIC_GONE => Record::TopicGone { topic },
        CHANNEL => Record::Channel {
            topic,
            channel: fields.u32()?,
            paused: fields.flag()?,
            at: fields.i64()?,
            from: fields.u64()?,
            name: text(fields.0)?,
        },
        CHANNEL_GONE => Record::ChannelGone { topic, channel: fields.u32()? },
        TOPIC_PAUSED => Record::TopicPaused { topic, paused: fields.flag()?, at: fields.i64()? },
        CHANNEL_PAUSED => {
            Record::ChannelPaused { topic, channel: fields.u32()?, paused: fields.flag()? }
        }
        PUBLISH => Record::Publish {
            topic,
            first: fields.u64()?,
            timestamp: fields.i64()?,
            bodies: Bodies(fields.0),
        },
        PUBLISH_DEFERRED => Record::PublishDeferred {
            topic,
            seq: fields.u64()?,
            timestamp: fields.i64()?,
            delay: fields.u64()?,
            body: fields.0,
        },
        SETTLED => Record::Settled { topic, channel: fields.u32()?, ranges: fields.ranges()? },
        DROPPED => Record::Dropped { topic, first: fields.u64()?, end: fields.u64()? },
        STATE => Record::State {
            topic,
            channel: fields.u32()?,
            seq: fields.u64()?,
            attempts: fields.u16()?,
            due: fields.i64()?,
        },
        RETAINED => Record::Retained { topic, from: fields.u64()? },
        HANDED => Record::Handed {
            topic,
            channel: fields.u32()?,
            first: fields.u64()?,
            end: fields.u64()?,
        },
        kind => Record::Unknown { kind },
    })
}

/// The records of a frame, each with its offset in it. Ends early if the bytes make no sense, which a checksum rules out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Records<'a> {
    bytes: &'a [u8],
    at: u64,
}

impl<'a> Records<'a> {
    /// The records of a frame's content.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl<'a> Iterator for Records<'a> {
    /// The offset behind the record, and the record.
    type Item = (u64, Record<'a>);

    fn next(&mut self) -> Option<(u64, Record<'a>)> {
        let (&kind, rest) = self.bytes.split_first()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (fields, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        self.at += (HEADER + fields.len()) as u64;
        self.bytes = rest;
        Some((self.at, decode(kind, fields)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_comes_back() {
        let mut out = Vec::new();
        out.topic(1, true, "t");
        out.channel(1, 2, false, -3, 4, "c");
        out.publish(1, 10, -7, [&b"a"[..], b"", b"bcd"].into_iter());
        out.publish_deferred(1, 13, 8, 9, b"later");
        out.settled(1, 2, &[10..11, 12..13]);
        out.dropped(1, 5..6);
        out.state(1, 2, 13, 65_535, 99);
        out.topic_paused(1, false, 6);
        out.channel_paused(1, 2, true);
        out.retained(1, 77);
        out.handed(1, 2, 3..9);
        out.channel_gone(1, 2);
        out.topic_gone(1);
        put(&mut out, 200, |out| out.extend([0, 0, 0, 1, 9]));
        let read: Vec<_> = Records::new(&out).collect();
        assert_eq!(read.last().map(|(end, _)| *end), Some(out.len() as u64));
        let read: Vec<_> = read.into_iter().map(|(_, record)| record).collect();
        assert_eq!(read[0], Record::Topic { topic: 1, paused: true, name: "t" });
        assert_eq!(
            read[1],
            Record::Channel { topic: 1, channel: 2, paused: false, at: -3, from: 4, name: "c" }
        );
        let Record::Publish { topic: 1, first: 10, timestamp: -7, bodies } = read[2] else {
            panic!("{:?}", read[2]);
        };
        assert_eq!(bodies.collect::<Vec<_>>(), [&b"a"[..], b"", b"bcd"]);
        assert_eq!(
            read[3],
            Record::PublishDeferred { topic: 1, seq: 13, timestamp: 8, delay: 9, body: b"later" }
        );
        assert_eq!(read[4], Record::Settled { topic: 1, channel: 2, ranges: vec![10..11, 12..13] });
        assert_eq!(read[5], Record::Dropped { topic: 1, first: 5, end: 6 });
        assert_eq!(
            read[6],
            Record::State { topic: 1, channel: 2, seq: 13, attempts: 65_535, due: 99 }
        );
        assert_eq!(read[7], Record::TopicPaused { topic: 1, paused: false, at: 6 });
        assert_eq!(read[8], Record::ChannelPaused { topic: 1, channel: 2, paused: true });
        assert_eq!(read[9], Record::Retained { topic: 1, from: 77 });
        assert_eq!(read[10], Record::Handed { topic: 1, channel: 2, first: 3, end: 9 });
        assert_eq!(read[11], Record::ChannelGone { topic: 1, channel: 2 });
        assert_eq!(read[12], Record::TopicGone { topic: 1 });
        assert_eq!(read[13], Record::Unknown { kind: 200 });
        assert_eq!(read.len(), 14);
    }
}
