//! The tables of keys: in order, in the documentation, and in the schemas that are kept.

use std::collections::BTreeMap;

use super::*;
use crate::config::keys::{Key, Keys, Kind as KeyKind};

const FILES: [SchemaOf; 2] = [SchemaOf::Node, SchemaOf::Routes];

fn below(kind: &'static KeyKind, found: &mut BTreeMap<&'static str, &'static Keys>) {
    match kind {
        KeyKind::Mapping(keys) => gather(keys, found),
        KeyKind::List(_, kind) | KeyKind::Named(kind) => below(kind, found),
        KeyKind::OneOf(kinds) => kinds.iter().for_each(|kind| below(kind, found)),
        _ => {}
    }
}

fn gather(keys: &'static Keys, found: &mut BTreeMap<&'static str, &'static Keys>) {
    match found.insert(keys.name, keys) {
        Some(other) => {
            assert!(other.names().eq(keys.names()), "two tables are called {}", keys.name);
        }
        None => keys.keys.iter().for_each(|key| below(&key.kind, found)),
    }
}

/// All tables, by their names.
fn tables() -> BTreeMap<&'static str, &'static Keys> {
    let mut found = BTreeMap::new();
    FILES.iter().for_each(|file| gather(file.keys(), &mut found));
    found
}

#[test]
fn keys_are_in_alphabetical_order() {
    for (name, keys) in tables() {
        assert!(keys.names().is_sorted(), "{name}");
    }
}

fn row(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | ")).replace("|  |", "| |")
}

/// The table as it stands in the documentation: what is needed comes first.
fn markdown(keys: &Keys) -> String {
    let has_default = keys.keys.iter().any(|key| !key.default.is_empty());
    let has_flows = keys.keys.iter().any(|key| !key.flows.is_empty());
    let cells = |key: String, kind: String, default: &str, flows: &str, doc: &str| {
        let mut cells = vec![key, kind];
        cells.extend(has_default.then(|| default.to_owned()));
        cells.extend(has_flows.then(|| flows.to_owned()));
        cells.push(doc.to_owned());
        row(&cells)
    };
    let mut text = cells("key".into(), "type".into(), "default", "flows", "what");
    text.push_str(&cells("---".into(), "---".into(), "---", "---", "---"));
    let (needed, others): (Vec<&Key>, Vec<&Key>) = keys.keys.iter().partition(|key| key.needed);
    for key in needed.iter().chain(&others) {
        let flows = if key.flows.is_empty() { "all" } else { key.flows };
        let name = format!("`{}`", key.name);
        text.push_str(&cells(name, key.kind.describe(), key.default, flows, key.doc));
    }
    text
}

/// `page` with its tables made anew; their names are added to `seen`.
fn generated(page: &str, seen: &mut Vec<String>) -> String {
    const END: &str = "<!-- /keys -->";
    let tables = tables();
    let mut parts = page.split("<!-- keys: ");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(" -->").unwrap();
        let (_, behind) = rest.split_once(END).unwrap_or_else(|| panic!("no end of {name}"));
        let keys = tables.get(name).unwrap_or_else(|| panic!("no table is called {name}"));
        text.push_str(&format!("<!-- keys: {name} -->\n{}{END}{behind}", markdown(keys)));
        seen.push(name.to_owned());
    }
    text
}

/// Compares a file of the repository with what it should be, or writes it if `UPDATE_DOCS` is set.
fn same_or_written(path: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is not what the tables of keys say: UPDATE_DOCS=1 cargo nextest run docs",
        path.display()
    );
}

#[test]
fn the_docs_have_every_table_of_keys() {
    let mut seen = Vec::new();
    for page in [
        "docs/admin.md",
        "docs/alerts.md",
        "docs/configuration.md",
        "docs/logs.md",
        "docs/metrics.md",
        "docs/routes.md",
        "docs/topics.md",
    ] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        same_or_written(page, &generated(&text, &mut seen));
    }
    seen.sort();
    let names: Vec<&str> = tables().into_keys().collect();
    assert_eq!(seen, names, "every table stands in one place of the documentation");
    let routes = include_str!("../../../docs/routes.md");
    for variable in crate::bridge::transform::VARIABLES {
        assert!(routes.contains(&format!("\n| `{variable}` | ")), "{variable}");
    }
}

#[test]
fn the_docs_have_the_schemas() {
    same_or_written("config/leveret.schema.json", &schema(SchemaOf::Node));
    same_or_written("config/routes.schema.json", &schema(SchemaOf::Routes));
}
