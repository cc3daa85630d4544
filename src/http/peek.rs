//! `/topic/peek` and `/channel/peek`: the first messages, without taking them.

use serde::Serialize;

use super::Context;
use super::query::Query;
use super::reply::{Refusal, Reply};
use super::topics;
use crate::bridge::envelope::Printable;
use crate::clock;
use crate::engine::{PeekLimit, PeekState, Peeked};

/// Messages that are shown if nobody says how many, and at most.
const MESSAGES: usize = 10;
const MESSAGES_MAX: usize = 100;
/// Bytes of bodies that are shown, all together.
const BYTES_MAX: usize = 1024 * 1024;

#[derive(Serialize)]
struct Shown {
    id: String,
    /// Nanoseconds since the Unix epoch, as the next.
    timestamp: i64,
    attempts: u16,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<i64>,
    /// Of the whole body, in bytes.
    size: u64,
    /// Whether only the beginning of the body is shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    #[serde(flatten)]
    body: Printable,
}

/// GET `/topic/peek`: what no channel has got yet.
pub(super) fn topic(context: &Context, raw: &str) -> Result<Reply, Refusal> {
    let query = Query::parse(raw)?;
    let (limit, state) = (limit(&query)?, state(&query)?);
    let topic = topics::existing(context, &query)?;
    show(topic.peek(limit, |other| state.is_none_or(|state| word(other) == state)))
}

/// GET `/channel/peek`.
pub(super) fn channel(context: &Context, raw: &str) -> Result<Reply, Refusal> {
    let query = Query::parse(raw)?;
    let (limit, state) = (limit(&query)?, state(&query)?);
    let channel = topics::existing_channel(context, &query)?;
    show(channel.peek(limit, |other| state.is_none_or(|state| word(other) == state)))
}

/// `n`: how many.
fn limit(query: &Query) -> Result<PeekLimit, Refusal> {
    let messages = match query.get("n") {
        None => MESSAGES,
        Some(text) => text.parse::<usize>().map_err(|_| Refusal::bad("INVALID_ARG_N"))?,
    };
    Ok(PeekLimit { messages: messages.min(MESSAGES_MAX), bytes: BYTES_MAX })
}

/// `state`: which of them; all if it is not given.
fn state(query: &Query) -> Result<Option<&str>, Refusal> {
    match query.get("state") {
        None | Some("") => Ok(None),
        Some(word @ ("ready" | "in_flight" | "deferred" | "dead")) => Ok(Some(word)),
        Some(_) => Err(Refusal::bad("INVALID_ARG_STATE")),
    }
}

const fn word(state: PeekState) -> &'static str {
    match state {
        PeekState::Ready => "ready",
        PeekState::InFlight => "in_flight",
        PeekState::Deferred(_) => "deferred",
        PeekState::Dead => "dead",
    }
}

fn show(messages: Vec<Peeked>) -> Result<Reply, Refusal> {
    let now = clock::unix_nanos();
    let shown = messages.into_iter().map(|message| {
        let truncated = (message.body.len() as u64) < message.size;
        let body = if truncated { whole_characters(&message.body) } else { &message.body };
        Shown {
            id: message.id.to_string(),
            timestamp: message.timestamp,
            attempts: message.attempts,
            state: word(message.state),
            due: match message.state {
                PeekState::Deferred(wait) => {
                    Some(now.saturating_add(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX)))
                }
                _ => None,
            },
            size: message.size,
            truncated,
            body: Printable::new(body),
        }
    });
    Reply::json(&shown.collect::<Vec<_>>())
}

/// The beginning of a text without a character that was cut in two. Anything else is left as it is.
fn whole_characters(body: &[u8]) -> &[u8] {
    match std::str::from_utf8(body) {
        Err(error) if error.error_len().is_none() => {
            body.get(..error.valid_up_to()).unwrap_or(body)
        }
        _ => body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_is_still_text() {
        let text = "aé".as_bytes();
        assert_eq!(whole_characters(&text[..2]), b"a");
        assert_eq!(whole_characters(text), text);
        assert_eq!(whole_characters(&[0xff, b'a']), [0xff, b'a']);
    }

    #[test]
    fn how_many_and_which() {
        let limit = |raw: &str| limit(&Query::parse(raw).unwrap()).map(|limit| limit.messages);
        assert_eq!((limit(""), limit("n=3"), limit("n=1000")), (Ok(10), Ok(3), Ok(100)));
        assert_eq!(limit("n=-1"), Err(Refusal::bad("INVALID_ARG_N")));
        let query = Query::parse("state=in_flight").unwrap();
        assert_eq!(state(&query), Ok(Some("in_flight")));
        let query = Query::parse("state=lost").unwrap();
        assert_eq!(state(&query), Err(Refusal::bad("INVALID_ARG_STATE")));
    }
}
