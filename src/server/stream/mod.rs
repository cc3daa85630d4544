//! A client's connection with what IDENTIFY has put over it: TLS, then Snappy or Deflate.
//!
//! A connection starts plain and costs nothing more than its socket then. [`Stream::secure`] puts TLS over it and
//! [`Stream::pack`] a compression over either; what the client sent too early is the first thing that the new layer reads,
//! so that no byte that came in clear text is ever taken for one that came inside TLS.
//!
//! | file | what it is |
//! | --- | --- |
//! | `handshake` | a socket that reads early bytes first and keeps a deadline |

mod handshake;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::rider::Rehome;
use super::tls::{Peer, Tls};
use crate::stream;
pub(super) use crate::stream::PackingKind;
pub(super) use handshake::HandshakeError;
use handshake::Socket;

/// See the module's description.
pub(super) type Stream<S> = stream::Stream<Wire<S>>;

impl<S> From<S> for Stream<S> {
    fn from(socket: S) -> Self {
        Self::new(Wire::Plain(socket))
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
        let socket = match self.into_wire() {
            Wire::Plain(socket) => socket,
            // It is not offered twice.
            wire @ Wire::Tls(_) => return Err((Self::new(wire), HandshakeError::Twice)),
        };
        match handshake::accept(socket, early, tls, limit).await {
            Ok((stream, peer)) => Ok((Self::new(Wire::Tls(Box::new(stream))), peer)),
            Err((socket, error)) => Err((Self::from(socket), error)),
        }
    }
}

impl<S: Rehome> Rehome for Stream<S> {
    fn rehome(&mut self) -> io::Result<()> {
        match self.wire_mut() {
            Wire::Plain(socket) => socket.rehome(),
            Wire::Tls(stream) => stream.get_mut().0.rehome(),
        }
    }
}

/// What is below a compression.
pub(super) enum Wire<S> {
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
