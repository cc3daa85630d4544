//! A frame: what one commit wrote, under one checksum, so that it is there whole or not at all.
//!
//! `magic u32, length u32, first lsn u64, file u64, crc u32`, then `length` bytes of records. The checksum (CRC-32) covers
//! everything but itself. The file's number is in it, so that what an earlier life of a reused file left behind cannot
//! pass for a frame of this one.

use super::Lsn;

/// Bytes of a frame before its records.
pub(crate) const HEADER: usize = 28;
/// First bytes of a frame: `LVF1`.
const MAGIC: [u8; 4] = *b"LVF1";
/// Bytes of the header that the checksum covers.
const COVERED: usize = 24;
/// Longest that a frame's records can be. A length beyond it is damage, and is not believed.
const LENGTH_MAX: u32 = 2 << 30;

/// Fills the first [`HEADER`] bytes of `frame`, whose records follow them.
pub(crate) fn seal(frame: &mut [u8], first: Lsn, file: u64) {
    let Some((header, records)) = frame.split_first_chunk_mut::<HEADER>() else {
        return;
    };
    // A commit holds what connections may have unanswered, far less than four gibibytes.
    let length = u32::try_from(records.len()).unwrap_or(u32::MAX);
    let fields =
        [MAGIC.as_slice(), &length.to_be_bytes(), &first.to_be_bytes(), &file.to_be_bytes()];
    for (place, byte) in header.iter_mut().zip(fields.into_iter().flatten()) {
        *place = *byte;
    }
    let crc = checksum(header, records);
    for (place, byte) in header.iter_mut().skip(COVERED).zip(crc.to_be_bytes()) {
        *place = byte;
    }
}

fn checksum(header: &[u8; HEADER], records: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(header.get(..COVERED).unwrap_or_default());
    crc.update(records);
    crc.finalize()
}

/// A frame that was read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// The position of its first record.
    pub(crate) first: Lsn,
    /// Its records.
    pub(crate) records: &'a [u8],
    /// Bytes that it takes in the file.
    pub(crate) size: usize,
}

/// The frame that `bytes` begin with, if they do and it is of this file.
pub(crate) fn parse(bytes: &[u8], file: u64) -> Option<Frame<'_>> {
    let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
    let (magic, fields) = header.split_first_chunk::<4>()?;
    let (length, fields) = fields.split_first_chunk::<4>()?;
    let (first, fields) = fields.split_first_chunk::<8>()?;
    let (number, crc) = fields.split_first_chunk::<8>()?;
    let length = u32::from_be_bytes(*length);
    if *magic != MAGIC || length > LENGTH_MAX || u64::from_be_bytes(*number) != file {
        return None;
    }
    let records = rest.get(..length as usize)?;
    let is_whole = checksum(header, records).to_be_bytes() == *crc;
    is_whole.then(|| Frame {
        first: u64::from_be_bytes(*first),
        records,
        size: HEADER + records.len(),
    })
}

/// The next frame of this file at or behind `at`, whatever lies between.
pub(crate) fn find(bytes: &[u8], at: usize, file: u64) -> Option<(usize, Frame<'_>)> {
    let rest = bytes.get(at..)?;
    memchr::memmem::find_iter(rest, &MAGIC)
        .find_map(|offset| Some((at + offset, parse(bytes.get(at + offset..)?, file)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(records: &[u8], first: Lsn, file: u64) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes.extend_from_slice(records);
        seal(&mut bytes, first, file);
        bytes
    }

    #[test]
    fn a_frame_comes_back_and_no_flipped_bit_passes() {
        let good = frame(b"some records", 7, 3);
        let expected = Frame { first: 7, records: b"some records", size: good.len() };
        assert_eq!(parse(&good, 3), Some(expected));
        assert_eq!(parse(&good, 4), None, "a frame of an earlier life of the file");
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert_eq!(parse(&bad, 3), None, "byte {at} bit {bit}");
            }
            assert_eq!(parse(&good[..at], 3), None, "cut at {at}");
        }
    }

    #[test]
    fn a_frame_behind_damage_is_found() {
        let bytes = [&b"LVF1 garbage"[..], &frame(b"a", 0, 9), &frame(b"b", 1, 9)].concat();
        let (at, found) = find(&bytes, 0, 9).unwrap();
        assert_eq!((at, found.records), (12, &b"a"[..]));
        assert_eq!(find(&bytes, 13, 9).unwrap().1.records, b"b");
        assert_eq!(find(&bytes, 0, 8), None);
    }
}
