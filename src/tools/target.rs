//! One nsqd that a utility publishes to.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::client::{Addresses, ClientOptions};
use super::program::ToolError;
use crate::client::producer::Publish;
use crate::client::{Health, Producer, ProducerOptions, Refusal, Work};

/// How long an answer may take, a lost connection that is made again included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// See the module's description.
pub(super) struct Target {
    address: String,
    producer: Producer<Publish>,
    _work: Work,
}

/// An answer that is to come.
pub(super) type Answer = oneshot::Receiver<Result<(), Refusal>>;

impl Target {
    /// Begins to connect.
    pub(super) async fn start(address: &str, client: &ClientOptions) -> Result<Self, ToolError> {
        let options = ProducerOptions {
            addresses: Addresses { nsqd: vec![address.to_owned()], lookupd: Vec::new() },
            lookupd_interval: client.lookupd_interval,
            response_timeout: ANSWER_TIMEOUT,
            connect: client.connect.clone(),
        };
        let starting = tokio::task::spawn_blocking(move || Producer::start(&options));
        let started = starting.await.map_err(|error| ToolError::Setup(error.to_string()))?;
        let (producer, work) = started.map_err(|error| ToolError::Setup(error.to_string()))?;
        Ok(Self { address: address.to_owned(), producer, _work: work })
    }

    /// Sends a message; it is there once its [answer](Target::answered) says so.
    pub(super) fn push(&self, topic: &str, body: Bytes) -> Answer {
        let (publish, answer) = Publish::new(topic, vec![body]);
        self.producer.push(publish);
        answer
    }

    /// Awaits an answer.
    pub(super) async fn answered(&self, answer: Answer) -> Result<(), ToolError> {
        match timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(refusal))) => Err(self.failed(refusal.to_string())),
            Ok(Err(_)) => Err(self.failed("its connection was given up".into())),
            Err(_) => Err(self.failed(format!("no answer within {ANSWER_TIMEOUT:?}"))),
        }
    }

    /// Waits until it is connected, for so long at most.
    pub(super) async fn up(&self, patience: Duration) -> Result<(), ToolError> {
        let mut health = self.producer.health();
        let up = health.wait_for(|health| *health == Health::Up);
        if matches!(timeout(patience, up).await, Ok(Ok(_))) {
            return Ok(());
        }
        Err(self.failed(match &*self.producer.health().borrow() {
            Health::Up => "no connection in time".to_owned(),
            Health::Waiting(reason) | Health::Failed(reason) => reason.clone(),
        }))
    }

    fn failed(&self, reason: String) -> ToolError {
        ToolError::Publish { address: self.address.clone(), reason }
    }
}
