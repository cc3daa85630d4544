//! The schemas: the shipped files are right by them, and so is what the reader takes.

use regex::Regex;
use serde_json::{Map, Value, json};

use super::*;
use crate::config::tree::Kind;

/// The first thing in `value` that is not as `schema` says, by the words that [`schema`](super::schema()) uses.
/// As in any validator, a word about one type says nothing of the others.
fn fault(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    schema.as_object().unwrap().iter().find_map(|(word, rule)| {
        let wrong = |is_wrong: bool| is_wrong.then(|| format!("{value} is not {schema}"));
        match word.as_str() {
            "$schema" | "$defs" | "title" | "description" => None,
            "$ref" => {
                let pointer = rule.as_str().unwrap().trim_start_matches('#').replace("%20", " ");
                fault(root, root.pointer(&pointer).unwrap(), value)
            }
            "anyOf" => {
                let mut any = rule.as_array().unwrap().iter();
                wrong(any.all(|schema| fault(root, schema, value).is_some()))
            }
            "const" => wrong(value != rule),
            "enum" => wrong(!rule.as_array().unwrap().contains(value)),
            "type" => {
                let names = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                wrong(!names.iter().any(|name| is_of_type(value, name.as_str().unwrap())))
            }
            "pattern" => {
                let pattern = Regex::new(rule.as_str().unwrap()).unwrap();
                wrong(value.as_str().is_some_and(|text| !pattern.is_match(text)))
            }
            "minimum" => wrong(value.is_number() && value.as_f64() < rule.as_f64()),
            "maximum" => wrong(value.is_number() && value.as_f64() > rule.as_f64()),
            "exclusiveMinimum" => wrong(value.is_number() && value.as_f64() <= rule.as_f64()),
            "items" => value.as_array()?.iter().find_map(|value| fault(root, rule, value)),
            _ => fault_of_mapping(root, schema, (word, rule), value.as_object()?),
        }
    })
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the schema uses the type {other}"),
    }
}

fn fault_of_mapping(
    root: &Value,
    schema: &Value,
    (word, rule): (&str, &Value),
    value: &Map<String, Value>,
) -> Option<String> {
    match word {
        "required" => {
            let mut keys = rule.as_array().unwrap().iter().map(|key| key.as_str().unwrap());
            keys.find(|key| !value.contains_key(*key)).map(|key| format!("{key} is missing"))
        }
        "properties" => {
            let mut rules = rule.as_object().unwrap().iter();
            rules.find_map(|(key, rule)| fault(root, rule, value.get(key)?))
        }
        "additionalProperties" if *rule == false => {
            let known = schema["properties"].as_object().unwrap();
            let mut keys = value.keys();
            keys.find(|key| !known.contains_key(*key)).map(|key| format!("unknown key {key}"))
        }
        "additionalProperties" => value.values().find_map(|value| fault(root, rule, value)),
        "minProperties" | "maxProperties" => {
            assert_eq!(*rule, 1);
            (value.len() != 1).then(|| format!("not one of the keys of {schema}"))
        }
        other => panic!("the schema uses {other}"),
    }
}

/// A YAML value as an editor sees it, with its references as they are written.
fn json_of(node: &Node) -> Value {
    match &node.kind {
        Kind::Scalar(scalar) if scalar.plain => {
            serde_json::from_str(&scalar.text).unwrap_or_else(|_| scalar.text.clone().into())
        }
        Kind::Scalar(scalar) => scalar.text.clone().into(),
        Kind::Sequence(nodes) => nodes.iter().map(json_of).collect(),
        Kind::Mapping(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), json_of(&entry.value))).collect()
        }
        Kind::Unresolved => panic!("a reference without a value"),
    }
}

fn schema_fault(of: SchemaOf, value: &Value) -> Option<String> {
    let schema: Value = serde_json::from_str(&schema(of)).unwrap();
    fault(&schema, &schema, value)
}

#[test]
fn the_shipped_files_are_right_by_the_schema() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = route_files(&folder.join("bridges")).unwrap();
    assert!(files.len() >= 2);
    let nodes = route_files(&folder.join("config")).unwrap();
    let both = files
        .iter()
        .map(|file| (SchemaOf::Routes, file))
        .chain(nodes.iter().map(|file| (SchemaOf::Node, file)));
    for (of, path) in both {
        let text = fs::read_to_string(path).unwrap();
        let mut report = Report::default();
        let node = tree::parse(&text, &Spot::file("f"), &env, &mut report).unwrap();
        assert_eq!(schema_fault(of, &json_of(&node)), None, "{}", path.display());
    }
}

#[test]
fn the_schema_takes_what_the_reader_takes() {
    let route = |more: Value| {
        let mut route = json!({
            "name": "r",
            "mode": "queued",
            "from": { "nsq": { "topic": "t" } },
            "to": { "amqp": { "exchange": "{{ topic }}", "routing_key": 5 } },
        });
        route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        (SchemaOf::Routes, json!({ "routes": [route] }))
    };
    let node = |node: Value| (SchemaOf::Node, node);
    for (of, value) in [
        node(json!({ "nsqd": { "max_rdy_count": "100", "deflate": "false", "max_msg_size": 5 } })),
        node(json!({ "nsqd": { "max_rdy_count": "${RDY:-5}", "deflate": "${D}" } })),
        node(json!({ "nsqd": { "max_req_timeout": 0, "msg_timeout": "1h30m" } })),
        node(json!({ "nsqd": { "tls_required": true, "msg_timeout": "${T}s" } })),
        node(json!({ "topics": [{ "match": "*", "declare": ["a"], "dead_letter": "" }] })),
        node(
            json!({ "topics": [{ "match": "*", "channel": [{ "match": "c", "rate": "none" }] }] }),
        ),
        node(json!({ "brokers": { "any": { "uri": "${AMQP_URL}" } } })),
        route(json!({ "limit": { "messages": "5000/s", "bytes": "20 MiB/s", "burst": "7" } })),
        route(json!({ "dead_letter": "drop", "window": { "bytes": "1.5MiB" } })),
        route(json!({ "dead_letter": { "nsq": { "topic": "d" } } })),
    ] {
        assert_eq!(schema_fault(of, &value), None, "{value}");
    }
    for (of, value) in [
        node(json!({ "nsqd": { "max_rdy_count": 0 } })),
        node(json!({ "nsqd": { "max_rdy_count": "many" } })),
        node(json!({ "nsqd": { "msg_timeout": 5 } })),
        node(json!({ "nsqd": { "msg_timeout": "5 sec" } })),
        node(json!({ "nsqd": { "tcp_adress": "x" } })),
        node(json!({ "log": { "level": "loud" } })),
        node(json!({ "topics": [{ "declare": true }] })),
        node(json!({ "brokers": { "any": { "uri": "http://h" } } })),
        route(json!({ "limit": { "messages": 5000 } })),
        route(json!({ "dead_letter": "burn" })),
        route(json!({ "from": { "nsq": { "topic": "t" }, "amqp": { "queue": "q" } } })),
        route(json!({ "name": "a b" })),
        (SchemaOf::Routes, json!({ "routes": [{}] })),
    ] {
        assert!(schema_fault(of, &value).is_some(), "{value}");
    }
}
