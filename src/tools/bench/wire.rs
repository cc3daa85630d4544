//! A blocking connection that reads ahead: what the measuring side costs is kept small by taking many frames a read.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// Bytes that a read asks for at first.
const READ_SIZE: usize = 256 * 1024;

/// Why a measurement has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fail {
    #[error("{0}: {1}")]
    Connect(String, io::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Said(String),
}

/// What a step of a measurement returns.
pub(super) type Outcome<T> = Result<T, Fail>;

/// A failure in words of our own.
pub(super) fn fail<T>(words: impl Into<String>) -> Outcome<T> {
    Err(Fail::Said(words.into()))
}

/// A connection and what was read from it and not used yet.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Wire {
    pub(super) fn connect(address: &str) -> Outcome<Self> {
        let to = |error| Fail::Connect(format!("cannot connect to {address}"), error);
        let stream = TcpStream::connect(address).map_err(to)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; READ_SIZE], start: 0, end: 0 })
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// How long [`Wire::fill`] waits.
    pub(super) fn set_patience(&self, patience: Option<Duration>) -> Outcome<()> {
        Ok(self.stream.set_read_timeout(patience)?)
    }

    /// What is read and not used.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// The first `count` of [`Wire::bytes`] are done with.
    pub(super) fn advance(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Reads some more; `false` if nothing came in time.
    pub(super) fn fill(&mut self) -> Outcome<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        match self.stream.read(self.buffer.get_mut(self.end..).unwrap_or_default()) {
            Ok(0) => fail("the other side closed the connection"),
            Ok(count) => {
                self.end += count;
                Ok(true)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}
