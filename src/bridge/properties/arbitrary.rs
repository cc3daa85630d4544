//! Arbitrary properties and values for property tests.

use proptest::prelude::*;

use super::*;

/// Any value, nested up to three levels.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Void),
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::I8),
        any::<u8>().prop_map(Value::U8),
        any::<i16>().prop_map(Value::I16),
        any::<u16>().prop_map(Value::U16),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        prop_oneof![any::<f32>(), Just(f32::INFINITY)].prop_map(Value::F32),
        prop_oneof![any::<f64>(), Just(f64::NEG_INFINITY), Just(-0.0)].prop_map(Value::F64),
        (any::<u8>(), any::<u32>()).prop_map(|(scale, value)| Value::Decimal { scale, value }),
        "\\PC{0,12}".prop_map(|text| Value::Text(text.into_bytes())),
        proptest::collection::vec(any::<u8>(), 0..12).prop_map(Value::Text),
        proptest::collection::vec(any::<u8>(), 0..12).prop_map(Value::Bytes),
        any::<u64>().prop_map(Value::Timestamp),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::btree_map(name(), inner, 0..4).prop_map(Value::Table),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[$]?[a-z0-9-]{1,6}", "[$](i8|bytes|table|u16|text)", "\\PC{0,6}"]
}

pub(crate) fn table() -> impl Strategy<Value = Table> {
    proptest::collection::btree_map(name(), value(), 0..6)
}

pub(crate) fn properties() -> impl Strategy<Value = Properties> {
    fn text() -> impl Strategy<Value = Option<String>> {
        proptest::option::of("\\PC{0,10}")
    }
    let texts = proptest::array::uniform9(text());
    let numbers = (any::<Option<u8>>(), any::<Option<u8>>(), any::<Option<u64>>());
    (texts, numbers, table()).prop_map(|(texts, (delivery_mode, priority, timestamp), headers)| {
        let [content_type, content_encoding, correlation_id, reply_to, expiration, rest @ ..] =
            texts;
        let [message_id, kind, user_id, app_id] = rest;
        Properties {
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
            user_id,
            app_id,
            headers,
        }
    })
}
