//! Answers in the order of their commands, although some of them are known later than others.
//!
//! NSQ's replies carry no ids: order is the contract. What is known at once goes straight to the output; what follows a
//! publish that is still open waits behind it.

use std::collections::VecDeque;

use crate::engine::{PublishError, Ticket};
use crate::protocol::frame;
use crate::protocol::{ErrorCode, ProtocolError};

/// Which command published, for the text of its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publisher {
    Pub,
    Mpub,
    Dpub,
}

impl Publisher {
    pub(super) fn error(self, error: &PublishError) -> ProtocolError {
        let (code, word) = match self {
            Self::Pub => (ErrorCode::PubFailed, "PUB"),
            Self::Mpub => (ErrorCode::MpubFailed, "MPUB"),
            Self::Dpub => (ErrorCode::DpubFailed, "DPUB"),
        };
        ProtocolError::new(code, format!("{word} failed {error}"))
    }
}

#[derive(Debug)]
enum Reply {
    Known(Vec<u8>),
    Open(Publisher, Ticket),
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Replies {
    waiting: VecDeque<Reply>,
    open: usize,
    /// A fatal error is among the answers: nothing follows it.
    is_last: bool,
}

impl Replies {
    /// Publishes that are not answered yet.
    pub(super) const fn open(&self) -> usize {
        self.open
    }

    /// Whether a fatal error was given: the connection is closed once everything is written.
    pub(super) const fn is_last(&self) -> bool {
        self.is_last
    }

    /// Nothing more is answered after what waits now.
    pub(super) const fn finish(&mut self) {
        self.is_last = true;
    }

    /// Whether everything that is to be answered is in the output.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn push(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        if self.waiting.is_empty() {
            write(out);
        } else {
            let mut frame = Vec::new();
            write(&mut frame);
            self.waiting.push_back(Reply::Known(frame));
        }
    }

    /// Answers with a response frame.
    pub(super) fn respond(&mut self, out: &mut Vec<u8>, data: &[u8]) {
        self.push(out, |out| frame::push_response(out, data));
    }

    /// Answers with an error frame; a fatal one is the last answer.
    pub(super) fn fail(&mut self, out: &mut Vec<u8>, error: &ProtocolError) {
        self.push(out, |out| frame::push_error(out, &error.to_bytes()));
        self.is_last |= error.code.is_fatal();
    }

    /// Answers when `ticket` is resolved.
    pub(super) fn wait_for(&mut self, publisher: Publisher, ticket: Ticket) {
        self.open += 1;
        self.waiting.push_back(Reply::Open(publisher, ticket));
    }

    /// Writes what has become known, up to the first answer that is still open or fatal.
    pub(super) fn advance(&mut self, out: &mut Vec<u8>) {
        while let Some(reply) = self.waiting.pop_front() {
            match reply {
                Reply::Known(frame) => out.extend(frame),
                Reply::Open(publisher, ticket) => match ticket.outcome() {
                    None => {
                        self.waiting.push_front(Reply::Open(publisher, ticket));
                        return;
                    }
                    Some(Ok(())) => {
                        self.open -= 1;
                        frame::push_response(out, frame::OK);
                    }
                    Some(Err(error)) => {
                        self.open -= 1;
                        frame::push_error(out, &publisher.error(error).to_bytes());
                        // Fatal: nothing that came behind it is answered.
                        self.waiting.clear();
                        self.open = 0;
                        self.is_last = true;
                        return;
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn order_is_kept_behind_an_open_publish() {
        let (mut replies, mut out) = (Replies::default(), Vec::new());
        replies.respond(&mut out, b"1");
        let ticket = Ticket::new(1, Arc::default());
        replies.wait_for(Publisher::Pub, ticket.clone());
        replies.respond(&mut out, b"2");
        replies.advance(&mut out);
        assert_eq!(out, b"\0\0\0\x05\0\0\0\x001");
        ticket.confirm();
        replies.advance(&mut out);
        assert_eq!(&out[9..], b"\0\0\0\x06\0\0\0\0OK\0\0\0\x05\0\0\0\x002");
        assert!(replies.is_empty() && !replies.is_last());
    }

    #[test]
    fn nothing_follows_a_failed_publish() {
        let (mut replies, mut out) = (Replies::default(), Vec::new());
        let ticket = Ticket::new(1, Arc::default());
        replies.wait_for(Publisher::Mpub, ticket.clone());
        replies.respond(&mut out, b"2");
        ticket.fail(PublishError::Exiting);
        replies.advance(&mut out);
        assert_eq!(&out[8..], b"E_MPUB_FAILED MPUB failed exiting");
        assert!(replies.is_empty() && replies.is_last());
    }
}
