//! A client's connection with what IDENTIFY has put over it: TLS, then Snappy or Deflate.
//!
//! A connection starts plain and costs nothing more than its socket then. [`Stream::secure`] puts TLS over it and
//! [`Stream::pack`] a compression over either; what the client sent too early is the first thing that the new layer reads,
//! so that no byte that came in clear text is ever taken for one that came inside TLS.
//!
//! | file | what it is |
//! | --- | --- |
//! | `handshake` | a socket that reads early bytes first and keeps a deadline |
//! | `packing` | one of the two compressions, fed with what has come so far |
//! | `snappy`, `deflate` | the compressions |

mod deflate;
mod handshake;
mod packing;
mod snappy;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::rider::Rehome;
use super::tls::{Peer, Tls};
pub(super) use handshake::HandshakeError;
use handshake::Socket;
use packing::{Packing, Unpacked};

/// What a read asks for at least, and at most. A declared size is never allocated before it has arrived: the buffer
/// doubles as it fills.
const READ_MIN: usize = 16 * 1024;
const READ_MAX: usize = 1024 * 1024;

/// A compression that was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PackingKind {
    /// Snappy's framing format.
    Snappy,
    /// Raw DEFLATE of this level, 1 to 9.
    Deflate(u32),
}

/// See the module's description.
pub(super) struct Stream<S> {
    wire: Wire<S>,
    packing: Option<Box<Packing>>,
    /// Whether a layer still holds bytes that were written.
    has_unflushed: bool,
}

impl<S> From<S> for Stream<S> {
    fn from(socket: S) -> Self {
        Self { wire: Wire::Plain(socket), packing: None, has_unflushed: false }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// Puts TLS over a plain stream within `limit`. `early` is what has come behind IDENTIFY.
    ///
    /// On failure the stream comes back as it was, for the error to be told in clear text.
    pub(super) async fn secure(
        self,
        early: BytesMut,
        tls: &Tls,
        limit: Duration,
    ) -> Result<(Self, Peer), (Self, HandshakeError)> {
        let socket = match self.wire {
            Wire::Plain(socket) => socket,
            // It is not offered twice.
            Wire::Tls(_) => return Err((self, HandshakeError::Twice)),
        };
        match handshake::accept(socket, early, tls, limit).await {
            Ok((stream, peer)) => {
                let wire = Wire::Tls(Box::new(stream));
                Ok((Self { wire, packing: None, has_unflushed: false }, peer))
            }
            Err((socket, error)) => Err((Self::from(socket), error)),
        }
    }

    /// Packs both directions from here on. Everything that was written before is to be flushed; `early` is what has come
    /// behind IDENTIFY.
    pub(super) fn pack(&mut self, kind: PackingKind, early: BytesMut) {
        self.packing = Some(Box::new(Packing::new(kind, early)));
    }

    /// Whether [`Stream::poll_flush`] has something to do.
    pub(super) const fn has_unflushed(&self) -> bool {
        self.has_unflushed
    }

    /// Takes some of `output`, and says how many bytes. What a layer keeps is noted as unflushed.
    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        output: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(packing) = &mut self.packing {
            ready!(packing.poll_send(&mut self.wire, context))?;
            let taken = packing.pack(output)?;
            self.has_unflushed = true;
            // Whether it is done shows in the mark; that it was tried is enough.
            let _tried: Poll<()> = self.poll_flush(context)?;
            return Poll::Ready(Ok(taken));
        }
        match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_write(context, output),
            Wire::Tls(stream) => {
                let taken = ready!(Pin::new(stream).poll_write(context, output))?;
                self.has_unflushed = true;
                let _tried: Poll<()> = self.poll_flush(context)?;
                Poll::Ready(Ok(taken))
            }
        }
    }

    /// Hands everything that was written to the system.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(packing) = &mut self.packing {
            ready!(packing.poll_send(&mut self.wire, context))?;
        }
        ready!(Pin::new(&mut self.wire).poll_flush(context))?;
        self.has_unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Reads behind what `input` holds, and says how many bytes; 0 at the end. However well it was packed, one read
    /// gives no more than about what a plain one would.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        input: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let Some(packing) = &mut self.packing else {
            return poll_read_more(&mut self.wire, context, input);
        };
        loop {
            match packing.unpack(input)? {
                Unpacked::Bytes(count) => return Poll::Ready(Ok(count)),
                Unpacked::Ended => return Poll::Ready(Ok(0)),
                Unpacked::Nothing => {}
            }
            if ready!(poll_read_more(&mut self.wire, context, packing.incoming()))? == 0 {
                return Poll::Ready(Ok(0));
            }
        }
    }

    /// Writes all of `output` and flushes.
    pub(super) async fn write_all(&mut self, mut output: &[u8]) -> io::Result<()> {
        while !output.is_empty() {
            let taken = std::future::poll_fn(|context| self.poll_write(context, output)).await?;
            if taken == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            output = output.get(taken..).unwrap_or_default();
        }
        std::future::poll_fn(|context| self.poll_flush(context)).await
    }

    /// Says that nothing more is written.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        tokio::io::AsyncWriteExt::shutdown(&mut self.wire).await
    }

    /// Reads and forgets until the client closes.
    pub(super) async fn drain(&mut self) -> io::Result<()> {
        let mut rest = [0; 1024];
        while self.wire.read(&mut rest).await? > 0 {}
        Ok(())
    }
}

fn poll_read_more(
    wire: &mut (impl AsyncRead + Unpin),
    context: &mut Context<'_>,
    input: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    input.reserve(input.len().clamp(READ_MIN, READ_MAX));
    // It keeps nothing from poll to poll, so it can be made anew each time.
    let reading = std::pin::pin!(wire.read_buf(input));
    reading.poll(context)
}

impl<S: Rehome> Rehome for Stream<S> {
    fn rehome(&mut self) -> io::Result<()> {
        match &mut self.wire {
            Wire::Plain(socket) => socket.rehome(),
            Wire::Tls(stream) => stream.get_mut().0.rehome(),
        }
    }
}

/// What is below a compression.
enum Wire<S> {
    Plain(S),
    Tls(Box<TlsStream<Socket<S>>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
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
