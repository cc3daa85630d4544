//! The flow of a route: source, filter and transform, limit, sink. And how a limit cuts a flow into portions.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::amqp::source::QueueSource;
use super::gate::{self, Gate, Sorted};
use super::message::{Message, Outcome, Refusal, RefusalKind, Settle};
use super::nsq::ingress::Producers;
use super::nsq::queue::Queue;
use super::nsq::remote_source::RemoteSource;
use super::phase::{self, Phase};
use super::route::OnExceed;
use super::settler::Settler;
use super::shaper::{Shaper, Unsent};
use crate::limit::{Allowance, LimitOptions};

/// Messages that are moved in one go where no limit says less.
const PORTION: usize = 256;
/// A limited flow moves at most what this time allows in one go, so that it is smooth.
const SMOOTH: Duration = Duration::from_millis(20);

/// How much of a flow is moved in one go: never more than the limit's burst, at least one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) messages: usize,
    pub(super) bytes: u64,
}

impl Pace {
    pub(super) fn of(limit: Option<&LimitOptions>) -> Self {
        let smooth = |allowance: &Allowance| {
            let a_while = u128::from(allowance.rate.amount()) * SMOOTH.as_nanos()
                / allowance.rate.per().as_nanos().max(1);
            u64::try_from(a_while).unwrap_or(u64::MAX).clamp(1, allowance.burst.max(1))
        };
        let messages = limit.and_then(|limit| limit.messages.as_ref()).map_or(u64::MAX, smooth);
        let bytes = limit.and_then(|limit| limit.bytes.as_ref()).map_or(u64::MAX, smooth);
        Self { messages: usize::try_from(messages).unwrap_or(usize::MAX).min(PORTION), bytes }
    }

    /// How many of the messages of these sizes make a portion, and their bytes. 0 only if there is none.
    pub(super) fn portion(&self, sizes: impl Iterator<Item = u64>) -> (usize, u64) {
        let (mut count, mut bytes) = (0, 0_u64);
        for size in sizes.take(self.messages) {
            let with = bytes.saturating_add(size);
            if count > 0 && with > self.bytes {
                break;
            }
            (count, bytes) = (count + 1, with);
        }
        (count, bytes)
    }
}

/// Where a route takes its messages from.
pub(super) enum Source {
    /// Producers that wait for an answer.
    Producers(Arc<Producers>),
    /// A channel of this node.
    Channel(Arc<Queue>),
    /// A queue of a broker.
    Queue(Arc<QueueSource>),
    /// A channel of other nsqds.
    Remote(Arc<RemoteSource>),
}

impl Source {
    /// Waits for messages and takes a portion of them; `None` when there will be no more. Nothing is taken if this is
    /// dropped.
    async fn next(&self, pace: &Pace) -> Option<Vec<Message>> {
        match self {
            Self::Producers(producers) => producers.next(pace).await,
            Self::Channel(queue) => Some(queue.next(pace).await),
            Self::Queue(queue) => Some(queue.next(pace).await),
            Self::Remote(remote) => Some(remote.next(pace).await),
        }
    }

    /// Whether a message that was taken a while ago is still to be moved.
    fn holds(&self, message: &Message) -> bool {
        match self {
            Self::Producers(_) => !message.is_given_up(),
            // A settlement that its nsqd does not know any more is passed over.
            Self::Channel(_) | Self::Remote(_) => true,
            Self::Queue(queue) => queue.knows(message.id),
        }
    }
}

/// A route's flow.
pub(super) struct Runner {
    pub(super) source: Source,
    /// Who decides on refused messages; producers decide for themselves.
    pub(super) settler: Option<Arc<Settler>>,
    pub(super) gate: Gate,
    /// What messages are sent as, if not as they come.
    pub(super) shaper: Option<Shaper>,
    /// Told of what is not sent.
    pub(super) settle: Arc<dyn Settle>,
    pub(super) pace: Pace,
    /// To the sink.
    pub(super) outbox: mpsc::Sender<Vec<Message>>,
    pub(super) phase: watch::Receiver<Phase>,
}

impl Runner {
    /// Moves messages from the source to the sink, as fast as the limit and the sink's window allow. Ends when the route
    /// stops, or when its producers are closed; the sink then settles what it has.
    pub(super) async fn run(mut self) {
        let mut stop = self.phase.clone();
        if matches!(self.source, Source::Producers(_)) {
            // Producers wait for an answer and are served to the end.
            self.flow().await;
        } else {
            tokio::select! {
                () = phase::stopping(&mut stop) => {}
                // What is in hand when this is dropped is still the source's.
                () = self.flow() => {}
            }
        }
    }

    async fn flow(&mut self) {
        let mut pause = self.phase.clone();
        let mut changes = self.gate.changes();
        let mut has_ended = false;
        self.pace();
        while !has_ended || self.gate.is_waiting() {
            phase::is_not(&mut pause, Phase::Paused).await;
            let turn = tokio::select! {
                biased;
                () = phase::is(&mut pause, Phase::Paused) => continue,
                () = gate::changed(&mut changes) => None,
                () = self.gate.due(), if self.gate.is_waiting() => Some(Vec::new()),
                batch = self.next(), if !has_ended && self.gate.has_room() => {
                    has_ended = batch.is_none();
                    batch
                }
            };
            let mut is_settled = false;
            let sorted = match turn {
                None => {
                    self.gate.tune();
                    self.pace();
                    continue;
                }
                Some(batch) if batch.is_empty() => {
                    let source = &self.source;
                    let pass = self.gate.release(|message| source.holds(message)).await;
                    Sorted { pass, ..Sorted::default() }
                }
                Some(batch) => {
                    let count = batch.len();
                    let batch = self.shape(batch);
                    is_settled = batch.len() < count;
                    self.gate.admit(batch).await
                }
            };
            if self.pass_on(sorted, is_settled).await.is_none() {
                return;
            }
        }
    }

    fn is_ordered(&self) -> bool {
        self.settler.as_ref().is_some_and(|settler| settler.is_ordered())
    }

    fn pace(&mut self) {
        self.pace = self.gate.pace();
        if self.is_ordered() {
            self.pace.messages = 1;
        }
    }

    /// Sends on what may pass and settles the rest; `None` once the sink is gone. `is_settled` says whether something of
    /// the portion was settled before.
    async fn pass_on(&self, sorted: Sorted, is_settled: bool) -> Option<()> {
        let Sorted { pass, above, refused } = sorted;
        let (is_sent, is_refused) = (!pass.is_empty(), !above.is_empty() || !refused.is_empty());
        if is_refused {
            let refused = refused.into_iter().map(|(m, refusal)| (m, Outcome::Refused(refusal)));
            self.settle(above, refused.collect());
        }
        if is_sent {
            self.outbox.send(pass).await.ok()?;
        }
        if let Some(settler) = self.settler.as_ref().filter(|settler| settler.is_ordered())
            && (is_sent || is_refused || is_settled)
        {
            settler.ended().await;
        }
        Some(())
    }

    /// Settles what is above the limit, and what could not be told apart.
    fn settle(&self, above: Vec<Message>, mut outcomes: Vec<(Message, Outcome)>) {
        let is_buried = self.gate.on_exceed() == OnExceed::DeadLetter;
        let dropped = if is_buried {
            let limited = || Refusal::new(RefusalKind::Limited, "above the route's limit");
            outcomes.extend(above.into_iter().map(|m| (m, Outcome::Refused(limited()))));
            Vec::new()
        } else {
            above
        };
        match (&self.settler, &self.source) {
            (Some(settler), _) => {
                settler.drop_above(&dropped);
                settler.settle(outcomes);
            }
            (None, Source::Producers(producers)) => {
                producers.drop_above(dropped);
                producers.settle(outcomes);
            }
            (None, _) => {}
        }
    }

    /// Works out what messages are sent as, and settles those that are not sent at all.
    fn shape(&self, batch: Vec<Message>) -> Vec<Message> {
        let Some(shaper) = &self.shaper else { return batch };
        let (sent, unsent) = shaper.sift(batch);
        if !unsent.is_empty() {
            let outcomes = unsent.into_iter().map(|(message, why)| match why {
                Unsent::Filtered => (message, Outcome::Filtered),
                Unsent::Poison(refusal) => (message, Outcome::Refused(refusal)),
            });
            self.settle.settle(outcomes.collect());
        }
        sent
    }

    /// The next portion: the message that everything waits for, if there is one, or what the source has.
    async fn next(&self) -> Option<Vec<Message>> {
        let Some(settler) = &self.settler else {
            return self.source.next(&self.pace).await;
        };
        loop {
            if let Some(held) = settler.held().await {
                return Some(vec![held]);
            }
            tokio::select! {
                biased;
                () = settler.holds() => {}
                batch = self.source.next(&self.pace) => return batch,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::limit::Rate;

    fn limit(messages: (u64, u64), bytes: (u64, u64)) -> LimitOptions {
        let allowance = |(rate, burst)| {
            let rate = Rate::new(NonZeroU64::new(rate).unwrap(), Duration::from_secs(1)).unwrap();
            Some(Allowance { rate, burst })
        };
        LimitOptions { messages: allowance(messages), bytes: allowance(bytes) }
    }

    #[test]
    fn a_portion_is_smooth_within_the_burst_and_never_nothing() {
        assert_eq!(Pace::of(None).portion([10; 1000].into_iter()), (PORTION, 2560));
        let pace = Pace::of(Some(&limit((1000, 50), (1_000_000, 1_000_000))));
        assert_eq!(pace, Pace { messages: 20, bytes: 20_000 });
        assert_eq!(pace.portion([9_000; 5].into_iter()), (2, 18_000));
        assert_eq!(pace.portion([90_000; 5].into_iter()), (1, 90_000));
        assert_eq!(pace.portion(std::iter::empty()), (0, 0));
        assert_eq!(Pace::of(Some(&limit((1, 1), (1, 1)))), Pace { messages: 1, bytes: 1 });
    }
}
