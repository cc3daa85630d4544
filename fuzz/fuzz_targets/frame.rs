//! A server's bytes, as a client reads them: nothing panics, no frame is larger than allowed, what is read does not depend
//! on how the bytes arrive, and what was read is written back the same.

#![no_main]

use leveret::names::MessageId;
use leveret::protocol::frame::{
    FrameType, push_error, push_message, push_response, read_frame, read_message,
};
use libfuzzer_sys::fuzz_target;

const SIZE_MAX: u32 = 256;

/// The bytes of all frames, written anew, and what is wrong with the rest.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, String) {
    let (mut buffer, mut out) = (Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match read_frame(&buffer, SIZE_MAX) {
                Ok(Some((frame, length))) => {
                    assert_eq!(frame.data.len() + 8, length);
                    assert!(frame.data.len() + 4 <= SIZE_MAX as usize);
                    match (frame.kind, read_message(frame.data)) {
                        (FrameType::Response, _) => push_response(&mut out, frame.data),
                        (FrameType::Error, _) => push_error(&mut out, frame.data),
                        (FrameType::Message, Some(message)) => {
                            // An id that is not in lower-case hexadecimal digits is not one that a server writes.
                            match MessageId::from_hex(&message.id) {
                                Some(id) if id.to_hex() == message.id => push_message(
                                    &mut out,
                                    id,
                                    message.timestamp,
                                    message.attempts,
                                    message.body,
                                ),
                                _ => out.extend_from_slice(&buffer[..length]),
                            }
                        }
                        (FrameType::Message, None) => {
                            assert!(frame.data.len() < 26);
                            out.extend_from_slice(&buffer[..length]);
                        }
                    }
                    buffer.drain(..length);
                }
                Ok(None) => break,
                Err(error) => return (out, error.to_string()),
            }
        }
    }
    (out, String::new())
}

fuzz_target!(|data: &[u8]| {
    let (frames, error) = read([data]);
    assert_eq!(data.get(..frames.len()), Some(&frames[..]));
    assert_eq!(read(data.chunks(1)), (frames.clone(), error.clone()));
    assert_eq!(read(data.chunks(7)), (frames, error));
});
