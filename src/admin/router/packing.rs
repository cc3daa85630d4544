//! Answers are compressed as nsqadmin does it: by the first of the two that a browser names.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

/// Less than this is sent as it is, bytes.
const LEAST: usize = 256;

/// How an answer is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
    /// Without zlib's frame, as the original sends it.
    Deflate,
}

impl Packing {
    /// What `Accept-Encoding` asks for.
    pub(super) fn asked_for(accepted: &str) -> Self {
        let mut names = accepted.split(',').map(|name| name.split(';').next().unwrap_or("").trim());
        names
            .find_map(|name| match name {
                "gzip" => Some(Self::Gzip),
                "deflate" => Some(Self::Deflate),
                _ => None,
            })
            .unwrap_or(Self::None)
    }

    /// The body packed, and the packing's name if it was.
    pub(super) fn pack(self, body: Vec<u8>) -> (Vec<u8>, Option<&'static str>) {
        if body.len() < LEAST {
            return (body, None);
        }
        let level = Compression::fast();
        // Writing into memory does not fail.
        let packed = match self {
            Self::None => return (body, None),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder
                    .write_all(&body)
                    .and_then(|()| encoder.finish())
                    .map(|packed| (packed, "gzip"))
            }
            Self::Deflate => {
                let mut encoder = DeflateEncoder::new(Vec::new(), level);
                encoder
                    .write_all(&body)
                    .and_then(|()| encoder.finish())
                    .map(|packed| (packed, "deflate"))
            }
        };
        packed.map_or((body, None), |(packed, name)| (packed, Some(name)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_first_that_is_named_is_taken() {
        assert_eq!(Packing::asked_for("br, deflate;q=0.5, gzip"), Packing::Deflate);
        assert_eq!(Packing::asked_for("gzip, deflate"), Packing::Gzip);
        assert_eq!(Packing::asked_for(""), Packing::None);
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        let body = b"a topic ".repeat(100);
        let (packed, name) = Packing::Gzip.pack(body.clone());
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(&*packed).read_to_end(&mut out).unwrap();
        assert_eq!((out, name), (body.clone(), Some("gzip")));
        let (packed, _) = Packing::Deflate.pack(body.clone());
        let mut out = Vec::new();
        flate2::read::DeflateDecoder::new(&*packed).read_to_end(&mut out).unwrap();
        assert_eq!(out, body);
        assert_eq!(Packing::Gzip.pack(b"short".to_vec()), (b"short".to_vec(), None));
    }
}
