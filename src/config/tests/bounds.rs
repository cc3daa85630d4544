//! The bounds that the tables of keys give are those of the reader.

use serde_json::{Value, json};

use super::*;
use crate::config::keys::{Keys, Kind};
use crate::config::units::{show_duration, show_size};

const FILES: [SchemaOf; 2] = [SchemaOf::Node, SchemaOf::Routes];

/// A value of this kind that the reader takes.
fn sample(kind: &Kind) -> Value {
    match kind {
        Kind::Text("address", _) => "amqp://h".into(),
        Kind::Text(..) | Kind::Any => "x".into(),
        Kind::Rate(..) => "5/s".into(),
        Kind::Integer(least, _) => (*least).into(),
        Kind::Fraction => json!(0.5),
        Kind::Boolean => true.into(),
        Kind::Duration(least, _) => show_duration(*least).into(),
        Kind::Size(least, _) => show_size(*least).into(),
        Kind::Choice(words) => words[0].into(),
        Kind::List(_, kind) => json!([sample(kind)]),
        Kind::Mapping(keys) => sample_mapping(keys),
        Kind::Named(kind) => json!({ "default": sample(kind) }),
        Kind::OneOf(kinds) => sample(&kinds[0]),
    }
}

fn sample_mapping(keys: &Keys) -> Value {
    let needed = keys.keys.iter().filter(|key| key.needed);
    let first = keys.keys.iter().filter(|_| keys.only_one).take(1);
    needed.chain(first).map(|key| (key.name.to_owned(), sample(&key.kind))).collect()
}

/// Values at the bounds of `kind`, and values just beyond them.
fn bounds(kind: &Kind) -> (Vec<Value>, Vec<Value>) {
    let beyond = |least: u64, most: u64| [least.checked_sub(1), most.checked_add(1)];
    match kind {
        Kind::Integer(least, most) => {
            let beyond = beyond(*least, *most).into_iter().flatten();
            (vec![(*least).into(), (*most).into()], beyond.map(Value::from).collect())
        }
        Kind::Size(least, most) => {
            let beyond = beyond(*least, *most).into_iter().flatten();
            let show = |size: &u64| Value::from(show_size(*size));
            (vec![show(least), show(most)], beyond.map(Value::from).collect())
        }
        Kind::Duration(least, most) => {
            let show = |span: &Duration| Value::from(show_duration(*span));
            let above = *most + Duration::from_secs(1);
            let below = least.checked_sub(Duration::from_nanos(1));
            (vec![show(least), show(most)], below.iter().chain([&above]).map(show).collect())
        }
        Kind::Choice(words) => {
            (words.iter().map(|word| Value::from(*word)).collect(), vec!["no-such-word".into()])
        }
        Kind::Boolean => (vec![true.into(), false.into()], vec!["perhaps".into()]),
        _ => (Vec::new(), Vec::new()),
    }
}

/// What is reported at a place.
fn reported(of: SchemaOf, document: &Value, at: &str) -> Vec<String> {
    let mut report = Report::default();
    let spot = Spot::file("f.yaml");
    let node = tree::parse(&document.to_string(), &spot, &env, &mut report).unwrap();
    let field = root(&node, &spot);
    match of {
        SchemaOf::Node => drop(node_file::read(&field, Path::new("/nonexistent"), &mut report)),
        SchemaOf::Routes => drop(route_file::read(&field, &mut report)),
    }
    let errors = report.finish().map_or_else(|errors| errors.to_string(), |_| String::new());
    let here = |line: &&str| {
        line.splitn(4, ':').nth(3).is_some_and(|rest| {
            rest.trim_start().split_once(": ").is_some_and(|(path, _)| path == at)
        })
    };
    errors.lines().filter(here).map(str::to_owned).collect()
}

/// Goes through all keys below `kind`, and tries the bounds of each on the reader. `within` puts a value where `kind`
/// is wanted in a document, and `at` is where that is. Returns how many were tried.
fn try_bounds(
    of: SchemaOf,
    kind: &'static Kind,
    at: &str,
    alone: bool,
    within: &dyn Fn(Value) -> Value,
) -> usize {
    let (right, wrong) = bounds(kind);
    for value in &right {
        let found = reported(of, &within(value.clone()), at);
        let fault = found.iter().find(|line| line.contains("expected"));
        assert_eq!(fault, None, "{at}: {value}");
    }
    for value in wrong.iter().filter(|_| alone) {
        assert_ne!(reported(of, &within(value.clone()), at), [""; 0], "{at}: {value}");
    }
    let below = match kind {
        Kind::Mapping(keys) => keys
            .keys
            .iter()
            .map(|key| {
                let within = |value| {
                    let mut mapping = sample_mapping(keys);
                    let entries = mapping.as_object_mut().unwrap();
                    if keys.only_one {
                        entries.clear();
                    }
                    entries.insert(key.name.to_owned(), value);
                    within(mapping)
                };
                let dot = if at.is_empty() { "" } else { "." };
                try_bounds(of, &key.kind, &format!("{at}{dot}{}", key.name), true, &within)
            })
            .sum(),
        Kind::List(_, kind) => {
            try_bounds(of, kind, &format!("{at}[0]"), true, &|value| within(json!([value])))
        }
        Kind::Named(kind) => {
            let within = |value| within(json!({ "default": value }));
            try_bounds(of, kind, &format!("{at}.default"), true, &within)
        }
        Kind::OneOf(kinds) => {
            kinds.iter().map(|kind| try_bounds(of, kind, at, false, within)).sum()
        }
        _ => 0,
    };
    below + usize::from(!right.is_empty())
}

#[test]
fn the_reader_has_the_bounds_of_the_tables() {
    let tried: usize = FILES
        .iter()
        .map(|of| {
            let root: &'static Kind = Box::leak(Box::new(Kind::Mapping(of.keys())));
            try_bounds(*of, root, "", true, &|value| value)
        })
        .sum();
    assert!(tried > 80, "only {tried} keys were tried");
}
