//! Declares what a route says must be there.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind as Kind};

use crate::bridge::route::{ExchangeKind, Topology};

/// Declares exchanges, queues and bindings, in this order. What exists just so is left as it is.
///
/// # Errors
/// The broker's, for example if something of that name exists otherwise; the channel is closed then.
pub(super) async fn declare(channel: &Channel, topology: &Topology) -> lapin::Result<()> {
    for exchange in &topology.exchanges {
        let kind = match exchange.kind {
            ExchangeKind::Direct => Kind::Direct,
            ExchangeKind::Fanout => Kind::Fanout,
            ExchangeKind::Topic => Kind::Topic,
            ExchangeKind::Headers => Kind::Headers,
        };
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let name = exchange.name.as_str().into();
        channel.exchange_declare(name, kind, options, FieldTable::default()).await?;
    }
    for queue in &topology.queues {
        let mut arguments = FieldTable::default();
        let kind = AMQPValue::LongString(queue.kind.as_str().into());
        arguments.insert("x-queue-type".into(), kind);
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.name.as_str().into(), options, arguments).await?;
    }
    for binding in &topology.bindings {
        channel
            .queue_bind(
                binding.queue.as_str().into(),
                binding.exchange.as_str().into(),
                binding.routing_key.as_str().into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
    }
    Ok(())
}
