//! Typed headers in JSON, so that they come back as what they were.
//!
//! What JSON can say, it says: texts, `true` and `false`, `null` (void), lists, objects (tables), whole numbers (signed,
//! 64 bits) and numbers with a fraction or exponent (64 bits). Any other type is an object with one key that begins with
//! `$` and names the type: `{"$u8": 5}`. A table with a key of its own that begins with `$` is written as
//! `{"$table": {…}}`.
//!
//! | key | value |
//! | --- | --- |
//! | `$i8` `$u8` `$i16` `$u16` `$i32` `$u32` | a whole number |
//! | `$f32` `$f64` | a text with the number, or its bits in hexadecimal digits behind `0x` if it is no finite one |
//! | `$decimal` | a list of the digits as a whole number and how many are behind the point |
//! | `$timestamp` | seconds since the Unix epoch |
//! | `$text` | base64 of a text that is not UTF-8 |
//! | `$bytes` | base64 of bytes |
//! | `$table` | an object whose keys are taken as they are |

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::base64;
use crate::bridge::properties::{SHORT_LEN_MAX, Table, Value};

/// A table that is written as a plain object.
pub(super) struct Plain<'a>(pub(super) &'a Table);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, Typed(value))))
    }
}

struct Typed<'a>(&'a Value);

impl Serialize for Typed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Void => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::I64(value) => serializer.serialize_i64(*value),
            Value::I8(value) => tagged(serializer, "$i8", value),
            Value::U8(value) => tagged(serializer, "$u8", value),
            Value::I16(value) => tagged(serializer, "$i16", value),
            Value::U16(value) => tagged(serializer, "$u16", value),
            Value::I32(value) => tagged(serializer, "$i32", value),
            Value::U32(value) => tagged(serializer, "$u32", value),
            Value::F32(value) if value.is_finite() => {
                tagged(serializer, "$f32", &value.to_string())
            }
            Value::F32(value) => tagged(serializer, "$f32", &format!("{:#x}", value.to_bits())),
            Value::F64(value) if is_read_back(*value) => serializer.serialize_f64(*value),
            Value::F64(value) if value.is_finite() => {
                tagged(serializer, "$f64", &value.to_string())
            }
            Value::F64(value) => tagged(serializer, "$f64", &format!("{:#x}", value.to_bits())),
            Value::Decimal { scale, value } => tagged(serializer, "$decimal", &(value, scale)),
            Value::Timestamp(seconds) => tagged(serializer, "$timestamp", seconds),
            Value::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => serializer.serialize_str(text),
                Err(_) => tagged(serializer, "$text", &base64::encode(bytes)),
            },
            Value::Bytes(bytes) => tagged(serializer, "$bytes", &base64::encode(bytes)),
            Value::Array(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    list.serialize_element(&Self(value))?;
                }
                list.end()
            }
            Value::Table(table) if table.keys().any(|name| name.starts_with('$')) => {
                tagged(serializer, "$table", &Plain(table))
            }
            Value::Table(table) => Plain(table).serialize(serializer),
        }
    }
}

/// Whether a number survives being written and read as JSON. The parser may be off by the last bit of a long fraction.
fn is_read_back(value: f64) -> bool {
    let back: Option<f64> =
        serde_json::to_string(&value).ok().and_then(|text| serde_json::from_str(&text).ok());
    back.is_some_and(|back| back.to_bits() == value.to_bits())
}

fn tagged<S: Serializer, T: Serialize + ?Sized>(
    serializer: S,
    tag: &'static str,
    value: &T,
) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_map(Some(1))?;
    object.serialize_entry(tag, value)?;
    object.end()
}

/// Headers as they are read: a plain object.
#[derive(Debug, Default)]
pub(super) struct Headers(pub(super) Table);

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PlainVisitor)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Headers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of headers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
        let mut table = Table::new();
        while let Some(name) = map.next_key::<String>()? {
            entry(&mut table, name, &mut map)?;
        }
        Ok(Headers(table))
    }
}

/// Reads the value of `name` into `table`.
fn entry<'de, A: MapAccess<'de>>(
    table: &mut Table,
    name: String,
    map: &mut A,
) -> Result<(), A::Error> {
    if name.len() > SHORT_LEN_MAX {
        return Err(A::Error::custom(format!(
            "the name of a header has {} bytes, AMQP allows {SHORT_LEN_MAX}",
            name.len()
        )));
    }
    let value = map.next_value_seed(ValueSeed)?;
    table.insert(name, value);
    Ok(())
}

struct ValueSeed;

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value of a header")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Void)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::I64(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value)
            .map(Value::I64)
            .map_err(|_| E::custom(format!("{value} does not fit into 64 bits with a sign")))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::F64(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(ValueSeed)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut table = Table::new();
        while let Some(name) = map.next_key::<String>()? {
            if !name.starts_with('$') {
                entry(&mut table, name, &mut map)?;
                continue;
            }
            let value = typed(&name, &mut map)?;
            if !table.is_empty() || map.next_key::<String>()?.is_some() {
                return Err(A::Error::custom(format!(
                    "{name} beside other keys: a table with a key that begins with $ is written as {{\"$table\": …}}"
                )));
            }
            return Ok(value);
        }
        Ok(Value::Table(table))
    }
}

/// The value behind a tag.
fn typed<'de, A: MapAccess<'de>>(tag: &str, map: &mut A) -> Result<Value, A::Error> {
    let bytes = |text: String| {
        base64::decode(&text).ok_or_else(|| A::Error::custom(format!("{tag}: not base64")))
    };
    Ok(match tag {
        "$i8" => Value::I8(map.next_value()?),
        "$u8" => Value::U8(map.next_value()?),
        "$i16" => Value::I16(map.next_value()?),
        "$u16" => Value::U16(map.next_value()?),
        "$i32" => Value::I32(map.next_value()?),
        "$u32" => Value::U32(map.next_value()?),
        "$timestamp" => Value::Timestamp(map.next_value()?),
        "$decimal" => {
            let (value, scale) = map.next_value()?;
            Value::Decimal { scale, value }
        }
        "$f32" => {
            let text: String = map.next_value()?;
            let value = match text.strip_prefix("0x") {
                Some(bits) => u32::from_str_radix(bits, 16).ok().map(f32::from_bits),
                None => text.parse().ok(),
            };
            Value::F32(value.ok_or_else(|| A::Error::custom(format!("{tag}: not a number")))?)
        }
        "$f64" => {
            let text: String = map.next_value()?;
            let value = match text.strip_prefix("0x") {
                Some(bits) => u64::from_str_radix(bits, 16).ok().map(f64::from_bits),
                None => text.parse().ok(),
            };
            Value::F64(value.ok_or_else(|| A::Error::custom(format!("{tag}: not a number")))?)
        }
        "$text" => Value::Text(bytes(map.next_value()?)?),
        "$bytes" => Value::Bytes(bytes(map.next_value()?)?),
        "$table" => Value::Table(map.next_value::<Headers>()?.0),
        _ => return Err(A::Error::custom(format!("{tag} is not a type of header"))),
    })
}
