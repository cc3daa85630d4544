//! A message on its way through a route, and how its way can end.

use std::sync::Arc;

use bytes::Bytes;

use super::delay::PutOff;
use super::properties::Properties;
use super::shaper::Shaped;
use super::transform::MessageView;
use crate::engine::Ticket;
use crate::names::MessageId;

/// A message between its source and its sink. A copy shares the body.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// What its source knows it by: unique among what the source has handed out, the same over retries. It is the
    /// message's NSQ id where it has one.
    pub(super) id: MessageId,
    /// The `message_id` that it came with, which it keeps; without one it is made of the source's name and `id`.
    pub(super) message_id: Option<Arc<str>>,
    /// Publish time, nanoseconds since the Unix epoch.
    pub(super) timestamp: i64,
    /// Attempts to move it, this one included.
    pub(super) attempts: u16,
    pub(super) body: Bytes,
    /// The properties that it came with, if its source has some and the route a use for them.
    pub(super) properties: Option<Arc<Properties>>,
    /// What it is sent as, if that is something else than it came as.
    pub(super) shaped: Option<Arc<Shaped>>,
    /// The producer that waits for an answer, if one does.
    pub(super) ticket: Option<Ticket>,
    /// Why it is a dead letter, once it is one.
    pub(super) dead: Option<Refusal>,
    /// Which of several places have it already.
    pub(super) placed: Placed,
    /// Whether it passed above the route's committed rate.
    pub(super) is_excess: bool,
    /// How it is put off, if it is not sent where it goes now.
    pub(super) put_off: Option<Arc<PutOff>>,
    /// When its target is to deliver it, Unix milliseconds, if that is a nsqd, which can wait by itself.
    pub(super) due: Option<i64>,
}

/// Which of the two places of a tee have a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Placed {
    /// Neither, as far as is known.
    #[default]
    Nowhere,
    /// The first has it, the second refused it.
    First,
    /// The second has it, the first refused it.
    Second,
}

impl Message {
    /// Bytes of its body.
    pub(super) fn size(&self) -> u64 {
        self.body.len() as u64
    }

    /// What it is sent as. A dead letter, and what is put off, is sent as the message came.
    pub(super) fn shaped(&self) -> Option<&Shaped> {
        self.shaped.as_deref().filter(|_| self.dead.is_none() && self.put_off.is_none())
    }

    /// The body that is sent.
    pub(super) fn sent_body(&self) -> &Bytes {
        self.shaped().and_then(|shaped| shaped.body.as_ref()).unwrap_or(&self.body)
    }

    /// The properties that are sent, if it has some.
    pub(super) fn sent_properties(&self) -> Option<&Properties> {
        match self.shaped() {
            Some(shaped) => shaped.properties.as_ref(),
            None => self.properties.as_deref(),
        }
    }

    /// What the templates of its target see of it; `id` is its id in digits.
    pub(super) fn view<'a>(&'a self, from: &'a Provenance, id: &'a str) -> MessageView<'a> {
        let opened = self.shaped().filter(|shaped| shaped.is_opened);
        let body = opened.and_then(|shaped| shaped.body.as_ref()).unwrap_or(&self.body);
        let mut view = MessageView::new(&from.topic, id, self.timestamp, body);
        view.channel = &from.channel;
        view.attempts = self.attempts;
        view.properties = self.sent_properties().or(self.properties.as_deref());
        view
    }

    /// Whether its producer was told that it failed: it must not arrive after all.
    pub(super) fn is_given_up(&self) -> bool {
        self.ticket.as_ref().is_some_and(|ticket| ticket.outcome().is_some())
    }
}

/// Where a flow's messages come from, as templates and dead letters tell it.
#[derive(Clone, Debug)]
pub(super) struct Provenance {
    /// The topic, or the queue's name; also part of the `message_id` of what has none.
    pub(super) topic: String,
    /// The channel, if they come from one; else empty.
    pub(super) channel: String,
    /// In words, for dead letters.
    pub(super) text: String,
}

/// How a message's way ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The sink has taken responsibility.
    Confirmed,
    /// The route does not take it: it is done with.
    Filtered,
    /// The sink refused it.
    Refused(Refusal),
}

impl Outcome {
    /// Of a message that [was given up](Message::is_given_up).
    pub(super) fn given_up() -> Self {
        Self::Refused(Refusal::new(RefusalKind::Unavailable, "its producer waits no longer"))
    }
}

/// Why a sink refused a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: RefusalKind,
    /// In the words of whoever refused it.
    pub(super) reason: Arc<str>,
}

impl Refusal {
    pub(super) fn new(kind: RefusalKind, reason: impl Into<Arc<str>>) -> Self {
        Self { kind, reason: reason.into() }
    }
}

/// What kind of refusal it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusalKind {
    /// No queue is bound for it (`basic.return`).
    Unroutable,
    /// The broker could not take it (`basic.nack`), for example because the queue is full.
    Nacked,
    /// It is larger than the other side takes.
    TooLarge,
    /// It could not be worked out what it is to be sent as, or where.
    Transform,
    /// It is no message on the other side, such as one without a body for NSQ.
    Invalid,
    /// The other side refused this message, for example because a topic is full.
    Refused,
    /// It was above the route's limit.
    Limited,
    /// The other side takes nothing now. That does not count as an attempt.
    Unavailable,
}

impl RefusalKind {
    /// Whether trying again cannot help.
    pub(super) const fn is_final(self) -> bool {
        matches!(self, Self::TooLarge | Self::Transform | Self::Invalid | Self::Limited)
    }

    /// One word for headers and logs.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unroutable => "unroutable",
            Self::Nacked => "nacked",
            Self::TooLarge => "too_large",
            Self::Transform => "transform",
            Self::Invalid => "invalid",
            Self::Refused => "refused",
            Self::Limited => "limited",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Told how messages ended. Must not block.
pub(super) trait Settle: Send + Sync {
    /// Settles messages at their source, or has them come again.
    fn settle(&self, outcomes: Vec<(Message, Outcome)>);
}
