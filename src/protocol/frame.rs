//! Frames from server to client: `size u32, type i32, data`, big endian.

use crate::names::MessageId;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameType {
    /// `OK`, `CLOSE_WAIT`, `_heartbeat_` or JSON.
    Response,
    /// A code and its description.
    Error,
    /// A message.
    Message,
}

/// The usual answer.
pub const OK: &[u8] = b"OK";
/// The answer to CLS.
pub const CLOSE_WAIT: &[u8] = b"CLOSE_WAIT";
/// What the client is to answer with any command.
pub const HEARTBEAT: &[u8] = b"_heartbeat_";
/// Bytes of a message frame beyond the body.
pub const MESSAGE_OVERHEAD: usize = 4 + 4 + 8 + 2 + MessageId::LEN;

fn push_head(out: &mut Vec<u8>, kind: u32, data: usize) {
    // Data is bounded by the largest body, an int32 in the protocol.
    let size = u32::try_from(data + 4).unwrap_or(u32::MAX);
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
}

/// Appends a response frame.
pub fn push_response(out: &mut Vec<u8>, data: &[u8]) {
    push_head(out, 0, data.len());
    out.extend_from_slice(data);
}

/// Appends an error frame.
pub fn push_error(out: &mut Vec<u8>, data: &[u8]) {
    push_head(out, 1, data.len());
    out.extend_from_slice(data);
}

/// Appends a message frame. `timestamp` is the publish time in nanoseconds since the Unix epoch.
pub fn push_message(out: &mut Vec<u8>, id: MessageId, timestamp: i64, attempts: u16, body: &[u8]) {
    out.reserve(MESSAGE_OVERHEAD + body.len());
    push_head(out, 2, 26 + body.len());
    out.extend_from_slice(&timestamp.to_be_bytes());
    out.extend_from_slice(&attempts.to_be_bytes());
    out.extend_from_slice(&id.to_hex());
    out.extend_from_slice(body);
}

/// A frame as a client reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: FrameType,
    /// Its data.
    pub data: &'a [u8],
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The declared size is below 4 or above the bound.
    #[error("a frame of {0} bytes")]
    Size(u32),
    /// No such type.
    #[error("unknown frame type {0}")]
    Type(u32),
}

/// Reads the first frame and how many bytes it takes; `None` if it is not all there. `size_max` bounds the declared size.
///
/// # Errors
/// The bytes are not a frame.
pub fn read_frame(bytes: &[u8], size_max: u32) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((size, rest)) = bytes.split_first_chunk() else {
        return Ok(None);
    };
    let size = u32::from_be_bytes(*size);
    if size < 4 || size > size_max {
        return Err(FrameError::Size(size));
    }
    let Some(frame) = rest.get(..size as usize) else {
        return Ok(None);
    };
    let Some((kind, data)) = frame.split_first_chunk() else {
        return Ok(None);
    };
    let kind = match u32::from_be_bytes(*kind) {
        0 => FrameType::Response,
        1 => FrameType::Error,
        2 => FrameType::Message,
        other => return Err(FrameError::Type(other)),
    };
    Ok(Some((Frame { kind, data }, 4 + size as usize)))
}

/// A message frame's data, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageData<'a> {
    /// Publish time, nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// Deliveries, this one included.
    pub attempts: u16,
    /// The id, to be echoed in FIN, REQ and TOUCH.
    pub id: [u8; MessageId::LEN],
    /// The body.
    pub body: &'a [u8],
}

/// Takes a message frame's data apart; `None` if it is too short.
#[must_use]
pub fn read_message(data: &[u8]) -> Option<MessageData<'_>> {
    let (timestamp, rest) = data.split_first_chunk()?;
    let (attempts, rest) = rest.split_first_chunk()?;
    let (id, body) = rest.split_first_chunk()?;
    Some(MessageData {
        timestamp: i64::from_be_bytes(*timestamp),
        attempts: u16::from_be_bytes(*attempts),
        id: *id,
        body,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_are_as_documented_and_read_back() {
        let mut out = Vec::new();
        push_response(&mut out, OK);
        assert_eq!(out, b"\0\0\0\x06\0\0\0\0OK");
        out.clear();
        push_error(&mut out, b"E");
        assert_eq!(out, b"\0\0\0\x05\0\0\0\x01E");
        out.clear();
        push_message(&mut out, MessageId(0xab), 1, 2, b"body");
        assert_eq!(out, b"\0\0\0\x22\0\0\0\x02\0\0\0\0\0\0\0\x01\0\x0200000000000000abbody");
        for cut in 0..out.len() {
            assert_eq!(read_frame(&out[..cut], 100), Ok(None), "cut at {cut}");
        }
        let (frame, length) = read_frame(&out, 100).unwrap().unwrap();
        assert_eq!((frame.kind, length), (FrameType::Message, out.len()));
        let message = read_message(frame.data).unwrap();
        assert_eq!((message.timestamp, message.attempts, message.body), (1, 2, &b"body"[..]));
        assert_eq!(read_frame(&out, 8), Err(FrameError::Size(0x22)));
        assert_eq!(read_frame(b"\0\0\0\x04\0\0\0\x09", 8), Err(FrameError::Type(9)));
        assert_eq!(read_message(b"short"), None);
    }
    /// Reads all frames of `pieces` as a client does: `(type, data)`, and the error that ends them.
    fn read<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<(FrameType, Vec<u8>)>, Option<FrameError>) {
        let (mut buffer, mut frames) = (Vec::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                match read_frame(&buffer, 64) {
                    Ok(Some((frame, length))) => {
                        frames.push((frame.kind, frame.data.to_vec()));
                        buffer.drain(..length);
                    }
                    Ok(None) => break,
                    Err(error) => return (frames, Some(error)),
                }
            }
        }
        (frames, None)
    }

    proptest! {
        #[test]
        fn frames_cut_anywhere_are_read_the_same(
            bodies in proptest::collection::vec((0_u32..3, proptest::collection::vec(any::<u8>(), 0..40)), 0..5),
            spoil in proptest::option::of((0_usize..200, any::<u8>())),
        ) {
            let mut stream = Vec::new();
            for (kind, body) in &bodies {
                match kind {
                    0 => push_response(&mut stream, body),
                    1 => push_error(&mut stream, body),
                    _ => push_message(&mut stream, MessageId(7), -1, 1, &body[..body.len() / 2]),
                }
            }
            let is_spoilt = match spoil.and_then(|(at, byte)| Some((stream.get_mut(at)?, byte))) {
                Some((place, byte)) => std::mem::replace(place, byte) != byte,
                None => false,
            };
            let whole = read([&stream[..]]);
            prop_assert!(is_spoilt || (whole.0.len() == bodies.len() && whole.1.is_none()));
            for (kind, data) in &whole.0 {
                prop_assert!(is_spoilt || *kind != FrameType::Message || read_message(data).is_some());
            }
            prop_assert_eq!(&read(stream.chunks(1)), &whole);
            for cut in 0..=stream.len() {
                let (first, second) = stream.split_at(cut);
                prop_assert_eq!(&read([first, second]), &whole);
            }
        }
    }
}
