//! The pieces that a command is read from: words of a line, sized bodies, decimal numbers.

use std::time::Duration;

use super::{Fault, Halt, Limits, RawId};
use crate::names::MessageId;
use crate::protocol::error::ErrorCode;

/// The words of a line, split on every single space as nsqd does it.
pub(super) struct Params<'a> {
    pub(super) line: Option<&'a [u8]>,
}

impl<'a> Params<'a> {
    pub(super) fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.line?;
        if let Some(at) = memchr::memchr(b' ', line) {
            self.line = line.get(at + 1..);
            line.get(..at)
        } else {
            self.line = None;
            Some(line)
        }
    }
}

/// What follows a line.
#[derive(Clone, Copy)]
pub(super) struct Body<'a> {
    pub(super) rest: &'a [u8],
    /// Bytes of the buffer before `rest`.
    pub(super) used: usize,
    /// Whether nothing more will come.
    pub(super) ended: bool,
}

impl<'a> Body<'a> {
    pub(super) fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
        self.used += bytes;
    }

    pub(super) fn take(
        &mut self,
        bytes: i64,
        failed: impl FnOnce() -> Fault,
    ) -> Result<&'a [u8], Halt> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        match self.rest.get(..bytes) {
            Some(taken) => {
                self.skip(bytes);
                Ok(taken)
            }
            None if self.ended => Err(failed().into()),
            None => Err(Halt::Incomplete),
        }
    }

    /// A 4-byte number.
    pub(super) fn number(&mut self, failed: impl FnOnce() -> Fault) -> Result<i64, Halt> {
        let bytes = self.take(4, failed)?;
        let bytes = bytes.first_chunk().copied().unwrap_or_default();
        Ok(i32::from_be_bytes(bytes).into())
    }

    /// The body of IDENTIFY or AUTH.
    pub(super) fn control(&mut self, word: &str, limits: &Limits) -> Result<&'a [u8], Halt> {
        let bad = |text: String| Fault::new(ErrorCode::BadBody, text);
        let size = self.number(|| bad(format!("{word} failed to read body size")))?;
        let max = limits.max_body_size;
        if size > max {
            let what = format!("{word} body");
            return Err(bad(limits.too_big(&what, size, max, "max-body-size")).into());
        }
        if size <= 0 {
            return Err(bad(format!("{word} invalid body size {size}")).into());
        }
        self.take(size, || bad(format!("{word} failed to read body")))
    }

    /// The body of PUB or DPUB.
    pub(super) fn message(&mut self, word: &str, limits: &Limits) -> Result<&'a [u8], Halt> {
        let bad = |text: String| Fault::new(ErrorCode::BadMessage, text);
        let size = self.number(|| bad(format!("{word} failed to read message body size")))?;
        let max = limits.max_msg_size;
        if size <= 0 {
            return Err(bad(format!("{word} invalid message body size {size}")).into());
        }
        if size > max {
            let what = format!("{word} message");
            return Err(bad(limits.too_big(&what, size, max, "max-msg-size")).into());
        }
        self.take(size, || bad(format!("{word} failed to read message body")))
    }
}

/// A decimal number as nsqd reads it: digits only, nothing is 0, too large wraps.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, &digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(number.wrapping_mul(10).wrapping_add(digit))
    })
}

/// Milliseconds as nsqd makes a duration of them: in int64 nanoseconds, which may wrap. `None` if negative.
pub(super) fn millis(ms: u64) -> Option<Duration> {
    let nanos = ms.cast_signed().wrapping_mul(1_000_000);
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// Bytes of a FIN as nearly every client writes it.
pub(super) const PLAIN_FIN: usize = 4 + MessageId::LEN + 1;

/// The id of a plain FIN at the start of `buffer`: half of all that consumers send. Anything unusual goes the long way.
pub(super) fn plain_fin(buffer: &[u8]) -> Option<RawId<'_>> {
    let id = buffer.strip_prefix(b"FIN ")?.first_chunk()?;
    let is_plain =
        buffer.get(PLAIN_FIN - 1) == Some(&b'\n') && id.iter().all(u8::is_ascii_alphanumeric);
    is_plain.then_some(id)
}
