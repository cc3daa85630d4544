//! Raw DEFLATE (RFC 1951) on a connection, with a sync flush behind every write.

use std::io;

use bytes::{Buf as _, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::packing::{UNPACKED_MAX, Unpacked, malformed};

/// Least room to unpack into.
const ROOM_MIN: usize = 1024;
/// What a block may grow by when it does not shrink: the heads of stored blocks and of the flush.
const OVERHEAD: usize = 64;

/// See the module's description.
pub(super) struct Deflate {
    compress: Compress,
    decompress: Decompress,
    /// Whether the client has written its last block.
    has_ended: bool,
}

impl Deflate {
    /// A compression of `level`, 1 to 9.
    pub(super) fn new(level: u32) -> Self {
        Self {
            compress: Compress::new(Compression::new(level), false),
            decompress: Decompress::new(false),
            has_ended: false,
        }
    }

    /// Unpacks some of `incoming` behind what `input` holds.
    ///
    /// # Errors
    /// What has come is not DEFLATE.
    pub(super) fn unpack(
        &mut self,
        incoming: &mut BytesMut,
        input: &mut BytesMut,
    ) -> io::Result<Unpacked> {
        if self.has_ended {
            return Ok(Unpacked::Ended);
        }
        let start = input.len();
        // Commands shrink to about a quarter; what does not fit comes out at the next look.
        let room = incoming.len().saturating_mul(4).clamp(ROOM_MIN, UNPACKED_MAX);
        input.resize(start + room, 0);
        let place = input.get_mut(start..).unwrap_or_default();
        let (read, written) = (self.decompress.total_in(), self.decompress.total_out());
        let status = self.decompress.decompress(incoming, place, FlushDecompress::None);
        let written = difference(self.decompress.total_out(), written);
        input.truncate(start + written);
        incoming.advance(difference(self.decompress.total_in(), read));
        self.has_ended = status.map_err(malformed)? == Status::StreamEnd;
        Ok(match (written, self.has_ended) {
            (0, true) => Unpacked::Ended,
            (0, false) => Unpacked::Nothing,
            (count, _) => Unpacked::Bytes(count),
        })
    }

    /// Packs `block` behind what `outgoing` holds, and flushes.
    ///
    /// # Errors
    /// None: the encoder writes to memory.
    pub(super) fn pack(&mut self, block: &[u8], outgoing: &mut Vec<u8>) -> io::Result<()> {
        let mut rest = block;
        loop {
            outgoing.reserve(rest.len() / 2 + OVERHEAD);
            let read = self.compress.total_in();
            self.compress
                .compress_vec(rest, outgoing, FlushCompress::Sync)
                .map_err(io::Error::other)?;
            let read = difference(self.compress.total_in(), read);
            rest = rest.get(read..).unwrap_or_default();
            // Room that is left says that the flush is complete.
            if rest.is_empty() && outgoing.len() < outgoing.capacity() {
                return Ok(());
            }
        }
    }
}

fn difference(now: u64, before: u64) -> usize {
    usize::try_from(now.saturating_sub(before)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edge_030_every_write_ends_with_a_sync_flush() {
        let mut deflate = Deflate::new(6);
        for text in ["\0\0\0\x06\0\0\0\0OK", "more", "m"] {
            let mut outgoing = Vec::new();
            deflate.pack(text.as_bytes(), &mut outgoing).unwrap();
            assert_eq!(outgoing[outgoing.len() - 4..], [0, 0, 0xff, 0xff]);
        }
    }

    #[test]
    fn empty_blocks_unpack_to_nothing_and_a_last_block_ends() {
        let mut deflate = Deflate::new(6);
        let mut input = BytesMut::new();
        let mut incoming = BytesMut::from(&b"\0\0\0\xff\xff\0\0\0\xff\xff"[..]);
        assert_eq!(deflate.unpack(&mut incoming, &mut input).unwrap(), Unpacked::Nothing);
        assert!(incoming.is_empty());
        // A stored block that is the last one.
        incoming.extend_from_slice(b"\x01\x02\0\xfd\xffab");
        assert_eq!(deflate.unpack(&mut incoming, &mut input).unwrap(), Unpacked::Bytes(2));
        assert_eq!(deflate.unpack(&mut incoming, &mut input).unwrap(), Unpacked::Ended);
        assert_eq!(input, b"ab"[..]);
    }
}
