//! Where things at a broker are made, emptied, counted and deleted, one after the other.

use std::sync::Arc;

use lapin::Channel;
use lapin::options::{
    ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use tokio::time::timeout;

use super::link::{Link, State, Up};
use super::{errors, topology};
use crate::bridge::topology::Topology;

/// See the module's description. A refusal closes its channel; the next call opens another.
pub(in crate::bridge) struct Desk {
    link: Arc<Link>,
    up: Up,
    channel: Option<Channel>,
}

/// What a broker, or the way to it, has against a call.
enum Failure {
    Refused(lapin::Error),
    Silence,
}

impl Desk {
    /// Waits until the link is up.
    ///
    /// # Errors
    /// What somebody has to mend before that, in words.
    pub(in crate::bridge) async fn open(link: &Arc<Link>) -> Result<Self, String> {
        let mut state = link.watch_state();
        loop {
            match &state.borrow_and_update().0 {
                State::Up { up, .. } => {
                    let (link, up) = (Arc::clone(link), up.clone());
                    return Ok(Self { link, up, channel: None });
                }
                State::Down { error: Some(words), lasting: true, .. } => {
                    return Err(format!("broker {}: {words}", link.broker().name));
                }
                State::Down { .. } => {}
            }
            if state.changed().await.is_err() {
                return Err("the connection is given up".to_owned());
            }
        }
    }

    async fn call<T>(
        &mut self,
        what: impl AsyncFnOnce(&Channel) -> lapin::Result<T>,
    ) -> Result<T, String> {
        let connection = Arc::clone(&self.up.connection);
        let open = self.channel.take().filter(|channel| channel.status().connected());
        let calling = async {
            let channel = match open {
                Some(channel) => channel,
                None => connection.create_channel().await.map_err(Failure::Refused)?,
            };
            let done = what(&channel).await.map_err(Failure::Refused)?;
            Ok((channel, done))
        };
        let limit = self.link.broker().connect_timeout;
        // Apart, as it is large.
        match timeout(limit, Box::pin(calling)).await.unwrap_or(Err(Failure::Silence)) {
            Ok((channel, done)) => {
                self.channel = Some(channel);
                Ok(done)
            }
            Err(failure) => Err(self.explain(failure)),
        }
    }

    fn explain(&self, failure: Failure) -> String {
        let words = match failure {
            Failure::Silence => "the broker does not answer".to_owned(),
            Failure::Refused(error) => errors::describe(&error),
        };
        if !self.up.connection.status().connected() {
            self.link.give_up(self.up.generation, words.clone());
        }
        format!("broker {}: {words}", self.link.broker().name)
    }

    /// Makes sure of exchanges, queues and bindings.
    ///
    /// # Errors
    /// The broker's words.
    pub(in crate::bridge) async fn declare(&mut self, topology: &Topology) -> Result<(), String> {
        self.call(async |channel| topology::declare(channel, topology).await).await
    }

    /// Deletes a queue with all that is in it, or with `if_unused` one that nobody consumes. One that is not there is well.
    ///
    /// # Errors
    /// The broker's words.
    pub(in crate::bridge) async fn delete_queue(
        &mut self,
        name: &str,
        if_unused: bool,
    ) -> Result<(), String> {
        let options = QueueDeleteOptions { if_unused, ..QueueDeleteOptions::default() };
        self.call(async |channel| match channel.queue_delete(name.into(), options).await {
            // Somebody consumes it.
            Err(error) if if_unused && errors::code(&error) == Some(406) => Ok(()),
            deleted => deleted.map(drop),
        })
        .await
    }

    /// Deletes an exchange, or with `if_unused` one that nothing is bound to. One that is not there is well.
    ///
    /// # Errors
    /// The broker's words.
    pub(in crate::bridge) async fn delete_exchange(
        &mut self,
        name: &str,
        if_unused: bool,
    ) -> Result<(), String> {
        let options = ExchangeDeleteOptions { if_unused, ..ExchangeDeleteOptions::default() };
        self.call(async |channel| match channel.exchange_delete(name.into(), options).await {
            Err(error) if if_unused && errors::code(&error) == Some(406) => Ok(()),
            deleted => deleted,
        })
        .await
    }

    /// Drops all messages of a queue that no consumer has.
    ///
    /// # Errors
    /// The broker's words.
    pub(in crate::bridge) async fn purge(&mut self, queue: &str) -> Result<(), String> {
        let options = QueuePurgeOptions::default();
        self.call(async |channel| channel.queue_purge(queue.into(), options).await.map(drop)).await
    }

    /// Messages of a queue that no consumer has; none if there is no such queue.
    ///
    /// # Errors
    /// The broker's words.
    pub(in crate::bridge) async fn count(&mut self, queue: &str) -> Result<u64, String> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        self.call(async |channel| {
            match channel.queue_declare(queue.into(), options, FieldTable::default()).await {
                Ok(queue) => Ok(queue.message_count().into()),
                Err(error) if errors::code(&error) == Some(404) => Ok(0),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Gives the channel back.
    pub(in crate::bridge) async fn close(mut self) {
        let Some(channel) = self.channel.take().filter(|channel| channel.status().connected())
        else {
            return;
        };
        let closing = channel.close(200, "done".into());
        if let Ok(Err(error)) = timeout(self.link.broker().connect_timeout, closing).await {
            tracing::debug!(%error, "a channel was not closed politely");
        }
    }
}
