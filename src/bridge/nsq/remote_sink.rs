//! Sink that is a topic of other nsqds: a message has arrived when one of them has answered OK.
//!
//! Messages go out in batches of one topic (MPUB). A batch that is refused for one of its messages is published once more,
//! message by message, so that only that one is refused. What a lost connection had not answered is published again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};

use super::misfits;
use super::remote_source::say;
use super::topics::topic_of;
use crate::bridge::delay;
use crate::bridge::message::{Message, Outcome, Provenance, Refusal, RefusalKind, Settle};
use crate::bridge::phase::{self, Phase};
use crate::bridge::remote::RemoteTarget;
use crate::bridge::route::PublishOptions;
use crate::bridge::status::Status;
use crate::client::producer::push_publish;
use crate::client::{self, Answer, Health, Job, Producer, ProducerOptions};

/// Bytes of bodies in one MPUB, but for a single message: a nsqd takes 5 MiB unless its `--max-body-size` says otherwise.
const BATCH_BYTES: u64 = 1 << 20;

/// See the module's description.
pub(in crate::bridge) struct RemoteSink {
    pub(in crate::bridge) to: RemoteTarget,
    pub(in crate::bridge) from: Provenance,
    pub(in crate::bridge) options: PublishOptions,
    pub(in crate::bridge) status: Arc<Status>,
    pub(in crate::bridge) settle: Arc<dyn Settle>,
    /// The route's phase, for messages that their source still has: when it stops none need be waited for.
    pub(in crate::bridge) phase: Option<watch::Receiver<Phase>>,
}

/// What nsqds have answered, for the sink to collect. Bounded by the window.
#[derive(Default)]
struct Answers {
    ended: Mutex<Vec<(Batch, Answer)>>,
    arrived: Notify,
}

/// Messages of one publish.
struct Batch {
    topic: Arc<str>,
    messages: Vec<Message>,
    /// When it is due, Unix milliseconds; of a single message only.
    due: Option<i64>,
    /// Those whose producer waits no longer.
    given_up: Vec<Message>,
    /// Whether it was sent before.
    was_sent: bool,
    answers: Arc<Answers>,
    status: Arc<Status>,
}

impl Job for Batch {
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        let (gone, wanted) = std::mem::take(&mut self.messages)
            .into_iter()
            .partition::<Vec<_>, _>(Message::is_given_up);
        self.given_up.extend(gone);
        self.messages = wanted;
        if std::mem::replace(&mut self.was_sent, true) {
            let count = self.messages.len() as u64;
            self.status.counters.redelivered.fetch_add(count, Ordering::Relaxed);
        }
        let bodies: Vec<_> =
            self.messages.iter().map(|message| message.sent_body().clone()).collect();
        let delay = self.due.map(|due| u64::try_from(delay::left(due).as_millis()));
        let delay = delay.map(|millis| millis.unwrap_or(u64::MAX));
        push_publish(out, &self.topic, &bodies, delay);
        !bodies.is_empty()
    }

    fn answered(self, answer: Answer) {
        let answers = Arc::clone(&self.answers);
        answers.ended.lock().push((self, answer));
        answers.arrived.notify_one();
    }
}

/// What is under way.
#[derive(Default)]
struct Open {
    messages: usize,
    bytes: u64,
}

impl RemoteSink {
    /// Publishes what comes in until the sender is dropped and everything is settled.
    pub(in crate::bridge) async fn run(self, mut inbox: mpsc::Receiver<Vec<Message>>) {
        let options = ProducerOptions {
            addresses: self.to.nsq.addresses.clone(),
            lookupd_interval: self.to.nsq.lookupd_interval,
            response_timeout: self.options.timeout,
            connect: self.to.nsq.connect.clone(),
        };
        match Producer::start(&options) {
            Ok((producer, mut work)) => {
                self.publish_all(&producer, &mut inbox).await;
                producer.close();
                work.ended().await;
            }
            Err(error) => {
                self.status.failed(error.to_string());
                // Producers are told when their time is over; what a source holds stays there.
                while inbox.recv().await.is_some() {}
            }
        }
    }

    async fn publish_all(
        &self,
        producer: &Producer<Batch>,
        inbox: &mut mpsc::Receiver<Vec<Message>>,
    ) {
        let answers = Arc::<Answers>::default();
        let mut health = producer.health();
        health.mark_changed();
        let mut open = Open::default();
        let mut is_fed = true;
        let mut is_stopping = false;
        let mut phase = self.phase.clone();
        let stopping = async {
            match &mut phase {
                Some(phase) => phase::stopping(phase).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(stopping);
        let window = self.options.window;
        while is_fed || open.messages > 0 {
            if is_stopping && *health.borrow() != Health::Up {
                // The source has all of it still.
                return;
            }
            let has_room = open.messages < window.messages as usize && open.bytes < window.bytes;
            tokio::select! {
                batch = inbox.recv(), if is_fed && has_room => match batch {
                    Some(batch) => self.publish(batch, producer, &answers, &mut open),
                    None => is_fed = false,
                },
                () = answers.arrived.notified() => self.collect(producer, &answers, &mut open),
                () = &mut stopping, if !is_stopping => is_stopping = true,
                Ok(()) = health.changed() => say(&health.borrow_and_update().clone(), &self.status),
            }
        }
    }

    /// Publishes messages, those of one topic together.
    fn publish(
        &self,
        batch: Vec<Message>,
        producer: &Producer<Batch>,
        answers: &Arc<Answers>,
        open: &mut Open,
    ) {
        let mut refused = Vec::new();
        let mut topics: BTreeMap<Arc<str>, Vec<Message>> = BTreeMap::new();
        for message in batch {
            let topic = topic_of(&self.to.topic, &self.from, &message);
            match topic {
                Ok(topic) if !message.sent_body().is_empty() => match topics.get_mut(&*topic) {
                    Some(messages) => messages.push(message),
                    None => drop(topics.insert(topic.into(), vec![message])),
                },
                Ok(_) => {
                    let refusal = Refusal::new(RefusalKind::Invalid, misfits::EMPTY);
                    refused.push((message, Outcome::Refused(refusal)));
                }
                Err(refusal) => refused.push((message, Outcome::Refused(refusal))),
            }
        }
        for (topic, messages) in topics {
            for messages in batches(messages) {
                open.messages += messages.len();
                open.bytes += messages.iter().map(Message::size).sum::<u64>();
                producer.push(self.batch(&topic, messages, answers));
            }
        }
        self.settle(refused);
    }

    fn batch(&self, topic: &Arc<str>, messages: Vec<Message>, answers: &Arc<Answers>) -> Batch {
        let due = messages.first().and_then(|message| message.due);
        Batch {
            topic: Arc::clone(topic),
            messages,
            due,
            given_up: Vec::new(),
            was_sent: false,
            answers: Arc::clone(answers),
            status: Arc::clone(&self.status),
        }
    }

    /// Settles what is answered.
    fn collect(&self, producer: &Producer<Batch>, answers: &Arc<Answers>, open: &mut Open) {
        let ended = std::mem::take(&mut *answers.ended.lock());
        let mut outcomes = Vec::new();
        for (mut batch, answer) in ended {
            let given_up = std::mem::take(&mut batch.given_up);
            outcomes.extend(given_up.into_iter().map(|message| (message, Outcome::given_up())));
            let outcome = match answer {
                Answer::Done | Answer::Nothing => Outcome::Confirmed,
                Answer::Refused(refusal) if refusal.is_final() && batch.messages.len() > 1 => {
                    // One of them is at fault: which one shows when each goes alone.
                    for message in batch.messages {
                        producer.push(self.batch(&batch.topic, vec![message], answers));
                    }
                    continue;
                }
                Answer::Refused(refusal) => Outcome::Refused(refused(&refusal)),
            };
            outcomes.extend(batch.messages.into_iter().map(|message| (message, outcome.clone())));
        }
        open.messages = open.messages.saturating_sub(outcomes.len());
        let bytes = outcomes.iter().map(|(message, _)| message.size()).sum();
        open.bytes = open.bytes.saturating_sub(bytes);
        self.settle(outcomes);
    }

    fn settle(&self, outcomes: Vec<(Message, Outcome)>) {
        if !outcomes.is_empty() {
            self.settle.settle(outcomes);
        }
    }
}

/// Messages in portions that fit into one command; one with a delay goes alone.
fn batches(messages: Vec<Message>) -> Vec<Vec<Message>> {
    let mut batches: Vec<Vec<Message>> = Vec::new();
    let mut bytes = 0;
    for message in messages {
        let size = message.sent_body().len() as u64;
        match batches.last_mut() {
            Some(batch)
                if bytes + size <= BATCH_BYTES
                    && message.due.is_none()
                    && batch.first().is_some_and(|first| first.due.is_none()) =>
            {
                bytes += size;
                batch.push(message);
            }
            _ => {
                bytes = size;
                batches.push(vec![message]);
            }
        }
    }
    batches
}

/// What a nsqd's refusal means for a message.
fn refused(refusal: &client::Refusal) -> Refusal {
    let kind = if refusal.is_size() {
        RefusalKind::TooLarge
    } else if refusal.is_final() {
        RefusalKind::Invalid
    } else if refusal.is_lasting() {
        // Rights are an operator's matter, and no fault of the message.
        RefusalKind::Unavailable
    } else {
        RefusalKind::Refused
    };
    Refusal::new(kind, refusal.text.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_message_is_at_fault_for_is_final() {
        for (text, kind) in [
            ("E_BAD_MESSAGE PUB message too big 11 > 10", RefusalKind::TooLarge),
            ("E_BAD_TOPIC PUB topic name \"x y\" is not valid", RefusalKind::Invalid),
            ("E_PUB_FAILED PUB failed exiting", RefusalKind::Refused),
            ("E_UNAUTHORIZED AUTH failed for PUB on \"t\"", RefusalKind::Unavailable),
        ] {
            assert_eq!(refused(&client::Refusal::new(text.as_bytes())).kind, kind, "{text}");
        }
    }
}
