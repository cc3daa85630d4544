//! Which messages pass, and what of them.

use bytes::Bytes;
use serde_json::{Map, Number, Value};

use crate::protocol::json::escaped;

/// What is asked of messages; the default is nothing. What is asked concerns the fields of a JSON object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The field that a message has to have.
    pub require_field: Option<String>,
    /// The value of that field: this text, or the number that it stands for.
    pub require_value: Option<String>,
    /// The fields that are passed on; all if there are none.
    pub whitelist: Vec<String>,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on with this body.
    Pass(Bytes),
    /// It is done.
    Drop,
    /// It comes again later.
    Fail,
}

impl Filter {
    /// What becomes of a message with this body. One without a field whose value matters comes again, as it does with the
    /// original; one with another value is dropped.
    pub(super) fn decide(&self, body: &Bytes) -> Verdict {
        if self.require_field.is_none() && self.whitelist.is_empty() {
            return Verdict::Pass(body.clone());
        }
        let object: Map<String, Value> = match serde_json::from_slice(body) {
            Ok(object) => object,
            Err(error) => {
                tracing::error!("unable to decode json: {error}; the message is dropped");
                return Verdict::Drop;
            }
        };
        if let Some(field) = &self.require_field {
            match (object.get(field), &self.require_value) {
                (None, None) => return Verdict::Drop,
                (None, Some(_)) => return Verdict::Fail,
                (Some(value), Some(wanted)) if !is_value(value, wanted) => return Verdict::Drop,
                (Some(_), _) => {}
            }
        }
        if self.whitelist.is_empty() {
            return Verdict::Pass(body.clone());
        }
        let kept: Map<String, Value> = object
            .into_iter()
            .filter(|(name, _)| self.whitelist.contains(name))
            .map(|(name, value)| (name, whole(value)))
            .collect();
        Verdict::Pass(escaped(&Value::Object(kept).to_string()).into_bytes().into())
    }
}

#[allow(clippy::float_cmp, reason = "the original asks for the very number")]
fn is_value(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Number(number) => {
            wanted.parse::<f64>().is_ok_and(|wanted| number.as_f64() == Some(wanted))
        }
        _ => false,
    }
}

/// A float that is a whole number as one.
fn whole(value: Value) -> Value {
    let float = value.as_f64().filter(|_| value.is_f64());
    // Exact up to 2^53.
    let is_whole = |float: &f64| float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0;
    #[allow(clippy::cast_possible_truncation, reason = "whole, and bounded just above")]
    match float.filter(is_whole) {
        Some(float) => Value::Number(Number::from(float as i64)),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(filter: &Filter, body: &'static str) -> Verdict {
        filter.decide(&Bytes::from_static(body.as_bytes()))
    }

    fn pass(body: &'static str) -> Verdict {
        Verdict::Pass(Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn without_a_filter_anything_passes() {
        assert_eq!(decide(&Filter::default(), "not JSON"), pass("not JSON"));
    }

    #[test]
    fn a_field_is_required() {
        let filter = Filter { require_field: Some("a".into()), ..Filter::default() };
        assert_eq!(decide(&filter, r#"{"a": null }"#), pass(r#"{"a": null }"#), "as it came");
        for body in [r#"{"b":1}"#, "not JSON", "[1]", "3"] {
            assert_eq!(decide(&filter, body), Verdict::Drop, "{body}");
        }
    }

    #[test]
    fn edge_160_another_value_is_dropped_and_a_missing_one_comes_again() {
        let wanted = |value: &str| Filter {
            require_field: Some("a".into()),
            require_value: Some(value.into()),
            ..Filter::default()
        };
        assert_eq!(decide(&wanted("x"), r#"{"a":"x"}"#), pass(r#"{"a":"x"}"#));
        assert_eq!(decide(&wanted("1.50"), r#"{"a":1.5}"#), pass(r#"{"a":1.5}"#));
        assert_eq!(decide(&wanted("x"), r#"{"a":"y"}"#), Verdict::Drop);
        assert_eq!(
            decide(&wanted("true"), r#"{"a":true}"#),
            Verdict::Drop,
            "neither text nor number"
        );
        assert_eq!(decide(&wanted("x"), r#"{"b":1}"#), Verdict::Fail);
    }

    #[test]
    fn only_listed_fields_are_passed_on() {
        let filter = Filter { whitelist: vec!["b".into(), "a".into()], ..Filter::default() };
        assert_eq!(
            decide(&filter, r#"{"c":0,"b":[1.5,{"x":"<"}],"a":3.0}"#),
            pass(r#"{"a":3,"b":[1.5,{"x":"\u003c"}]}"#)
        );
        assert_eq!(decide(&filter, r#"{"a":9007199254740993}"#), pass(r#"{"a":9007199254740993}"#));
        assert_eq!(decide(&filter, r#"{"z":1}"#), pass("{}"));
    }
}
