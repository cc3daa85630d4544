//! Answers in the order of their commands, although some of them are known later than others.
//!
//! NSQ's replies carry no ids: order is the contract. What is known at once goes straight to the output; what follows a
//! publish that is still open waits behind it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::{Journal, Mark, Outcome, PublishError, Signal, Ticket};
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
    Logged(Publisher, Mark),
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Replies {
    waiting: VecDeque<Reply>,
    open: usize,
    journal: Option<Arc<Journal>>,
    /// The mark that was waited for last.
    watched: Option<Mark>,
    /// A fatal error is among the answers: nothing follows it.
    is_last: bool,
}

impl Replies {
    /// Answers of a node with this journal.
    pub(super) fn new(journal: Option<Arc<Journal>>) -> Self {
        Self { journal, ..Self::default() }
    }

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

    /// Answers when the journal has reached `mark`.
    pub(super) fn wait_until(&mut self, publisher: Publisher, mark: Mark) {
        self.open += 1;
        self.waiting.push_back(Reply::Logged(publisher, mark));
    }

    /// Has `signal` woken when the journal has reached what is waited for, unless that is so already.
    pub(super) fn watch(&mut self, signal: &Arc<Signal>) {
        let (Some(journal), Some(Reply::Logged(..))) = (&self.journal, self.waiting.front()) else {
            return;
        };
        // The last one: most likely one commit takes all of them.
        let last = self.waiting.iter().rev().find_map(|reply| match reply {
            Reply::Logged(_, mark) => Some(*mark),
            Reply::Known(_) | Reply::Open(..) => None,
        });
        let is_open = |mark: Mark| journal.outcome(mark) == Outcome::Pending;
        if let Some(last) = last
            && !self.watched.is_some_and(is_open)
        {
            self.watched = Some(last);
            journal.wake_at(last, signal);
        }
    }

    fn outcome(&self, reply: &Reply) -> Option<Result<(), PublishError>> {
        match reply {
            Reply::Known(_) => Some(Ok(())),
            Reply::Open(_, ticket) => ticket.outcome().cloned(),
            Reply::Logged(_, mark) => match self.journal.as_ref()?.outcome(*mark) {
                Outcome::Pending => None,
                Outcome::Done => Some(Ok(())),
                Outcome::Failed(trouble) => Some(Err(trouble.into())),
            },
        }
    }

    /// Writes what has become known, up to the first answer that is still open or fatal.
    pub(super) fn advance(&mut self, out: &mut Vec<u8>) {
        while let Some(reply) = self.waiting.front() {
            let Some(outcome) = self.outcome(reply) else { return };
            let Some(reply) = self.waiting.pop_front() else { return };
            match (reply, outcome) {
                (Reply::Known(frame), _) => out.extend(frame),
                (Reply::Open(..) | Reply::Logged(..), Ok(())) => {
                    self.open -= 1;
                    frame::push_response(out, frame::OK);
                }
                (Reply::Open(publisher, _) | Reply::Logged(publisher, _), Err(error)) => {
                    frame::push_error(out, &publisher.error(&error).to_bytes());
                    // Fatal: nothing that came behind it is answered.
                    self.waiting.clear();
                    self.open = 0;
                    self.is_last = true;
                    return;
                }
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
