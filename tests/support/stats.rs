//! What `/stats` says of topics, channels and clients.

use std::net::SocketAddr;

use serde_json::Value;

use super::{http, wait};

/// Everything.
fn all(at: SocketAddr, filter: &str) -> Value {
    http::get(at, &format!("/stats?format=json{filter}")).json()
}

/// The names of all topics.
pub(crate) fn topics(at: SocketAddr) -> Vec<String> {
    let stats = all(at, "");
    let topics = stats["topics"].as_array().map(Vec::as_slice).unwrap_or_default();
    topics.iter().filter_map(|topic| Some(topic["topic_name"].as_str()?.to_owned())).collect()
}

/// A topic; `null` if it is not there.
pub(crate) fn topic(at: SocketAddr, name: &str) -> Value {
    all(at, &format!("&topic={}", name.replace('#', "%23")))["topics"][0].clone()
}

/// A channel; `null` if it is not there.
pub(crate) fn channel(at: SocketAddr, topic: &str, name: &str) -> Value {
    let topic = self::topic(at, topic);
    let channels = topic["channels"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = channels.iter().find(|channel| channel["channel_name"] == name);
    found.cloned().unwrap_or_default()
}

/// A channel's depth, messages in flight, and messages deferred; `null`s if it is not there.
pub(crate) fn counts(at: SocketAddr, topic: &str, name: &str) -> [Value; 3] {
    let channel = channel(at, topic, name);
    ["depth", "in_flight_count", "deferred_count"].map(|key| channel[key].clone())
}

/// Awaits a channel's depth, messages in flight, and messages deferred.
pub(crate) fn await_counts(at: SocketAddr, topic: &str, name: &str, wanted: [u64; 3]) {
    let mut last = Value::Null;
    let found = wait::until(wait::PATIENCE, || {
        last = counts(at, topic, name).to_vec().into();
        (last == Value::from(wanted.to_vec())).then_some(())
    });
    assert!(
        found.is_some(),
        "depth, in flight and deferred of {topic}/{name}: {last}, not {wanted:?}"
    );
}

/// Awaits a topic's own depth: what no channel has yet.
pub(crate) fn await_depth(at: SocketAddr, topic: &str, wanted: u64) {
    wait::until_true(&format!("{topic} holds {wanted}"), || {
        self::topic(at, topic)["depth"] == wanted
    });
}

/// The only client of a channel.
pub(crate) fn client(at: SocketAddr, topic: &str, channel: &str) -> Value {
    let channel = self::channel(at, topic, channel);
    assert_eq!(channel["client_count"], 1, "{channel}");
    channel["clients"][0].clone()
}
