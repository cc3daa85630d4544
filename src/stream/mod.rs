//! A connection of NSQ's protocol and the compression that IDENTIFY may put over it, for either side of it.
//!
//! Below is whatever carries bytes: a socket, or TLS over one. What came too early is the first thing that a new layer
//! reads.
//!
//! | file | what it is |
//! | --- | --- |
//! | `packing` | one of the two compressions, fed with what has come so far |
//! | `snappy`, `deflate` | the compressions |

mod deflate;
mod packing;
mod snappy;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

pub use packing::{Packing, Unpacked};

/// What a read asks for at least, and at most. A declared size is never allocated before it has arrived: the buffer
/// doubles as it fills.
const READ_MIN: usize = 16 * 1024;
const READ_MAX: usize = 1024 * 1024;

/// A compression that was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackingKind {
    /// Snappy's framing format.
    Snappy,
    /// Raw DEFLATE of this level, 1 to 9.
    Deflate(u32),
}

/// See the module's description. `W` is what is below.
pub struct Stream<W> {
    wire: W,
    packing: Option<Box<Packing>>,
    /// Whether a layer still holds bytes that were written.
    has_unflushed: bool,
}

impl<W> std::fmt::Debug for Stream<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("is_packed", &self.packing.is_some()).finish_non_exhaustive()
    }
}

impl<W> Stream<W> {
    /// A stream without compression.
    pub const fn new(wire: W) -> Self {
        Self { wire, packing: None, has_unflushed: false }
    }

    /// What is below. A compression is gone.
    pub fn into_wire(self) -> W {
        self.wire
    }

    /// What is below.
    pub const fn wire_mut(&mut self) -> &mut W {
        &mut self.wire
    }

    /// Packs both directions from here on. Everything that was written before is to be flushed; `early` is what has come
    /// behind IDENTIFY's answer or its request.
    pub fn pack(&mut self, kind: PackingKind, early: BytesMut) {
        self.packing = Some(Box::new(Packing::new(kind, early)));
    }

    /// Whether [`Stream::poll_flush`] has something to do.
    #[must_use]
    pub const fn has_unflushed(&self) -> bool {
        self.has_unflushed
    }
}

impl<W: AsyncRead + AsyncWrite + Unpin> Stream<W> {
    /// Takes some of `output`, and says how many bytes. What a layer keeps is noted as unflushed.
    ///
    /// # Errors
    /// The socket's, or those of what is over it.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        output: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = match &mut self.packing {
            Some(packing) => {
                ready!(packing.poll_send(&mut self.wire, context))?;
                packing.pack(output)?
            }
            None => ready!(Pin::new(&mut self.wire).poll_write(context, output))?,
        };
        self.has_unflushed = true;
        // Whether it is done shows in the mark; that it was tried is enough. A bare socket has nothing to flush.
        let _tried: Poll<()> = self.poll_flush(context)?;
        Poll::Ready(Ok(taken))
    }

    /// Hands everything that was written to the system.
    ///
    /// # Errors
    /// The socket's, or those of what is over it.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(packing) = &mut self.packing {
            ready!(packing.poll_send(&mut self.wire, context))?;
        }
        ready!(Pin::new(&mut self.wire).poll_flush(context))?;
        self.has_unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Reads behind what `input` holds, and says how many bytes; 0 at the end. However well it was packed, one read
    /// gives no more than about what a plain one would.
    ///
    /// # Errors
    /// The socket's, or what came is not packed as was agreed.
    pub fn poll_read(
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
    ///
    /// # Errors
    /// The socket's, or those of what is over it.
    pub async fn write_all(&mut self, mut output: &[u8]) -> io::Result<()> {
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
    ///
    /// # Errors
    /// The socket's, or those of what is over it.
    pub async fn close(&mut self) -> io::Result<()> {
        tokio::io::AsyncWriteExt::shutdown(&mut self.wire).await
    }

    /// Reads and forgets until the other side closes.
    ///
    /// # Errors
    /// The socket's, or those of what is over it.
    pub async fn drain(&mut self) -> io::Result<()> {
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
