//! What a file names: every path in its code, `use` groups spread out and `super` resolved, and its `mod` lines.

use super::lexer::{Kind, Token, tokens};

/// A path as the code spells it, from its first word on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) line: usize,
    pub(crate) path: Vec<String>,
    /// It stands in a module that only tests compile.
    pub(crate) in_tests: bool,
}

/// A `mod name;` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    /// Inline modules around it, then its own name.
    pub(crate) path: Vec<String>,
    pub(crate) in_tests: bool,
}

/// All that the rules ask of one file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) names: Vec<Named>,
    pub(crate) texts: Vec<Named>,
    pub(crate) macros: Vec<Named>,
    pub(crate) children: Vec<Child>,
}

/// An inline module that is open, and the depth of braces outside it.
struct Open {
    name: String,
    depth: usize,
    in_tests: bool,
}

/// Reads one file; `module` is what it is itself, for resolving `super` and `self`.
pub(crate) fn read(text: &str, module: &[String]) -> Reading {
    let all = tokens(text);
    let mut reading = Reading::default();
    let mut open: Vec<Open> = Vec::new();
    let mut depth = 0_usize;
    let mut tests_next = false;
    let mut at = 0;
    while let Some(token) = all.get(at) {
        let in_tests = open.iter().any(|module| module.in_tests);
        match &token.kind {
            Kind::Text(text) => {
                reading.texts.push(Named { line: token.line, path: vec![text.clone()], in_tests })
            }
            Kind::Mark('#') if is_cfg_test(&all[at..]) => tests_next = true,
            Kind::Mark('{') => depth += 1,
            Kind::Mark('}') => {
                depth = depth.saturating_sub(1);
                if open.last().is_some_and(|module| module.depth == depth) {
                    open.pop();
                }
            }
            Kind::Mark(';') => tests_next = false,
            Kind::Word(word) if word == "mod" => {
                let name = all.get(at + 1).and_then(Token::word).unwrap_or_default();
                let name = name.to_owned();
                let in_tests = in_tests || tests_next;
                if all.get(at + 2).is_some_and(|token| token.is_mark('{')) {
                    open.push(Open { name, depth, in_tests });
                } else {
                    let mut path: Vec<String> = open.iter().map(|open| open.name.clone()).collect();
                    path.push(name);
                    reading.children.push(Child { path, in_tests });
                }
                tests_next = false;
                at += 1;
            }
            Kind::Word(_) => {
                let inside: Vec<String> = open.iter().map(|open| open.name.clone()).collect();
                let home = [module, &inside].concat();
                let start = at;
                let mut found = Vec::new();
                at = spread(&all, at, &mut Vec::new(), &mut found);
                let bang = all.get(at).is_some_and(|token| token.is_mark('!'));
                for (line, path) in found {
                    let named = Named { line, path: resolved(path, &home), in_tests };
                    if bang {
                        reading.macros.push(named.clone());
                    }
                    reading.names.push(named);
                }
                if at > start {
                    continue;
                }
            }
            Kind::Mark(_) => {}
        }
        at += 1;
    }
    reading
}

/// `#[cfg(test)]`, or a condition that begins with it: `#[cfg(all(test, ...))]`.
fn is_cfg_test(all: &[Token]) -> bool {
    let words: Vec<&str> =
        all.iter().take_while(|token| !token.is_mark(']')).filter_map(Token::word).collect();
    all.get(1).is_some_and(|token| token.is_mark('['))
        && words.first() == Some(&"cfg")
        && matches!(words.get(1..), Some(["test", ..] | ["all", "test", ..]))
}

/// Reads the path at `at`, following `{...}` groups; gives the place behind it.
fn spread(
    all: &[Token],
    mut at: usize,
    so_far: &mut Vec<String>,
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let line = all.get(at).map_or(0, |token| token.line);
    let depth = so_far.len();
    loop {
        match all.get(at) {
            Some(token) if token.is_mark('{') => {
                at = group(all, at + 1, so_far, found);
                break;
            }
            Some(token) => match token.word() {
                Some(word) => so_far.push(word.to_owned()),
                None => {
                    found.push((line, so_far.clone()));
                    break;
                }
            },
            None => break,
        }
        at += 1;
        let colons = [at, at + 1]
            .iter()
            .all(|&colon| all.get(colon).is_some_and(|token| token.is_mark(':')));
        let goes_on = all.get(at + 2).is_some_and(|token| {
            token.word().is_some() || token.is_mark('{') || token.is_mark('*')
        });
        if !(colons && goes_on) {
            found.push((line, so_far.clone()));
            break;
        }
        at += 2;
    }
    so_far.truncate(depth);
    at
}

/// Reads a group behind its opening brace; gives the place behind the closing one.
fn group(
    all: &[Token],
    mut at: usize,
    so_far: &mut Vec<String>,
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    while let Some(token) = all.get(at) {
        if token.is_mark('}') {
            return at + 1;
        }
        if token.word().is_some() || token.is_mark('{') {
            let before = so_far.clone();
            at = spread(all, at, so_far, found);
            *so_far = before;
            // `x as y`: the new name is no path.
            if all.get(at).is_some_and(|token| token.is_word("as")) {
                at += 2;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// `self::` and `super::` as `crate::`, seen from the module `home`.
fn resolved(path: Vec<String>, home: &[String]) -> Vec<String> {
    let up = match path.first().map(String::as_str) {
        Some("self") if path.len() > 1 => 0,
        Some("super") => path.iter().take_while(|word| *word == "super").count(),
        _ => return path,
    };
    let rest = path.iter().skip_while(|word| *word == "super" || *word == "self");
    let kept = home.len().saturating_sub(up);
    std::iter::once("crate".to_owned())
        .chain(home[..kept].iter().cloned())
        .chain(rest.cloned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, module: &[&str]) -> Vec<String> {
        let module: Vec<String> = module.iter().map(|&word| word.to_owned()).collect();
        let found = read(text, &module).names;
        found.iter().map(|named| named.path.join("::")).collect()
    }

    #[test]
    fn groups_are_spread_and_supers_resolved() {
        let text = "use std::{fs, io::{self, Read as R}}; use super::super::engine::Topic; use crate::names::*;";
        let found = names(text, &["bridge", "amqp", "link"]);
        for name in [
            "std::fs",
            "std::io::self",
            "std::io::Read",
            "crate::bridge::engine::Topic",
            "crate::names",
        ] {
            assert!(found.contains(&name.to_owned()), "{name} in {found:?}");
        }
        assert!(!found.contains(&"R".to_owned()), "{found:?}");
        let inner = names("mod tests { use super::super::clock; }", &["bridge"]);
        assert!(inner.contains(&"crate::clock".to_owned()), "{inner:?}");
    }

    #[test]
    fn test_modules_and_children_are_known() {
        let text = "mod a; #[cfg(test)] mod b; mod c { pub(crate) mod d; } \
                    #[cfg(test)] mod tests { fn f() { lapin::x() } } fn g() { lapin::y!() }";
        let reading = read(text, &[]);
        let children: Vec<_> =
            reading.children.iter().map(|child| (child.path.join("::"), child.in_tests)).collect();
        let expected = [("a", false), ("b", true), ("c::d", false)];
        assert_eq!(children, expected.map(|(name, tests)| (name.to_owned(), tests)));
        let lapin: Vec<_> = reading
            .names
            .iter()
            .filter(|named| named.path[0] == "lapin")
            .map(|named| (named.path[1].as_str(), named.in_tests))
            .collect();
        assert_eq!(lapin, [("x", true), ("y", false)]);
        assert_eq!(reading.macros.len(), 1);
    }
}
