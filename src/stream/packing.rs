//! A compression over a connection, fed with whatever has come so far.
//!
//! Both directions are bounded: a read unpacks [`UNPACKED_MAX`] at most and leaves the rest packed, and nothing more is
//! packed before what was packed is written.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::AsyncWrite;

use super::PackingKind;
use super::deflate::Deflate;
use super::snappy::Snappy;

/// Bytes that one look at what has come may unpack to, but for the rest of a block.
pub(super) const UNPACKED_MAX: usize = 64 * 1024;
/// Bytes that are packed at once: a block of Snappy.
const PACKED_AT_ONCE: usize = 64 * 1024;
/// A buffer beyond this is given back once it is empty.
const KEEP: usize = 64 * 1024;

/// What a look at the bytes that have come gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpacked {
    /// So many bytes, not 0.
    Bytes(usize),
    /// Nothing before more has come.
    Nothing,
    /// The client has ended its side.
    Ended,
}

/// See the module's description.
pub struct Packing {
    codec: Codec,
    incoming: BytesMut,
    outgoing: Vec<u8>,
    /// How much of `outgoing` is written.
    sent: usize,
}

enum Codec {
    Snappy(Box<Snappy>),
    Deflate(Deflate),
}

impl Packing {
    /// `early` is what has come already.
    pub fn new(kind: PackingKind, early: BytesMut) -> Self {
        let codec = match kind {
            PackingKind::Snappy => Codec::Snappy(Box::default()),
            PackingKind::Deflate(level) => Codec::Deflate(Deflate::new(level)),
        };
        Self { codec, incoming: early, outgoing: Vec::new(), sent: 0 }
    }

    /// Where packed bytes go that come.
    pub const fn incoming(&mut self) -> &mut BytesMut {
        &mut self.incoming
    }

    /// Unpacks some of what has come behind what `input` holds.
    ///
    /// # Errors
    /// What has come is not packed this way.
    pub fn unpack(&mut self, input: &mut BytesMut) -> io::Result<Unpacked> {
        let unpacked = match &mut self.codec {
            Codec::Snappy(snappy) => snappy.unpack(&mut self.incoming, input),
            Codec::Deflate(deflate) => deflate.unpack(&mut self.incoming, input),
        }?;
        if self.incoming.is_empty() && self.incoming.capacity() > KEEP {
            self.incoming = BytesMut::new();
        }
        Ok(unpacked)
    }

    /// Packs the first bytes of `output` so that the client can unpack them all, and says how many.
    ///
    /// # Errors
    /// None that a codec has in practice.
    pub fn pack(&mut self, output: &[u8]) -> io::Result<usize> {
        let block = output.get(..PACKED_AT_ONCE).unwrap_or(output);
        match &mut self.codec {
            Codec::Snappy(snappy) => snappy.pack(block, &mut self.outgoing),
            Codec::Deflate(deflate) => deflate.pack(block, &mut self.outgoing),
        }?;
        Ok(block.len())
    }

    /// What is packed and not written.
    #[cfg(test)]
    pub(crate) fn packed(&self) -> &[u8] {
        self.outgoing.get(self.sent..).unwrap_or_default()
    }

    /// Writes everything that is packed.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_send(
        &mut self,
        wire: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.outgoing.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let count = ready!(Pin::new(&mut *wire).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
        }
        self.outgoing.clear();
        self.outgoing.shrink_to(KEEP);
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

/// An error of a client that does not keep to the format.
pub(super) fn malformed(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [PackingKind; 3] =
        [PackingKind::Snappy, PackingKind::Deflate(1), PackingKind::Deflate(9)];

    fn packed(kind: PackingKind, pieces: &[&[u8]]) -> Vec<u8> {
        let mut packing = Packing::new(kind, BytesMut::new());
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                rest = &rest[packing.pack(rest).unwrap()..];
            }
        }
        packing.outgoing
    }

    /// Unpacks `bytes` that come `step` at a time; gives what came out and the most that one look gave.
    fn unpacked(kind: PackingKind, bytes: &[u8], step: usize) -> io::Result<(Vec<u8>, usize)> {
        let mut packing = Packing::new(kind, BytesMut::new());
        let (mut out, mut most) = (BytesMut::new(), 0);
        for piece in bytes.chunks(step) {
            packing.incoming().extend_from_slice(piece);
            while let Unpacked::Bytes(count) = packing.unpack(&mut out)? {
                assert!(count > 0);
                most = most.max(count);
            }
        }
        Ok((out.to_vec(), most))
    }

    #[test]
    fn what_is_packed_unpacks_however_it_arrives() {
        let large: Vec<u8> = (0..200_000_u32).flat_map(|n| (n % 251).to_be_bytes()).collect();
        let noise: Vec<u8> =
            (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for kind in KINDS {
            for piece in [&b"OK"[..], &large, &noise] {
                let bytes = packed(kind, &[piece, b"x"]);
                for step in [1, 7, 5000, bytes.len()] {
                    let (out, _) = unpacked(kind, &bytes, step).unwrap();
                    assert!(out == [piece, b"x"].concat(), "{kind:?}, {step} bytes at a time");
                }
            }
        }
    }

    #[test]
    fn each_write_can_be_unpacked_at_once() {
        for kind in KINDS {
            let mut there = Packing::new(kind, BytesMut::new());
            let mut here = Packing::new(kind, BytesMut::new());
            for text in ["OK", "_heartbeat_", "", "OK"] {
                there.pack(text.as_bytes()).unwrap();
                here.incoming().extend_from_slice(&std::mem::take(&mut there.outgoing));
                let mut out = BytesMut::new();
                let expected =
                    if text.is_empty() { Unpacked::Nothing } else { Unpacked::Bytes(text.len()) };
                assert_eq!(here.unpack(&mut out).unwrap(), expected);
                assert_eq!(out, text.as_bytes());
            }
        }
    }

    #[test]
    fn a_burst_does_not_unpack_without_limit() {
        let zeros = vec![0; 40 * 1024 * 1024];
        for kind in KINDS {
            let bytes = packed(kind, &[&zeros]);
            assert!(bytes.len() < zeros.len() / 10);
            let (out, most) = unpacked(kind, &bytes, bytes.len()).unwrap();
            assert!(out == zeros && most <= 2 * UNPACKED_MAX, "{kind:?}: {most} at once");
        }
    }

    #[test]
    fn clear_text_is_malformed() {
        assert!(unpacked(PackingKind::Snappy, b"NOP\n", 1).is_err());
        assert!(unpacked(PackingKind::Deflate(6), b"\xff\xff\xff\xff", 1).is_err());
    }

    proptest! {
        #[test]
        fn garbage_neither_panics_nor_grows(bytes in proptest::collection::vec(any::<u8>(), 0..600), step in 1_usize..50) {
            for kind in KINDS {
                let head: &[u8] = if kind == PackingKind::Snappy { b"\xff\x06\0\0sNaPpY" } else { b"" };
                drop(unpacked(kind, &[head, &bytes].concat(), step));
            }
        }
    }
}
