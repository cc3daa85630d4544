//! Properties and headers between lapin's types and ours. Nothing is lost either way.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, ShortString};

use crate::bridge::properties::{Properties, Table, Value};

/// The properties of a delivery or a returned message.
pub(super) fn from_amqp(properties: &BasicProperties) -> Properties {
    let text = |value: &Option<ShortString>| value.as_ref().map(|text| text.as_str().to_owned());
    Properties {
        content_type: text(properties.content_type()),
        content_encoding: text(properties.content_encoding()),
        delivery_mode: *properties.delivery_mode(),
        priority: *properties.priority(),
        correlation_id: text(properties.correlation_id()),
        reply_to: text(properties.reply_to()),
        expiration: text(properties.expiration()),
        message_id: text(properties.message_id()),
        timestamp: *properties.timestamp(),
        kind: text(properties.kind()),
        user_id: text(properties.user_id()),
        app_id: text(properties.app_id()),
        headers: properties.headers().as_ref().map(table_from_amqp).unwrap_or_default(),
    }
}

/// The properties to publish with: all of them but `user_id`, which RabbitMQ would hold against the connection's user.
pub(super) fn to_amqp(properties: &Properties) -> BasicProperties {
    let mut out = BasicProperties::default();
    let Properties {
        content_type,
        content_encoding,
        delivery_mode,
        priority,
        correlation_id,
        reply_to,
        expiration,
        message_id,
        timestamp,
        kind,
        user_id: _,
        app_id,
        headers,
    } = properties;
    if let Some(text) = content_type {
        out = out.with_content_type(text.as_str().into());
    }
    if let Some(text) = content_encoding {
        out = out.with_content_encoding(text.as_str().into());
    }
    if let Some(mode) = delivery_mode {
        out = out.with_delivery_mode(*mode);
    }
    if let Some(priority) = priority {
        out = out.with_priority(*priority);
    }
    if let Some(text) = correlation_id {
        out = out.with_correlation_id(text.as_str().into());
    }
    if let Some(text) = reply_to {
        out = out.with_reply_to(text.as_str().into());
    }
    if let Some(text) = expiration {
        out = out.with_expiration(text.as_str().into());
    }
    if let Some(text) = message_id {
        out = out.with_message_id(text.as_str().into());
    }
    if let Some(seconds) = timestamp {
        out = out.with_timestamp(*seconds);
    }
    if let Some(text) = kind {
        out = out.with_type(text.as_str().into());
    }
    if let Some(text) = app_id {
        out = out.with_app_id(text.as_str().into());
    }
    if !headers.is_empty() {
        out = out.with_headers(table_to_amqp(headers));
    }
    out
}

/// A table as RabbitMQ sent it.
pub(super) fn table_from_amqp(table: &FieldTable) -> Table {
    let entry = |(name, value): (&ShortString, &AMQPValue)| {
        (name.as_str().to_owned(), value_from_amqp(value))
    };
    table.inner().iter().map(entry).collect()
}

/// A table to send.
pub(super) fn table_to_amqp(table: &Table) -> FieldTable {
    let mut out = FieldTable::default();
    for (name, value) in table {
        out.insert(name.as_str().into(), value_to_amqp(value));
    }
    out
}

fn value_from_amqp(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => Value::Bool(*value),
        AMQPValue::ShortShortInt(value) => Value::I8(*value),
        AMQPValue::ShortShortUInt(value) => Value::U8(*value),
        AMQPValue::ShortInt(value) => Value::I16(*value),
        AMQPValue::ShortUInt(value) => Value::U16(*value),
        AMQPValue::LongInt(value) => Value::I32(*value),
        AMQPValue::LongUInt(value) => Value::U32(*value),
        AMQPValue::LongLongInt(value) => Value::I64(*value),
        AMQPValue::Float(value) => Value::F32(*value),
        AMQPValue::Double(value) => Value::F64(*value),
        AMQPValue::DecimalValue(value) => Value::Decimal { scale: value.scale, value: value.value },
        // lapin's own: RabbitMQ has no field of that type, so it never arrives.
        AMQPValue::ShortString(text) => Value::Text(text.as_str().into()),
        AMQPValue::LongString(text) => Value::Text(text.as_bytes().to_vec()),
        AMQPValue::FieldArray(values) => {
            Value::Array(values.as_slice().iter().map(value_from_amqp).collect())
        }
        AMQPValue::Timestamp(seconds) => Value::Timestamp(*seconds),
        AMQPValue::FieldTable(table) => Value::Table(table_from_amqp(table)),
        AMQPValue::ByteArray(bytes) => Value::Bytes(bytes.as_slice().to_vec()),
        AMQPValue::Void => Value::Void,
    }
}

fn value_to_amqp(value: &Value) -> AMQPValue {
    match value {
        Value::Void => AMQPValue::Void,
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::I8(value) => AMQPValue::ShortShortInt(*value),
        Value::U8(value) => AMQPValue::ShortShortUInt(*value),
        Value::I16(value) => AMQPValue::ShortInt(*value),
        Value::U16(value) => AMQPValue::ShortUInt(*value),
        Value::I32(value) => AMQPValue::LongInt(*value),
        Value::U32(value) => AMQPValue::LongUInt(*value),
        Value::I64(value) => AMQPValue::LongLongInt(*value),
        Value::F32(value) => AMQPValue::Float(*value),
        Value::F64(value) => AMQPValue::Double(*value),
        Value::Decimal { scale, value } => {
            AMQPValue::DecimalValue(DecimalValue { scale: *scale, value: *value })
        }
        Value::Text(bytes) => AMQPValue::LongString(bytes.as_slice().into()),
        Value::Bytes(bytes) => AMQPValue::ByteArray(ByteArray::from(bytes.clone())),
        Value::Timestamp(seconds) => AMQPValue::Timestamp(*seconds),
        Value::Array(values) => {
            let values: Vec<AMQPValue> = values.iter().map(value_to_amqp).collect();
            AMQPValue::FieldArray(FieldArray::from(values))
        }
        Value::Table(table) => AMQPValue::FieldTable(table_to_amqp(table)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use lapin::protocol::basic::gen_properties;
    use proptest::prelude::*;

    use super::*;
    use crate::bridge::properties::arbitrary;

    proptest! {
        #[test]
        fn properties_come_back_as_they_went(properties in arbitrary::properties()) {
            let back = from_amqp(&to_amqp(&properties));
            prop_assert_eq!(back, Properties { user_id: None, ..properties });
        }

        #[test]
        fn the_length_is_that_on_the_wire(properties in arbitrary::properties()) {
            let sent = to_amqp(&properties);
            let mut wire = vec![0; 1 << 16];
            let wire = Cursor::new(wire.as_mut_slice()).into();
            let context = gen_properties(&sent)(wire);
            let position = context.map(|context| context.position).unwrap_or_default();
            let properties = Properties { user_id: None, ..properties };
            prop_assert_eq!(position, properties.encoded_len() as u64);
        }
    }
}
