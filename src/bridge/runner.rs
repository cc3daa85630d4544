//! The flow of a route to RabbitMQ: source, limit, publisher. And how a limit cuts a flow into portions.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::message::Message;
use super::nsq::ingress::Producers;
use super::nsq::queue::Queue;
use crate::limit::{Allowance, LimitOptions, Limiter};
use crate::task::stopped;

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

/// Where a route to RabbitMQ takes its messages from.
pub(super) enum Source {
    Producers(Arc<Producers>),
    Queue(Arc<Queue>),
}

impl Source {
    async fn next(&self, pace: &Pace) -> Option<Vec<Message>> {
        match self {
            Self::Producers(producers) => producers.next(pace).await,
            Self::Queue(queue) => Some(queue.next(pace).await),
        }
    }
}

/// Moves messages from `source` to the publisher behind `outbox`, as fast as the limit and the publisher's window allow.
/// Ends when `stop` turns true (a queue) or when its producers are closed; the publisher then settles what it has.
pub(super) async fn run(
    source: Source,
    mut limiter: Option<Limiter>,
    pace: Pace,
    outbox: mpsc::Sender<Vec<Message>>,
    mut stop: watch::Receiver<bool>,
) {
    let moving = async {
        while let Some(batch) = source.next(&pace).await {
            if let Some(limiter) = &mut limiter {
                limiter.acquire(batch.len() as u64, batch.iter().map(Message::size).sum()).await;
            }
            if outbox.send(batch).await.is_err() {
                return;
            }
        }
    };
    match &source {
        // What a queue has not seen confirmed stays where it is.
        Source::Queue(_) => tokio::select! {
            () = stopped(&mut stop) => {}
            () = moving => {}
        },
        // Producers wait for an answer and are served to the end.
        Source::Producers(_) => moving.await,
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
