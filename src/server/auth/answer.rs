//! An auth server's answer.
//!
//! Source: nsqd 1.3.0 `internal/auth/authorizations.go`. Patterns are compiled once, when the answer comes.

use std::time::Duration;

use regex::Regex;
use serde_json::{Map, Value};

use crate::protocol::error::quoted;

/// A longer `ttl` is as good as for ever, and would not fit a clock.
const TTL_MAX: i64 = 10 * 365 * 86_400;

/// Why an answer is not to be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is not JSON.
    #[error("the answer is not JSON: {0}")]
    Json(String),
    /// A part of it is of another type.
    #[error("the answer's \"{0}\" is not {1}")]
    Type(&'static str, &'static str),
    /// Neither `subscribe` nor `publish`.
    #[error("unknown permission {0}")]
    Permission(String),
    /// A topic or channel is not a regular expression.
    #[error("unable to compile {what} {pattern} {reason}")]
    Pattern {
        /// `topic` or `channel`.
        what: &'static str,
        /// The expression, quoted.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The answer would run out at once.
    #[error("invalid TTL {0} (must be >0)")]
    Ttl(i64),
}

/// What somebody wants to do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access<'a> {
    /// PUB, MPUB, DPUB.
    Publish,
    /// SUB to this channel.
    Subscribe(&'a str),
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Answer {
    ttl: Duration,
    identity: String,
    identity_url: String,
    authorizations: Vec<Authorization>,
}

#[derive(Debug)]
struct Authorization {
    topic: Pattern,
    channels: Vec<Pattern>,
    publish: bool,
    subscribe: bool,
}

impl Answer {
    /// Reads an answer.
    ///
    /// # Errors
    /// What nsqd would not take either.
    pub(super) fn parse(json: &[u8]) -> Result<Self, AnswerError> {
        let value: Value =
            serde_json::from_slice(json).map_err(|error| AnswerError::Json(error.to_string()))?;
        let Value::Object(answer) = value else {
            return Err(AnswerError::Type("body", "an object"));
        };
        let authorizations = list(&answer, "authorizations")?.iter().map(authorization);
        let authorizations = authorizations.collect::<Result<_, _>>()?;
        let ttl = match field(&answer, "ttl") {
            None => 0,
            Some(value) => value.as_i64().ok_or(AnswerError::Type("ttl", "a whole number"))?,
        };
        let seconds = u64::try_from(ttl.min(TTL_MAX)).ok().filter(|seconds| *seconds > 0);
        Ok(Self {
            ttl: Duration::from_secs(seconds.ok_or(AnswerError::Ttl(ttl))?),
            identity: text(&answer, "identity")?,
            identity_url: text(&answer, "identity_url")?,
            authorizations,
        })
    }

    /// How long it may be used.
    pub(super) const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Who the client is.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// Where more is said of the client.
    pub(crate) fn identity_url(&self) -> &str {
        &self.identity_url
    }

    /// How many authorizations it has.
    pub(crate) const fn permissions(&self) -> usize {
        self.authorizations.len()
    }

    /// Whether one of its authorizations allows this. A channel pattern has to match in any case; to publish it has to match
    /// the empty name.
    pub(super) fn allows(&self, topic: &str, access: Access<'_>) -> bool {
        let channel = match access {
            Access::Publish => "",
            Access::Subscribe(channel) => channel,
        };
        self.authorizations.iter().any(|entry| {
            let is_permitted = match access {
                Access::Publish => entry.publish,
                Access::Subscribe(_) => entry.subscribe,
            };
            is_permitted
                && entry.topic.matches(topic)
                && entry.channels.iter().any(|pattern| pattern.matches(channel))
        })
    }
}

fn authorization(value: &Value) -> Result<Authorization, AnswerError> {
    let Value::Object(entry) = value else {
        return Err(AnswerError::Type("authorizations", "a list of objects"));
    };
    let (mut publish, mut subscribe) = (false, false);
    for permission in list(entry, "permissions")? {
        match string("permissions", permission)? {
            "publish" => publish = true,
            "subscribe" => subscribe = true,
            other => return Err(AnswerError::Permission(other.to_owned())),
        }
    }
    let topic = Pattern::parse("topic", &text(entry, "topic")?)?;
    let channels = list(entry, "channels")?
        .iter()
        .map(|value| Pattern::parse("channel", string("channels", value)?));
    let channels = channels.collect::<Result<_, _>>()?;
    Ok(Authorization { topic, channels, publish, subscribe })
}

/// The value of `key`, in any case as Go reads it; `null` is as good as nothing.
fn field<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    let found = object.get(key).or_else(|| {
        object.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value)
    });
    found.filter(|value| !value.is_null())
}

fn list<'a>(object: &'a Map<String, Value>, key: &'static str) -> Result<&'a [Value], AnswerError> {
    match field(object, key) {
        None => Ok(&[]),
        Some(Value::Array(values)) => Ok(values),
        Some(_) => Err(AnswerError::Type(key, "a list")),
    }
}

fn text(object: &Map<String, Value>, key: &'static str) -> Result<String, AnswerError> {
    field(object, key).map_or(Ok(String::new()), |value| string(key, value).map(str::to_owned))
}

fn string<'a>(key: &'static str, value: &'a Value) -> Result<&'a str, AnswerError> {
    value.as_str().ok_or(AnswerError::Type(key, "text"))
}

/// A regular expression over names. Those that most answers consist of take no memory to speak of.
#[derive(Debug)]
enum Pattern {
    Any,
    Exactly(String),
    Regex(Regex),
}

impl Pattern {
    fn parse(what: &'static str, pattern: &str) -> Result<Self, AnswerError> {
        if matches!(pattern, "" | ".*" | "^.*$" | "^" | "$") {
            return Ok(Self::Any);
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '#');
        let exact = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$'));
        if let Some(name) = exact.filter(|name| name.chars().all(is_plain)) {
            return Ok(Self::Exactly(name.to_owned()));
        }
        Regex::new(pattern).map(Self::Regex).map_err(|error| AnswerError::Pattern {
            what,
            pattern: quoted(pattern.as_bytes()),
            // The library draws a picture over several lines; the last one says what it is.
            reason: error.to_string().lines().last().unwrap_or_default().to_owned(),
        })
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(exact) => exact == name,
            Self::Regex(regex) => regex.is_match(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(authorizations: &str) -> Answer {
        let json = format!(r#"{{"ttl":1,"authorizations":{authorizations}}}"#);
        Answer::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn edge_129_a_channel_pattern_has_to_match_even_to_publish() {
        let both = r#""permissions":["publish","subscribe"]"#;
        for (channels, publishes, subscribes) in [
            (r"[]", false, false),
            (r#"["^c$"]"#, false, true),
            (r#"["^$","x"]"#, true, false),
            (r#"[".*"]"#, true, true),
            (r#"["c?"]"#, true, true),
        ] {
            let answer = answer(&format!(r#"[{{"topic":"t","channels":{channels},{both}}}]"#));
            let subscribe = Access::Subscribe("c");
            let allowed = (answer.allows("t", Access::Publish), answer.allows("t", subscribe));
            assert_eq!(allowed, (publishes, subscribes), "{channels}");
        }
    }

    #[test]
    fn patterns_are_unanchored_and_permissions_are_apart() {
        let answer = answer(
            r#"[{"topic":"ord","channels":[""],"permissions":["publish"]},
                {"topic":"^a\\.b$","channels":["^work"],"permissions":["subscribe"]},
                {"topic":"^exact$","channels":["^x$","^y$"],"permissions":["subscribe"]}]"#,
        );
        assert!(answer.allows("my-orders", Access::Publish));
        assert!(!answer.allows("my-orders", Access::Subscribe("c")));
        assert!(answer.allows("a.b", Access::Subscribe("work-1")));
        assert!(!answer.allows("a-b", Access::Subscribe("work-1")));
        assert!(!answer.allows("a.b", Access::Subscribe("homework")));
        assert!(answer.allows("exact", Access::Subscribe("y")));
        assert!(!answer.allows("exactly", Access::Subscribe("y")));
        assert_eq!(answer.permissions(), 3);
    }

    #[test]
    fn edge_132_an_answer_that_nsqd_would_not_take_is_refused() {
        for (json, words) in [
            ("", "not JSON"),
            ("[]", "not an object"),
            (r#"{"authorizations":[]}"#, "invalid TTL 0"),
            (r#"{"ttl":-1}"#, "invalid TTL -1"),
            (r#"{"ttl":1.5}"#, "\"ttl\" is not a whole number"),
            (r#"{"ttl":1,"identity":1}"#, "\"identity\" is not text"),
            (
                r#"{"ttl":1,"authorizations":[{"permissions":["admin"]}]}"#,
                "unknown permission admin",
            ),
            (r#"{"ttl":1,"authorizations":[{"topic":"("}]}"#, "unable to compile topic \"(\""),
            (
                r#"{"ttl":1,"authorizations":[{"topic":"t","channels":["a","[z-a]"]}]}"#,
                "unable to compile channel \"[z-a]\"",
            ),
        ] {
            let error = Answer::parse(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words), "{json}: {error}");
        }
    }

    #[test]
    fn keys_match_in_any_case_and_null_is_nothing() {
        let json = br#"{"TTL":9223372036854775807,"Identity":"me","identity_url":null,"authorizations":null}"#;
        let answer = Answer::parse(json).unwrap();
        assert_eq!((answer.identity(), answer.identity_url(), answer.permissions()), ("me", "", 0));
        assert_eq!(answer.ttl().as_secs(), TTL_MAX.unsigned_abs());
    }
}
