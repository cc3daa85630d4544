//! SUB: answered at once, or when whoever keeps the topic's messages has made the channel too.

use std::sync::Arc;

use super::{Halt, Session};
use crate::engine::{Applying, ClientState, Consumer, SubscribeError, Subscriber};
use crate::protocol::ErrorCode;
use crate::protocol::command::Phase;
use crate::protocol::frame;

impl Session {
    pub(super) fn subscribe(&mut self, topic: &str, channel: &str) {
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
                self.preparing = self.engine.applied(topic, Some(channel));
                if self.preparing.is_some() {
                    self.halt = Some(Halt::Prepare);
                } else {
                    self.subscribed();
                }
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

    fn subscribed(&mut self) {
        self.phase = Phase::Subscribed;
        self.client.enter(ClientState::Subscribed);
        self.replies.respond(&mut self.out, frame::OK);
    }

    /// What the answer to SUB has to wait for. It is handed out once; [`Session::prepared`] is to follow.
    pub(in crate::server) fn preparing(&mut self) -> Option<Applying> {
        self.preparing.take()
    }

    /// What is published from now on reaches the channel, or it says why not.
    pub(in crate::server) fn prepared(&mut self, done: Result<(), String>) {
        self.halt = None;
        match done {
            Ok(()) => self.subscribed(),
            Err(reason) => {
                self.consumer = None;
                self.fail(ErrorCode::SubFailed, format!("SUB failed {reason}"));
            }
        }
    }
}
