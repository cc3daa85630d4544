//! Why a consumer gets nothing at the moment.

use super::consumers::Consumer;
use super::gate::Gate;
use super::state::{State, View};

/// What a consumer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingFor {
    /// A message: everything else is as it should be.
    Messages,
    /// An RDY above 0.
    Ready,
    /// A FIN, REQ or timeout: it has as much in flight as its RDY says.
    InFlight,
    /// The end of the channel's pause.
    Paused,
    /// The end of the topic's pause.
    TopicPaused,
    /// The channel's limit.
    Limit,
    /// Nothing any more: the node stops.
    Halting,
}

impl WaitingFor {
    /// The reason as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Ready => "ready",
            Self::InFlight => "in_flight",
            Self::Paused => "paused",
            Self::TopicPaused => "topic_paused",
            Self::Limit => "limit",
            Self::Halting => "halting",
        }
    }
}

/// What a consumer cannot know of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings {
    pub(super) is_halting: bool,
    /// Whether the topic is paused and holds messages.
    pub(super) topic_holds: bool,
    pub(super) is_empty: bool,
}

impl State {
    /// How many messages are ready, pauses and limits aside, is 0.
    pub(super) fn is_empty(&self, view: View<'_>) -> bool {
        self.ready_at_most(view.released) == 0 || self.depth(view) == 0
    }

    /// The first of the reasons that holds, in the order in which an operator would mend them; `None` if it is about to
    /// get something.
    pub(super) fn why(&self, consumer: &Consumer, around: Surroundings) -> Option<WaitingFor> {
        if around.is_halting {
            Some(WaitingFor::Halting)
        } else if self.paused {
            Some(WaitingFor::Paused)
        } else if consumer.ready == 0 {
            Some(WaitingFor::Ready)
        } else if consumer.credit() == 0 {
            Some(WaitingFor::InFlight)
        } else if around.is_empty {
            Some(if around.topic_holds { WaitingFor::TopicPaused } else { WaitingFor::Messages })
        } else {
            self.gate.as_ref().is_some_and(Gate::is_closed).then_some(WaitingFor::Limit)
        }
    }
}
