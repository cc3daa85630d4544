//! What can be wrong with a folder of nsqd and does not end its import. Each is told in words an operator can act on.

use std::path::PathBuf;

/// Something of a folder that is not as nsqd leaves it after a clean exit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A name in `nsqd.dat` that is no topic's or channel's; nsqd skips it too.
    #[error("nsqd.dat names {name:?}, which is no valid topic or channel: it is left out")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// A queue whose topic or channel is not in `nsqd.dat`. nsqd would not read it either.
    #[error(
        "queue {queue} is not in nsqd.dat, so its {files} files are left out: \
         name its topic and channel in nsqd.dat if they are wanted"
    )]
    Unlisted {
        /// `topic`, or `topic:channel`.
        queue: String,
        /// How many data files it has.
        files: usize,
    },
    /// There are no positions for a queue that has data, or they are not readable. nsqd would lose it; here all is read.
    #[error(
        "queue {queue} has no readable {file}: all of its files are read from their start, \
         so messages may come that were finished before"
    )]
    NoPositions {
        /// `topic`, or `topic:channel`.
        queue: String,
        /// The metadata file's name.
        file: String,
    },
    /// The positions say that more was read than written. nsqd skips such a queue, or reads on in a file that goes further.
    #[error(
        "queue {queue}: its read position lies beyond its write position: only what its file has behind the read position is read"
    )]
    ReadBeyondWrite {
        /// `topic`, or `topic:channel`.
        queue: String,
    },
    /// Data files that the positions promise are not there.
    #[error(
        "queue {queue}: files {first} to {last} are missing; nsqd deletes a file once it is read, \
         so they may have been done with"
    )]
    Missing {
        /// `topic`, or `topic:channel`.
        queue: String,
        /// The number of the first.
        first: u64,
        /// The number of the last.
        last: u64,
    },
    /// Data files behind the write position. nsqd would write over them.
    #[error(
        "queue {queue}: files from number {first} on lie behind its write position and are left out"
    )]
    BeyondWrite {
        /// `topic`, or `topic:channel`.
        queue: String,
        /// The number of the first.
        first: u64,
    },
    /// A data file ends before a position that lies in it.
    #[error("{path} has {length} bytes, but {position} were written or read: its end is lost")]
    Short {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
        /// The position beyond it, in bytes.
        position: u64,
    },
    /// The read position lies within a record; nsqd would give the file up.
    #[error(
        "{path}: read position {position} lies within the message at {resumed}: it is read again from there"
    )]
    MidRecord {
        /// The file.
        path: PathBuf,
        /// The position, in bytes.
        position: u64,
        /// Where the message begins, in bytes.
        resumed: u64,
    },
    /// No message can be read at an offset; the rest of the file is given up, as nsqd gives it up.
    #[error(
        "{path} is damaged at byte {offset}: {damage}; the {given_up} bytes from there on are left out"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How far it was good, in bytes.
        offset: u64,
        /// Bytes that were not read.
        given_up: u64,
        /// What is wrong.
        damage: Damage,
    },
}

/// Why no message can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The file ends within a record: an unclean stop, or a length that is none.
    #[error("a record is cut short")]
    CutShort,
    /// No message is that short.
    #[error("{0} is no message's length")]
    Length(i32),
    /// What is there has no message id.
    #[error("there is no message")]
    NoMessage,
}
