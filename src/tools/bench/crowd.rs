//! Many producers in one thread: a thread each would measure the scheduler, and fifty of them take the machine from the
//! server that they wait for.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::nsq::{DEFAULTS, Span, shares};
use super::wire::{Fail, Outcome, fail};
use crate::clock;
use crate::protocol::encode;
use crate::protocol::frame::{FrameType, HEARTBEAT, read_frame};

/// An answer is never longer than this.
const FRAME_MAX: u32 = 64 * 1024;
/// No answer for this long is the end of a measurement without a result.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the producers do.
#[derive(Clone, Debug)]
pub(super) struct Crowd<'a> {
    pub(super) address: &'a str,
    /// Each connection publishes to one of them.
    pub(super) topics: &'a [String],
    pub(super) messages: u64,
    pub(super) size: usize,
    pub(super) connections: u64,
    /// PUBs that each connection sends in one go, to wait for all their answers then.
    pub(super) window: u64,
}

/// Publishes and waits for every OK.
pub(super) fn publish(load: &Crowd<'_>) -> Outcome<Span> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(load))
}

async fn run(load: &Crowd<'_>) -> Outcome<Span> {
    let mut members = Vec::new();
    let shares = shares(load.messages, load.connections.max(1));
    for (share, topic) in shares.zip(load.topics.iter().cycle()) {
        let mut member = Member::connect(load.address).await?;
        let mut command = Vec::new();
        encode::push_pub(&mut command, topic, &vec![b'x'; load.size]);
        let window = usize::try_from(load.window.max(1)).unwrap_or(1);
        member.each = command.len();
        member.burst = command.repeat(window);
        members.push((member, share));
    }
    let mut working = JoinSet::new();
    let began = clock::now();
    for (member, share) in members {
        working.spawn(member.work(share));
    }
    while let Some(worked) = working.join_next().await {
        worked.map_err(|error| Fail::Said(error.to_string()))??;
    }
    Ok(Span { messages: load.messages, time: clock::since(began) })
}

/// One producer.
struct Member {
    stream: TcpStream,
    /// What was read and not used.
    input: Vec<u8>,
    burst: Vec<u8>,
    /// Bytes of one command of the burst.
    each: usize,
}

impl Member {
    async fn connect(address: &str) -> Outcome<Self> {
        let to = |error| Fail::Connect(format!("cannot connect to {address}"), error);
        let stream = TcpStream::connect(address).await.map_err(to)?;
        stream.set_nodelay(true)?;
        let mut member = Self { stream, input: Vec::new(), burst: Vec::new(), each: 0 };
        let mut out = encode::MAGIC_V2.to_vec();
        encode::push_identify(&mut out, DEFAULTS.as_bytes());
        member.stream.write_all(&out).await?;
        while member.answers().await? == 0 {}
        Ok(member)
    }

    async fn work(mut self, messages: u64) -> Outcome<()> {
        let mut left = messages;
        while left > 0 {
            let window = self.burst.len() / self.each.max(1);
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(window);
            let burst = self.burst.get(..count * self.each).unwrap_or_default();
            self.stream.write_all(burst).await?;
            let mut open = count as u64;
            while open > 0 {
                open = open.saturating_sub(self.answers().await?);
            }
            left -= count as u64;
        }
        Ok(())
    }

    /// Reads some, answers heartbeats, and returns how many other responses there were.
    async fn answers(&mut self) -> Outcome<u64> {
        let reading = timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await;
        match reading {
            Ok(Ok(0)) => return fail("the server closed the connection"),
            Ok(read) => read?,
            Err(_) => return fail("no answer in time"),
        };
        let (mut answers, mut used) = (0, 0);
        loop {
            let rest = self.input.get(used..).unwrap_or_default();
            let (frame, length) = match read_frame(rest, FRAME_MAX) {
                Ok(Some(read)) => read,
                Ok(None) => break,
                Err(error) => return fail(error.to_string()),
            };
            match frame.kind {
                FrameType::Error => return fail(String::from_utf8_lossy(frame.data)),
                FrameType::Response if frame.data == HEARTBEAT => {
                    self.stream.write_all(b"NOP\n").await?;
                }
                FrameType::Response | FrameType::Message => answers += 1,
            }
            used += length;
        }
        self.input.drain(..used);
        Ok(answers)
    }
}
