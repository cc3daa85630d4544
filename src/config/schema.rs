//! The JSON Schema of the configuration's files, from the tables of keys, for editors and for whoever writes such files.
//!
//! It takes what the reader takes, as far as one value shows it: rules between keys and between routes are the
//! reader's alone. A scalar may be quoted, and may hold `${NAME}`.

use serde_json::{Map, Value, json};

use super::keys::{Key, Keys, Kind, node, routes};

/// Which file a schema is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaOf {
    /// The node's file.
    Node,
    /// A file of routes.
    Routes,
}

impl SchemaOf {
    pub(super) fn keys(self) -> &'static Keys {
        match self {
            Self::Node => node::ROOT,
            Self::Routes => routes::ROOT,
        }
    }
}

/// A reference to the environment, which may stand in every scalar.
const REFERENCE: &str = r"\$\{";
const DIGITS: &str = "^[0-9]+$";
const FRACTION: &str = r"^[0-9.]+([eE]-?[0-9]+)?$";
const DURATION: &str = r"^(0|([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h|d))+)$";
const SIZE: &str = r"^[0-9]+(\.[0-9]+)?\s*([kKmMgGtT]?[iI]?[bB])?$";

/// The schema of a file, in draft 2020-12, as JSON with a line end behind it.
#[must_use]
pub fn schema(of: SchemaOf) -> String {
    let mut tables = Map::new();
    let root = of.keys();
    add(root, &mut tables);
    let title = match of {
        SchemaOf::Node => "Leveret: the node's file",
        SchemaOf::Routes => "Leveret: a file of routes",
    };
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "$ref": reference(root),
        "$defs": tables,
    });
    format!("{schema:#}\n")
}

fn reference(keys: &Keys) -> String {
    format!("#/$defs/{}", keys.name.replace(' ', "%20"))
}

/// Adds the schema of a table, and of those that its values are, to `tables`.
fn add(keys: &'static Keys, tables: &mut Map<String, Value>) {
    if tables.contains_key(keys.name) {
        return;
    }
    // Taken before it is filled: a table may lead to itself.
    tables.insert(keys.name.to_owned(), Value::Null);
    let mut properties = Map::new();
    for key in keys.keys {
        let mut value = shape(&key.kind, tables);
        if let Value::Object(value) = &mut value {
            value.insert("description".to_owned(), describe(key).into());
        }
        properties.insert(key.name.to_owned(), value);
    }
    let required: Vec<&str> =
        keys.keys.iter().filter(|key| key.needed).map(|key| key.name).collect();
    let mut table = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if let Value::Object(table) = &mut table {
        if !required.is_empty() {
            table.insert("required".to_owned(), required.into());
        }
        if keys.only_one {
            table.insert("minProperties".to_owned(), 1.into());
            table.insert("maxProperties".to_owned(), 1.into());
        }
    }
    tables.insert(keys.name.to_owned(), table);
}

fn shape(kind: &'static Kind, tables: &mut Map<String, Value>) -> Value {
    match kind {
        Kind::Text(_, "") => json!({ "type": ["string", "number", "boolean"] }),
        Kind::Text(_, pattern) => {
            json!({ "type": ["string", "number", "boolean"], "pattern": or_reference(pattern) })
        }
        Kind::Rate(_, pattern) => text(pattern),
        Kind::Integer(least, most) => {
            let number = json!({ "type": "integer", "minimum": least, "maximum": most });
            json!({ "anyOf": [number, text(DIGITS)] })
        }
        Kind::Any => json!({}),
        Kind::Fraction => {
            let number = json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 });
            json!({ "anyOf": [number, text(FRACTION)] })
        }
        Kind::Boolean => json!({ "anyOf": [{ "type": "boolean" }, text("^(true|false)$")] }),
        Kind::Duration(least, _) if least.is_zero() => {
            json!({ "anyOf": [{ "const": 0 }, text(DURATION)] })
        }
        Kind::Duration(..) => text(DURATION),
        Kind::Size(least, most) => {
            let number = json!({ "type": "integer", "minimum": least, "maximum": most });
            json!({ "anyOf": [number, text(SIZE)] })
        }
        Kind::Choice(words) => {
            let truths = [("true", true), ("false", false)];
            let truths = truths.iter().filter(|(word, _)| words.contains(word));
            let values: Vec<Value> = words
                .iter()
                .map(|word| Value::from(*word))
                .chain(truths.map(|(_, truth)| Value::from(*truth)))
                .collect();
            json!({ "anyOf": [{ "enum": values }, { "type": "string", "pattern": REFERENCE }] })
        }
        Kind::List(_, element) => json!({ "type": "array", "items": shape(element, tables) }),
        Kind::Mapping(keys) => {
            add(keys, tables);
            json!({ "$ref": reference(keys) })
        }
        Kind::Named(value) => {
            json!({ "type": "object", "additionalProperties": shape(value, tables) })
        }
        Kind::OneOf(kinds) => {
            let kinds: Vec<Value> = kinds.iter().map(|kind| shape(kind, tables)).collect();
            json!({ "anyOf": kinds })
        }
    }
}

fn text(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": or_reference(pattern) })
}

fn or_reference(pattern: &str) -> String {
    format!("{pattern}|{REFERENCE}")
}

/// What an editor shows of a key.
fn describe(key: &Key) -> String {
    let mut text = format!("{}\n\n{}", without_links(key.doc), without_links(&key.kind.describe()));
    if !key.default.is_empty() {
        let default = if key.needed { "needed" } else { &format!("default: {}", key.default) };
        text.push_str(&format!("; {default}"));
    }
    if !key.flows.is_empty() {
        text.push_str(&format!("; for {}", key.flows));
    }
    text
}

/// Markdown without its links: their addresses are those of a page.
fn without_links(markdown: &str) -> String {
    let mut text = String::new();
    let mut rest = markdown;
    while let Some((before, label, after)) = link(rest) {
        text.push_str(before);
        text.push_str(label);
        rest = after;
    }
    text.push_str(rest);
    text
}

/// What is before the first link, its label, and what is behind it.
fn link(text: &str) -> Option<(&str, &str, &str)> {
    let (head, tail) = text.split_once("](")?;
    let (before, label) = head.rsplit_once('[')?;
    let (_, after) = tail.split_once(')')?;
    Some((before, label, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_become_their_labels() {
        assert_eq!(without_links("see [a](b.md#c), or [d](e)."), "see a, or d.");
        assert_eq!(without_links("`[0.5, 0.99]` is no link"), "`[0.5, 0.99]` is no link");
    }
}
