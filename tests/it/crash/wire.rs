//! Connections that may break at any moment: every call says so instead of failing the test.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::nsq::{self, MAGIC, Message};

/// Longer than a busy machine needs for an answer; a server that takes this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a server that is going to be killed.
#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    unread: Vec<u8>,
    /// Deliveries that came while an answer was awaited.
    waiting: VecDeque<Message>,
}

enum Frame {
    Response(Vec<u8>),
    Delivery(Message),
}

fn broken(what: impl Into<String>) -> io::Error {
    io::Error::other(what.into())
}

impl Link {
    /// Connects and says the magic.
    pub(super) fn connect(at: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect(at)?;
        stream.set_nodelay(true)?;
        stream.write_all(MAGIC)?;
        Ok(Self { stream, unread: Vec::new(), waiting: VecDeque::new() })
    }

    /// Connects, subscribes, and is ready for `ready` messages.
    pub(super) fn subscribed(
        at: SocketAddr,
        topic: &str,
        channel: &str,
        ready: u32,
    ) -> io::Result<Self> {
        let mut link = Self::connect(at)?;
        link.send(format!("SUB {topic} {channel}\n").as_bytes())?;
        link.ok()?;
        link.send(format!("RDY {ready}\n").as_bytes())?;
        Ok(link)
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Awaits the answer OK. A server that does not answer at all fails the test.
    pub(super) fn ok(&mut self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.frame(until)? {
                Some(Frame::Delivery(message)) => self.waiting.push_back(message),
                Some(Frame::Response(answer)) if answer == b"OK" => return Ok(()),
                Some(Frame::Response(answer)) => {
                    return Err(broken(String::from_utf8_lossy(&answer)));
                }
                None => panic!("a publish was not answered within {PATIENCE:?}"),
            }
        }
    }

    /// The next delivery, if one comes in time.
    pub(super) fn message(&mut self, limit: Duration) -> io::Result<Option<Message>> {
        if let Some(message) = self.waiting.pop_front() {
            return Ok(Some(message));
        }
        match self.frame(Instant::now() + limit)? {
            Some(Frame::Delivery(message)) => Ok(Some(message)),
            Some(Frame::Response(answer)) => Err(broken(String::from_utf8_lossy(&answer))),
            None => Ok(None),
        }
    }

    /// The next frame that is no heartbeat; nothing if none comes in time. An error frame is an error.
    fn frame(&mut self, until: Instant) -> io::Result<Option<Frame>> {
        loop {
            if let Some((kind, data)) = self.take() {
                match kind {
                    0 if data == b"_heartbeat_" => self.send(b"NOP\n")?,
                    0 => return Ok(Some(Frame::Response(data))),
                    2 => return Ok(Some(Frame::Delivery(nsq::message(&data)))),
                    _ => return Err(broken(String::from_utf8_lossy(&data))),
                }
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self) -> Option<(u32, Vec<u8>)> {
        let length = u32::from_be_bytes(self.unread.first_chunk().copied()?) as usize;
        let frame = self.unread.get(4..4 + length)?;
        let (kind, data) = frame.split_first_chunk::<4>().expect("a frame has a type");
        let found = (u32::from_be_bytes(*kind), data.to_vec());
        self.unread.drain(..4 + length);
        Some(found)
    }
}

/// A line and a body with its size before it.
pub(super) fn command(line: &str, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len()).expect("a small body").to_be_bytes();
    [line.as_bytes(), b"\n", &size, body].concat()
}

/// One POST; whether it was answered with 200.
pub(super) fn post(at: SocketAddr, path: &str, body: &[u8]) -> io::Result<bool> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let status = answer.get(9..12).ok_or(ErrorKind::UnexpectedEof)?;
    Ok(status == b"200")
}
