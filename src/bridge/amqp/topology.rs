//! Declares what a route says must be there, and looks whether it is.

use std::collections::BTreeMap;

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{Channel, ExchangeKind as Kind};

use crate::bridge::topology::{
    Argument, Arguments, Binding, Destination, ExchangeDeclare, ExchangeKind, QueueDeclare,
    StreamOffset, Topology,
};

/// Declares exchanges, queues and bindings, in this order. What exists just so is left as it is. If the topology is
/// passive, exchanges and queues are looked for, and bindings, which cannot be, are left alone.
///
/// # Errors
/// The broker's, for example if something of that name exists otherwise; the channel is closed then.
pub(super) async fn declare(channel: &Channel, topology: &Topology) -> lapin::Result<()> {
    for exchange in &topology.exchanges {
        declare_exchange(channel, exchange, topology.passive).await?;
    }
    for queue in &topology.queues {
        declare_queue(channel, queue, topology.passive).await?;
    }
    for binding in topology.bindings.iter().filter(|_| !topology.passive) {
        bind(channel, binding).await?;
    }
    Ok(())
}

/// Declares an exchange, or only looks for one of its name.
///
/// # Errors
/// The broker's.
pub(super) async fn declare_exchange(
    channel: &Channel,
    exchange: &ExchangeDeclare,
    passive: bool,
) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions {
        passive,
        durable: exchange.durable,
        auto_delete: exchange.auto_delete,
        internal: exchange.internal,
        nowait: false,
    };
    let name = exchange.name.as_str().into();
    channel.exchange_declare(name, kind(&exchange.kind), options, table(&exchange.arguments)).await
}

/// Declares a queue, or only looks for one of its name.
///
/// # Errors
/// The broker's.
pub(super) async fn declare_queue(
    channel: &Channel,
    queue: &QueueDeclare,
    passive: bool,
) -> lapin::Result<()> {
    let mut arguments = table(&queue.arguments);
    let kind = AMQPValue::LongString(queue.kind.as_str().into());
    arguments.insert("x-queue-type".into(), kind);
    let options = QueueDeclareOptions {
        passive,
        durable: queue.durable,
        auto_delete: queue.auto_delete,
        ..QueueDeclareOptions::default()
    };
    channel.queue_declare(queue.name.as_str().into(), options, arguments).await.map(drop)
}

/// Makes a binding; one that is there is left as it is.
///
/// # Errors
/// The broker's.
pub(super) async fn bind(channel: &Channel, binding: &Binding) -> lapin::Result<()> {
    let (exchange, key) = (binding.exchange.as_str().into(), binding.routing_key.as_str().into());
    let arguments = table(&binding.arguments);
    match &binding.to {
        Destination::Queue(name) => {
            let options = QueueBindOptions::default();
            channel.queue_bind(name.as_str().into(), exchange, key, options, arguments).await
        }
        Destination::Exchange(name) => {
            let options = ExchangeBindOptions::default();
            channel.exchange_bind(name.as_str().into(), exchange, key, options, arguments).await
        }
    }
}

/// The arguments of a consumer that begins somewhere in a stream.
pub(super) fn offset_table(offset: Option<&StreamOffset>) -> FieldTable {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let value = match offset {
        None => return FieldTable::default(),
        Some(StreamOffset::First) => text("first"),
        Some(StreamOffset::Last) => text("last"),
        Some(StreamOffset::Next) => text("next"),
        Some(StreamOffset::Number(number)) => AMQPValue::LongLongInt(*number),
        Some(StreamOffset::Since(seconds)) => AMQPValue::Timestamp(*seconds),
        Some(StreamOffset::Ago(seconds)) => text(&format!("{seconds}s")),
    };
    FieldTable::from(BTreeMap::from([("x-stream-offset".into(), value)]))
}

fn kind(kind: &ExchangeKind) -> Kind {
    match kind {
        ExchangeKind::Direct => Kind::Direct,
        ExchangeKind::Fanout => Kind::Fanout,
        ExchangeKind::Topic => Kind::Topic,
        ExchangeKind::Headers => Kind::Headers,
        ExchangeKind::Plugin(name) => Kind::Custom(name.clone()),
    }
}

fn table(arguments: &Arguments) -> FieldTable {
    arguments
        .iter()
        .map(|(name, value)| (name.as_str().into(), field(value)))
        .collect::<BTreeMap<_, _>>()
        .into()
}

fn field(value: &Argument) -> AMQPValue {
    match value {
        Argument::Boolean(value) => AMQPValue::Boolean(*value),
        Argument::Integer(value) => AMQPValue::LongLongInt(*value),
        Argument::Text(value) => AMQPValue::LongString(value.as_str().into()),
        Argument::List(values) => {
            let values: Vec<AMQPValue> = values.iter().map(field).collect();
            AMQPValue::FieldArray(FieldArray::from(values))
        }
        Argument::Table(values) => AMQPValue::FieldTable(table(values)),
    }
}
