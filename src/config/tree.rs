//! A YAML document as a tree in which every key and every value knows its place.
//!
//! Built from the parser's events. Duplicate keys, tags and a second document are refused here; `${NAME}` is
//! replaced here, in scalars only, so that places stay those of the file.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, options};

use super::error::{Place, Report, Spot};
use super::interpolate::{Env, interpolate};

/// Most values in one file, repetitions through aliases included: a few lines of aliases can stand for gigabytes.
const NODES_MAX: usize = 100_000;

/// A value.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Text, a number, a truth value or nothing: what it means is for the reader of the key to say.
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
    /// A scalar whose references have no value. That was reported, and no more is to be said about it.
    Unresolved,
}

/// A scalar after escapes and references were replaced.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Neither quoted nor a block: `~` and `null` are nothing only here.
    pub(super) plain: bool,
    /// Where the text starts, if it stands in the file character by character, in one line.
    verbatim: Option<Place>,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

impl Node {
    /// Whether this is `key:` with nothing behind it, `~` or `null`.
    pub(super) fn is_null(&self) -> bool {
        match &self.kind {
            Kind::Scalar(scalar) => {
                scalar.plain && matches!(scalar.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            Kind::Sequence(_) | Kind::Mapping(_) | Kind::Unresolved => false,
        }
    }

    /// What was found, for messages.
    pub(super) fn found(&self) -> String {
        match &self.kind {
            _ if self.is_null() => "nothing".to_owned(),
            Kind::Scalar(scalar) => format!("\"{}\"", scalar.text),
            Kind::Sequence(_) => "a list".to_owned(),
            Kind::Mapping(_) => "a mapping".to_owned(),
            Kind::Unresolved => "an unknown value".to_owned(),
        }
    }

    /// The place of a scalar's character at byte `offset`; of the whole value if that cannot be told.
    pub(super) fn place_of(&self, offset: Option<usize>) -> Place {
        let Kind::Scalar(scalar) = &self.kind else {
            return self.place;
        };
        match (scalar.verbatim, offset.and_then(|end| scalar.text.get(..end))) {
            (Some(start), Some(before)) => {
                Place { line: start.line, column: start.column + before.chars().count() }
            }
            _ => self.place,
        }
    }

    fn count(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar(_) | Kind::Unresolved => 0,
            Kind::Sequence(nodes) => nodes.iter().map(Self::count).sum(),
            Kind::Mapping(entries) => entries.iter().map(|entry| entry.value.count()).sum(),
        }
    }
}

/// Reads `text`, which is the whole of the file that `spot` names. `None` if there is nothing in it but comments, or
/// if it could not be read, which is reported.
pub(super) fn parse(text: &str, spot: &Spot, env: Env<'_>, report: &mut Report) -> Option<Node> {
    let mut builder = Builder {
        text,
        events: Parser::new_from_str_with_options(text, options! { disallow_directives: true }),
        anchors: HashMap::new(),
        nodes: 0,
        spot,
        report,
    };
    match builder.document() {
        Ok(Some(mut node)) => {
            resolve(&mut node, spot, env, report);
            Some(node)
        }
        Ok(None) => None,
        Err(stop) => {
            report.error(&spot.at(stop.place), stop.reason);
            None
        }
    }
}

/// Replaces references to the environment in all scalars below `node`.
fn resolve(node: &mut Node, spot: &Spot, env: Env<'_>, report: &mut Report) {
    let place = node.place;
    match &mut node.kind {
        Kind::Sequence(nodes) => {
            for (index, child) in nodes.iter_mut().enumerate() {
                let below = spot.index(index, child.place);
                resolve(child, &below, env, report);
            }
        }
        Kind::Mapping(entries) => {
            for entry in entries {
                let below = spot.key(&entry.key, entry.value.place);
                resolve(&mut entry.value, &below, env, report);
            }
        }
        Kind::Scalar(scalar) => match interpolate(&scalar.text, env) {
            Ok(None) => {}
            Ok(Some(text)) => {
                scalar.text = text;
                scalar.verbatim = None;
                // An empty variable is an empty text, not the absence of a value.
                scalar.plain = false;
            }
            Err(unresolved) => {
                let place = match &scalar.verbatim {
                    Some(_) => node.place_of(Some(unresolved.offset)),
                    None => place,
                };
                report.error(&spot.at(place), unresolved.reason);
                node.kind = Kind::Unresolved;
            }
        },
        Kind::Unresolved => {}
    }
}

/// The file cannot be read further.
struct Stop {
    place: Place,
    reason: String,
}

struct Builder<'a> {
    text: &'a str,
    events: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    spot: &'a Spot,
    report: &'a mut Report,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Stop> {
        loop {
            return match self.events.next_event() {
                Some(Ok((Event::StreamStart | Event::DocumentEnd, _))) => continue,
                Some(Ok(next)) => Ok(next),
                Some(Err(error)) => Err(broken(&error)),
                None => Ok((Event::StreamEnd, Span::default())),
            };
        }
    }

    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let (event, _) = self.next()?;
        if !matches!(event, Event::DocumentStart(..)) {
            return Ok(None);
        }
        let (event, span) = self.next()?;
        let node = self.node(event, &span, self.spot)?;
        let (event, span) = self.next()?;
        if matches!(event, Event::DocumentStart(..)) {
            return Err(Stop {
                place: place(&span),
                reason: "a second document starts here; one file holds one document".to_owned(),
            });
        }
        Ok((!node.is_null()).then_some(node))
    }

    fn node(&mut self, event: Event<'a>, span: &Span, spot: &Spot) -> Result<Node, Stop> {
        let place = place(span);
        self.count(1, place)?;
        if let Some(tag) = event.tag() {
            let reason = format!("tags such as {} have no meaning here", tag.original());
            self.report.error(&spot.at(place), reason);
        }
        let anchor = event.anchor_id();
        let kind = match event {
            Event::Scalar(text, style, ..) => Kind::Scalar(Scalar {
                verbatim: self.verbatim(&text, style, span),
                text: text.into_owned(),
                plain: style == ScalarStyle::Plain,
            }),
            Event::SequenceStart(..) => Kind::Sequence(self.sequence(spot)?),
            Event::MappingStart(..) => Kind::Mapping(self.mapping(spot)?),
            Event::Alias(id) => return self.alias(id, place),
            other => {
                return Err(Stop {
                    place,
                    reason: format!("not valid YAML: unexpected {other:?}"),
                });
            }
        };
        let node = Node { place, kind };
        if let Some(id) = anchor {
            self.anchors.insert(id, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, place: Place) -> Result<Node, Stop> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            return Err(Stop {
                place,
                reason: "the alias stands inside the value that it names".to_owned(),
            });
        };
        self.count(node.count(), place)?;
        Ok(node)
    }

    fn sequence(&mut self, spot: &Spot) -> Result<Vec<Node>, Stop> {
        let mut nodes = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(nodes);
            }
            let below = spot.index(nodes.len(), place(&span));
            nodes.push(self.node(event, &span, &below)?);
        }
    }

    fn mapping(&mut self, spot: &Spot) -> Result<Vec<Entry>, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let key_place = place(&span);
            let Event::Scalar(key, ..) = event else {
                return Err(Stop {
                    place: key_place,
                    reason: "a key is a plain word, not a list, a mapping or an alias".to_owned(),
                });
            };
            let key = key.into_owned();
            let below = spot.key(&key, key_place);
            let (event, span) = self.next()?;
            let mut value = self.node(event, &span, &below)?;
            if value.is_null() {
                value.place = key_place;
            }
            if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                let reason =
                    format!("the key \"{key}\" is given twice, first in line {}", first.place.line);
                self.report.error(&below, reason);
                continue;
            }
            entries.push(Entry { key, place: key_place, value });
        }
    }

    fn count(&mut self, nodes: usize, place: Place) -> Result<(), Stop> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            return Err(Stop {
                place,
                reason: format!("more than {NODES_MAX} values in one file"),
            });
        }
        Ok(())
    }

    /// Where the scalar's text starts, if the file shows it character by character.
    fn verbatim(&self, text: &str, style: ScalarStyle, span: &Span) -> Option<Place> {
        let written = span.slice(self.text)?;
        let start = place(span);
        let quote = usize::from(style != ScalarStyle::Plain);
        let inner = written.get(quote..written.len().checked_sub(quote)?)?;
        (inner == text && !text.contains('\n'))
            .then_some(Place { line: start.line, column: start.column + quote })
    }
}

fn place(span: &Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1 }
}

fn broken(error: &ScanError) -> Stop {
    let marker = error.marker();
    Stop {
        place: Place { line: marker.line(), column: marker.col() + 1 },
        reason: format!("not valid YAML: {}", error.info()),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn env(name: &str) -> Option<OsString> {
        (name == "HOST").then(|| "rabbit".into())
    }

    fn outcome(text: &str) -> (Option<Node>, String) {
        let mut report = Report::default();
        let node = parse(text, &Spot::file("f.yaml"), &env, &mut report);
        let errors = report.finish().map_or_else(|e| e.to_string(), |_| String::new());
        (node, errors)
    }

    #[test]
    fn faults_of_the_file_have_a_place() {
        for (text, expected) in [
            ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: a: the key \"a\" is given twice, first in line 1"),
            (
                "a:\n  b: {c: 1, c: 2}\n",
                "f.yaml:2:13: a.b.c: the key \"c\" is given twice, first in line 2",
            ),
            ("a: !!int 5\n", "f.yaml:1:10: a: tags such as !!int have no meaning here"),
            (
                "a: 1\n---\nb: 2\n",
                "f.yaml:2:1: a second document starts here; one file holds one document",
            ),
            (
                "a: x${NOPE}\n",
                "f.yaml:1:5: a: environment variable NOPE is not set; set it, or give a default as ${NOPE:-default}",
            ),
            (
                "a: [x, \"y${NOPE}\"]\n",
                "f.yaml:1:10: a[1]: environment variable NOPE is not set; set it, or give a default as ${NOPE:-default}",
            ),
            (
                "? [a]\n: b\n",
                "f.yaml:1:3: a key is a plain word, not a list, a mapping or an alias",
            ),
            ("a: *x\n", "f.yaml:1:4: not valid YAML: while parsing node, found unknown anchor"),
            ("a: &x [*x]\n", "f.yaml:1:8: the alias stands inside the value that it names"),
            ("a:\n\t- b\n", "f.yaml:2:2: not valid YAML: tabs disallowed"),
            ("a: [1, 2\n", "f.yaml:1:4: not valid YAML: "),
            ("a: b: c\n", "f.yaml:1:5: not valid YAML: "),
            ("a: \"b\n", "f.yaml:1:4: not valid YAML: "),
        ] {
            let (_, errors) = outcome(text);
            assert!(errors.starts_with(expected), "{text}\n{errors}");
        }
    }

    #[test]
    fn aliases_are_bounded() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..9 {
            let items = format!("*a{}, ", n - 1).repeat(10);
            text.push_str(&format!("a{n}: &a{n} [{items}]\n"));
        }
        let (_, errors) = outcome(&text);
        assert!(errors.contains("more than 100000 values"), "{errors}");
    }

    #[test]
    fn values_are_read_and_references_replaced() {
        let (node, errors) = outcome("a: ${HOST}\nb: &t [~, \"~\"]\nc: *t\nd:\n");
        assert_eq!(errors, "");
        let Kind::Mapping(entries) = node.unwrap().kind else { panic!("no mapping") };
        let found: Vec<_> = entries.iter().map(|entry| entry.value.found()).collect();
        assert_eq!(found, ["\"rabbit\"", "a list", "a list", "nothing"]);
        assert_eq!(entries[3].value.place, Place { line: 4, column: 1 });
    }

    #[test]
    fn nothing_but_comments_is_nothing() {
        for text in ["", "\n\n", "# only this\n", "---\n", "~\n", "\u{feff}"] {
            let (node, errors) = outcome(text);
            assert!(node.is_none() && errors.is_empty(), "{text:?}: {errors}");
        }
    }
}
