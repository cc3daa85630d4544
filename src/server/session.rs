//! A connection's commands: what they do to the engine, and what is answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};

use super::Options;
use super::replies::{Publisher, Replies};
use crate::clock::Instant;
use crate::engine::{
    Accepted, Client, ClientState, Consumer, Delivery, Engine, Identity, Locality, PublishError,
    PullLimit, SettleError, Settling, Signal, SubscribeError, Subscriber, Topic,
};
use crate::names::MessageId;
use crate::protocol::command::{Command, Fault, Gate, Parser, Phase};
use crate::protocol::frame;
use crate::protocol::identify::{Request, Settings, negotiate};
use crate::protocol::{ErrorCode, ProtocolError};

/// Output beyond this is written before more messages are pulled.
const OUT_MAX: usize = 128 * 1024;
/// Publishes that may be unanswered before no more commands are read from the connection.
const OPEN_MAX: usize = 4096;

/// What the commands of a read burst came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Burst {
    /// Everything complete was handled.
    Done,
    /// Too much is unanswered: go on when something is.
    Stalled,
    /// Nothing more is read: close when everything is written.
    Last,
}

/// See the module's description.
pub(super) struct Session {
    engine: Arc<Engine>,
    options: Arc<Options>,
    client: Arc<Client>,
    signal: Arc<Signal>,
    parser: Parser,
    phase: Phase,
    /// As the latest IDENTIFY set them.
    settings: Settings,
    /// As the first IDENTIFY set them: heartbeats and deliveries stay with these, as in nsqd.
    delivery: Option<Settings>,
    consumer: Option<Arc<Consumer>>,
    /// The topic that was published to last.
    topic: Option<Arc<Topic>>,
    /// Whether its consumers are to be woken at the end of the burst.
    is_dirty: bool,
    pub(super) replies: Replies,
    pub(super) out: Vec<u8>,
}

impl Session {
    pub(super) fn new(
        engine: Arc<Engine>,
        options: Arc<Options>,
        client: Arc<Client>,
        signal: Arc<Signal>,
    ) -> Self {
        let settings = options.defaults;
        Self {
            engine,
            options,
            client,
            signal,
            parser: Parser::default(),
            phase: Phase::Init,
            settings,
            delivery: None,
            consumer: None,
            topic: None,
            is_dirty: false,
            replies: Replies::default(),
            out: Vec::new(),
        }
    }

    /// The time between heartbeats, which the first IDENTIFY settles.
    pub(super) fn heartbeat(&self) -> Option<Duration> {
        self.delivery.unwrap_or(self.settings).heartbeat_interval
    }

    /// How long the client may be silent.
    pub(super) fn silence_max(&self) -> Option<Duration> {
        self.settings.heartbeat_interval.map(|interval| interval * 2)
    }

    fn gate(&self) -> Gate {
        Gate { phase: self.phase, heartbeats: self.settings.heartbeat_interval.is_some() }
    }

    /// Handles every complete command of `input` and takes it out of there.
    pub(super) fn handle(&mut self, input: &mut BytesMut, now: Instant) -> (Burst, usize) {
        let mut used = 0;
        let mut commands = 0;
        let burst = loop {
            if self.replies.is_last() {
                break Burst::Last;
            }
            if self.is_congested() {
                break Burst::Stalled;
            }
            let rest = input.get(used..).unwrap_or_default();
            match self.parser.next(rest, self.gate(), &self.options.limits) {
                Ok(Some((command, length))) => {
                    commands += 1;
                    match command {
                        Command::Fin(_) | Command::Req(..) | Command::Touch(_) => {
                            used += self.settle(rest, now);
                        }
                        command => {
                            self.obey(command);
                            used += length;
                        }
                    }
                }
                Ok(None) => break Burst::Done,
                Err(fault) => {
                    self.fault(fault);
                    break Burst::Last;
                }
            }
        };
        input.advance(used);
        self.wake();
        (burst, commands)
    }

    /// The connection ended on the client's side: nsqd still says what was cut off.
    pub(super) fn end(&mut self, input: &[u8]) {
        let gate = self.gate();
        if let Some(fault) = self.parser.at_end(input, gate, &self.options.limits) {
            self.fault(fault);
        }
    }

    fn is_congested(&self) -> bool {
        let open = self.replies.open();
        open >= OPEN_MAX
            || (open > 0 && self.topic.as_ref().is_some_and(|topic| topic.is_congested()))
    }

    fn fault(&mut self, fault: Fault) {
        if let Some(topic) = fault.creates
            && let Err(error) = self.engine.topic(&topic)
        {
            tracing::debug!(topic, %error, "topic not created");
        }
        match fault.error {
            Some(error) => self.replies.fail(&mut self.out, &error),
            None => self.replies.finish(),
        }
    }

    fn fail(&mut self, code: ErrorCode, text: impl Into<Vec<u8>>) {
        self.replies.fail(&mut self.out, &ProtocolError::new(code, text));
    }

    /// Does what a command says. FIN, REQ and TOUCH come in runs: see [`Session::settle`].
    fn obey(&mut self, command: Command<'_>) {
        match command {
            Command::Nop | Command::Fin(_) | Command::Req(..) | Command::Touch(_) => {}
            Command::Pub { topic, body } => {
                self.publish(
                    Publisher::Pub,
                    topic,
                    |topic, signal| topic.publish(std::iter::once(body), signal),
                    1,
                );
            }
            Command::Mpub { topic, bodies } => {
                let count = bodies.len() as u64;
                self.publish(
                    Publisher::Mpub,
                    topic,
                    |topic, signal| topic.publish(bodies, signal),
                    count,
                );
            }
            Command::Dpub { topic, defer, body } => {
                self.publish(
                    Publisher::Dpub,
                    topic,
                    |topic, signal| topic.publish_deferred(body, defer, signal),
                    1,
                );
            }
            Command::Rdy(count) => {
                if let Some(consumer) = &self.consumer {
                    consumer.set_ready(count);
                }
            }
            Command::Sub { topic, channel } => self.subscribe(topic, channel),
            Command::Cls => {
                if let Some(consumer) = &self.consumer {
                    consumer.set_ready(0);
                }
                self.phase = Phase::Closing;
                self.client.enter(ClientState::Closing);
                self.replies.respond(&mut self.out, frame::CLOSE_WAIT);
            }
            Command::Identify(body) => self.identify(body),
            Command::Auth(_) => self.fail(ErrorCode::AuthDisabled, "AUTH disabled"),
        }
    }

    fn identify(&mut self, body: &[u8]) {
        let agreed = Request::parse(body).and_then(|request| {
            let agreed = negotiate(&request, &self.options.offer, self.settings)?;
            Ok((request, agreed))
        });
        match agreed {
            Ok((request, agreed)) => {
                self.settings = agreed.settings;
                if self.delivery.is_none() && self.options.topology_aware {
                    let client = (&*request.topology_region, &*request.topology_zone);
                    let offer = &self.options.offer;
                    let node = (&*offer.topology_region, &*offer.topology_zone);
                    self.client.locate(Locality::of(client, node));
                }
                self.delivery.get_or_insert(agreed.settings);
                self.client.identify(Identity {
                    client_id: request.client_id,
                    hostname: request.hostname,
                    user_agent: request.user_agent,
                    sample_rate: agreed.settings.sample_rate,
                    topology_region: request.topology_region,
                    topology_zone: request.topology_zone,
                });
                self.replies.respond(&mut self.out, &agreed.reply);
            }
            Err(error) => self.replies.fail(&mut self.out, &error),
        }
    }

    fn subscribe(&mut self, topic: &str, channel: &str) {
        let delivery = self.delivery.unwrap_or(self.settings);
        let subscriber = Subscriber {
            client: Arc::clone(&self.client),
            signal: Arc::clone(&self.signal),
            msg_timeout: delivery.msg_timeout,
            touch_timeout: self.settings.msg_timeout,
            sample_rate: delivery.sample_rate,
        };
        // An ephemeral topic or channel may go just now: a second try makes it anew.
        let mut subscribed = self.try_subscribe(topic, channel, subscriber.clone());
        if matches!(subscribed, Err(SubscribeError::Exiting)) {
            subscribed = self.try_subscribe(topic, channel, subscriber);
        }
        match subscribed {
            Ok(consumer) => {
                self.consumer = Some(Arc::new(consumer));
                self.phase = Phase::Subscribed;
                self.client.enter(ClientState::Subscribed);
                self.replies.respond(&mut self.out, frame::OK);
            }
            Err(SubscribeError::Full(max)) => {
                let text =
                    format!("SUB failed consumers for {topic}:{channel} exceeds limit of {max}");
                self.fail(ErrorCode::SubFailed, text);
            }
            Err(SubscribeError::Exiting) => self.fail(ErrorCode::SubFailed, "SUB failed exiting"),
        }
    }

    fn try_subscribe(
        &self,
        topic: &str,
        channel: &str,
        subscriber: Subscriber,
    ) -> Result<Consumer, SubscribeError> {
        let topic = self.engine.topic(topic).map_err(|_| SubscribeError::Exiting)?;
        let channel = topic.channel(channel).map_err(|_| SubscribeError::Exiting)?;
        channel.subscribe(subscriber, self.options.max_channel_consumers)
    }

    fn publish(
        &mut self,
        publisher: Publisher,
        name: &str,
        publish: impl FnOnce(&Topic, &Arc<Signal>) -> Result<Accepted, PublishError>,
        messages: u64,
    ) {
        let accepted = self.topic(name).and_then(|topic| {
            let accepted = publish(&topic, &self.signal)?;
            self.client.published(topic.name(), messages);
            Ok(accepted)
        });
        match accepted {
            Ok(Accepted::Now) => {
                self.is_dirty = true;
                self.replies.respond(&mut self.out, frame::OK);
            }
            Ok(Accepted::Pending(ticket)) => self.replies.wait_for(publisher, ticket),
            Err(error) => self.replies.fail(&mut self.out, &publisher.error(&error)),
        }
    }

    /// The topic of this name. The last one is remembered; it is looked up anew once it is deleted.
    fn topic(&mut self, name: &str) -> Result<Arc<Topic>, PublishError> {
        if let Some(topic) = &self.topic
            && **topic.name() == *name
            && !topic.is_exiting()
        {
            return Ok(Arc::clone(topic));
        }
        self.wake();
        let topic = self.engine.topic(name)?;
        self.topic = Some(Arc::clone(&topic));
        Ok(topic)
    }

    /// Wakes the consumers of what was published.
    fn wake(&mut self) {
        if std::mem::take(&mut self.is_dirty)
            && let Some(topic) = &self.topic
        {
            topic.wake();
        }
    }

    /// Handles the run of FIN, REQ and TOUCH that `input` begins with under one lock, and returns the bytes that it takes.
    fn settle(&mut self, input: &[u8], now: Instant) -> usize {
        let Some(consumer) = self.consumer.clone() else {
            return input.len();
        };
        let mut settling = consumer.settle(now);
        let mut used = 0;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            let Ok(Some((command, length))) =
                self.parser.next(rest, self.gate(), &self.options.limits)
            else {
                // Whatever is wrong or missing is looked at again outside.
                self.parser = Parser::default();
                return used;
            };
            if let Err(error) = settle(&mut settling, command) {
                let Some(error) = error else { return used };
                self.replies.fail(&mut self.out, &error);
            }
            used += length;
        }
    }

    /// Pulls what may be delivered into the output. `true` if there is more for which the output had no room.
    pub(super) fn pull(&mut self, now: Instant) -> bool {
        let Some(consumer) = &self.consumer else {
            return false;
        };
        if self.phase != Phase::Subscribed {
            return false;
        }
        loop {
            let Some(bytes) = OUT_MAX.checked_sub(self.out.len()).filter(|bytes| *bytes > 0) else {
                return true;
            };
            let out = &mut self.out;
            let limit = PullLimit { messages: u64::MAX, bytes };
            let pulled = consumer.pull(limit, now, |delivery| {
                let Delivery { id, timestamp, attempts, body } = delivery;
                frame::push_message(out, id, timestamp, attempts, body);
            });
            if !pulled.more {
                return false;
            }
        }
    }
}

/// Settles one message. `Err(None)` for a command of another kind.
fn settle(settling: &mut Settling<'_>, command: Command<'_>) -> Result<(), Option<ProtocolError>> {
    let failed = |code, word: &str, id: &[u8; MessageId::LEN], error: SettleError| {
        let text = [word.as_bytes(), b" ", id, b" failed ", error.to_string().as_bytes()].concat();
        Some(ProtocolError::new(code, text))
    };
    match command {
        Command::Fin(id) => {
            settling.finish(id).map_err(|error| failed(ErrorCode::FinFailed, "FIN", id, error))
        }
        Command::Req(id, delay) => settling
            .requeue(id, delay)
            .map_err(|error| failed(ErrorCode::ReqFailed, "REQ", id, error)),
        Command::Touch(id) => {
            settling.touch(id).map_err(|error| failed(ErrorCode::TouchFailed, "TOUCH", id, error))
        }
        _ => Err(None),
    }
}
