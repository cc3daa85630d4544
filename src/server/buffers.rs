//! Buffers that a thread's connections share: who has nothing under way holds none.
//!
//! A connection takes the thread's spare buffer to read into, and gives it back once everything that was read is handled.
//! What is left of an incomplete command moves into a small buffer of its own, unless it is large: then the connection
//! keeps what it has until the rest is there. The same goes for output. An idle connection therefore costs no buffer, and
//! a busy one reads much at once into memory that is warm. What TLS or a compression keeps is its own.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::stream::Stream;

/// Bytes of a thread's spare input buffer, and so what a read asks for: the time is in the calls, not in the bytes.
const INPUT: usize = 128 * 1024;
/// What is left of a command is moved to a buffer of its own up to this.
const REST_MAX: usize = 8 * 1024;
/// An output buffer that has grown beyond this is not kept.
const OUTPUT_MAX: usize = 256 * 1024;
/// Output buffers that a thread keeps.
const SPARE_OUTPUTS: usize = 4;

/// What the connections of one thread share.
#[derive(Default)]
struct Spare {
    input: Option<BytesMut>,
    outputs: Vec<Vec<u8>>,
}

thread_local! {
    static SPARE: RefCell<Spare> = RefCell::default();
}

/// What a connection has read and not handled.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// What the session handles: complete commands are taken out of its front.
    pub(super) bytes: BytesMut,
}

impl Input {
    /// Reads some more behind what there is; 0 at the end of the stream.
    pub(super) fn poll_read(
        &mut self,
        stream: &mut Stream<impl AsyncRead + AsyncWrite + Unpin>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.bytes.len() > REST_MAX {
            return stream.poll_read(context, &mut self.bytes);
        }
        let mut buffer = SPARE.with_borrow_mut(|spare| spare.input.take()).unwrap_or_default();
        buffer.reserve(INPUT);
        buffer.extend_from_slice(&self.bytes);
        let read = stream.poll_read(context, &mut buffer);
        if read.is_pending() {
            give_back(buffer);
        } else {
            self.bytes = buffer;
        }
        read
    }

    /// Gives back what is not needed until more arrives. To be called before the task waits.
    pub(super) fn tidy(&mut self) {
        let left = self.bytes.len();
        if left > REST_MAX || self.bytes.capacity() == left {
            return;
        }
        let rest = if left == 0 { BytesMut::new() } else { BytesMut::from(&self.bytes[..]) };
        give_back(std::mem::replace(&mut self.bytes, rest));
    }
}

/// Keeps `buffer` for the thread's next read, unless there is one or it is a small or grown one.
fn give_back(mut buffer: BytesMut) {
    buffer.clear();
    // Reclaims what was taken out of its front; nothing is copied.
    if !buffer.try_reclaim(INPUT) || buffer.capacity() > 2 * INPUT {
        return;
    }
    SPARE.with_borrow_mut(|spare| {
        if spare.input.is_none() {
            spare.input = Some(buffer);
        }
    });
}

/// An empty output buffer, warm if the thread has one.
pub(super) fn take_output() -> Vec<u8> {
    SPARE.with_borrow_mut(|spare| spare.outputs.pop()).unwrap_or_default()
}

/// Takes an output buffer that is written.
pub(super) fn give_output(mut buffer: Vec<u8>) {
    buffer.clear();
    if buffer.capacity() == 0 || buffer.capacity() > OUTPUT_MAX {
        return;
    }
    SPARE.with_borrow_mut(|spare| {
        if spare.outputs.len() < SPARE_OUTPUTS {
            spare.outputs.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use bytes::Buf as _;
    use tokio::io::{AsyncWriteExt as _, DuplexStream};

    use super::*;

    async fn read(input: &mut Input, stream: &mut Stream<DuplexStream>) -> usize {
        std::future::poll_fn(|context| input.poll_read(stream, context)).await.unwrap()
    }

    fn has_spare() -> bool {
        SPARE.with_borrow(|spare| spare.input.is_some())
    }

    #[tokio::test]
    async fn a_connection_that_waits_holds_no_buffer() {
        let (mut client, server) = tokio::io::duplex(1024);
        let mut server = Stream::from(server);
        let mut input = Input::default();
        client.write_all(b"NOP\nNO").await.unwrap();
        assert_eq!(read(&mut input, &mut server).await, 6);
        assert!(!has_spare());
        input.bytes.advance(4);
        input.tidy();
        assert!(has_spare() && input.bytes.capacity() < 64);
        client.write_all(b"P\n").await.unwrap();
        assert_eq!(read(&mut input, &mut server).await, 2);
        assert_eq!(&input.bytes[..], b"NOP\n");
        input.bytes.advance(4);
        input.tidy();
        assert!(has_spare() && input.bytes.capacity() == 0);
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(input.poll_read(&mut server, &mut context).is_pending());
        assert!(has_spare() && input.bytes.capacity() == 0);
    }

    #[tokio::test]
    async fn a_large_command_keeps_its_buffer() {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let mut server = Stream::from(server);
        let mut input = Input::default();
        client.write_all(&vec![b'x'; 300_000]).await.unwrap();
        while input.bytes.len() < 300_000 {
            read(&mut input, &mut server).await;
            input.tidy();
            assert!(!input.bytes.is_empty());
        }
        input.bytes.advance(300_000);
        input.tidy();
        assert_eq!(input.bytes.capacity(), 0);
    }

    #[test]
    fn output_is_used_again_unless_it_has_grown() {
        give_output(Vec::with_capacity(100));
        assert_eq!(take_output().capacity(), 100);
        give_output(Vec::with_capacity(OUTPUT_MAX + 1));
        assert_eq!(take_output().capacity(), 0);
    }
}
