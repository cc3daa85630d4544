//! The format of nsqd's disk queues (go-diskqueue 1.1): records, positions, and the names of files. No file is touched.
//!
//! A data file is records and nothing else: a length (4 bytes, big endian, signed), then so many bytes of message:
//! timestamp (8), attempts (2), id (16), body. There is no checksum, so a record is taken for one if its length fits and
//! its id is one that nsqd writes.

use std::fmt;

use super::Message;
use crate::names::MessageId;

/// Bytes of the length before each record.
pub(in crate::storage) const PREFIX: usize = 4;

/// Bytes of a message before its body.
pub(in crate::storage) const HEADER: usize = 8 + 2 + MessageId::LEN;

/// How many bytes of message a length announces; `None` if no message is so short.
pub(in crate::storage) fn message_length(prefix: [u8; PREFIX]) -> Option<usize> {
    usize::try_from(i32::from_be_bytes(prefix)).ok().filter(|&length| length >= HEADER)
}

/// Reads a message, without the length before it. `None` if it is too short or its id is not one of nsqd's.
pub(in crate::storage) fn decode(bytes: &[u8]) -> Option<Message> {
    let (timestamp, rest) = bytes.split_first_chunk()?;
    let (attempts, rest) = rest.split_first_chunk()?;
    let (id, body) = rest.split_first_chunk::<{ MessageId::LEN }>()?;
    MessageId::from_hex(id)?;
    Some(Message {
        timestamp: i64::from_be_bytes(*timestamp),
        attempts: u16::from_be_bytes(*attempts),
        id: *id,
        body: body.to_vec(),
    })
}

/// Bytes that a message takes in a file; `None` if it is too long for the format (2 GiB).
pub(in crate::storage) fn record_length(message: &Message) -> Option<u64> {
    let length = i32::try_from(HEADER.checked_add(message.body.len())?).ok()?;
    Some(PREFIX as u64 + u64::from(length.unsigned_abs()))
}

/// Appends a record; the message is not too long ([`record_length`]).
pub(in crate::storage) fn encode(message: &Message, to: &mut Vec<u8>) {
    let length = i32::try_from(HEADER + message.body.len()).unwrap_or(i32::MAX);
    to.extend(length.to_be_bytes());
    to.extend(message.timestamp.to_be_bytes());
    to.extend(message.attempts.to_be_bytes());
    to.extend(message.id);
    to.extend(&message.body);
}

/// A place in a queue: the number of a file and an offset in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::storage) struct Position {
    pub(in crate::storage) file: u64,
    pub(in crate::storage) offset: u64,
}

/// What a queue's metadata file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::storage) struct Metadata {
    /// Messages between the two positions. Below 0 after an unclean stop, so it is no number to build on.
    pub(in crate::storage) depth: i64,
    /// The next message to be read.
    pub(in crate::storage) read: Position,
    /// Behind the last message.
    pub(in crate::storage) write: Position,
}

impl Metadata {
    /// Parses the file; `None` if it is anything but what nsqd writes.
    pub(in crate::storage) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.split_terminator('\n');
        let position = |line: Option<&str>| {
            let (file, offset) = line?.split_once(',')?;
            Some(Position { file: file.parse().ok()?, offset: offset.parse().ok()? })
        };
        let depth = lines.next()?.parse().ok()?;
        let read = position(lines.next())?;
        let write = position(lines.next())?;
        lines.next().is_none().then_some(Self { depth, read, write })
    }
}

impl fmt::Display for Metadata {
    /// As it stands in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { depth, read, write } = self;
        writeln!(f, "{depth}")?;
        writeln!(f, "{},{}", read.file, read.offset)?;
        writeln!(f, "{},{}", write.file, write.offset)
    }
}

/// The name of a topic's queue, or of a channel's.
pub(in crate::storage) fn queue_name(topic: &str, channel: Option<&str>) -> String {
    channel.map_or_else(|| topic.to_owned(), |channel| format!("{topic}:{channel}"))
}

/// The name of a queue's data file.
pub(in crate::storage) fn data_file(queue: &str, number: u64) -> String {
    format!("{queue}.diskqueue.{number:06}.dat")
}

/// The name of a queue's metadata file.
pub(in crate::storage) fn metadata_file(queue: &str) -> String {
    format!("{queue}.diskqueue.meta.dat")
}

/// What a file of a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) enum FileKind {
    /// Records; with the file's number.
    Data(u64),
    /// The positions.
    Metadata,
    /// Put aside by nsqd as unreadable (`.bad`), or a draft that it did not finish (`.tmp`).
    Leftover,
}

/// The queue that a file belongs to and what it is; `None` for any other file.
pub(in crate::storage) fn parse_file_name(name: &str) -> Option<(&str, FileKind)> {
    let (queue, rest) = name.rsplit_once(".diskqueue.")?;
    let (stem, ending) = rest.split_once(".dat")?;
    let kind = match ending {
        "" if stem == "meta" => FileKind::Metadata,
        "" => {
            let number: u64 = stem.parse().ok()?;
            (format!("{number:06}") == stem).then_some(FileKind::Data(number))?
        }
        _ if ending == ".bad" || (ending.starts_with('.') && ending.ends_with(".tmp")) => {
            FileKind::Leftover
        }
        _ => return None,
    };
    (!queue.is_empty()).then_some((queue, kind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_is_nsqds_to_the_byte() {
        let message = Message {
            timestamp: 0x0102_0304_0506_0708,
            attempts: 0x0a0b,
            id: *b"0123456789abcdef",
            body: b"hi".to_vec(),
        };
        let mut bytes = Vec::new();
        encode(&message, &mut bytes);
        let expected = b"\0\0\0\x1c\x01\x02\x03\x04\x05\x06\x07\x08\x0a\x0b0123456789abcdefhi";
        assert_eq!(bytes, expected);
        assert_eq!(record_length(&message), Some(32));
        assert_eq!(message_length(*b"\0\0\0\x1c"), Some(28));
        assert_eq!(decode(&bytes[4..]), Some(message));
        assert_eq!(decode(&bytes[4..29]), None, "too short");
        bytes[20] = b'G';
        assert_eq!(decode(&bytes[4..]), None, "nsqd's ids are hexadecimal");
        for short in [i32::MIN, -1, 0, 25] {
            assert_eq!(message_length(short.to_be_bytes()), None);
        }
        assert_eq!(message_length(26_i32.to_be_bytes()), Some(26));
    }

    #[test]
    fn metadata_is_three_lines() {
        let metadata = Metadata {
            depth: -3,
            read: Position { file: 0, offset: 96 },
            write: Position { file: 12, offset: 0 },
        };
        assert_eq!(metadata.to_string(), "-3\n0,96\n12,0\n");
        assert_eq!(Metadata::parse(b"-3\n0,96\n12,0\n"), Some(metadata));
        assert_eq!(Metadata::parse(b"-3\n0,96\n12,0"), Some(metadata));
        for bad in
            ["", "3\n0,96\n", "3\n0,96\n12,0\n\n", "x\n0,0\n0,0\n", "3\n0,-1\n0,0\n", "3\n0\n0,0\n"]
        {
            assert_eq!(Metadata::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn files_are_told_by_their_names() {
        assert_eq!(data_file(&queue_name("t", Some("c")), 7), "t:c.diskqueue.000007.dat");
        assert_eq!(metadata_file(&queue_name("t", None)), "t.diskqueue.meta.dat");
        for (name, parsed) in [
            ("t.diskqueue.000007.dat", Some(("t", FileKind::Data(7)))),
            ("t.diskqueue.1000000.dat", Some(("t", FileKind::Data(1_000_000)))),
            ("t:c.diskqueue.meta.dat", Some(("t:c", FileKind::Metadata))),
            ("t.diskqueue.x.diskqueue.000000.dat", Some(("t.diskqueue.x", FileKind::Data(0)))),
            ("t.diskqueue.000007.dat.bad", Some(("t", FileKind::Leftover))),
            ("t.diskqueue.meta.dat.123.tmp", Some(("t", FileKind::Leftover))),
            ("t.diskqueue.0000007.dat", None),
            ("t.diskqueue.7.dat", None),
            ("t.diskqueue.+00007.dat", None),
            (".diskqueue.000007.dat", None),
            ("t.diskqueue.000007.database", None),
            ("nsqd.dat", None),
            ("leveret.backlog", None),
        ] {
            assert_eq!(parse_file_name(name), parsed, "{name}");
        }
    }

    proptest! {
        #[test]
        fn messages_round_trip(
            timestamp: i64, attempts: u16, id: u64,
            body in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let message = Message { timestamp, attempts, id: MessageId(id).to_hex(), body };
            let mut bytes = Vec::new();
            encode(&message, &mut bytes);
            prop_assert_eq!(record_length(&message), Some(bytes.len() as u64));
            let (prefix, rest) = bytes.split_first_chunk().unwrap();
            prop_assert_eq!(message_length(*prefix), Some(rest.len()));
            prop_assert_eq!(decode(rest), Some(message));
        }

        #[test]
        fn positions_round_trip(depth: i64, numbers: [u64; 4]) {
            let metadata = Metadata {
                depth,
                read: Position { file: numbers[0], offset: numbers[1] },
                write: Position { file: numbers[2], offset: numbers[3] },
            };
            prop_assert_eq!(Metadata::parse(metadata.to_string().as_bytes()), Some(metadata));
        }

        #[test]
        fn any_bytes_are_parsed_or_not(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(message) = decode(&bytes) {
                prop_assert_eq!(message.body.len(), bytes.len() - HEADER);
            }
            Metadata::parse(&bytes);
        }
    }
}
