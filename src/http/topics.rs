//! Topics and channels: create, delete, empty, pause, unpause.
//!
//! nsqd validates names in some endpoints and merely looks them up in others; which does what is part of its contract.

use std::sync::Arc;

use axum::http::StatusCode;

use super::Context;
use super::publish::refused;
use super::query::Query;
use super::reply::{Refusal, Reply};
use crate::clock;
use crate::engine::{Channel, Replay, Topic};
use crate::names::is_valid_name;

/// The topic of a publish, made if it is not there.
pub(super) fn publishable(context: &Context, query: &Query) -> Result<Arc<Topic>, Refusal> {
    let name = topic_name(query)?;
    if !is_valid_name(name.as_bytes()) {
        return Err(Refusal::bad("INVALID_TOPIC"));
    }
    let topic = context.engine.topic(name);
    topic.map_err(|error| refused(&error))
}

fn topic_name(query: &Query) -> Result<&str, Refusal> {
    let name = query.get("topic");
    name.ok_or_else(|| Refusal::bad("MISSING_ARG_TOPIC"))
}

/// The topic that is named, if it is there. Its name is not checked.
pub(super) fn existing(context: &Context, query: &Query) -> Result<Arc<Topic>, Refusal> {
    let name = topic_name(query)?;
    let topic = context.engine.find_topic(name);
    topic.ok_or_else(|| Refusal::missing("TOPIC_NOT_FOUND"))
}

/// The topic that is there and the name of the channel, both checked.
fn with_channel<'q>(context: &Context, query: &'q Query) -> Result<(Arc<Topic>, &'q str), Refusal> {
    let topic = topic_name(query)?;
    if !is_valid_name(topic.as_bytes()) {
        return Err(Refusal::bad("INVALID_ARG_TOPIC"));
    }
    let channel = query.get("channel");
    let channel = channel.ok_or_else(|| Refusal::bad("MISSING_ARG_CHANNEL"))?;
    if !is_valid_name(channel.as_bytes()) {
        return Err(Refusal::bad("INVALID_ARG_CHANNEL"));
    }
    Ok((existing(context, query)?, channel))
}

pub(super) fn existing_channel(context: &Context, query: &Query) -> Result<Arc<Channel>, Refusal> {
    let (topic, channel) = with_channel(context, query)?;
    let channel = topic.find_channel(channel);
    channel.ok_or_else(|| Refusal::missing("CHANNEL_NOT_FOUND"))
}

/// Waits until whoever keeps the messages of a topic has followed suit, if that is not this node.
async fn applied(context: &Context, topic: &str, channel: Option<&str>) -> Result<Reply, Refusal> {
    if let Some(applied) = context.engine.applied(topic, channel) {
        applied.await.map_err(|reason| {
            let text = format!("STORE_FAILED: {reason}; it is tried again");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
        })?;
    }
    Ok(Reply::Empty)
}

pub(super) async fn create(context: &Context, raw: &str) -> Result<Reply, Refusal> {
    let topic = publishable(context, &Query::parse(raw)?)?;
    applied(context, topic.name(), None).await
}

pub(super) async fn delete(context: &Context, raw: &str) -> Result<Reply, Refusal> {
    let query = Query::parse(raw)?;
    let topic = topic_name(&query)?;
    if context.engine.delete_topic(topic) {
        persist(context).await?;
        applied(context, topic, None).await
    } else {
        Err(Refusal::missing("TOPIC_NOT_FOUND"))
    }
}

pub(super) async fn empty(context: &Context, raw: &str) -> Result<Reply, Refusal> {
    let query = Query::parse(raw)?;
    let topic = topic_name(&query)?;
    if !is_valid_name(topic.as_bytes()) {
        return Err(Refusal::bad("INVALID_TOPIC"));
    }
    existing(context, &query)?.empty();
    applied(context, topic, None).await
}

pub(super) async fn set_paused(
    context: &Context,
    raw: &str,
    paused: bool,
) -> Result<Reply, Refusal> {
    let topic = existing(context, &Query::parse(raw)?)?;
    topic.set_paused(paused);
    persist(context).await?;
    applied(context, topic.name(), None).await
}

/// With `from`, which nsqd does not know, a channel that is made begins there.
pub(super) async fn create_channel(context: &Context, raw: &str) -> Result<Reply, Refusal> {
    let query = Query::parse(raw)?;
    let (topic, channel) = with_channel(context, &query)?;
    let made = match query.get("from") {
        None => topic.channel(channel),
        Some(from) => {
            let replay = replay(from)?;
            if replay != Replay::New && !topic.retains() {
                return Err(Refusal::bad(
                    "NOTHING_RETAINED: the topic keeps nothing for channels to come; give it a retention (topics)",
                ));
            }
            topic.channel_from(channel, replay)
        }
    };
    made.map_err(|error| refused(&error))?;
    applied(context, topic.name(), Some(channel)).await
}

/// Where a channel that is made begins: `new`, `start`, `offset:<number>`, or a moment.
fn replay(text: &str) -> Result<Replay, Refusal> {
    let found = match text {
        "new" => Some(Replay::New),
        "start" => Some(Replay::Start),
        _ => match text.strip_prefix("offset:") {
            Some(number) => number.parse().ok().map(Replay::Offset),
            None => clock::moment(text).map(Replay::Since),
        },
    };
    found.ok_or_else(|| {
        Refusal::bad(
            "INVALID_ARG_FROM: expected new, start, offset:<number>, Unix seconds or 2024-05-01T12:00:00Z",
        )
    })
}

pub(super) async fn delete_channel(context: &Context, raw: &str) -> Result<Reply, Refusal> {
    let query = Query::parse(raw)?;
    let (topic, channel) = with_channel(context, &query)?;
    if topic.delete_channel(channel) {
        persist(context).await?;
        applied(context, topic.name(), Some(channel)).await
    } else {
        Err(Refusal::missing("CHANNEL_NOT_FOUND"))
    }
}

pub(super) async fn empty_channel(context: &Context, raw: &str) -> Result<Reply, Refusal> {
    let query = Query::parse(raw)?;
    existing_channel(context, &query)?.empty();
    let (topic, channel) = with_channel(context, &query)?;
    applied(context, topic.name(), Some(channel)).await
}

pub(super) async fn set_channel_paused(
    context: &Context,
    raw: &str,
    paused: bool,
) -> Result<Reply, Refusal> {
    let query = Query::parse(raw)?;
    existing_channel(context, &query)?.set_paused(paused);
    let (topic, channel) = with_channel(context, &query)?;
    persist(context).await?;
    applied(context, topic.name(), Some(channel)).await
}

/// Has a pause or a deletion written down, off the threads that serve requests. nsqd writes a deletion later, so that a
/// crash may bring back what was deleted.
async fn persist(context: &Context) -> Result<Reply, Refusal> {
    let persist = Arc::clone(&context.persist);
    let written = tokio::task::spawn_blocking(move || persist()).await;
    match written {
        Ok(Ok(())) => Ok(Reply::Empty),
        Ok(Err(error)) => {
            tracing::error!(%error, "the list of topics and channels could not be written");
            Err(Refusal::internal())
        }
        // It panicked, which the panic hook has reported.
        Err(_) => Err(Refusal::internal()),
    }
}
