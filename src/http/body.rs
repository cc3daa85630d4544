//! Request bodies: read piece by piece, so that only what has come takes memory.

use std::future::poll_fn;
use std::pin::Pin;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, EXPECT};

/// What Go reads of a body that nobody wanted before it answers, so that a client that is still sending gets the answer.
const DRAIN_MAX: u64 = 256 * 1024;

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is all there.
    Complete,
    /// There is more than was asked for.
    TooLong,
    /// The connection or its framing broke.
    Broken,
}

/// A request's body, and what its head says of it.
#[derive(Debug)]
pub(crate) struct Incoming {
    body: Body,
    /// `Content-Length`, if there is one.
    declared: Option<u64>,
    /// The client sends the body only when it is asked for.
    waits: bool,
    taken: u64,
    is_done: bool,
}

impl Incoming {
    pub(crate) fn new(headers: &HeaderMap, body: Body) -> Self {
        let declared = headers.get(CONTENT_LENGTH);
        let declared = declared.and_then(|length| length.to_str().ok()?.parse().ok());
        Self {
            is_done: body.is_end_stream(),
            body,
            declared,
            waits: headers.contains_key(EXPECT),
            taken: 0,
        }
    }

    /// The length that its head says, bytes.
    pub(crate) const fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// Whether its head already says that it is longer than `limit`.
    pub(crate) fn declares_more_than(&self, limit: u64) -> bool {
        self.declared.is_some_and(|length| length > limit)
    }

    async fn chunk(&mut self) -> Option<Result<Bytes, axum::Error>> {
        while !self.is_done {
            let frame = poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await;
            match frame {
                // A frame without data carries trailers.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.taken += data.len() as u64;
                        return Some(Ok(data));
                    }
                }
                Some(Err(error)) => {
                    self.is_done = true;
                    return Some(Err(error));
                }
                None => self.is_done = true,
            }
        }
        None
    }

    /// Reads up to `limit` bytes, or a piece more. What was read is there however it ended.
    pub(crate) async fn read(&mut self, limit: u64) -> (Vec<u8>, End) {
        let mut read = Vec::new();
        while let Some(chunk) = self.chunk().await {
            let Ok(chunk) = chunk else {
                return (read, End::Broken);
            };
            read.extend_from_slice(&chunk);
            if self.taken > limit {
                return (read, End::TooLong);
            }
        }
        (read, End::Complete)
    }

    /// Reads what is left if that is little, as Go does before it answers: a client that gets an answer while it sends may
    /// see a broken connection instead.
    pub(crate) async fn drain(&mut self) {
        let left = self.declared.map_or(0, |length| length.saturating_sub(self.taken));
        if left > DRAIN_MAX || (self.waits && self.taken == 0) {
            return;
        }
        let enough = self.taken + DRAIN_MAX;
        while let Some(Ok(_)) = self.chunk().await {
            if self.taken > enough {
                return;
            }
        }
    }
}
