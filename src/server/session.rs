//! A connection's commands: what they do to the engine, and what is answered.

mod features;
mod leave;
mod settle;
mod subscribe;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};

use super::Options;
use super::auth::{Answer, AskError, Leave};
use super::hold::Pace;
use super::replies::{Publisher, Replies};
use crate::clock::{self, Instant};
use crate::engine::{
    Accepted, Applying, Client, ClientState, Consumer, Delivery, Engine, PublishError, PullLimit,
    Signal, Topic,
};
use crate::protocol::command::{Command, Fault, Gate, Parser, Phase};
use crate::protocol::frame;
use crate::protocol::identify::Settings;
use crate::protocol::{ErrorCode, ProtocolError};
use features::Features;
pub(super) use features::Upgrade;
use leave::{Asking, Permit};

/// Output beyond this is written before more messages are pulled.
const OUT_MAX: usize = 128 * 1024;
/// Output beyond this is written before more commands are handled: a client that publishes and does not read its answers
/// is not answered without limit.
const UNREAD_MAX: usize = 1024 * 1024;
/// Publishes that may be unanswered before no more commands are read from the connection.
const OPEN_MAX: usize = 4096;

/// What the commands of a read burst came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Burst {
    /// Everything complete was handled.
    Done,
    /// Too much is unanswered: go on when something is.
    Stalled,
    /// The connection is to be upgraded once everything is written: see [`Session::upgrade`].
    Upgrade,
    /// Something else is to be waited for: see [`Session::question`] and [`Session::preparing`].
    Ask,
    /// Nothing more is read: close when everything is written.
    Last,
}

/// What a connection waits for between two commands.
#[derive(Clone, Copy, Debug)]
enum Halt {
    Upgrade(Upgrade),
    Ask(Asking),
    /// What it has subscribed to is being made ready elsewhere.
    Prepare,
}

/// What came of something that a connection waited for.
pub(super) enum Heard {
    /// The auth servers were asked.
    Leave(Result<Answer, AskError>),
    /// What was subscribed to is there, or not.
    Prepared(Result<(), String>),
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
    /// What its subscription waits for, until that is begun.
    preparing: Option<Applying>,
    /// Why no further command is handled for now.
    halt: Option<Halt>,
    features: Features,
    leave: Leave,
    /// The MPUB that comes next has leave.
    may_mpub: bool,
    /// The topic that was published to last.
    topic: Option<Arc<Topic>>,
    /// Messages that it took in this burst and the client's counters do not know of yet.
    published: u64,
    /// Whether its consumers are to be woken at the end of the burst.
    is_dirty: bool,
    pace: Pace,
    held_until: Option<Instant>,
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
        let replies = Replies::new(engine.journal().cloned());
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
            preparing: None,
            halt: None,
            features: Features::default(),
            leave: Leave::default(),
            may_mpub: false,
            topic: None,
            published: 0,
            is_dirty: false,
            pace: Pace::new(clock::now()),
            held_until: None,
            replies,
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

    /// Goes on after what it has waited for.
    pub(super) fn hear(&mut self, heard: Heard, now: Instant) {
        match heard {
            Heard::Leave(answer) => self.answered(answer, now),
            Heard::Prepared(done) => self.prepared(done),
        }
    }

    /// Whether something is to happen before another command is handled.
    pub(super) const fn is_halted(&self) -> bool {
        self.halt.is_some()
    }

    fn gate(&self) -> Gate {
        let secure = &self.options.secure;
        Gate {
            phase: self.phase,
            heartbeats: self.settings.heartbeat_interval.is_some(),
            lacks_tls: secure.tls_required && !self.features.has_tls(),
            judges_mpub: secure.auth.is_some() && !self.may_mpub,
        }
    }

    /// Handles every complete command of `input` and takes it out of there.
    pub(super) fn handle(&mut self, input: &mut BytesMut, now: Instant) -> (Burst, usize) {
        let mut used = 0;
        let mut commands = 0;
        let burst = loop {
            if self.replies.is_last() {
                break Burst::Last;
            }
            match self.halt {
                None => {}
                Some(Halt::Upgrade(_)) => break Burst::Upgrade,
                Some(Halt::Ask(_) | Halt::Prepare) => break Burst::Ask,
            }
            if self.is_congested() {
                break Burst::Stalled;
            }
            let rest = input.get(used..).unwrap_or_default();
            match self.parser.next(rest, self.gate(), &self.options.limits) {
                Ok(Some((command, length))) => {
                    commands += 1;
                    used += match command {
                        Command::Fin(_) | Command::Req(..) | Command::Touch(_) => {
                            self.settle(rest, now)
                        }
                        command => match self.permit(&command, now) {
                            Permit::Go => {
                                self.obey(command);
                                length
                            }
                            // It is read again once there is an answer.
                            Permit::Wait => 0,
                        },
                    };
                }
                Ok(None) => break Burst::Done,
                Err(fault) => {
                    self.fault(fault);
                    break Burst::Last;
                }
            }
        };
        input.advance(used);
        self.end_burst();
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
            || self.out.len() >= UNREAD_MAX
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

    /// Ends the connection with an error.
    pub(super) fn fail(&mut self, code: ErrorCode, text: impl Into<Vec<u8>>) {
        self.replies.fail(&mut self.out, &ProtocolError::new(code, text));
    }

    /// Does what a command says. FIN, REQ and TOUCH come in runs: see [`Session::settle`].
    fn obey(&mut self, command: Command<'_>) {
        match command {
            Command::Nop
            | Command::Fin(_)
            | Command::Req(..)
            | Command::Touch(_)
            | Command::MpubHead { .. } => {}
            Command::Pub { topic, body } => {
                self.publish(
                    Publisher::Pub,
                    topic,
                    |topic, signal| topic.publish(std::iter::once(body), signal),
                    1,
                );
            }
            Command::Mpub { topic, bodies } => {
                self.may_mpub = false;
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
            Command::Auth(secret) => self.authorize(secret),
        }
    }

    fn publish(
        &mut self,
        publisher: Publisher,
        name: &str,
        publish: impl Fn(&Topic, &Arc<Signal>) -> Result<Accepted, PublishError>,
        messages: u64,
    ) {
        let mut accepted = self.topic(name).and_then(|topic| publish(&topic, &self.signal));
        if matches!(accepted, Err(PublishError::Exiting)) {
            // The topic that is remembered may be deleted: a second try looks it up anew.
            self.forget_topic();
            accepted = self.topic(name).and_then(|topic| publish(&topic, &self.signal));
        }
        if accepted.is_ok() {
            self.published += messages;
        }
        match accepted {
            Ok(Accepted::Now) => {
                self.is_dirty = true;
                self.replies.respond(&mut self.out, frame::OK);
            }
            Ok(Accepted::Logged(mark)) => {
                self.is_dirty = true;
                self.replies.wait_until(publisher, mark);
            }
            Ok(Accepted::Pending(ticket)) => self.replies.wait_for(publisher, ticket),
            Err(error) => self.replies.fail(&mut self.out, &publisher.error(&error)),
        }
    }

    /// The topic of this name. The last one is remembered.
    fn topic(&mut self, name: &str) -> Result<Arc<Topic>, PublishError> {
        if let Some(topic) = &self.topic
            && **topic.name() == *name
        {
            return Ok(Arc::clone(topic));
        }
        self.forget_topic();
        let topic = self.engine.topic(name)?;
        self.topic = Some(Arc::clone(&topic));
        Ok(topic)
    }

    fn forget_topic(&mut self) {
        self.end_burst();
        self.topic = None;
    }

    /// Counts what was published, and wakes its consumers.
    fn end_burst(&mut self) {
        let Some(topic) = &self.topic else { return };
        let published = std::mem::take(&mut self.published);
        if published > 0 {
            self.client.published(topic.name(), published);
        }
        if std::mem::take(&mut self.is_dirty) {
            topic.wake();
        }
    }

    /// Pulls what may be delivered into the output, unless that is held back. `true` if there is more for which the output
    /// had no room.
    pub(super) fn pull(&mut self, now: Instant) -> bool {
        let Some(consumer) = &self.consumer else {
            return false;
        };
        if self.phase != Phase::Subscribed {
            self.held_until = None;
            return false;
        }
        if self.held_until.is_some_and(|until| now < until) {
            return false;
        }
        let (mut messages, mut credit) = (0, 0);
        let more = loop {
            let Some(bytes) = OUT_MAX.checked_sub(self.out.len()).filter(|bytes| *bytes > 0) else {
                break true;
            };
            let out = &mut self.out;
            let limit = PullLimit { messages: u64::MAX, bytes };
            let pulled = consumer.pull(limit, now, |delivery| {
                let Delivery { id, timestamp, attempts, body } = delivery;
                frame::push_message(out, id, timestamp, attempts, body);
            });
            messages += pulled.messages;
            credit = pulled.credit;
            if !pulled.more {
                break false;
            }
        };
        self.held_until = None;
        if messages > 0 {
            self.pace.count(messages, now);
            if !more && self.is_buffered() {
                self.held_until = self.pace.hold(credit, now);
            }
        }
        more
    }

    /// Whether the client lets its output wait for more.
    fn is_buffered(&self) -> bool {
        let delivery = self.delivery.unwrap_or(self.settings);
        delivery.output_buffer_timeout.is_some() && delivery.output_buffer_size > 1
    }

    /// Until when deliveries are held back.
    pub(super) const fn held_until(&self) -> Option<Instant> {
        self.held_until
    }
}
