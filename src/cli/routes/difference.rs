//! How files differ from what is in etcd, line by line.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::SharedText;
use crate::registry::mirror::SharedRoute;

/// Texts with more lines than this are shown whole: the comparison takes their product.
const LINES_MAX: usize = 2000;

/// The differences in words, and whether there are none: `+` is in the files alone, `-` in etcd alone.
pub(super) fn of(held: &BTreeMap<String, SharedRoute>, files: &[SharedText]) -> (String, bool) {
    let files: BTreeMap<&str, &str> =
        files.iter().map(|file| (file.name.as_str(), file.text.as_str())).collect();
    let names: BTreeSet<&str> =
        held.keys().map(String::as_str).chain(files.keys().copied()).collect();
    let mut out = Vec::new();
    for name in names {
        let (old, new) =
            (held.get(name).map(|route| route.text.as_str()), files.get(name).copied());
        match (old, new) {
            (Some(old), Some(new)) if old == new => {}
            (Some(old), Some(new)) => {
                out.push(format!("~ {name}"));
                out.extend(lines(old, new));
            }
            (Some(_), None) => out.push(format!("- {name}: in etcd alone")),
            (None, _) => out.push(format!("+ {name}: in the files alone")),
        }
    }
    (out.join("\n"), out.is_empty())
}

/// The lines that differ, and those between them, with a mark each.
fn lines(old: &str, new: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let common = if old.len().max(new.len()) > LINES_MAX { Vec::new() } else { common(&old, &new) };
    let mut out = Vec::new();
    let (mut old, mut new) = (old.into_iter(), new.into_iter());
    for line in common {
        out.extend(
            old.by_ref().take_while(|other| *other != line).map(|line| format!("  - {line}")),
        );
        out.extend(
            new.by_ref().take_while(|other| *other != line).map(|line| format!("  + {line}")),
        );
        out.push(format!("    {line}"));
    }
    out.extend(old.map(|line| format!("  - {line}")));
    out.extend(new.map(|line| format!("  + {line}")));
    out
}

/// The longest sequence of lines that both have.
fn common<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<&'a str> {
    // Row by row from the end: how long the common sequence is from a line of each on.
    let mut rows = vec![vec![0_usize; new.len() + 1]];
    for line in old.iter().rev() {
        let below = rows.last().cloned().unwrap_or_default();
        let mut row = vec![0; new.len() + 1];
        for (at, other) in new.iter().enumerate().rev() {
            let next = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(0);
            let longest = if line == other {
                next(&below, at + 1) + 1
            } else {
                next(&below, at).max(next(&row, at + 1))
            };
            if let Some(cell) = row.get_mut(at) {
                *cell = longest;
            }
        }
        rows.push(row);
    }
    rows.reverse();
    let length = |x: usize, y: usize| rows.get(x).and_then(|row| row.get(y)).copied().unwrap_or(0);
    let (mut found, mut x, mut y) = (Vec::new(), 0, 0);
    while let (Some(line), Some(other)) = (old.get(x), new.get(y)) {
        if line == other {
            found.push(*line);
            (x, y) = (x + 1, y + 1);
        } else if length(x + 1, y) >= length(x, y + 1) {
            x += 1;
        } else {
            y += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_differ_are_marked() {
        let found = lines("a\nb\nc\nd", "a\nc\nx\nd\ne");
        assert_eq!(found, ["    a", "  - b", "    c", "  + x", "    d", "  + e"]);
        assert_eq!(lines("a\na", "a"), ["    a", "  - a"]);
        assert_eq!(lines("", "a"), ["  + a"]);
    }

    #[test]
    fn routes_of_one_side_alone_are_named() {
        let route = |text: &str| SharedRoute { text: text.into(), revision: 1 };
        let held = BTreeMap::from([("a".into(), route("1")), ("b".into(), route("2"))]);
        let file = |name: &str, text: &str| SharedText {
            name: name.into(),
            origin: "f".into(),
            text: text.into(),
        };
        assert_eq!(of(&held, &[file("a", "1"), file("b", "2")]), (String::new(), true));
        let (text, is_same) = of(&held, &[file("b", "3"), file("c", "4")]);
        assert!(!is_same);
        assert_eq!(text, "- a: in etcd alone\n~ b\n  - 2\n  + 3\n+ c: in the files alone");
    }
}
