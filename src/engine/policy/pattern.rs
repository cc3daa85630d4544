//! Patterns of topic and channel names: `*` stands for any run of characters, `?` for one.

use std::fmt;

use crate::names::NAME_LEN_MAX;

/// A pattern of names. Most patterns are a name itself, which matches only that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<str>);

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a pattern of names: 1 to {NAME_LEN_MAX} of the characters . a-z A-Z 0-9 _ - * ?, and #ephemeral at \
     the end if wanted"
)]
pub struct PatternError(String);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// If no name could ever match it.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let stem = text.strip_suffix(crate::names::EPHEMERAL_SUFFIX).unwrap_or(text);
        let is_good = !stem.is_empty()
            && text.len() <= NAME_LEN_MAX
            && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-*?".contains(&byte));
        if is_good { Ok(Self(text.into())) } else { Err(PatternError(text.to_owned())) }
    }

    /// The pattern that every name matches.
    #[must_use]
    pub fn any() -> Self {
        Self("*".into())
    }

    /// Whether `name` is one of those that are meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        matches(self.0.as_bytes(), name.as_bytes())
    }

    /// The one name that it matches, if it has neither `*` nor `?`.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        (!self.0.contains(['*', '?'])).then_some(&self.0)
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Goes back to the latest star only, so the time is at most the product of both lengths, never exponential.
fn matches(mut pattern: &[u8], mut name: &[u8]) -> bool {
    // What follows the latest star, and where in the name it was last tried.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), name.split_first()) {
            (Some((b'*', behind)), _) => {
                pattern = behind;
                star = Some((behind, name));
            }
            (Some((wanted, behind)), Some((byte, rest))) if *wanted == b'?' || wanted == byte => {
                pattern = behind;
                name = rest;
            }
            (None, None) => return true,
            _ => {
                let Some((behind, tried)) = star else { return false };
                let Some((_, next)) = tried.split_first() else { return false };
                pattern = behind;
                name = next;
                star = Some((behind, next));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_what_they_say() {
        for (pattern, yes, no) in [
            ("orders", &["orders"][..], &["order", "orders2", "", "Orders"][..]),
            ("pay.*", &["pay.", "pay.eu", "pay.eu.card"], &["pay", "xpay.eu"]),
            ("*", &["x", "", "a.b"], &[]),
            ("*.dead", &["a.dead", ".dead", "a.dead.dead"], &["dead", "a.dead2"]),
            ("a*b*c", &["abc", "axbxc", "abcbc"], &["ab", "acb", "abcd"]),
            ("log?", &["log1"], &["log", "log12"]),
            ("?*", &["a", "ab"], &[""]),
            ("*#ephemeral", &["x#ephemeral"], &["x"]),
        ] {
            let pattern = Pattern::new(pattern).unwrap();
            yes.iter().for_each(|name| assert!(pattern.matches(name), "{pattern} {name}"));
            no.iter().for_each(|name| assert!(!pattern.matches(name), "{pattern} {name}"));
        }
    }

    #[test]
    fn what_no_name_can_match_is_refused() {
        for text in ["", "a/b", "a b", "#ephemeral", "a#b", "[a-z]", &"x".repeat(65)] {
            let error = Pattern::new(text).unwrap_err().to_string();
            assert!(error.contains("is not a pattern of names"), "{error}");
        }
        assert_eq!(Pattern::new("a.b-c_d").unwrap().literal(), Some("a.b-c_d"));
        assert_eq!(Pattern::new("a?").unwrap().literal(), None);
        assert_eq!(Pattern::any().literal(), None);
    }

    /// What the words say, without caring for time.
    fn plainly(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', behind)) => (0..=name.len()).any(|at| plainly(behind, &name[at..])),
            Some((wanted, behind)) => name.split_first().is_some_and(|(byte, rest)| {
                (*wanted == b'?' || wanted == byte) && plainly(behind, rest)
            }),
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_plain_definition(pattern in "[ab*?]{0,8}", name in "[ab]{0,10}") {
            let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(matches(pattern, name), plainly(pattern, name));
        }
    }
}
