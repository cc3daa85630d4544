//! Sink that is a topic of this node: a message has arrived once the topic has it, written down if the node writes
//! anything down.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::misfits;
use super::topics::topic_of;
use crate::bridge::message::{Message, Outcome, Provenance, Refusal, RefusalKind, Settle};
use crate::bridge::route::Window;
use crate::bridge::status::Status;
use crate::bridge::transform::Template;
use crate::engine::policy::Durability;
use crate::engine::{self, Accepted, Engine, Mark, PublishError, Signal, Ticket};

/// What says that messages have arrived.
enum Answer {
    /// The journal, once it has reached this mark.
    Mark(Mark),
    /// Whoever takes what is published to the topic.
    Ticket(Ticket),
}

/// See the module's description.
pub(in crate::bridge) struct TopicSink {
    pub(in crate::bridge) engine: Arc<Engine>,
    pub(in crate::bridge) topic: Template,
    pub(in crate::bridge) from: Provenance,
    /// The largest body in bytes.
    pub(in crate::bridge) max_msg_size: u64,
    pub(in crate::bridge) window: Window,
    pub(in crate::bridge) status: Arc<Status>,
    pub(in crate::bridge) settle: Arc<dyn Settle>,
}

/// What a [`TopicSink`] has under way.
#[derive(Default)]
struct Open {
    /// In the order of publishing.
    answers: VecDeque<(Vec<Message>, Answer)>,
    messages: usize,
    bytes: u64,
}

impl TopicSink {
    /// Publishes what comes in until the sender is dropped and everything is settled.
    pub(in crate::bridge) async fn run(self, mut inbox: mpsc::Receiver<Vec<Message>>) {
        let signal = Arc::<Signal>::default();
        let mut open = Open::default();
        let mut is_fed = true;
        self.status.begun();
        while is_fed || !open.answers.is_empty() {
            let has_room =
                open.messages < self.window.messages as usize && open.bytes < self.window.bytes;
            tokio::select! {
                batch = inbox.recv(), if is_fed && has_room => match batch {
                    Some(batch) => self.publish(batch, &signal, &mut open),
                    None => is_fed = false,
                },
                () = signal.woken(), if !open.answers.is_empty() => self.collect(&signal, &mut open),
            }
        }
    }

    /// Publishes a batch, all messages of one topic together.
    fn publish(&self, batch: Vec<Message>, signal: &Arc<Signal>, open: &mut Open) {
        let mut outcomes = Vec::new();
        let mut topics: BTreeMap<String, Vec<Message>> = BTreeMap::new();
        for message in batch {
            if message.is_given_up() {
                outcomes.push((message, Outcome::given_up()));
                continue;
            }
            match self.topic_of(&message) {
                Ok(topic) => topics.entry(topic).or_default().push(message),
                Err(refusal) => outcomes.push((message, Outcome::Refused(refusal))),
            }
        }
        for (topic, messages) in topics {
            self.publish_to(&topic, messages, signal, open, &mut outcomes);
        }
        self.settle(outcomes);
        // An answer may have come before it was waited for.
        self.collect(signal, open);
    }

    /// Publishes messages to one topic: all at once, or as many as fit one by one.
    fn publish_to(
        &self,
        topic: &str,
        messages: Vec<Message>,
        signal: &Arc<Signal>,
        open: &mut Open,
        outcomes: &mut Vec<(Message, Outcome)>,
    ) {
        match self.hand_over(topic, &messages, signal) {
            Ok(Accepted::Now) => {
                outcomes.extend(messages.into_iter().map(|message| (message, Outcome::Confirmed)));
            }
            Ok(Accepted::Logged(mark)) => Self::wait_for(messages, Answer::Mark(mark), open),
            Ok(Accepted::Pending(ticket)) => {
                Self::wait_for(messages, Answer::Ticket(ticket), open);
            }
            Err(PublishError::Full { .. }) if messages.len() > 1 => {
                for message in messages {
                    self.publish_to(topic, vec![message], signal, open, outcomes);
                }
            }
            Err(error) => {
                let refusal = refusal(&error);
                let refused = messages.into_iter().map(|m| (m, Outcome::Refused(refusal.clone())));
                outcomes.extend(refused);
            }
        }
    }

    fn hand_over(
        &self,
        topic: &str,
        messages: &[Message],
        signal: &Arc<Signal>,
    ) -> Result<Accepted, PublishError> {
        let topic = self.engine.topic(topic)?;
        let bodies = messages.iter().map(|message| &message.sent_body()[..]);
        let accepted = topic.publish_inside(bodies, signal, Some(Durability::Disk))?;
        topic.wake();
        Ok(accepted)
    }

    /// The topic for a message that can be one of NSQ.
    fn topic_of(&self, message: &Message) -> Result<String, Refusal> {
        let size = message.sent_body().len() as u64;
        if !(1..=self.max_msg_size).contains(&size) {
            let kind = if size == 0 { RefusalKind::Invalid } else { RefusalKind::TooLarge };
            return Err(Refusal::new(kind, misfits::why(size, self.max_msg_size)));
        }
        topic_of(&self.topic, &self.from, message).map(Cow::into_owned)
    }

    fn wait_for(messages: Vec<Message>, answer: Answer, open: &mut Open) {
        open.messages += messages.len();
        open.bytes += messages.iter().map(Message::size).sum::<u64>();
        open.answers.push_back((messages, answer));
    }

    /// Settles what is answered.
    fn collect(&self, signal: &Arc<Signal>, open: &mut Open) {
        let mut outcomes = Vec::new();
        for (messages, answer) in std::mem::take(&mut open.answers) {
            let Some(outcome) = self.outcome(&answer) else {
                open.answers.push_back((messages, answer));
                continue;
            };
            open.messages -= messages.len();
            open.bytes -= messages.iter().map(Message::size).sum::<u64>();
            outcomes.extend(messages.into_iter().map(|message| (message, outcome.clone())));
        }
        self.settle(outcomes);
        let last = open.answers.iter().rev().find_map(|(_, answer)| match answer {
            Answer::Mark(mark) => Some(*mark),
            Answer::Ticket(_) => None,
        });
        if let (Some(journal), Some(mark)) = (self.engine.journal(), last) {
            journal.wake_at(mark, signal);
        }
    }

    fn outcome(&self, answer: &Answer) -> Option<Outcome> {
        let ended = match answer {
            Answer::Ticket(ticket) => ticket.outcome().cloned()?,
            Answer::Mark(mark) => match self.engine.journal()?.outcome(*mark) {
                engine::Outcome::Pending => return None,
                engine::Outcome::Done => Ok(()),
                engine::Outcome::Failed(trouble) => Err(trouble.into()),
            },
        };
        Some(match ended {
            Ok(()) => Outcome::Confirmed,
            Err(error) => Outcome::Refused(refusal(&error)),
        })
    }

    fn settle(&self, outcomes: Vec<(Message, Outcome)>) {
        if outcomes.is_empty() {
            return;
        }
        let trouble = outcomes.iter().find_map(|(_, outcome)| match outcome {
            Outcome::Refused(refusal) if refusal.kind == RefusalKind::Unavailable => {
                Some(&refusal.reason)
            }
            _ => None,
        });
        if let Some(reason) = trouble {
            self.status.waiting(&**reason);
        } else if outcomes.iter().any(|(_, outcome)| *outcome == Outcome::Confirmed) {
            self.status.running();
        }
        self.settle.settle(outcomes);
    }
}

/// What a topic's refusal means for a message.
fn refusal(error: &PublishError) -> Refusal {
    let kind = match error {
        PublishError::Storage(_) | PublishError::Exiting | PublishError::Draining => {
            RefusalKind::Unavailable
        }
        PublishError::Full { .. } | PublishError::Limited { .. } | PublishError::Refused { .. } => {
            RefusalKind::Refused
        }
    };
    Refusal::new(kind, error.to_string())
}
