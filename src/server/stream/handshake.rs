//! The server's side of a TLS handshake on a connection that has spoken clear text before.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use rustls::{AlertDescription, Error as TlsError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;

use crate::server::rider::Rehome;
use crate::server::tls::{Peer, Tls};

/// A record's head: what it is, the version, the length.
const RECORD_HEAD: usize = 5;
/// What a TLS conversation can begin with.
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// Why there is no TLS. The words are Go's where clients may look for them.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum HandshakeError {
    /// What came is something else.
    #[error("tls: first record does not look like a TLS handshake")]
    ClearText,
    /// It took too long.
    #[error("i/o timeout")]
    Timeout,
    /// The client closed.
    #[error("EOF")]
    Closed,
    /// There is TLS already.
    #[error("tls: already in use")]
    Twice,
    /// The two sides do not agree, or one does not trust the other.
    #[error("{}", in_gos_words(.0))]
    Tls(TlsError),
    /// The socket.
    #[error("{0}")]
    Io(io::Error),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
        match (tls, error.kind()) {
            (Some(tls), _) => Self::Tls(tls.clone()),
            (None, io::ErrorKind::TimedOut) => Self::Timeout,
            (None, io::ErrorKind::UnexpectedEof) => Self::Closed,
            (None, _) => Self::Io(error),
        }
    }
}

fn in_gos_words(error: &TlsError) -> String {
    match error {
        TlsError::NoCertificatesPresented => "tls: client didn't provide a certificate".to_owned(),
        TlsError::InvalidCertificate(reason) => {
            format!("tls: failed to verify certificate: {reason}")
        }
        TlsError::AlertReceived(AlertDescription::UnknownCA) => {
            "remote error: tls: unknown certificate authority".to_owned()
        }
        TlsError::AlertReceived(alert) => {
            format!("remote error: tls: {}", spaced(&format!("{alert:?}")))
        }
        other => format!("tls: {other}"),
    }
}

/// `BadCertificate` as `bad certificate`.
fn spaced(name: &str) -> String {
    let mut text = String::new();
    for next in name.chars() {
        if next.is_ascii_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.push(next.to_ascii_lowercase());
    }
    text
}

/// Makes TLS of `io` within `limit`. `early` was read from it already. On failure the socket comes back.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    early: BytesMut,
    tls: &Tls,
    limit: Duration,
) -> Result<(TlsStream<Socket<S>>, Peer), (S, HandshakeError)> {
    let mut socket = Socket { io, early, deadline: Some(Box::pin(sleep(limit))) };
    // The library would answer clear text with an alert, and the client is to be told in clear text.
    if let Err(error) = socket.await_record().await {
        return Err((socket.io, error));
    }
    match tls.acceptor().accept(socket).into_fallible().await {
        Ok(mut stream) => {
            stream.get_mut().0.deadline = None;
            let peer = Peer::of(stream.get_ref().1);
            Ok((stream, peer))
        }
        Err((error, socket)) => Err((socket.io, error.into())),
    }
}

/// A socket under TLS. What came early is read first; until the handshake is done there is a deadline.
pub(in crate::server) struct Socket<S> {
    io: S,
    early: BytesMut,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Awaits the head of a first record, and leaves it there.
    async fn await_record(&mut self) -> Result<(), HandshakeError> {
        let mut head = [0; RECORD_HEAD];
        self.read_exact(&mut head).await?;
        let [kind, major, ..] = head;
        if !matches!(kind, ALERT | HANDSHAKE) || major >= 0x10 {
            return Err(HandshakeError::ClearText);
        }
        let rest = std::mem::replace(&mut self.early, BytesMut::from(&head[..]));
        self.early.extend_from_slice(&rest);
        Ok(())
    }

    fn poll_deadline(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let deadline = self.deadline.as_mut();
        if deadline.is_some_and(|deadline| deadline.as_mut().poll(context).is_ready()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl<S: Rehome> Rehome for Socket<S> {
    fn rehome(&mut self) -> io::Result<()> {
        self.io.rehome()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_deadline(context)?;
        if self.early.is_empty() {
            return Pin::new(&mut self.io).poll_read(context, buffer);
        }
        let count = self.early.len().min(buffer.remaining());
        buffer.put_slice(&self.early.split_to(count));
        if !self.early.has_remaining() {
            self.early = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_deadline(context)?;
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(context))?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_gos_words() {
        for (error, text) in [
            (TlsError::NoCertificatesPresented, "tls: client didn't provide a certificate"),
            (
                TlsError::AlertReceived(AlertDescription::BadCertificate),
                "remote error: tls: bad certificate",
            ),
            (
                TlsError::AlertReceived(AlertDescription::UnknownCA),
                "remote error: tls: unknown certificate authority",
            ),
        ] {
            let error = HandshakeError::from(io::Error::other(error));
            assert_eq!(error.to_string(), text);
        }
        for (kind, text) in
            [(io::ErrorKind::TimedOut, "i/o timeout"), (io::ErrorKind::UnexpectedEof, "EOF")]
        {
            assert_eq!(HandshakeError::from(io::Error::from(kind)).to_string(), text);
        }
    }
}
