//! Where requests come in: a port or a unix socket, plain or in TLS.
//!
//! A handshake is part of its own connection: it is made when that is first read, so that one that dawdles keeps nobody waiting.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::time::{Sleep, sleep};
use tokio_rustls::Accept;
use tokio_rustls::server::TlsStream;

use crate::server::{self, Accepted, Tls};

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before accepting again when the system has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// See the module's description.
#[derive(Debug)]
pub struct Entrance {
    listener: server::Listener,
    tls: Option<Tls>,
    /// Everything is refused here: it is to be asked at this HTTPS port.
    pub(crate) refused_for: Option<i32>,
}

impl From<server::Listener> for Entrance {
    fn from(listener: server::Listener) -> Self {
        Self { listener, tls: None, refused_for: None }
    }
}

impl From<TcpListener> for Entrance {
    fn from(listener: TcpListener) -> Self {
        server::Listener::Tcp(listener).into()
    }
}

impl Entrance {
    /// One that serves HTTPS.
    #[must_use]
    pub fn secured(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// One that refuses every request, and names `https_port` as where to ask (0 if there is none).
    #[must_use]
    pub const fn refusing(mut self, https_port: i32) -> Self {
        self.refused_for = Some(https_port);
        self
    }
}

/// A client's address; `@` for a unix socket's.
#[derive(Clone, Debug)]
pub(crate) struct Remote(pub(crate) String);

impl Connected<IncomingStream<'_, Door>> for Remote {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.remote_addr().clone()
    }
}

/// An entrance as axum is served by it.
pub(crate) struct Door(pub(crate) Entrance);

impl Listener for Door {
    type Io = Io;
    type Addr = Remote;

    async fn accept(&mut self) -> (Io, Remote) {
        loop {
            match self.0.listener.accept().await {
                Ok((socket, peer)) => {
                    let io = match &self.0.tls {
                        None => Io::Plain(socket),
                        Some(tls) => Io::Handshake(Box::new(Handshake {
                            accept: tls.acceptor().accept(socket),
                            deadline: Box::pin(sleep(HANDSHAKE_TIMEOUT)),
                        })),
                    };
                    return (io, Remote(peer));
                }
                Err(error) => {
                    tracing::warn!(%error, "HTTP: cannot accept");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Remote> {
        self.0.listener.local_address().map(Remote)
    }
}

pub(crate) struct Handshake {
    accept: Accept<Accepted>,
    deadline: Pin<Box<Sleep>>,
}

/// A connection of a client.
pub(crate) enum Io {
    Plain(Accepted),
    Handshake(Box<Handshake>),
    Tls(Box<TlsStream<Accepted>>),
}

impl Io {
    /// Makes TLS of it, where that is to be.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self::Handshake(handshake) = self else { return Poll::Ready(Ok(())) };
        if handshake.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let stream = ready!(Pin::new(&mut handshake.accept).poll(context))
            .inspect_err(|error| tracing::debug!(%error, "HTTPS: no handshake"))?;
        *self = Self::Tls(Box::new(stream));
        Poll::Ready(Ok(()))
    }

    /// What is read and written.
    fn stream(&mut self) -> io::Result<Pin<&mut dyn Stream>> {
        let stream: &mut dyn Stream = match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &mut **stream,
            Self::Handshake(_) => return Err(io::ErrorKind::NotConnected.into()),
        };
        Ok(Pin::new(stream))
    }
}

/// Both directions.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_ready(context))?;
        self.stream()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ready(context))?;
        self.stream()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ready(context))?;
        self.stream()?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream() {
            Ok(stream) => stream.poll_flush(context),
            // Nothing can have been written before the handshake.
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream() {
            Ok(stream) => stream.poll_shutdown(context),
            Err(_) => Poll::Ready(Ok(())),
        }
    }
}
