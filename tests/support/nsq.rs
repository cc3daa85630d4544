//! A bare NSQ connection: any bytes out, frames in. It knows the framing and nothing more, so that a test can
//! also say what no client library would.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::wait::PATIENCE;

/// The protocol's first four bytes.
pub(crate) const MAGIC: &[u8] = b"  V2";

/// What the server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Response(Vec<u8>),
    Error(String),
    Message(Message),
}

/// A delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Nanoseconds since the Unix epoch.
    pub(crate) timestamp: i64,
    pub(crate) attempts: u16,
    /// 16 hexadecimal digits.
    pub(crate) id: String,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What a connection goes over.
pub(crate) trait Wire: std::io::Read + std::io::Write + std::fmt::Debug + Send {
    /// How long a read waits.
    fn set_patience(&self, limit: Duration);
}

impl Wire for TcpStream {
    fn set_patience(&self, limit: Duration) {
        self.set_read_timeout(Some(limit)).expect("a timeout can be set");
    }
}

impl Wire for UnixStream {
    fn set_patience(&self, limit: Duration) {
        self.set_read_timeout(Some(limit)).expect("a timeout can be set");
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: Box<dyn Wire>,
    /// Bytes that are not yet a whole frame.
    unread: Vec<u8>,
    /// Deliveries that came while a reply was awaited.
    waiting: VecDeque<Message>,
}

impl Client {
    /// Connects and says the magic.
    pub(crate) fn connect(at: SocketAddr) -> Self {
        let mut client = Self::silent(at);
        client.send(MAGIC);
        client
    }

    /// Connects and says nothing.
    pub(crate) fn silent(at: SocketAddr) -> Self {
        let stream = TcpStream::connect(at)
            .unwrap_or_else(|error| panic!("{at} takes a connection: {error}"));
        stream.set_nodelay(true).expect("an option can be set");
        Self::over(Box::new(stream))
    }

    /// Connects to a unix socket and says the magic.
    pub(crate) fn connect_unix(at: &Path) -> Self {
        let stream = UnixStream::connect(at)
            .unwrap_or_else(|error| panic!("{} takes a connection: {error}", at.display()));
        let mut client = Self::over(Box::new(stream));
        client.send(MAGIC);
        client
    }

    fn over(stream: Box<dyn Wire>) -> Self {
        Self { stream, unread: Vec::new(), waiting: VecDeque::new() }
    }

    /// Goes on over what `wrap` makes of the connection and of what was read of it already.
    pub(crate) fn upgrade(
        self,
        wrap: impl FnOnce(Box<dyn Wire>, Vec<u8>) -> Box<dyn Wire>,
    ) -> Self {
        Self { stream: wrap(self.stream, self.unread), unread: Vec::new(), waiting: self.waiting }
    }

    /// Connects, subscribes, and is ready for `rdy` messages.
    pub(crate) fn subscribed(at: SocketAddr, topic: &str, channel: &str, rdy: u32) -> Self {
        let mut client = Self::connect(at);
        client.consume(topic, channel, rdy);
        client
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes bytes");
        self.stream.flush().expect("the server takes bytes");
    }

    /// Sends a line; the line feed is added.
    pub(crate) fn command(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes());
    }

    /// Sends a line and a body with its size before it.
    pub(crate) fn command_with(&mut self, line: &str, body: &[u8]) {
        let mut bytes = format!("{line}\n").into_bytes();
        bytes.extend_from_slice(&size(body));
        bytes.extend_from_slice(body);
        self.send(&bytes);
    }

    /// IDENTIFY; gives the negotiated features, or `null` for a plain OK.
    pub(crate) fn identify(&mut self, options: &serde_json::Value) -> serde_json::Value {
        self.command_with("IDENTIFY", options.to_string().as_bytes());
        let answer = self.response();
        if answer == b"OK" {
            return serde_json::Value::Null;
        }
        serde_json::from_slice(&answer).expect("IDENTIFY is answered with JSON")
    }

    pub(crate) fn publish(&mut self, topic: &str, body: &[u8]) {
        self.command_with(&format!("PUB {topic}"), body);
        self.ok();
    }

    pub(crate) fn publish_deferred(&mut self, topic: &str, delay: Duration, body: &[u8]) {
        self.command_with(&format!("DPUB {topic} {}", delay.as_millis()), body);
        self.ok();
    }

    pub(crate) fn publish_many(&mut self, topic: &str, bodies: &[&[u8]]) {
        self.command_with(&format!("MPUB {topic}"), &mpub_body(bodies));
        self.ok();
    }

    /// Subscribes and is ready for `rdy` messages.
    pub(crate) fn consume(&mut self, topic: &str, channel: &str, rdy: u32) {
        self.sub(topic, channel);
        self.rdy(rdy);
    }

    pub(crate) fn sub(&mut self, topic: &str, channel: &str) {
        self.command(&format!("SUB {topic} {channel}"));
        self.ok();
    }

    pub(crate) fn rdy(&mut self, count: u32) {
        self.command(&format!("RDY {count}"));
    }

    pub(crate) fn fin(&mut self, message: &Message) {
        self.command(&format!("FIN {}", message.id));
    }

    pub(crate) fn req(&mut self, message: &Message, delay: Duration) {
        self.command(&format!("REQ {} {}", message.id, delay.as_millis()));
    }

    pub(crate) fn touch(&mut self, message: &Message) {
        self.command(&format!("TOUCH {}", message.id));
    }

    /// Awaits the reply OK.
    pub(crate) fn ok(&mut self) {
        let answer = self.response();
        assert_eq!(answer, b"OK", "{:?}", String::from_utf8_lossy(&answer));
    }

    /// Awaits a reply; deliveries before it are kept for [`Client::message`], heartbeats are answered.
    pub(crate) fn response(&mut self) -> Vec<u8> {
        match self.reply() {
            Frame::Response(data) => data,
            other => panic!("a response was due, not {other:?}"),
        }
    }

    /// Awaits an error; deliveries before it are kept, heartbeats are answered.
    pub(crate) fn error(&mut self) -> String {
        match self.reply() {
            Frame::Error(text) => text,
            other => panic!("an error was due, not {other:?}"),
        }
    }

    fn reply(&mut self) -> Frame {
        loop {
            match self.frame().expect("a reply in time") {
                Frame::Message(message) => self.waiting.push_back(message),
                Frame::Response(data) if data == b"_heartbeat_" => self.command("NOP"),
                reply => return reply,
            }
        }
    }

    /// Awaits a delivery; heartbeats are answered.
    pub(crate) fn message(&mut self) -> Message {
        self.message_within(PATIENCE).expect("a delivery in time")
    }

    /// A delivery, if one comes in time; heartbeats are answered.
    pub(crate) fn message_within(&mut self, limit: Duration) -> Option<Message> {
        if let Some(message) = self.waiting.pop_front() {
            return Some(message);
        }
        let until = Instant::now() + limit;
        loop {
            match self.frame_within(until.saturating_duration_since(Instant::now()))? {
                Frame::Message(message) => return Some(message),
                Frame::Response(data) if data == b"_heartbeat_" => self.command("NOP"),
                other => panic!("a delivery was due, not {other:?}"),
            }
        }
    }

    /// The next frame, whatever it is; `None` if none comes in time.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        self.frame_within(PATIENCE)
    }

    /// The next frame, whatever it is; `None` if none comes in time. Panics if the server has closed.
    pub(crate) fn frame_within(&mut self, limit: Duration) -> Option<Frame> {
        match self.next(limit) {
            Next::Frame(frame) => Some(frame),
            Next::Nothing => None,
            Next::Closed => panic!("the server closed the connection"),
        }
    }

    /// Awaits this error and the end of the connection behind it.
    pub(crate) fn fatal(&mut self, text: &str) {
        assert_eq!(self.error(), text);
        self.closed();
    }

    /// Awaits that the server closes, and gives what it sent before.
    pub(crate) fn until_closed(&mut self) -> Vec<Frame> {
        let until = Instant::now() + PATIENCE;
        let mut frames = Vec::new();
        loop {
            match self.next(until.saturating_duration_since(Instant::now())) {
                Next::Frame(frame) => frames.push(frame),
                Next::Closed => return frames,
                Next::Nothing => panic!("the connection was to be closed, and is open: {frames:?}"),
            }
        }
    }

    /// Awaits that the server closes, having sent nothing more.
    pub(crate) fn closed(&mut self) {
        match self.next(PATIENCE) {
            Next::Closed => {}
            Next::Frame(frame) => panic!("the connection was to be closed, and gave {frame:?}"),
            Next::Nothing => panic!("the connection was to be closed, and is open"),
        }
    }

    fn next(&mut self, limit: Duration) -> Next {
        let until = Instant::now() + limit;
        loop {
            if let Some(frame) = self.take_frame() {
                return Next::Frame(frame);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Nothing;
            }
            self.stream.set_patience(left);
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Next::Closed,
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Next::Nothing,
                    ErrorKind::Interrupted => {}
                    // What was sent and not read when the server closed turns its end into a reset.
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => return Next::Closed,
                    _ => panic!("reading from the server: {error}"),
                },
            }
        }
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let length = u32::from_be_bytes(self.unread.first_chunk().copied()?) as usize;
        if self.unread.len() < 4 + length {
            return None;
        }
        let frame: Vec<u8> = self.unread.drain(..4 + length).skip(4).collect();
        let (kind, data) = frame.split_first_chunk::<4>().expect("a frame has a type");
        Some(match u32::from_be_bytes(*kind) {
            0 => Frame::Response(data.to_vec()),
            1 => Frame::Error(String::from_utf8_lossy(data).into_owned()),
            2 => Frame::Message(message(data)),
            other => panic!("frame type {other}"),
        })
    }
}

enum Next {
    Frame(Frame),
    Nothing,
    Closed,
}

/// The delivery in a frame of type 2.
pub(crate) fn message(data: &[u8]) -> Message {
    let (head, body) = data.split_first_chunk::<26>().expect("a message has a head of 26 bytes");
    Message {
        timestamp: i64::from_be_bytes(head[..8].try_into().expect("eight bytes")),
        attempts: u16::from_be_bytes(head[8..10].try_into().expect("two bytes")),
        id: String::from_utf8_lossy(&head[10..]).into_owned(),
        body: body.to_vec(),
    }
}

/// A line and a size behind it, which may be any.
pub(crate) fn declared(line: &str, size: i32) -> Vec<u8> {
    [line.as_bytes(), b"\n", &size.to_be_bytes()].concat()
}

/// The body of an MPUB, without the size before it.
pub(crate) fn mpub_body(bodies: &[&[u8]]) -> Vec<u8> {
    let mut all =
        u32::try_from(bodies.len()).expect("a small number of messages").to_be_bytes().to_vec();
    for body in bodies {
        all.extend_from_slice(&size(body));
        all.extend_from_slice(body);
    }
    all
}

fn size(body: &[u8]) -> [u8; 4] {
    u32::try_from(body.len()).expect("a body of less than 4 GiB").to_be_bytes()
}
