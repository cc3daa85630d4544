//! Looks at what is on a broker without changing it.
//!
//! A passive declaration tells whether something of the name is there, and compares nothing. If it is there, it is
//! declared as it is asked for: that changes nothing either if it is the same, and is refused if it is not. Each question
//! has a channel of its own, since a refusal closes the channel; some close the connection, which is opened again.

use lapin::{Channel, Connection};
use tokio::time::timeout;

use super::connect;
use super::socket::Plug;
use super::{errors, topology};
use crate::bridge::broker::BrokerOptions;
use crate::bridge::plan::{Finding, State, Thing};
use crate::bridge::topology::{ExchangeDeclare, ExchangeKind, QueueDeclare, QueueKind};

/// A connection that asks.
pub(in crate::bridge) struct Prober {
    broker: BrokerOptions,
    open: Option<(Connection, Plug)>,
}

/// What the broker said to a question.
enum Answer {
    Yes,
    /// Refused, with AMQP's code.
    No(u16, String),
    /// No answer.
    Silence(String),
}

impl Prober {
    /// Connects to whichever host of the broker takes the connection.
    ///
    /// # Errors
    /// What the last of them said.
    pub(in crate::bridge) async fn connect(broker: &BrokerOptions) -> Result<Self, String> {
        let mut prober = Self { broker: broker.clone(), open: None };
        prober.connection().await?;
        Ok(prober)
    }

    async fn connection(&mut self) -> Result<&Connection, String> {
        let is_open =
            self.open.as_ref().is_some_and(|(connection, _)| connection.status().connected());
        if !is_open {
            self.close().await;
            self.open = Some(connect::connect_once(&self.broker, "plan").await?);
        }
        match &self.open {
            Some((connection, _)) => Ok(connection),
            None => Err("there is no connection".to_owned()),
        }
    }

    /// Closes the connection.
    pub(in crate::bridge) async fn close(&mut self) {
        if let Some((connection, plug)) = self.open.take() {
            if connection.status().connected() {
                let closing = connection.close(200, "closing".into());
                let answer = timeout(self.broker.connect_timeout, closing).await;
                tracing::debug!(polite = matches!(answer, Ok(Ok(()))), "connection closed");
            }
            plug.pull();
        }
    }

    /// Whether a thing is there, as it is asked for. Not for bindings, of which AMQP does not tell.
    pub(in crate::bridge) async fn look(&mut self, thing: &Thing) -> Finding {
        // The default exchange is everywhere and can be declared nowhere.
        if matches!(thing, Thing::SomeExchange(name) if name.is_empty()) {
            return (State::Exists, String::new());
        }
        match self.declare(thing, true).await {
            Answer::Yes => {}
            Answer::No(404, _) => return (State::Create, String::new()),
            Answer::No(403, words) => {
                return (State::Failed, format!("it cannot be looked at: {words}"));
            }
            Answer::No(405, words) => return (State::Conflict, words),
            Answer::No(_, words) | Answer::Silence(words) => return (State::Failed, words),
        }
        if matches!(thing, Thing::SomeExchange(_) | Thing::SomeQueue(_)) {
            return (State::Exists, String::new());
        }
        match self.declare(thing, false).await {
            Answer::Yes => (State::Exists, String::new()),
            Answer::No(403, words) => {
                (State::Failed, format!("it is there, and cannot be compared: {words}"))
            }
            Answer::No(_, words) => (State::Conflict, words),
            Answer::Silence(words) => (State::Failed, words),
        }
    }

    /// Makes a thing.
    pub(in crate::bridge) async fn make(&mut self, thing: &Thing) -> Finding {
        match self.declare(thing, false).await {
            Answer::Yes => (State::Created, String::new()),
            Answer::No(_, words) | Answer::Silence(words) => (State::Failed, words),
        }
    }

    async fn declare(&mut self, thing: &Thing, passive: bool) -> Answer {
        let deadline = self.broker.connect_timeout;
        let connection = match self.connection().await {
            Ok(connection) => connection,
            Err(words) => return Answer::Silence(words),
        };
        let asking = async {
            let channel = connection.create_channel().await?;
            let answer = ask(&channel, thing, passive).await;
            if answer.is_ok() {
                channel.close(200, "asked".into()).await?;
            }
            answer
        };
        match timeout(deadline, asking).await {
            Ok(Ok(())) => Answer::Yes,
            Ok(Err(error)) => match errors::code(&error) {
                Some(code) => Answer::No(code, errors::describe(&error)),
                None => Answer::Silence(errors::describe(&error)),
            },
            Err(_) => Answer::Silence(format!("no answer within {deadline:?}")),
        }
    }
}

async fn ask(channel: &Channel, thing: &Thing, passive: bool) -> lapin::Result<()> {
    match thing {
        Thing::Exchange(exchange) => topology::declare_exchange(channel, exchange, passive).await,
        Thing::Queue(queue) => topology::declare_queue(channel, queue, passive).await,
        Thing::Binding(binding) => topology::bind(channel, binding).await,
        // Of these only the name is known, which is all that a passive declaration looks at.
        Thing::SomeExchange(name) => {
            let exchange = ExchangeDeclare::new(name, ExchangeKind::Direct);
            topology::declare_exchange(channel, &exchange, true).await
        }
        Thing::SomeQueue(name) => {
            let queue = QueueDeclare::new(name, QueueKind::Classic);
            topology::declare_queue(channel, &queue, true).await
        }
    }
}
