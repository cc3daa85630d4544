//! `/pub` and `/mpub`. The order of the checks is nsqd's: body before topic for one, topic before body for many.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;

use super::body::{End, Incoming};
use super::query::Query;
use super::reply::{Refusal, Reply};
use super::topics;
use super::{Context, Limits};
use crate::engine::{Accepted, PublishError, Signal, Topic};

/// POST `/pub`.
pub(super) async fn publish(
    context: &Context,
    raw: &str,
    body: &mut Incoming,
) -> Result<Reply, Refusal> {
    let limit = context.limits.max_msg_size;
    if body.declares_more_than(limit) {
        return Err(message_too_big(&context.limits, body.declared()));
    }
    let message = match body.read(limit).await {
        (_, End::Broken) => return Err(Refusal::internal()),
        (_, End::TooLong) => return Err(message_too_big(&context.limits, None)),
        (message, End::Complete) => message,
    };
    if message.is_empty() {
        return Err(Refusal::bad("MSG_EMPTY"));
    }
    let query = Query::parse(raw)?;
    let topic = topics::publishable(context, &query)?;
    let delay = delay(&query, context.limits.max_defer_time)?;
    let signal = Arc::<Signal>::default();
    let accepted = topic.publish_deferred(&message, delay, &signal);
    settle(context, &topic, accepted, &signal).await
}

/// The value of `defer`.
fn delay(query: &Query, max: Duration) -> Result<Duration, Refusal> {
    let Some(defer) = query.get("defer") else {
        return Ok(Duration::ZERO);
    };
    let millis: Option<i64> = defer.parse().ok();
    let delay = millis.and_then(|millis| u64::try_from(millis).ok());
    delay
        .map(Duration::from_millis)
        .filter(|delay| *delay <= max)
        .ok_or_else(|| Refusal::bad("INVALID_DEFER"))
}

fn message_too_big(limits: &Limits, size: Option<u64>) -> Refusal {
    let detail = limits.explain(size, limits.max_msg_size, "max-msg-size");
    Refusal::too_large("MSG_TOO_BIG").explained(detail)
}

fn body_too_big(limits: &Limits, size: Option<u64>) -> Refusal {
    let detail = limits.explain(size, limits.max_body_size, "max-body-size");
    Refusal::too_large("BODY_TOO_BIG").explained(detail)
}

/// POST `/mpub`.
pub(super) async fn publish_many(
    context: &Context,
    raw: &str,
    body: &mut Incoming,
) -> Result<Reply, Refusal> {
    let limit = context.limits.max_body_size;
    if body.declares_more_than(limit) {
        return Err(body_too_big(&context.limits, body.declared()));
    }
    let query = Query::parse(raw)?;
    let topic = topics::publishable(context, &query)?;
    let is_binary = is_binary(&query);
    let (batch, end) = body.read(limit).await;
    let messages =
        if is_binary { binary(&batch, end, context)? } else { text(&batch, end, context)? };
    if messages.is_empty() {
        return Ok(Reply::ok());
    }
    let signal = Arc::<Signal>::default();
    let accepted = topic.publish(messages.into_iter(), &signal);
    settle(context, &topic, accepted, &signal).await
}

/// Anything that is not a plain no is a yes.
fn is_binary(query: &Query) -> bool {
    match query.get("binary") {
        None | Some("false" | "0") => false,
        Some("true" | "1") => true,
        Some(other) => {
            tracing::warn!("deprecated value '{other}' used for /mpub binary param");
            true
        }
    }
}

/// Messages separated by line feeds; empty lines are none.
fn text<'a>(batch: &'a [u8], end: End, context: &Context) -> Result<Vec<&'a [u8]>, Refusal> {
    let limits = &context.limits;
    let mut messages = Vec::new();
    let mut seen = 0;
    for line in batch.split_inclusive(|&byte| byte == b'\n') {
        seen += line.len() as u64;
        if seen > limits.max_body_size {
            return Err(body_too_big(limits, None));
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line.len() as u64 > limits.max_msg_size {
            return Err(message_too_big(limits, Some(line.len() as u64)));
        }
        if !line.is_empty() {
            messages.push(line);
        }
    }
    match end {
        End::Complete => Ok(messages),
        End::TooLong => Err(body_too_big(limits, None)),
        End::Broken => Err(Refusal::internal()),
    }
}

/// A count, then each message behind its size, all of it 32-bit and big endian. What follows the last one is ignored.
fn binary<'a>(batch: &'a [u8], end: End, context: &Context) -> Result<Vec<&'a [u8]>, Refusal> {
    let limits = &context.limits;
    let short = |text| match end {
        // nsqd reads on here, without a bound.
        End::TooLong => body_too_big(limits, None),
        _ => Refusal::too_large(text),
    };
    let (count, mut rest) = number(batch).ok_or_else(|| short("BAD_BODY"))?;
    let count_max = limits.max_body_size.saturating_sub(4) / 5;
    if count == 0 || u64::from(count) > count_max {
        return Err(Refusal::too_large("BAD_BODY"));
    }
    let mut messages = Vec::new();
    for _ in 0..count {
        let (size, behind) = number(rest).ok_or_else(|| short("BAD_MESSAGE"))?;
        if size == 0 || u64::from(size) > limits.max_msg_size {
            let detail = limits.explain(Some(size.into()), limits.max_msg_size, "max-msg-size");
            return Err(Refusal::too_large("BAD_MESSAGE").explained(detail));
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let (message, behind) =
            behind.split_at_checked(size).ok_or_else(|| short("BAD_MESSAGE"))?;
        messages.push(message);
        rest = behind;
    }
    Ok(messages)
}

/// A 32-bit number, 0 for a negative one, and what follows it.
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    let number = i32::from_be_bytes(*number);
    Some((u32::try_from(number).unwrap_or(0), rest))
}

/// Waits until the journal or the far side has it, and says how it went.
async fn settle(
    context: &Context,
    topic: &Topic,
    accepted: Result<Accepted, PublishError>,
    signal: &Arc<Signal>,
) -> Result<Reply, Refusal> {
    let accepted = accepted.map_err(|error| refused(&error))?;
    let arrived = context.engine.arrived(topic, accepted, signal).await;
    arrived.map(|()| Reply::ok()).map_err(|error| refused(&error))
}

/// 503: nsqd's word if the node or topic is going, else the reason in words.
pub(super) fn refused(error: &PublishError) -> Refusal {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    match error {
        PublishError::Exiting => Refusal::new(status, "EXITING"),
        other => Refusal::new(status, other.to_string()),
    }
}
