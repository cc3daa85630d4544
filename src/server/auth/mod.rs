//! AUTH: what a connection may do, by the word of an auth server.
//!
//! | file | what it is |
//! | --- | --- |
//! | `answer` | an auth server's answer: read, and asked whether it allows something |
//! | `servers` | the auth servers: how they are asked |
//!
//! [`Leave`] is a connection's own part: it holds the latest answer and says when it is to be asked for again. Asking is
//! awaited in the connection's task; no other connection notices.

mod answer;
mod servers;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use answer::Access;
pub(super) use answer::Answer;
pub use answer::AnswerError;
pub(super) use servers::{AskError, Question};
pub use servers::{AuthMethod, AuthOptions, AuthServers, SetupError};

use crate::clock::Instant;
use crate::protocol::error::quoted;
use crate::protocol::{ErrorCode, ProtocolError};

/// How long an answer that has run out is used before the servers that did not answer are asked again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// A command that needs leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish<'a> {
    /// The command's word.
    pub(super) command: &'static str,
    /// The topic that it names.
    pub(super) topic: &'a str,
    /// The channel of SUB; publishing names none.
    pub(super) channel: Option<&'a str>,
}

/// What a command comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is done.
    Allowed,
    /// The answer has run out: the auth servers are to be asked first.
    Ask,
    /// It is not done, and the connection ends.
    Refused(ProtocolError),
}

/// What a connection has leave for.
#[derive(Default)]
pub(super) struct Leave {
    secret: Arc<[u8]>,
    held: Option<Held>,
    /// The next command is judged by what is held, as it was asked for just now.
    is_fresh: bool,
}

/// An answer, and until when.
struct Held {
    answer: Answer,
    until: Instant,
    /// When it ran out or will.
    expires: Instant,
}

impl fmt::Debug for Leave {
    // The secret stays out of every log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leave")
            .field("is_authorized", &self.is_authorized())
            .finish_non_exhaustive()
    }
}

impl Leave {
    /// Keeps what the client says in AUTH.
    pub(super) fn keep_secret(&mut self, secret: &[u8]) {
        self.secret = secret.into();
    }

    /// What the client said in AUTH.
    pub(super) fn secret(&self) -> Arc<[u8]> {
        Arc::clone(&self.secret)
    }

    /// Whether something is allowed at all.
    pub(super) fn is_authorized(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.answer.permissions() > 0)
    }

    /// Judges a command at the moment `now`.
    pub(super) fn judge(&mut self, wish: Wish<'_>, now: Instant) -> Verdict {
        let is_fresh = std::mem::take(&mut self.is_fresh);
        let Some(held) = self.held.as_ref().filter(|_| is_fresh || self.is_authorized()) else {
            let text = format!("AUTH required before {}", wish.command);
            return Verdict::Refused(ProtocolError::new(ErrorCode::AuthFirst, text));
        };
        if !is_fresh && held.until <= now {
            return Verdict::Ask;
        }
        let access = wish.channel.map_or(Access::Publish, Access::Subscribe);
        if held.answer.allows(wish.topic, access) {
            return Verdict::Allowed;
        }
        let topic = quoted(wish.topic.as_bytes());
        let channel = quoted(wish.channel.unwrap_or_default().as_bytes());
        let text = format!("AUTH failed for {} on {topic} {channel}", wish.command);
        Verdict::Refused(ProtocolError::new(ErrorCode::Unauthorized, text))
    }

    /// Takes what the auth servers said at the moment `now`. If none could be reached, an earlier answer is held for up to
    /// `stale` longer than it was given for.
    ///
    /// # Errors
    /// Why there is no answer to go by.
    pub(super) fn answered(
        &mut self,
        asked: Result<Answer, AskError>,
        stale: Duration,
        now: Instant,
    ) -> Result<&Answer, AskError> {
        let held = match (asked, self.held.take()) {
            (Ok(answer), _) => {
                let expires = now + answer.ttl();
                Held { answer, until: expires, expires }
            }
            (Err(AskError::Unreachable(reason)), Some(held)) if now < held.expires + stale => {
                tracing::warn!(reason, "no auth server answers: going by its last answer");
                Held { until: (now + ASK_AGAIN).min(held.expires + stale), ..held }
            }
            (Err(error), _) => return Err(error),
        };
        self.is_fresh = true;
        Ok(&self.held.insert(held).answer)
    }

    /// What is held was asked for by AUTH, not by a command that waits.
    pub(super) const fn settle(&mut self) {
        self.is_fresh = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const PUB: Wish<'_> = Wish { command: "PUB", topic: "t", channel: None };
    const SUB: Wish<'_> = Wish { command: "SUB", topic: "t", channel: Some("c\"") };

    fn answer(json: &str) -> Result<Answer, AskError> {
        Ok(Answer::parse(json.as_bytes()).unwrap())
    }

    fn publisher() -> Result<Answer, AskError> {
        answer(
            r#"{"ttl":10,"authorizations":[{"topic":"^t$","channels":[".*"],"permissions":["publish"]}]}"#,
        )
    }

    fn refused(verdict: Verdict) -> String {
        let Verdict::Refused(error) = verdict else { panic!("{verdict:?}") };
        error.to_string()
    }

    #[test]
    fn edge_128_nothing_is_done_before_auth() {
        let mut leave = Leave::default();
        let now = clock::now();
        assert_eq!(refused(leave.judge(PUB, now)), "E_AUTH_FIRST AUTH required before PUB");
        leave.answered(publisher(), Duration::ZERO, now).unwrap();
        leave.settle();
        assert_eq!(leave.judge(PUB, now), Verdict::Allowed);
        let text = r#"E_UNAUTHORIZED AUTH failed for SUB on "t" "c\"""#;
        assert_eq!(refused(leave.judge(SUB, now)), text);
    }

    #[test]
    fn edge_130_an_answer_that_has_run_out_is_asked_for_again() {
        let mut leave = Leave::default();
        let start = clock::now();
        leave.answered(publisher(), Duration::ZERO, start).unwrap();
        leave.settle();
        let late = start + Duration::from_secs(10);
        assert_eq!(leave.judge(PUB, late - Duration::from_millis(1)), Verdict::Allowed);
        assert_eq!(leave.judge(PUB, late), Verdict::Ask);
        // The new answer allows nothing: the command that waits is refused by it, the next one by having no leave at all.
        leave.answered(answer(r#"{"ttl":1}"#), Duration::ZERO, late).unwrap();
        let text = r#"E_UNAUTHORIZED AUTH failed for PUB on "t" """#;
        assert_eq!(refused(leave.judge(PUB, late)), text);
        assert_eq!(refused(leave.judge(PUB, late)), "E_AUTH_FIRST AUTH required before PUB");
    }

    #[test]
    fn a_stale_answer_holds_only_while_nobody_answers() {
        let unreachable = || Err(AskError::Unreachable("refused".into()));
        let stale = Duration::from_secs(60);
        let start = clock::now();
        let mut leave = Leave::default();
        leave.answered(publisher(), stale, start).unwrap();
        leave.settle();
        let late = start + Duration::from_secs(11);
        assert_eq!(leave.judge(PUB, late), Verdict::Ask);
        leave.answered(unreachable(), stale, late).unwrap();
        assert_eq!(leave.judge(PUB, late), Verdict::Allowed);
        assert_eq!(leave.judge(PUB, late + ASK_AGAIN / 2), Verdict::Allowed);
        assert_eq!(leave.judge(PUB, late + ASK_AGAIN), Verdict::Ask);
        let end = start + Duration::from_secs(70);
        assert!(leave.answered(unreachable(), stale, end).is_err());
        assert!(!leave.is_authorized());

        leave.answered(publisher(), stale, start).unwrap();
        let refusal = Err(AskError::Refused("403".into()));
        assert!(leave.answered(refusal, stale, late).is_err(), "an answer is an answer");
        assert!(leave.answered(unreachable(), stale, late).is_err(), "there is nothing to go by");
    }

    #[test]
    fn the_secret_is_not_shown() {
        let mut leave = Leave::default();
        leave.keep_secret(b"hush");
        assert!(!format!("{leave:?}").contains("hush"));
        assert_eq!(&*leave.secret(), b"hush");
    }
}
