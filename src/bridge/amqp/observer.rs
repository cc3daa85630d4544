//! Looks at the messages of a queue, a stream or an exchange without taking any from whoever they are for.

use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio::sync::{mpsc, oneshot};

use super::connect;
use super::properties::from_amqp;
use super::{errors, topology};
use crate::bridge::broker::BrokerOptions;
use crate::bridge::compare::side::Seen;
use crate::bridge::route::StreamOffset;

/// Deliveries of a stream that may be unacknowledged; streams ask for a bound.
const STREAM_PREFETCH: u16 = 500;

/// What to look at.
#[derive(Clone, Debug)]
pub(in crate::bridge) enum Sight {
    /// What is in a queue; it is given back when the connection closes.
    Queue(String),
    /// What an exchange passes on, with the key of the binding.
    Exchange(String, String),
    /// A stream, from where.
    Stream(String, StreamOffset),
}

/// Looks until the receiver is gone, or the connection.
///
/// # Errors
/// The broker's words.
pub(in crate::bridge) async fn observe(
    broker: &BrokerOptions,
    sight: &Sight,
    ready: oneshot::Sender<()>,
    seen: mpsc::Sender<Seen>,
) -> Result<(), String> {
    let (connection, plug) = connect::connect_once(broker, "compare").await?;
    let looking = look(&connection, sight, ready, seen).await;
    // Whether it ends politely is of no interest: closing gives everything back.
    drop(connection.close(200, "closing".into()).await);
    plug.pull();
    looking
}

async fn look(
    connection: &Connection,
    sight: &Sight,
    ready: oneshot::Sender<()>,
    seen: mpsc::Sender<Seen>,
) -> Result<(), String> {
    let words = |error: lapin::Error| errors::describe(&error);
    let channel = connection.create_channel().await.map_err(words)?;
    let mut consumer = consume(&channel, sight).await.map_err(words)?;
    if ready.send(()).is_err() {
        return Ok(());
    }
    loop {
        let delivery = tokio::select! {
            () = seen.closed() => return Ok(()),
            delivery = consumer.next() => delivery,
        };
        let delivery = match delivery {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return Err(errors::describe(&error)),
            None => return Err("the broker cancelled the consumer".to_owned()),
        };
        if matches!(sight, Sight::Stream(..)) {
            // An ack is a stream's credit for more, and settles nothing.
            channel
                .basic_ack(delivery.delivery_tag, BasicAckOptions::default())
                .await
                .map_err(words)?;
        }
        let properties = &delivery.properties;
        let id = properties.message_id().as_ref().map(|id| id.as_str().to_owned());
        let seconds = i64::try_from(properties.timestamp().unwrap_or(0)).unwrap_or(0);
        let message = Seen {
            id: id.unwrap_or_default(),
            remote_id: None,
            timestamp: seconds.saturating_mul(1_000_000_000),
            topic: String::new(),
            properties: Some(std::sync::Arc::new(from_amqp(properties))),
            body: delivery.data.into(),
        };
        if seen.send(message).await.is_err() {
            return Ok(());
        }
    }
}

async fn consume(channel: &Channel, sight: &Sight) -> lapin::Result<Consumer> {
    let none = FieldTable::default;
    let plain = BasicConsumeOptions::default();
    match sight {
        Sight::Queue(queue) => {
            // Without a prefetch: everything is unacknowledged at once, and comes back when the channel closes.
            channel.basic_consume(queue.as_str().into(), "".into(), plain, none()).await
        }
        Sight::Stream(queue, offset) => {
            channel.basic_qos(STREAM_PREFETCH, BasicQosOptions::default()).await?;
            let from = topology::offset_table(Some(offset));
            channel.basic_consume(queue.as_str().into(), "".into(), plain, from).await
        }
        Sight::Exchange(exchange, key) => {
            let own =
                QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
            let queue = channel.queue_declare("".into(), own, none()).await?.name().clone();
            let (exchange, key) = (exchange.as_str().into(), key.as_str().into());
            channel
                .queue_bind(queue.clone(), exchange, key, QueueBindOptions::default(), none())
                .await?;
            let options = BasicConsumeOptions { no_ack: true, ..plain };
            channel.basic_consume(queue, "".into(), options, none()).await
        }
    }
}
