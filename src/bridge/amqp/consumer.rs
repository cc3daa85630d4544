//! Consumes a queue: prefetch bounded, deliveries taken in bursts, acks coalesced.
//!
//! Every opening of the channel is a generation of its own: a delivery of an earlier one was requeued by the broker and
//! can no longer be settled. Closing the channel is therefore also the way in which everything is given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::{Channel, Consumer};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, sleep_until, timeout};

use super::acks::Acks;
use super::arrival::Arrival;
use super::link::{Link, Up, backoff, up_or_say};
use super::stream::Positions;
use super::{errors, topology};
use crate::bridge::phase::{self, Phase};
use crate::bridge::route::{AmqpSource, StreamOffset};
use crate::bridge::status::Status;
use crate::clock::{self, Instant, jittered};
use crate::engine::Origin;

/// How many deliveries are taken in one go.
const BURST: usize = 512;
/// A queue that has sent nothing for this long, while nothing was acked, has nothing on its way.
const QUIET: Duration = Duration::from_millis(20);
/// How long settled deliveries are gathered before they are acked: each ack has the broker look anew what it may send.
const ACK_DELAY: Duration = Duration::from_millis(10);
/// The part of the prefetch that is acked at once: the broker is not to run out of what it may send.
const ACK_SHARE: u16 = 8;

/// Takes what arrives, and says when it may.
pub(in crate::bridge) trait Arrivals: Send + Sync {
    /// Waits until deliveries are wanted.
    fn wanted(&mut self) -> impl Future<Output = ()> + Send;
    /// How many deliveries may be unacknowledged, `most` of them at most; 0 if none are to come for now. Asked when the
    /// channel is opened, and again after [`Progress::Resized`].
    fn prefetch(&mut self, most: u16) -> u16 {
        most
    }
    /// Takes a burst; it is passed on by [`Arrivals::progress`] and settled through [`Settlements`].
    fn take(&mut self, burst: Vec<Arrival>);
    /// Whether some of the last burst is still to be passed on: no further one is taken then.
    fn is_busy(&self) -> bool;
    /// Passes on what was taken. Can be dropped and called again at any time.
    fn progress(&mut self) -> impl Future<Output = Progress> + Send;
    /// Waits, once nothing more is wanted, until what has been passed on is settled; the rest may be given back.
    fn settled(&mut self) -> impl Future<Output = ()> + Send;
    /// Everything of this and earlier generations was given back.
    fn revoke(&mut self, generation: u64);
}

/// What [`Arrivals::progress`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bridge) enum Progress {
    /// All of the burst is passed on.
    Idle,
    /// [`Arrivals::prefetch`] says something else now.
    Resized,
    /// Nobody wants deliveries any more: everything unsettled is to be given back.
    Unwanted,
}

#[derive(Debug, Default)]
struct Open {
    generation: u64,
    acks: Acks,
    /// When the first of those was settled that are not acked.
    settled_since: Option<Instant>,
    positions: Positions,
}

/// Where deliveries are settled, from anywhere.
#[derive(Debug, Default)]
pub(in crate::bridge) struct Settlements {
    open: Mutex<Open>,
    due: Notify,
    /// Counts openings of the channel.
    generation: AtomicU64,
    /// So many settled deliveries are acked at once.
    enough: AtomicUsize,
}

impl Settlements {
    /// These are done with. Those of an earlier generation are passed over: the broker has them again. Returns how many
    /// were settled.
    pub(in crate::bridge) fn settle(&self, origins: &[Origin]) -> u64 {
        let mut open = self.open.lock();
        let generation = open.generation;
        let current = origins.iter().filter(|origin| origin.generation == generation);
        let settled = current.filter(|origin| open.acks.settle(origin.tag)).count();
        if settled > 0 {
            open.settled_since.get_or_insert_with(clock::now);
        }
        drop(open);
        if settled > 0 {
            self.due.notify_one();
        }
        settled as u64
    }

    fn begin(&self) -> u64 {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        *self.open.lock() = Open { generation, ..Open::default() };
        generation
    }

    /// Ends the generation and says how many deliveries were open, and where a stream is to be read on.
    fn end(&self) -> (usize, Option<i64>) {
        let mut open = self.open.lock();
        let (left, first_open) = (open.acks.open(), open.acks.first_open());
        let position = open.positions.resume(first_open);
        *open = Open::default();
        (left, position)
    }
}

/// Why consuming ended.
enum Ended {
    Stop,
    Unwanted,
    Lost,
    Broken { words: String, lasting: bool },
}

/// See the module's description.
pub(in crate::bridge) struct Consuming<A> {
    pub(in crate::bridge) link: Arc<Link>,
    pub(in crate::bridge) from: AmqpSource,
    pub(in crate::bridge) status: Arc<Status>,
    pub(in crate::bridge) settlements: Arc<Settlements>,
    pub(in crate::bridge) arrivals: A,
    /// Whether the route has a use for properties and headers.
    pub(in crate::bridge) with_properties: bool,
}

impl<A: Arrivals> Consuming<A> {
    /// Consumes until `stop` turns true; then acks what is settled and gives back the rest.
    pub(in crate::bridge) async fn run(mut self, mut stop: watch::Receiver<Phase>) {
        let mut attempt = 0;
        loop {
            let up = tokio::select! {
                () = phase::stopping(&mut stop) => return,
                up = async { self.arrivals.wanted().await; up_or_say(&self.link, &self.status).await } => up,
            };
            let ended = match self.open(&up).await {
                Ok((channel, consumer)) => {
                    attempt = 0;
                    self.status.running();
                    self.serve(&up, &channel, consumer, &mut stop).await
                }
                Err(ended) => ended,
            };
            match ended {
                Ended::Stop => return,
                Ended::Unwanted => {}
                Ended::Lost => self.link.lost(up.generation).await,
                Ended::Broken { words, lasting } => {
                    attempt += 1;
                    if lasting {
                        self.status.failed(words)
                    } else {
                        self.status.waiting(words)
                    }
                    tokio::select! {
                        () = phase::stopping(&mut stop) => return,
                        () = sleep(jittered(backoff(attempt))) => {}
                    }
                }
            }
        }
    }

    async fn open(&mut self, up: &Up) -> Result<(Channel, Option<Consumer>), Ended> {
        let prefetch = self.arrivals.prefetch(self.from.prefetch);
        let opening = async {
            let channel = up.connection.create_channel().await?;
            topology::declare(&channel, &self.from.declare).await?;
            let consumer = self.subscribe(&channel, prefetch).await?;
            Ok::<_, lapin::Error>((channel, consumer))
        };
        match timeout(self.link.broker().connect_timeout, opening).await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(error)) => Err(self.broken(up, &error)),
            Err(_) => {
                self.link.give_up(up.generation, "the broker does not answer");
                Err(Ended::Lost)
            }
        }
    }

    /// Begins to consume, unless nothing is to come for now. The prefetch counts for consumers that come after it.
    async fn subscribe(&self, channel: &Channel, prefetch: u16) -> lapin::Result<Option<Consumer>> {
        if prefetch == 0 {
            return Ok(None);
        }
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        self.settlements.enough.store((prefetch / ACK_SHARE).into(), Ordering::Relaxed);
        let tag = self.from.consumer_tag.as_deref().unwrap_or_default();
        let consuming = channel.basic_consume(
            self.from.queue.as_str().into(),
            tag.into(),
            BasicConsumeOptions::default(),
            topology::offset_table(self.from.offset.as_ref()),
        );
        consuming.await.map(Some)
    }

    /// Goes on with another prefetch. What has been delivered stays where it is: the channel is the same.
    async fn resize(
        &mut self,
        channel: &Channel,
        consumer: &mut Option<Consumer>,
        generation: u64,
    ) -> lapin::Result<()> {
        let limit = self.link.broker().connect_timeout;
        let silent = |_| lapin::Error::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        if let Some(mut old) = consumer.take() {
            // A quorum queue takes back what is on its way to a consumer that is cancelled, and counts it as delivered.
            // Nothing is acked meanwhile, so no more than the prefetch can come.
            while let Ok(Some(delivery)) = timeout(QUIET, old.next()).await {
                self.take(vec![delivery?], generation);
            }
            let cancel = channel.basic_cancel(old.tag(), BasicCancelOptions::default());
            timeout(limit, cancel).await.map_err(silent)??;
            // What was on its way before that.
            let mut rest = Vec::new();
            while let Some(Some(delivery)) = old.next().now_or_never() {
                rest.push(delivery?);
            }
            self.take(rest, generation);
        }
        let prefetch = self.arrivals.prefetch(self.from.prefetch);
        let subscribing = self.subscribe(channel, prefetch);
        *consumer = timeout(limit, subscribing).await.map_err(silent)??;
        Ok(())
    }

    fn broken(&self, up: &Up, error: &lapin::Error) -> Ended {
        if up.connection.status().connected() {
            Ended::Broken { words: errors::describe(error), lasting: errors::is_lasting(error) }
        } else {
            self.link.give_up(up.generation, errors::describe(error));
            Ended::Lost
        }
    }

    async fn serve(
        &mut self,
        up: &Up,
        channel: &Channel,
        mut consumer: Option<Consumer>,
        stop: &mut watch::Receiver<Phase>,
    ) -> Ended {
        let generation = self.settlements.begin();
        let began = u64::try_from(clock::unix_seconds()).unwrap_or(0);
        let ended = self.consume(up, channel, &mut consumer, generation, stop).await;
        if matches!(ended, Ended::Stop | Ended::Unwanted) {
            self.wind_down(up, channel, consumer.as_ref()).await;
            self.close(channel).await;
        }
        let (left, position) = self.settlements.end();
        if let Some(position) = position {
            self.from.offset = Some(StreamOffset::Number(position));
        } else if self.from.offset == Some(StreamOffset::Next) {
            // Nothing came yet; what comes before the next channel is open is not to be passed over.
            self.from.offset = Some(StreamOffset::Since(began));
        }
        self.status.counters.given_back.fetch_add(left as u64, Ordering::Relaxed);
        self.arrivals.revoke(generation);
        ended
    }

    async fn consume(
        &mut self,
        up: &Up,
        channel: &Channel,
        consumer: &mut Option<Consumer>,
        generation: u64,
        stop: &mut watch::Receiver<Phase>,
    ) -> Ended {
        let link = Arc::clone(&self.link);
        let lost = link.lost(up.generation);
        tokio::pin!(lost);
        let settlements = Arc::clone(&self.settlements);
        loop {
            let first = tokio::select! {
                biased;
                () = phase::stopping(stop) => return Ended::Stop,
                () = &mut lost => return Ended::Lost,
                () = ack_due(&settlements) => {
                    match self.ack(channel, false).await {
                        Ok(()) => continue,
                        Err(error) => return self.broken(up, &error),
                    }
                }
                first = delivery_of(consumer), if !self.arrivals.is_busy() => first,
                progress = self.arrivals.progress() => match progress {
                    Progress::Idle => continue,
                    Progress::Unwanted => return Ended::Unwanted,
                    Progress::Resized => match self.resize(channel, consumer, generation).await {
                        Ok(()) => continue,
                        Err(error) => return self.broken(up, &error),
                    },
                },
            };
            let mut burst = Vec::new();
            let mut next = first;
            loop {
                match next {
                    Some(Ok(delivery)) => burst.push(delivery),
                    Some(Err(error)) => return self.broken(up, &error),
                    // A cancel from the server: the queue is gone, or its leader moved.
                    None => {
                        let words = format!(
                            "the broker cancelled the consumer of queue {}",
                            self.from.queue
                        );
                        return Ended::Broken { words, lasting: false };
                    }
                }
                if burst.len() >= BURST {
                    break;
                }
                match delivery_of(consumer).now_or_never() {
                    Some(following) => next = following,
                    None => break,
                }
            }
            self.take(burst, generation);
        }
    }

    /// Has the broker send nothing more, and acks while what was passed on is being settled.
    async fn wind_down(&mut self, up: &Up, channel: &Channel, consumer: Option<&Consumer>) {
        if let Some(consumer) = consumer {
            let cancel = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
            // What comes after all is given back with the channel.
            let cancelled = timeout(self.link.broker().connect_timeout, cancel).await;
            tracing::debug!(route = %self.status.name, polite = matches!(cancelled, Ok(Ok(()))), "consumer cancelled");
        }
        let (link, settlements) = (Arc::clone(&self.link), Arc::clone(&self.settlements));
        loop {
            tokio::select! {
                () = link.lost(up.generation) => return,
                () = self.arrivals.settled() => return,
                () = ack_due(&settlements) => if self.ack(channel, false).await.is_err() { return },
            }
        }
    }

    fn take(&mut self, burst: Vec<Delivery>, generation: u64) {
        let mut open = self.settlements.open.lock();
        for delivery in &burst {
            open.acks.deliver(delivery.delivery_tag);
            open.positions.deliver(delivery);
        }
        let first_open = open.acks.first_open();
        open.positions.resume(first_open);
        drop(open);
        let bytes: usize = burst.iter().map(|delivery| delivery.data.len()).sum();
        let again = burst.iter().filter(|delivery| delivery.redelivered).count();
        let counters = &self.status.counters;
        counters.received.fetch_add(burst.len() as u64, Ordering::Relaxed);
        counters.bytes_received.fetch_add(bytes as u64, Ordering::Relaxed);
        counters.redelivered.fetch_add(again as u64, Ordering::Relaxed);
        let with = self.with_properties;
        let arrivals = burst
            .into_iter()
            .map(|delivery| Arrival::of(delivery, &self.from.queue, generation, with))
            .collect();
        self.arrivals.take(arrivals);
    }

    /// Sends what is to be acked. Written, not answered: a wrong ack would close the channel.
    async fn ack(&self, channel: &Channel, all: bool) -> lapin::Result<()> {
        let acks = {
            let mut open = self.settlements.open.lock();
            let acks = open.acks.take(all);
            // What waits for the next round waits from now on.
            open.settled_since = (open.acks.settled() > 0).then(clock::now);
            acks
        };
        for ack in acks {
            let options = BasicAckOptions { multiple: ack.multiple };
            match timeout(self.link.broker().heartbeat * 2, channel.basic_ack(ack.tag, options))
                .await
            {
                Ok(acked) => acked?,
                Err(_) => return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
            }
        }
        Ok(())
    }

    /// Acks what is settled and closes the channel, which gives back the rest.
    async fn close(&self, channel: &Channel) {
        let closing = async {
            self.ack(channel, true).await?;
            channel.close(200, "closing".into()).await
        };
        if let Ok(Err(error)) = timeout(self.link.broker().connect_timeout, closing).await {
            tracing::debug!(route = %self.status.name, %error, "consumer not closed politely");
        }
    }
}

/// The next delivery; for ever if nothing is consumed for now.
async fn delivery_of(consumer: &mut Option<Consumer>) -> Option<lapin::Result<Delivery>> {
    match consumer {
        Some(consumer) => consumer.next().await,
        None => std::future::pending().await,
    }
}

/// Waits until there is enough to be acked, or something has waited for it long enough. Whoever waits may be interrupted
/// by deliveries again and again, so the time counts from when it was settled.
async fn ack_due(settlements: &Settlements) {
    loop {
        let (settled, since) = {
            let open = settlements.open.lock();
            (open.acks.settled(), open.settled_since)
        };
        let Some(since) = since else {
            settlements.due.notified().await;
            continue;
        };
        if settled < settlements.enough.load(Ordering::Relaxed) {
            sleep_until(since + ACK_DELAY).await;
        }
        return;
    }
}
