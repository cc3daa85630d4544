//! Headers and properties as values of the template language.

use minijinja::Value;

use super::paths::Paths;
use crate::bridge::properties::{Properties, Property, Value as Header};

/// The headers that `paths` names, or all of them.
pub(super) fn headers(of: Option<&Properties>, paths: &Paths) -> Value {
    let Some(headers) = of.map(|properties| &properties.headers) else {
        return Value::from_iter(std::iter::empty::<(&str, Value)>());
    };
    match paths.names() {
        Some(names) => {
            names.filter_map(|name| headers.get(name).map(|header| (name, value(header)))).collect()
        }
        None => headers.iter().map(|(name, header)| (name.as_str(), value(header))).collect(),
    }
}

/// The properties that `paths` names, or all of them. One that the message does not have is missing.
pub(super) fn properties(of: Option<&Properties>, paths: &Paths) -> Value {
    let entry = |property: Property| {
        let properties = of?;
        let text = properties.text(property).map(Value::from);
        let value = text.or_else(|| properties.number(property).map(Value::from));
        value.map(|value| (property.name(), value))
    };
    match paths.names() {
        Some(names) => names.filter_map(Property::by_name).filter_map(entry).collect(),
        None => Property::ALL.into_iter().filter_map(entry).collect(),
    }
}

fn value(header: &Header) -> Value {
    match header {
        Header::Void => Value::from(()),
        Header::Bool(value) => (*value).into(),
        Header::I8(value) => (*value).into(),
        Header::U8(value) => (*value).into(),
        Header::I16(value) => (*value).into(),
        Header::U16(value) => (*value).into(),
        Header::I32(value) => (*value).into(),
        Header::U32(value) => (*value).into(),
        Header::I64(value) => (*value).into(),
        Header::F32(value) => (*value).into(),
        Header::F64(value) => (*value).into(),
        Header::Decimal { scale, value } => {
            (f64::from(*value) / 10_f64.powi((*scale).into())).into()
        }
        Header::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => Value::from_bytes(bytes.clone()),
        },
        Header::Bytes(bytes) => Value::from_bytes(bytes.clone()),
        Header::Timestamp(seconds) => (*seconds).into(),
        Header::Array(values) => values.iter().map(value).collect(),
        Header::Table(table) => {
            table.iter().map(|(name, header)| (name.as_str(), value(header))).collect()
        }
    }
}
