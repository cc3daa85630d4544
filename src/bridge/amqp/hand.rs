//! Takes messages out of a queue one by one, for a person who looks at them, and puts back what stays.
//!
//! AMQP has no way to look without taking: what was got and not acknowledged goes back to its place, marked as redelivered,
//! and a quorum queue counts that as a delivery.

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
};
use lapin::{Channel, Confirmation, Connection};
use tokio::time::timeout;

use super::connect;
use super::socket::Plug;
use super::{errors, properties};
use crate::bridge::broker::BrokerOptions;
use crate::bridge::properties::Properties;

/// A connection with one channel, which holds what it has got.
pub(in crate::bridge) struct Hand {
    broker: BrokerOptions,
    connection: Connection,
    plug: Plug,
    channel: Channel,
}

/// A message in hand.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::bridge) struct Got {
    /// What it is acknowledged by.
    pub(in crate::bridge) tag: u64,
    pub(in crate::bridge) exchange: String,
    pub(in crate::bridge) routing_key: String,
    pub(in crate::bridge) redelivered: bool,
    pub(in crate::bridge) properties: Properties,
    pub(in crate::bridge) body: Vec<u8>,
    /// How many are in the queue behind it.
    pub(in crate::bridge) left: u32,
}

impl Hand {
    /// Connects to the broker.
    ///
    /// # Errors
    /// The broker's words, or those of the way to it.
    pub(in crate::bridge) async fn open(broker: &BrokerOptions) -> Result<Self, String> {
        let (connection, plug) = connect::connect_once(broker, "by hand").await?;
        let opening = async {
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok(channel)
        };
        match within(broker, opening).await {
            Ok(channel) => Ok(Self { broker: broker.clone(), connection, plug, channel }),
            Err(words) => {
                plug.pull();
                Err(words)
            }
        }
    }

    /// The queue's first message; `None` if it is empty.
    ///
    /// # Errors
    /// The broker's words.
    pub(in crate::bridge) async fn get(&self, queue: &str) -> Result<Option<Got>, String> {
        let getting = self.channel.basic_get(queue.into(), BasicGetOptions::default());
        let got = within(&self.broker, getting).await?;
        Ok(got.map(|got| Got {
            tag: got.delivery.delivery_tag,
            exchange: got.delivery.exchange.to_string(),
            routing_key: got.delivery.routing_key.to_string(),
            redelivered: got.delivery.redelivered,
            properties: properties::from_amqp(&got.delivery.properties),
            body: got.delivery.data,
            left: got.message_count,
        }))
    }

    /// Ends a message's life in its queue.
    ///
    /// # Errors
    /// The broker's words.
    pub(in crate::bridge) async fn ack(&self, tag: u64) -> Result<(), String> {
        let acking = self.channel.basic_ack(tag, BasicAckOptions::default());
        within(&self.broker, acking).await
    }

    /// Publishes a message; it has arrived when this returns.
    ///
    /// # Errors
    /// Why it has not, in the broker's words.
    pub(in crate::bridge) async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        of: &Properties,
        body: &[u8],
    ) -> Result<(), String> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let publishing = async {
            let sent = self.channel.basic_publish(
                exchange.into(),
                routing_key.into(),
                options,
                body,
                properties::to_amqp(of),
            );
            sent.await?.await
        };
        // One at a time: a return can only be this message's.
        match within(&self.broker, publishing).await? {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => Err(format!(
                "{} ({}): no queue takes it there",
                returned.reply_text, returned.reply_code
            )),
            Confirmation::Nack(None) => Err("the broker could not take it (basic.nack)".to_owned()),
            Confirmation::NotRequested => Err("the broker confirms nothing".to_owned()),
        }
    }

    /// Gives back what is still in hand, and closes the connection. If that fails, the broker does it by itself.
    pub(in crate::bridge) async fn close(self) {
        let all = BasicNackOptions { multiple: true, requeue: true };
        // Tag 0 with `multiple` means all of them. A channel that the broker has closed has given them back.
        let giving = within(&self.broker, self.channel.basic_nack(0, all)).await;
        let closing = within(&self.broker, self.connection.close(200, "done".into())).await;
        tracing::debug!(polite = giving.and(closing).is_ok(), "connection closed");
        self.plug.pull();
    }
}

async fn within<T>(
    broker: &BrokerOptions,
    call: impl Future<Output = lapin::Result<T>>,
) -> Result<T, String> {
    match timeout(broker.connect_timeout, call).await {
        Ok(answer) => answer.map_err(|error| errors::describe(&error)),
        Err(_) => Err("the broker does not answer".to_owned()),
    }
}
