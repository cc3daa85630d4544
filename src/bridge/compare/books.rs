//! What was seen where. Pure: sightings go in, what is missing, extra, double or different comes out.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};

use serde::Serialize;

use super::side::shown;

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What is compared.
    Left,
    /// What it is compared with.
    Right,
}

/// When a message was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before the window: the other side may have had it before anybody looked.
    Early,
    /// In the window.
    Within,
    /// After it: only what was seen before may still turn up.
    Late,
}

/// What is known of a message. The text is forgotten once both sides have it.
#[derive(Debug)]
struct Sighting {
    counts: [u32; 2],
    text: Option<Box<str>>,
    body: u64,
    differs: bool,
    is_early: bool,
}

/// What was seen on both sides.
#[derive(Debug, Default)]
pub struct Books {
    seen: HashMap<u128, Sighting>,
    messages: [u64; 2],
    unknown: [u64; 2],
}

/// A message that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is known by.
    pub key: String,
    /// How often it was seen on each side.
    pub left: u32,
    /// See `left`.
    pub right: u32,
}

/// How many there are, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// All of them.
    pub count: u64,
    /// Some of them, by their keys.
    pub first: Vec<Finding>,
}

/// What a comparison came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Messages that were looked at, left and right.
    pub messages: [u64; 2],
    /// Different messages that both sides have.
    pub same: u64,
    /// The left has them, the right does not.
    pub missing: Findings,
    /// The right has them, the left does not.
    pub extra: Findings,
    /// The left has them more than once.
    pub double_left: Findings,
    /// The right has them more than once.
    pub double_right: Findings,
    /// Both have them, and their bodies are not the same. Empty unless bodies are compared.
    pub different: Findings,
    /// Messages that nobody can tell from others, left and right: without an id, or without what the key is made of.
    pub unknown: [u64; 2],
}

impl Report {
    /// Whether both sides have the same messages, each of them once on the right.
    #[must_use]
    pub const fn is_same(&self) -> bool {
        self.missing.count == 0
            && self.extra.count == 0
            && self.double_right.count == 0
            && self.different.count == 0
            && self.unknown[0] == 0
            && self.unknown[1] == 0
    }
}

fn hashed(bytes: &[u8], salt: u8) -> u64 {
    let mut hasher = DefaultHasher::new();
    salt.hash(&mut hasher);
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Two messages in 10^19 of the same: what is compared fits into memory long before.
fn number(key: &[u8]) -> u128 {
    u128::from(hashed(key, 0)) << 64 | u128::from(hashed(key, 1))
}

impl Books {
    /// Different messages so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether nothing was seen yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Notes a message that cannot be told from others.
    pub fn unknown(&mut self, side: Side) {
        match side {
            Side::Left => self.unknown[0] += 1,
            Side::Right => self.unknown[1] += 1,
        }
    }

    /// Notes a message by its key. `body` is what is compared of its body, if bodies are.
    pub fn note(&mut self, side: Side, when: When, key: &[u8], body: Option<&[u8]>) {
        let body = body.map_or(0, |body| hashed(body, 2));
        let fresh = || Sighting {
            counts: [0, 0],
            text: Some(shown(key).into()),
            body,
            differs: false,
            is_early: when == When::Early,
        };
        let sighting = match self.seen.entry(number(key)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if when == When::Late => return,
            Entry::Vacant(place) => place.insert(fresh()),
        };
        let [left, right] = &mut sighting.counts;
        let (own, all) = match side {
            Side::Left => (left, &mut self.messages[0]),
            Side::Right => (right, &mut self.messages[1]),
        };
        *own += 1;
        if !sighting.is_early {
            *all += 1;
        }
        sighting.differs |= sighting.body != body;
        if sighting.counts == [1, 1] && !sighting.differs {
            sighting.text = None;
        } else if sighting.text.is_none() {
            sighting.text = Some(shown(key).into());
        }
    }

    /// What it comes to, with the first `most` of each kind.
    #[must_use]
    pub fn report(&self, most: usize) -> Report {
        let mut report =
            Report { messages: self.messages, unknown: self.unknown, ..Report::default() };
        for sighting in self.seen.values().filter(|sighting| !sighting.is_early) {
            let [left, right] = sighting.counts;
            let finding = || Finding {
                key: sighting.text.as_deref().unwrap_or_default().to_owned(),
                left,
                right,
            };
            let add = |findings: &mut Findings| {
                findings.count += 1;
                findings.first.push(finding());
                // Bounded, and the smallest keys whatever their order is.
                if findings.first.len() > most.saturating_mul(2).max(64) {
                    cut(findings, most);
                }
            };
            match (left, right) {
                (_, 0) => add(&mut report.missing),
                (0, _) => add(&mut report.extra),
                _ => report.same += 1,
            }
            if left > 1 {
                add(&mut report.double_left);
            }
            if right > 1 {
                add(&mut report.double_right);
            }
            if sighting.differs {
                add(&mut report.different);
            }
        }
        for findings in [
            &mut report.missing,
            &mut report.extra,
            &mut report.double_left,
            &mut report.double_right,
            &mut report.different,
        ] {
            cut(findings, most);
        }
        report
    }
}

fn cut(findings: &mut Findings, most: usize) {
    findings.first.sort_by(|one, other| one.key.cmp(&other.key));
    findings.first.truncate(most);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(findings: &Findings) -> Vec<&str> {
        findings.first.iter().map(|finding| finding.key.as_str()).collect()
    }

    fn books(left: &[&str], right: &[&str]) -> Books {
        let mut books = Books::default();
        for (side, keys) in [(Side::Left, left), (Side::Right, right)] {
            for key in keys {
                books.note(side, When::Within, key.as_bytes(), None);
            }
        }
        books
    }

    #[test]
    fn what_is_missing_extra_and_double_is_told() {
        let report = books(&["a", "b", "c", "d", "d"], &["b", "c", "c", "d", "e"]).report(10);
        assert_eq!((report.messages, report.same), ([5, 5], 3));
        assert_eq!(keys(&report.missing), ["a"]);
        assert_eq!(keys(&report.extra), ["e"]);
        assert_eq!(keys(&report.double_left), ["d"]);
        assert_eq!(report.double_right.first, [Finding { key: "c".into(), left: 1, right: 2 }]);
        assert!(!report.is_same());
    }

    #[test]
    fn the_same_messages_in_another_order_are_the_same() {
        let report = books(&["a", "b", "c"], &["c", "a", "b"]).report(10);
        assert!(report.is_same() && report.same == 3, "{report:?}");
    }

    #[test]
    fn what_producers_published_twice_is_no_fault_of_the_right() {
        let report = books(&["a", "a"], &["a"]).report(10);
        assert!(report.is_same(), "{report:?}");
        assert_eq!(report.double_left.count, 1);
    }

    #[test]
    fn the_window_s_edges_are_not_judged() {
        let mut books = Books::default();
        // The other side had it before anybody looked.
        books.note(Side::Right, When::Early, b"early", None);
        books.note(Side::Left, When::Within, b"slow", None);
        books.note(Side::Right, When::Late, b"slow", None);
        books.note(Side::Right, When::Late, b"next", None);
        let report = books.report(10);
        assert!(report.is_same(), "{report:?}");
        assert_eq!((report.same, report.messages), (1, [1, 1]));
    }

    #[test]
    fn bodies_are_compared_if_they_are_given() {
        let mut books = Books::default();
        books.note(Side::Left, When::Within, b"k", Some(b"one"));
        books.note(Side::Right, When::Within, b"k", Some(b"other"));
        books.note(Side::Left, When::Within, b"l", Some(b"one"));
        books.note(Side::Right, When::Within, b"l", Some(b"one"));
        let report = books.report(10);
        assert_eq!(keys(&report.different), ["k"]);
        assert!(!report.is_same());
    }

    #[test]
    fn many_findings_are_counted_and_the_first_shown() {
        let all: Vec<String> = (0..1000).map(|n| format!("{n:04}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let report = books(&all, &[]).report(3);
        assert_eq!(
            (report.missing.count, keys(&report.missing)),
            (1000, vec!["0000", "0001", "0002"])
        );
    }

    #[test]
    fn who_cannot_be_told_from_others_is_a_difference() {
        let mut books = books(&["a"], &["a"]);
        books.unknown(Side::Right);
        let report = books.report(1);
        assert_eq!((report.unknown, report.is_same()), ([0, 1], false));
    }
}
