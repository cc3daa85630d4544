//! The backlog: what the topics of durability `memory` still owe when the node exits cleanly.
//!
//! One file, written whole at exit and taken away once it is loaded at the next start. Format, version 1, integers big
//! endian: the magic `LVRBKLG1`; then records of `length u32, crc32 u32, payload`; the last record is the end mark, so a
//! file that was cut short is recognised. A payload starts with its kind: `T name` (a topic follows), `U message` (not yet
//! handed to a channel), `C name` (a channel of that topic follows), `M message` (the channel's), `E` (the end). A message
//! is `seq u64, timestamp i64, attempts u16, due i64, body`; `due` is Unix nanoseconds, 0 for none.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::{StorageError, io};

const MAGIC: &[u8; 8] = b"LVRBKLG1";
const FILE: &str = "leveret.backlog";

/// A message that is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Its sequence number; kept, since consumers may have seen the id.
    pub seq: u64,
    /// Publish time, nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// Deliveries so far.
    pub attempts: u16,
    /// Not before this moment, Unix nanoseconds; 0 for at once.
    pub due: i64,
    /// Its body.
    pub body: Vec<u8>,
}

/// What a topic owes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicBacklog {
    /// Its name.
    pub name: String,
    /// Messages that no channel has got yet, in order. `due` is a delay here: it starts with the topic's first channel.
    pub unreleased: Vec<Owed>,
    /// Each channel's name and its messages, in order.
    pub channels: Vec<(String, Vec<Owed>)>,
}

/// Writes the file; an empty backlog leaves none.
///
/// # Errors
/// It cannot be written.
pub fn save(folder: &Path, topics: &[TopicBacklog]) -> Result<(), StorageError> {
    let owes = |topic: &TopicBacklog| {
        !topic.unreleased.is_empty() || topic.channels.iter().any(|(_, owed)| !owed.is_empty())
    };
    if !topics.iter().any(owes) {
        return Ok(());
    }
    io::replace(&folder.join(FILE), |writer| {
        writer.write_all(MAGIC)?;
        for topic in topics.iter().filter(|topic| owes(topic)) {
            write(writer, b'T', topic.name.as_bytes())?;
            for owed in &topic.unreleased {
                write(writer, b'U', &encode(owed))?;
            }
            for (name, messages) in &topic.channels {
                write(writer, b'C', name.as_bytes())?;
                for owed in messages {
                    write(writer, b'M', &encode(owed))?;
                }
            }
        }
        write(writer, b'E', b"")
    })
}

fn write(writer: &mut dyn Write, kind: u8, rest: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(rest.len() + 1).map_err(std::io::Error::other)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[kind]);
    crc.update(rest);
    writer.write_all(&length.to_be_bytes())?;
    writer.write_all(&crc.finalize().to_be_bytes())?;
    writer.write_all(&[kind])?;
    writer.write_all(rest)
}

fn encode(owed: &Owed) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(26 + owed.body.len());
    bytes.extend(owed.seq.to_be_bytes());
    bytes.extend(owed.timestamp.to_be_bytes());
    bytes.extend(owed.attempts.to_be_bytes());
    bytes.extend(owed.due.to_be_bytes());
    bytes.extend(&owed.body);
    bytes
}

/// A backlog that was read; its file is there until [`Loaded::discard`].
#[derive(Debug, Default)]
pub struct Loaded {
    /// What is owed.
    pub topics: Vec<TopicBacklog>,
    path: Option<PathBuf>,
}

impl Loaded {
    /// Takes the file away, once the messages are in their topics.
    ///
    /// # Errors
    /// It cannot be deleted.
    pub fn discard(self) -> Result<(), StorageError> {
        self.path.map_or(Ok(()), |path| io::remove(&path))
    }
}

/// Reads the file; a missing one is an empty backlog.
///
/// # Errors
/// It cannot be read or is damaged. Nothing of a damaged file is loaded, and it is left as it is.
pub fn load(folder: &Path) -> Result<Loaded, StorageError> {
    let path = folder.join(FILE);
    let Some(bytes) = io::read(&path)? else {
        return Ok(Loaded::default());
    };
    let topics = parse(&bytes).map_err(|(rest, reason)| StorageError::Damaged {
        path: path.clone(),
        offset: (bytes.len() - rest) as u64,
        reason: reason.into(),
    })?;
    Ok(Loaded { topics, path: Some(path) })
}

/// Parses the file, or says how many bytes were left and what is wrong there.
fn parse(bytes: &[u8]) -> Result<Vec<TopicBacklog>, (usize, &'static str)> {
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
        return Err((bytes.len(), "not a backlog of version 1"));
    };
    let mut topics: Vec<TopicBacklog> = Vec::new();
    loop {
        let at = rest.len();
        let (payload, next) =
            record(rest).ok_or((at, "a record is cut short or its checksum is wrong"))?;
        rest = next;
        let wrong = (at, "a record is out of place");
        let Some((&kind, payload)) = payload.split_first() else {
            return Err(wrong);
        };
        let text = || String::from_utf8(payload.to_vec()).map_err(|_| wrong);
        match kind {
            b'T' => topics.push(TopicBacklog { name: text()?, ..TopicBacklog::default() }),
            b'E' => {
                return if rest.is_empty() {
                    Ok(topics)
                } else {
                    Err((rest.len(), "bytes follow the end"))
                };
            }
            _ => {
                let topic = topics.last_mut().ok_or(wrong)?;
                match kind {
                    b'U' => topic.unreleased.push(decode(payload).ok_or(wrong)?),
                    b'C' => topic.channels.push((text()?, Vec::new())),
                    b'M' => {
                        let (_, messages) = topic.channels.last_mut().ok_or(wrong)?;
                        messages.push(decode(payload).ok_or(wrong)?);
                    }
                    _ => return Err(wrong),
                }
            }
        }
    }
}

fn record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (crc, rest) = rest.split_first_chunk()?;
    let (payload, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    (crc32fast::hash(payload) == u32::from_be_bytes(*crc)).then_some((payload, rest))
}

fn decode(bytes: &[u8]) -> Option<Owed> {
    let (seq, rest) = bytes.split_first_chunk()?;
    let (timestamp, rest) = rest.split_first_chunk()?;
    let (attempts, rest) = rest.split_first_chunk()?;
    let (due, body) = rest.split_first_chunk()?;
    Some(Owed {
        seq: u64::from_be_bytes(*seq),
        timestamp: i64::from_be_bytes(*timestamp),
        attempts: u16::from_be_bytes(*attempts),
        due: i64::from_be_bytes(*due),
        body: body.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::tests::folder;

    fn sample() -> Vec<TopicBacklog> {
        let owed = |seq: u64| Owed { seq, timestamp: -5, attempts: 3, due: 9, body: vec![7; 5] };
        vec![
            TopicBacklog {
                name: "a".into(),
                unreleased: vec![owed(1), owed(2)],
                channels: Vec::new(),
            },
            TopicBacklog {
                name: "b".into(),
                unreleased: Vec::new(),
                channels: vec![("x".into(), vec![owed(3)]), ("y".into(), Vec::new())],
            },
        ]
    }

    #[test]
    fn what_was_saved_is_loaded_and_discarded() {
        let folder = folder("backlog");
        save(&folder, &sample()).unwrap();
        let loaded = load(&folder).unwrap();
        assert_eq!(loaded.topics, sample());
        loaded.discard().unwrap();
        assert!(load(&folder).unwrap().topics.is_empty());
        save(&folder, &[TopicBacklog { name: "idle".into(), ..TopicBacklog::default() }]).unwrap();
        assert_eq!(io::read(&folder.join(FILE)).unwrap(), None);
    }

    #[test]
    fn a_flipped_bit_or_a_cut_anywhere_is_noticed() {
        let folder = folder("backlog-damaged");
        save(&folder, &sample()).unwrap();
        let good = io::read(&folder.join(FILE)).unwrap().unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(parse(&bad).is_err(), "byte {at}");
            assert!(parse(&good[..at]).is_err(), "cut at {at}");
        }
        io::replace(&folder.join(FILE), |writer| writer.write_all(&good[..12])).unwrap();
        assert!(load(&folder).unwrap_err().to_string().contains("damaged at byte 8"));
        assert!(io::read(&folder.join(FILE)).unwrap().is_some(), "it is left for a look");
    }
}
