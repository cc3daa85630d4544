//! Snappy's framing format on a connection: chunks of at most 64 KiB, each with a checksum.
//!
//! The chunks' content is the library's matter. It reads from something that waits, so it is handed whole chunks only:
//! what has not come yet is told from what never will here.
//!
//! Format: <https://github.com/google/snappy/blob/main/framing_format.txt>.

use std::io::{self, Read as _, Write as _};

use bytes::buf::Reader;
use bytes::{Buf as _, Bytes, BytesMut};
use snap::raw::decompress_len;
use snap::read::FrameDecoder;
use snap::write::FrameEncoder;

use super::packing::{UNPACKED_MAX, Unpacked, malformed};

/// A chunk's head: its kind and the length of what follows.
const HEAD: usize = 4;
const CHECKSUM: usize = 4;
/// A block, unpacked.
const BLOCK_MAX: usize = 65_536;
/// A block that packing makes longer, which nobody sends, with its checksum.
const CHUNK_MAX: usize = 76_490;

const PACKED: u8 = 0x00;
const STORED: u8 = 0x01;
const IDENTIFIER: u8 = 0xff;

/// See the module's description.
pub(super) struct Snappy {
    encoder: FrameEncoder<Vec<u8>>,
    decoder: FrameDecoder<Reader<Bytes>>,
    /// Whether the stream has said that it is one.
    is_identified: bool,
    /// Bytes still to come that mean nothing.
    padding: usize,
}

impl Default for Snappy {
    fn default() -> Self {
        Self {
            encoder: FrameEncoder::new(Vec::new()),
            decoder: FrameDecoder::new(Bytes::new().reader()),
            is_identified: false,
            padding: 0,
        }
    }
}

/// A chunk that is all there.
struct Chunk {
    bytes: Bytes,
    /// Bytes that it unpacks to.
    size: usize,
}

impl Snappy {
    /// Unpacks whole chunks of `incoming` behind what `input` holds.
    ///
    /// # Errors
    /// What has come is not in the format.
    pub(super) fn unpack(
        &mut self,
        incoming: &mut BytesMut,
        input: &mut BytesMut,
    ) -> io::Result<Unpacked> {
        let before = input.len();
        while input.len() - before < UNPACKED_MAX
            && let Some(chunk) = self.next_chunk(incoming)?
        {
            *self.decoder.get_mut() = chunk.bytes.reader();
            let start = input.len();
            input.resize(start + chunk.size, 0);
            match input.get_mut(start..) {
                Some(place) if !place.is_empty() => self.decoder.read_exact(place)?,
                // An identifier or an empty block is looked at all the same.
                _ => self.decoder.read(&mut []).map(drop)?,
            }
        }
        let count = input.len() - before;
        Ok(if count == 0 { Unpacked::Nothing } else { Unpacked::Bytes(count) })
    }

    /// The next chunk that has a meaning, if it is all there.
    fn next_chunk(&mut self, incoming: &mut BytesMut) -> io::Result<Option<Chunk>> {
        loop {
            let skipped = self.padding.min(incoming.len());
            incoming.advance(skipped);
            self.padding -= skipped;
            let Some([kind, low, middle, high]) = incoming.first_chunk::<HEAD>().copied() else {
                return Ok(None);
            };
            let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
            if !self.is_identified && kind != IDENTIFIER {
                return Err(malformed("snappy: the stream does not begin with its identifier"));
            }
            match kind {
                PACKED | STORED if (CHECKSUM..=CHUNK_MAX).contains(&length) => {}
                IDENTIFIER if length == 6 => self.is_identified = true,
                PACKED | STORED | IDENTIFIER => {
                    return Err(malformed(format!("snappy: a chunk of {length} bytes")));
                }
                0x80.. => {
                    self.padding = HEAD + length;
                    continue;
                }
                _ => return Err(malformed(format!("snappy: unknown chunk {kind:#04x}"))),
            }
            if incoming.len() < HEAD + length {
                return Ok(None);
            }
            let bytes = incoming.split_to(HEAD + length).freeze();
            let size = match kind {
                STORED => length - CHECKSUM,
                PACKED => decompress_len(bytes.get(HEAD + CHECKSUM..).unwrap_or_default())?,
                _ => 0,
            };
            if size > BLOCK_MAX {
                return Err(malformed(format!("snappy: a block of {size} bytes")));
            }
            return Ok(Some(Chunk { bytes, size }));
        }
    }

    /// Packs `block` as one chunk behind what `outgoing` holds.
    ///
    /// # Errors
    /// None: the encoder writes to memory.
    pub(super) fn pack(&mut self, block: &[u8], outgoing: &mut Vec<u8>) -> io::Result<()> {
        // The encoder owns its buffer: it works in ours for this time.
        std::mem::swap(self.encoder.get_mut(), outgoing);
        let packed = self.encoder.write_all(block).and_then(|()| self.encoder.flush());
        std::mem::swap(self.encoder.get_mut(), outgoing);
        packed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTIFIED: &[u8] = b"\xff\x06\0\0sNaPpY";

    fn unpack(bytes: &[u8]) -> io::Result<(Unpacked, Vec<u8>)> {
        let mut input = BytesMut::new();
        let unpacked = Snappy::default().unpack(&mut BytesMut::from(bytes), &mut input)?;
        Ok((unpacked, input.to_vec()))
    }

    #[test]
    fn edge_031_a_short_answer_is_stored_behind_the_identifier() {
        let mut outgoing = Vec::new();
        Snappy::default().pack(b"\0\0\0\x06\0\0\0\0OK", &mut outgoing).unwrap();
        let (head, rest) = outgoing.split_at(IDENTIFIED.len());
        assert_eq!((head, &rest[..4]), (IDENTIFIED, &b"\x01\x0e\0\0"[..]));
        assert_eq!(&rest[8..], b"\0\0\0\x06\0\0\0\0OK");
        assert_eq!(unpack(&outgoing).unwrap().1, b"\0\0\0\x06\0\0\0\0OK");
    }

    #[test]
    fn padding_and_repeated_identifiers_mean_nothing() {
        let mut outgoing = Vec::new();
        Snappy::default().pack(b"NOP\n", &mut outgoing).unwrap();
        let chunk = &outgoing[IDENTIFIED.len()..];
        let padding = [&b"\xfe\x10\x00\x01"[..], &[7; 0x10010]].concat();
        let bytes = [IDENTIFIED, &padding, IDENTIFIED, b"\x80\0\0\0", chunk].concat();
        assert_eq!(unpack(&bytes).unwrap(), (Unpacked::Bytes(4), b"NOP\n".to_vec()));
        assert_eq!(unpack(&bytes[..100]).unwrap().0, Unpacked::Nothing);
    }

    #[test]
    fn what_is_not_in_the_format_is_refused_at_its_head() {
        for (head, words) in [
            (&b"\x02\0\0\0"[..], "unknown chunk 0x02"),
            (b"\x00\x03\0\0", "a chunk of 3 bytes"),
            (b"\x01\0\0\x02", "a chunk of 131072 bytes"),
            (b"\xff\x07\0\0", "a chunk of 7 bytes"),
        ] {
            let error = unpack(&[IDENTIFIED, head].concat()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let error = unpack(b"\xfe\0\0\0").unwrap_err().to_string();
        assert!(error.contains("identifier"), "{error}");
        // A packed block that claims 16 MiB.
        let claim = [IDENTIFIED, b"\x00\x09\0\0....\x80\x80\x80\x08\x00"].concat();
        assert!(unpack(&claim).unwrap_err().to_string().contains("a block of 16777216 bytes"));
        // A wrong checksum.
        assert!(unpack(&[IDENTIFIED, b"\x01\x06\0\0\0\0\0\0ab"].concat()).is_err());
    }
}
