//! A connection's bytes, both ways at once: what is to be written never waits for what comes, nor the other way round.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::connect::Agreed;
use super::error::ConnectError;
use crate::clock::{self, Instant};
use crate::protocol::encode;
use crate::protocol::frame::{FrameType, HEARTBEAT, read_frame};
use crate::stream::{PackingKind, Stream};

/// The largest frame that is believed, bytes: nsqd's bodies are a megabyte at most unless its flags say otherwise.
const FRAME_MAX: u32 = 256 << 20;
/// Room in the output that is kept once it is written.
const KEEP: usize = 256 * 1024;

/// What is below a compression.
#[derive(Debug)]
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection to an nsqd.
#[derive(Debug)]
pub struct Connection {
    stream: Stream<Wire>,
    input: BytesMut,
    /// What is to be written; append to it, and [`Connection::transfer`] writes it.
    pub out: Vec<u8>,
    /// How much of `out` is written.
    sent: usize,
    /// What the nsqd agreed to.
    pub agreed: Agreed,
    heartbeat: Duration,
    last_read: Instant,
    /// Since when something waits to be written and nothing of it was.
    stuck_since: Option<Instant>,
}

impl Connection {
    pub(super) fn new(stream: Stream<Wire>, heartbeat: Duration) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            out: Vec::new(),
            sent: 0,
            agreed: Agreed::default(),
            heartbeat,
            last_read: clock::now(),
            stuck_since: None,
        }
    }

    pub(super) fn into_wire(self) -> Result<Wire, ConnectError> {
        if self.input.is_empty() {
            return Ok(self.stream.into_wire());
        }
        Err(ConnectError::Protocol("something in clear text where TLS is to begin".into()))
    }

    pub(super) fn pack(&mut self, kind: PackingKind) {
        self.stream.pack(kind, std::mem::take(&mut self.input));
    }

    /// Whether everything is written.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.out.is_empty() && !self.stream.has_unflushed()
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Writes what there is to write and waits until something has come. Nothing is lost if this is dropped.
    ///
    /// # Errors
    /// The connection is at its end.
    pub async fn transfer(&mut self) -> io::Result<()> {
        let count = std::future::poll_fn(|context| self.poll_transfer(context)).await?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the nsqd closed"));
        }
        self.last_read = clock::now();
        Ok(())
    }

    /// Writes everything that there is to write.
    ///
    /// # Errors
    /// The connection is at its end.
    pub async fn flush(&mut self) -> io::Result<()> {
        std::future::poll_fn(|context| self.poll_write_out(context)).await
    }

    /// Says that nothing more is written.
    pub async fn close(mut self) {
        // It is over either way.
        drop(self.stream.close().await);
    }

    fn poll_transfer(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let writing = self.poll_write_out(context);
        match (self.stream.poll_read(context, &mut self.input), writing) {
            // A nsqd that closes says why before it does: what it said is still to be read.
            (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (reading, _) => reading,
        }
    }

    fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.sent += count;
                    self.stuck_since = None;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.stuck(),
            }
        }
        self.out.clear();
        self.out.shrink_to(KEEP);
        self.sent = 0;
        if self.stream.has_unflushed() && self.stream.poll_flush(context)?.is_pending() {
            return self.stuck();
        }
        self.stuck_since = None;
        Poll::Ready(Ok(()))
    }

    fn stuck(&mut self) -> Poll<io::Result<()>> {
        self.stuck_since.get_or_insert_with(clock::now);
        Poll::Pending
    }

    /// Why the connection is to be given up, if the other side has been silent, or has taken nothing, for too long.
    #[must_use]
    pub fn overdue(&self, now: Instant) -> Option<String> {
        let limit = self.heartbeat * 2;
        if now.saturating_duration_since(self.last_read) > limit {
            return Some(format!("nothing was heard for {} s", limit.as_secs_f64()));
        }
        let stuck = self.stuck_since?;
        (now.saturating_duration_since(stuck) > limit)
            .then(|| format!("it has taken nothing for {} s", limit.as_secs_f64()))
    }

    /// How often [`Connection::overdue`] is to be asked.
    #[must_use]
    pub fn beat(&self) -> Duration {
        self.heartbeat / 2
    }

    /// Takes the next frame of what has come; heartbeats are answered and passed over.
    ///
    /// # Errors
    /// What has come is not NSQ's protocol.
    pub fn next_frame(&mut self) -> Result<Option<(FrameType, Bytes)>, ConnectError> {
        loop {
            let read = read_frame(&self.input, FRAME_MAX);
            let wrong = |error: crate::protocol::frame::FrameError| {
                ConnectError::Protocol(error.to_string())
            };
            let Some((frame, length)) = read.map_err(wrong)? else {
                return Ok(None);
            };
            let kind = frame.kind;
            let mut data = self.input.split_to(length).freeze();
            data.advance(8);
            if kind == FrameType::Response && data == HEARTBEAT {
                encode::push_nop(&mut self.out);
                continue;
            }
            return Ok(Some((kind, data)));
        }
    }

    /// Writes what there is to write and awaits the next frame.
    ///
    /// # Errors
    /// The connection is at its end.
    pub async fn answer(&mut self) -> Result<(FrameType, Bytes), ConnectError> {
        loop {
            if let Some(frame) = self.next_frame()? {
                return Ok(frame);
            }
            self.transfer().await?;
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
