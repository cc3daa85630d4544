//! Publishes a route's messages: confirms always, `mandatory` always, a bounded window of unconfirmed messages.
//!
//! Many publishes are put on their way together and confirmed together: waiting for each one is ten to twenty-five times
//! slower. A message is in exactly one of three places: `queue` (not sent on this link), `window` (sent, not confirmed) or
//! settled. When the link is lost, the window goes back to the front of the queue, in order, with the same `message_id`.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, PublisherConfirm};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, sleep_until, timeout};
use tracing::debug;

use super::confirms::{Confirms, Verdict};
use super::link::{Link, Up, backoff, up_or_say};
use super::outgoing::whose;
use super::renewal::Renewal;
use super::{errors, topology};
use crate::bridge::delay::PutOff;
use crate::bridge::message::{Message, Outcome, Provenance, Refusal, RefusalKind, Settle};
use crate::bridge::phase::{self, Phase};
use crate::bridge::route::{AmqpTarget, PublishOptions};
use crate::bridge::status::Status;
use crate::bridge::transform::{Needs, Template};
use crate::clock::{self, Instant, jittered};
use crate::names::MessageId;

/// What a publisher needs to know.
pub(in crate::bridge) struct Publishing {
    pub(in crate::bridge) link: Arc<Link>,
    pub(in crate::bridge) from: Provenance,
    pub(in crate::bridge) to: AmqpTarget,
    /// The routing key of excess messages, if they have one.
    pub(in crate::bridge) excess_key: Option<Template>,
    pub(in crate::bridge) options: PublishOptions,
    pub(in crate::bridge) status: Arc<Status>,
    pub(in crate::bridge) settle: Arc<dyn Settle>,
    /// The route's phase, for messages that their source still has: when it stops none need be waited for.
    pub(in crate::bridge) phase: Option<watch::Receiver<Phase>>,
}

impl Publishing {
    /// Opens a channel with confirms on and everything declared.
    async fn open(&self, up: &Up) -> Result<Channel, Broken> {
        let opening = async {
            let channel = up.connection.create_channel().await?;
            topology::declare(&channel, &self.to.declare).await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok::<_, lapin::Error>(channel)
        };
        match timeout(self.link.broker().connect_timeout, opening).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(self.broken(up, &error)),
            Err(_) => {
                self.link.give_up(up.generation, "the broker does not answer");
                Err(Broken::Lost)
            }
        }
    }

    /// Closes a channel that is of no use any more, as far as the broker answers.
    async fn leave(&self, channel: &Channel) {
        debug!(route = %self.status.name, "the channel only nacks: a new one is opened");
        let closing = channel.close(200, "renewed".into());
        if timeout(self.link.broker().connect_timeout, closing).await.is_err() {
            debug!(route = %self.status.name, "the broker does not answer channel.close");
        }
    }

    fn broken(&self, up: &Up, error: &lapin::Error) -> Broken {
        if up.connection.status().connected() {
            Broken::Channel(errors::describe(error), errors::is_lasting(error))
        } else {
            self.link.give_up(up.generation, errors::describe(error));
            Broken::Lost
        }
    }
}

type Sending = Pin<Box<dyn Future<Output = lapin::Result<PublisherConfirm>> + Send>>;

/// How far a sent message is.
enum Stage {
    /// Handed to lapin; polled again when its confirm is looked for.
    Sending(Sending),
    Confirming(PublisherConfirm),
    Resolved,
}

impl Stage {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<lapin::Result<Confirmation>> {
        loop {
            match self {
                Self::Sending(sending) => match sending.as_mut().poll(context) {
                    Poll::Ready(Ok(confirm)) => *self = Self::Confirming(confirm),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                },
                Self::Confirming(confirm) => return Pin::new(confirm).poll(context),
                Self::Resolved => return Poll::Pending,
            }
        }
    }
}

struct Sent {
    message: Option<Message>,
    id: MessageId,
    stage: Stage,
    at: Instant,
}

/// Why a link or channel is not of use any more.
enum Broken {
    /// The connection is gone; the link knows.
    Lost,
    /// The channel was closed, in the broker's words; whether only an operator can mend it.
    Channel(String, bool),
    /// The channel nacks while another might not; everything sent through it is settled.
    Stale(Channel),
}

/// See the module's description.
pub(in crate::bridge) struct Publisher {
    with: Publishing,
    queue: VecDeque<Message>,
    window: VecDeque<Sent>,
    /// Bodies in `window`.
    window_bytes: u64,
    /// Resolved by lapin, not certain yet.
    uncertain: HashMap<MessageId, Message>,
    confirms: Confirms,
    /// Something was confirmed since the channel was opened.
    has_confirmed: bool,
    renewal: Renewal,
    /// The channel is to be replaced once what was sent through it is settled.
    is_stale: bool,
    /// What the target's templates look at.
    needs: Needs,
    /// The connection's frame size in bytes.
    frame_max: u32,
    /// Steps of delay, and when they were declared; there are few of them.
    declared: HashMap<String, Instant>,
}

impl Publisher {
    pub(in crate::bridge) fn new(with: Publishing) -> Self {
        let mut needs = with.to.exchange.needs();
        needs.merge(&with.to.routing_key.needs());
        Self {
            needs,
            frame_max: 0,
            with,
            queue: VecDeque::new(),
            window: VecDeque::new(),
            window_bytes: 0,
            uncertain: HashMap::new(),
            confirms: Confirms::default(),
            declared: HashMap::new(),
            has_confirmed: false,
            renewal: Renewal::default(),
            is_stale: false,
        }
    }

    /// Publishes what comes in until the sender is dropped and everything is settled.
    pub(in crate::bridge) async fn run(mut self, mut inbox: mpsc::Receiver<Vec<Message>>) {
        let mut attempt = 0;
        loop {
            let Some(up) = self.wait_for_link(&mut inbox).await else { return };
            let broken = match self.with.open(&up).await {
                Ok(channel) => {
                    self.frame_max = up.connection.configuration().frame_max();
                    self.with.status.running();
                    match self.serve(&up, &channel, &mut inbox).await {
                        Some(broken) => broken,
                        None => return,
                    }
                }
                Err(broken) => broken,
            };
            self.take_back();
            self.is_stale = false;
            if std::mem::take(&mut self.has_confirmed) {
                attempt = 0;
            }
            match broken {
                Broken::Lost => self.with.link.lost(up.generation).await,
                Broken::Stale(channel) => self.with.leave(&channel).await,
                Broken::Channel(words, lasting) => {
                    attempt += 1;
                    if lasting {
                        self.with.status.failed(words);
                    } else {
                        self.with.status.waiting(words);
                    }
                    sleep(jittered(backoff(attempt))).await;
                }
            }
        }
    }

    /// Waits for the link to come up. `None` if the route is stopped meanwhile: what a queue holds stays where it is, and
    /// producers have been told.
    async fn wait_for_link(&mut self, inbox: &mut mpsc::Receiver<Vec<Message>>) -> Option<Up> {
        let up = up_or_say(&self.with.link, &self.with.status);
        let mut stop = self.with.phase.clone();
        let stops = async {
            match &mut stop {
                Some(stop) => phase::stopping(stop).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(up, stops);
        loop {
            // A queue's window is all that it takes: nothing more comes once it is full, but for the end of the route.
            let has_room = self.queue.len() <= self.with.options.window.messages as usize;
            tokio::select! {
                up = &mut up => return Some(up),
                () = &mut stops => return None,
                batch = inbox.recv(), if has_room => self.queue.extend(batch?),
            }
        }
    }

    /// Works on one channel until it breaks; `None` when there is nothing more to do.
    async fn serve(
        &mut self,
        up: &Up,
        channel: &Channel,
        inbox: &mut mpsc::Receiver<Vec<Message>>,
    ) -> Option<Broken> {
        let lost = {
            let link = Arc::clone(&self.with.link);
            let generation = up.generation;
            async move { link.lost(generation).await }
        };
        tokio::pin!(lost);
        let mut link = self.with.link.watch_state();
        link.mark_unchanged();
        let mut is_open = true;
        loop {
            let sent = match self.declare_steps(channel).await {
                Ok(()) => self.send(channel),
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                return Some(self.with.broken(up, &error));
            }
            if self.window.is_empty() {
                if self.is_stale {
                    return Some(Broken::Stale(channel.clone()));
                }
                if !is_open && self.queue.is_empty() {
                    return None;
                }
            }
            let has_room = is_open && self.has_room();
            let overdue = self.window.front().map(|sent| sent.at + self.with.options.timeout);
            tokio::select! {
                () = &mut lost => return Some(Broken::Lost),
                first = first_resolved(&mut self.window), if !self.window.is_empty() => {
                    if let Err(error) = first.and_then(|first| self.collect(first)) {
                        return Some(self.with.broken(up, &error));
                    }
                }
                batch = inbox.recv(), if has_room => match batch {
                    Some(batch) => self.queue.extend(batch),
                    None => is_open = false,
                },
                () = sleep_until(overdue.unwrap_or_else(clock::now)), if overdue.is_some() => {
                    if !self.is_blocked() {
                        // A confirm that does not come in time counts as a lost connection.
                        self.with.link.give_up(up.generation, "a confirm did not come in time");
                        return Some(Broken::Lost);
                    }
                    // The broker says that it takes nothing now: a new connection would wait just the same.
                    let now = clock::now();
                    self.window.iter_mut().for_each(|sent| sent.at = now);
                }
                Ok(()) = link.changed() => {
                    self.is_blocked();
                }
            }
        }
    }

    /// Whether the broker blocks publishers, which the route's state then says.
    fn is_blocked(&self) -> bool {
        let trouble = self.with.link.trouble();
        match &trouble {
            Some((words, _)) => self.with.status.waiting(words.as_str()),
            None => self.with.status.running(),
        }
        trouble.is_some()
    }

    fn has_room(&self) -> bool {
        self.queue.is_empty() && self.fits()
    }

    fn fits(&self) -> bool {
        let window = self.with.options.window;
        !self.is_stale
            && self.window.len() < window.messages as usize
            && self.window_bytes < window.bytes
    }

    /// Puts as much as fits of the queue on its way.
    fn send(&mut self, channel: &Channel) -> lapin::Result<()> {
        let now = clock::now();
        let mut refused = Vec::new();
        while self.fits() {
            let Some(message) = self.queue.pop_front() else {
                break;
            };
            if message.is_given_up() {
                refused.push((message, Outcome::given_up()));
                continue;
            }
            match self.prepare(channel, &message) {
                Err(refusal) => refused.push((message, Outcome::Refused(refusal))),
                Ok(mut sending) => {
                    // lapin queues the frames at the first poll; its wake-ups are of no interest before the confirm's.
                    let polled = sending.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    let stage = match polled {
                        Poll::Ready(Ok(confirm)) => Stage::Confirming(confirm),
                        Poll::Ready(Err(error)) => {
                            self.queue.push_front(message);
                            self.settle(refused);
                            return Err(error);
                        }
                        Poll::Pending => Stage::Sending(sending),
                    };
                    self.window_bytes += message.sent_body().len() as u64;
                    let id = message.id;
                    self.window.push_back(Sent { message: Some(message), id, stage, at: now });
                }
            }
        }
        self.settle(refused);
        Ok(())
    }

    /// Makes sure of the queues that messages to be put off go to.
    async fn declare_steps(&mut self, channel: &Channel) -> lapin::Result<()> {
        let steps: Vec<Arc<PutOff>> = self
            .queue
            .iter()
            .filter_map(|message| message.put_off.clone())
            .filter(|put_off| put_off.is_step())
            .collect();
        for step in steps {
            let now = clock::now();
            let name = &step.queue.name;
            if self.declared.get(name).is_some_and(|at| now.duration_since(*at) < step.lasts) {
                continue;
            }
            let declaring = topology::declare_queue(channel, &step.queue, false);
            match timeout(self.with.link.broker().connect_timeout, declaring).await {
                Ok(declared) => declared?,
                Err(_) => return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
            }
            self.declared.insert(name.clone(), now);
        }
        Ok(())
    }

    /// Works out where a message goes and how.
    fn prepare(&self, channel: &Channel, message: &Message) -> Result<Sending, Refusal> {
        let body = message.sent_body();
        let size = body.len() as u64;
        let limit = self.with.link.broker().max_message_size;
        if size > limit {
            let reason =
                format!("{size} bytes are more than the broker's max_message_size of {limit}");
            return Err(Refusal::new(RefusalKind::TooLarge, reason));
        }
        let id = message.id.to_string();
        let (exchange, routing_key) = self.with.address(&self.needs, message, &id)?;
        let properties = self.with.properties(self.frame_max, message, &id)?;
        let (channel, body) = (channel.clone(), body.clone());
        Ok(Box::pin(async move {
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            channel.basic_publish(exchange, routing_key, options, &body, properties).await
        }))
    }

    /// Collects all confirms that lapin has resolved, `first` among them. Looks until it finds no new one: only then is
    /// everything that was resolved before any of them in the same batch, which [`Confirms`] asks for.
    fn collect(&mut self, first: (MessageId, Confirmation)) -> lapin::Result<()> {
        let mut verdicts = vec![verdict(first.0, first.1)];
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let before = verdicts.len();
            for sent in &mut self.window {
                if let Poll::Ready(confirmation) = sent.stage.poll(&mut context) {
                    sent.stage = Stage::Resolved;
                    verdicts.push(verdict(sent.id, confirmation?));
                }
            }
            if verdicts.len() == before {
                break;
            }
        }
        for sent in &mut self.window {
            if matches!(sent.stage, Stage::Resolved)
                && let Some(message) = sent.message.take()
            {
                self.window_bytes -= message.sent_body().len() as u64;
                self.uncertain.insert(sent.id, message);
            }
        }
        self.window.retain(|sent| sent.message.is_some());
        let settled = self.confirms.judge(verdicts, self.window.len());
        let outcomes = settled
            .into_iter()
            .filter_map(|(id, outcome)| Some((self.uncertain.remove(&id)?, outcome)))
            .collect();
        self.settle(outcomes);
        Ok(())
    }

    fn settle(&mut self, outcomes: Vec<(Message, Outcome)>) {
        if !outcomes.is_empty() {
            self.count(&outcomes);
            self.has_confirmed |= outcomes.iter().any(|(_, o)| *o == Outcome::Confirmed);
            self.with.settle.settle(outcomes);
        }
    }

    fn count(&mut self, outcomes: &[(Message, Outcome)]) {
        let counters = &self.with.status.counters;
        let of = |kind| {
            let is_of =
                |outcome: &Outcome| matches!(outcome, Outcome::Refused(r) if r.kind == kind);
            outcomes.iter().filter(|(_, outcome)| is_of(outcome)).count() as u64
        };
        let nacked = of(RefusalKind::Nacked);
        counters.returned.fetch_add(of(RefusalKind::Unroutable), Ordering::Relaxed);
        counters.nacked.fetch_add(nacked, Ordering::Relaxed);
        self.is_stale |= nacked > 0 && self.renewal.nacked(clock::now());
    }

    /// Everything that is not certain goes back to the front of the queue, in its order.
    fn take_back(&mut self) {
        let sent = std::mem::take(&mut self.window).into_iter().filter_map(|sent| sent.message);
        let mut unsettled: Vec<Message> =
            sent.chain(self.uncertain.drain().map(|(_, message)| message)).collect();
        unsettled.sort_by_key(|message| message.id);
        let counters = &self.with.status.counters;
        counters.redelivered.fetch_add(unsettled.len() as u64, Ordering::Relaxed);
        for message in unsettled.into_iter().rev() {
            self.queue.push_front(message);
        }
        self.window_bytes = 0;
        self.confirms = Confirms::default();
    }
}

/// Waits for the first message of the window to be confirmed, which takes it out of lapin's hands.
async fn first_resolved(window: &mut VecDeque<Sent>) -> lapin::Result<(MessageId, Confirmation)> {
    std::future::poll_fn(|context| {
        let Some(first) = window.front_mut() else {
            return Poll::Pending;
        };
        let Poll::Ready(confirmation) = first.stage.poll(context) else {
            return Poll::Pending;
        };
        first.stage = Stage::Resolved;
        Poll::Ready(confirmation.map(|confirmation| (first.id, confirmation)))
    })
    .await
}

fn verdict(id: MessageId, confirmation: Confirmation) -> Verdict {
    let ack = !confirmation.is_nack();
    let returned = confirmation.take_message().and_then(|message| whose(&message));
    Verdict { id, ack, returned }
}
