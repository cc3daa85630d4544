//! nsqadmin's API.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Admin;
use super::access::Actor;
use super::cluster::{Act, Silence, Subject, Told};
use super::notify::Action;
use super::router::Asked;
use super::shapes::{ChannelStats, Producer, TopicStats};
use crate::http::query::Query;
use crate::http::reply::{Refusal, Reply};
use crate::names::is_valid_name;

/// What a body of nsqadmin's API may have.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    topic: String,
    channel: String,
    action: String,
}

impl Body {
    /// The body, or Go's words for what is wrong with it.
    async fn read(asked: &mut Asked<'_>) -> Result<Self, String> {
        let body = asked.body().await.map_err(|refusal| refusal.text.into_owned())?;
        if body.is_empty() {
            return Err("EOF".to_owned());
        }
        serde_json::from_slice(&body).map_err(|error| error.to_string())
    }
}

/// A value with what some had against it, as nsqadmin says it.
#[derive(Serialize)]
struct Answer<T> {
    #[serde(flatten)]
    value: T,
    message: String,
}

fn answer<T: Serialize>(told: Told<T>) -> Result<Reply, Refusal> {
    let message = warning(&told.warnings);
    Reply::json(&Answer { value: told.value, message })
}

/// What some had against it; empty if nothing.
pub(super) fn warning(warnings: &[String]) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    format!("WARNING: {}", warnings.join("; "))
}

fn refused(silence: Silence) -> Refusal {
    tracing::error!("{silence}");
    silence.into()
}

/// GET `/api/topics`.
pub(super) async fn topics(admin: &Admin, raw: &str) -> Result<Reply, Refusal> {
    // A query that cannot be read is an empty one for nsqadmin.
    let query = Query::parse(raw).unwrap_or_default();
    if query.get("inactive") == Some("true") {
        let told = admin.cluster.inactive().await.map_err(refused)?;
        let list = |channels: Vec<String>| (!channels.is_empty()).then_some(channels);
        return answer(told.map(|topics| {
            let topics = topics.into_iter().map(|(name, channels)| (name, list(channels)));
            json!({ "topics": topics.collect::<BTreeMap<_, _>>() })
        }));
    }
    let told = admin.cluster.topics().await.map_err(refused)?;
    // Go writes an empty list as none at all.
    answer(told.map(|topics| json!({ "topics": (!topics.is_empty()).then_some(topics) })))
}

/// The sum of a topic's figures over its nodes.
pub(super) async fn topic_figures(admin: &Admin, topic: &str) -> Result<Told<TopicStats>, Silence> {
    let nodes = admin.cluster.producers(topic).await?;
    let told = admin.cluster.stats(&nodes.value, (Some(topic), None), false).await?;
    let mut sum = TopicStats::none(topic);
    told.value.iter().for_each(|one| sum.add(one));
    let warnings = [nodes.warnings, told.warnings].concat();
    Ok(Told { value: sum, warnings })
}

/// GET `/api/topics/:topic`.
pub(super) async fn topic(admin: &Admin, topic: &str) -> Result<Reply, Refusal> {
    answer(topic_figures(admin, topic).await.map_err(refused)?)
}

/// GET `/api/topics/:topic/:channel`.
pub(super) async fn channel(admin: &Admin, topic: &str, channel: &str) -> Result<Reply, Refusal> {
    let nodes = admin.cluster.producers(topic).await.map_err(refused)?;
    let of = (Some(topic), Some(channel));
    let told = admin.cluster.stats(&nodes.value, of, true).await.map_err(refused)?;
    let mut sum: Option<ChannelStats> = None;
    for one in told.value.iter().flat_map(|topic| topic.channels.iter().flatten()) {
        if one.channel_name == channel {
            sum.get_or_insert_with(|| ChannelStats::none(topic, channel)).add(one);
        }
    }
    // The original breaks at a channel that nobody has, and this is what comes of it.
    let value = sum.ok_or_else(Refusal::internal)?;
    answer(Told { value, warnings: [nodes.warnings, told.warnings].concat() })
}

#[derive(Serialize)]
struct Nodes {
    nodes: Vec<Producer>,
}

/// GET `/api/nodes`.
pub(super) async fn nodes(admin: &Admin) -> Result<Reply, Refusal> {
    let told = admin.cluster.nodes().await.map_err(refused)?;
    answer(told.map(|nodes| Nodes { nodes }))
}

/// A node by `broadcast_address:http_port`.
pub(super) async fn find_node(admin: &Admin, name: &str) -> Result<Told<Producer>, Refusal> {
    let told = admin.cluster.nodes().await.map_err(refused)?;
    let found = told.value.into_iter().find(|node| node.http_address() == name);
    let value = found.ok_or_else(|| Refusal::missing("NODE_NOT_FOUND"))?;
    Ok(Told { value, warnings: told.warnings })
}

#[derive(Serialize)]
struct NodeView {
    node: String,
    topics: Vec<TopicStats>,
    total_messages: i64,
    total_clients: i64,
}

/// GET `/api/nodes/:node`.
pub(super) async fn node(admin: &Admin, name: &str) -> Result<Reply, Refusal> {
    let found = find_node(admin, name).await?;
    let of = std::slice::from_ref(&found.value);
    let told = admin.cluster.stats(of, (None, None), true).await.map_err(refused)?;
    let channels = told.value.iter().flat_map(|topic| topic.channels.iter().flatten());
    let value = NodeView {
        node: name.to_owned(),
        total_messages: told.value.iter().map(|topic| topic.message_count).sum(),
        total_clients: channels.map(|channel| channel.client_count).sum(),
        topics: told.value,
    };
    answer(Told { value, warnings: [found.warnings, told.warnings].concat() })
}

#[derive(Serialize)]
struct Counted {
    node: String,
    topic_name: String,
    channel_name: String,
    message_count: i64,
}

#[derive(Serialize)]
struct Counts {
    stats: BTreeMap<String, Counted>,
}

/// GET `/api/counter`.
pub(super) async fn counter(admin: &Admin) -> Result<Reply, Refusal> {
    let nodes = admin.cluster.nodes().await.map_err(refused)?;
    let told = admin.cluster.stats(&nodes.value, (None, None), false).await.map_err(refused)?;
    let mut stats = BTreeMap::new();
    for topic in told.value {
        for channel in topic.channels.unwrap_or_default() {
            let counted = Counted {
                node: topic.node.clone(),
                topic_name: topic.topic_name.clone(),
                channel_name: channel.channel_name,
                message_count: channel.message_count,
            };
            let key = format!("{}:{}:{}", counted.topic_name, counted.channel_name, counted.node);
            stats.insert(key, counted);
        }
    }
    let value = Counts { stats };
    answer(Told { value, warnings: [nodes.warnings, told.warnings].concat() })
}

/// POST `/api/topics`.
pub(super) async fn create(admin: &Admin, asked: &mut Asked<'_>) -> Result<Reply, Refusal> {
    let actor = asked.operator(admin)?;
    let body = Body::read(asked).await.map_err(bad)?;
    if !is_valid_name(body.topic.as_bytes()) {
        return Err(Refusal::bad("INVALID_TOPIC"));
    }
    let channel = (!body.channel.is_empty()).then_some(body.channel.as_str());
    if channel.is_some_and(|channel| !is_valid_name(channel.as_bytes())) {
        return Err(Refusal::bad("INVALID_CHANNEL"));
    }
    let what = Subject { topic: &body.topic, channel };
    let told = admin.cluster.create(what).await.map_err(refused)?;
    let topic = Subject { channel: None, ..what };
    tell(admin, asked, &actor, "create_topic", topic, None);
    if channel.is_some() {
        tell(admin, asked, &actor, "create_channel", what, None);
    }
    answer(told.map(|()| json!({})))
}

fn bad(words: String) -> Refusal {
    Refusal::new(axum::http::StatusCode::BAD_REQUEST, words)
}

/// POST `/api/topics/:topic` and `/api/topics/:topic/:channel`.
pub(super) async fn act(
    admin: &Admin,
    asked: &mut Asked<'_>,
    what: Subject<'_>,
) -> Result<Reply, Refusal> {
    let actor = asked.operator(admin)?;
    let body = Body::read(asked).await.map_err(bad)?;
    let act = Act::named(&body.action).ok_or_else(|| Refusal::bad("INVALID_ACTION"))?;
    let told = admin.cluster.act(act, what).await;
    let kind = if what.channel.is_some() { "channel" } else { "topic" };
    // It is told even if it failed, as the original does.
    tell(admin, asked, &actor, &format!("{}_{kind}", act.as_str()), what, None);
    answer(told.map_err(refused)?.map(|()| json!({})))
}

/// DELETE `/api/topics/:topic` and `/api/topics/:topic/:channel`.
pub(super) async fn delete(
    admin: &Admin,
    asked: &mut Asked<'_>,
    what: Subject<'_>,
) -> Result<Reply, Refusal> {
    let actor = asked.operator(admin)?;
    let told = admin.cluster.delete(what).await.map_err(refused)?;
    let action = if what.channel.is_some() { "delete_channel" } else { "delete_topic" };
    tell(admin, asked, &actor, action, what, None);
    answer(told.map(|()| json!({})))
}

/// DELETE `/api/nodes/:node`.
pub(super) async fn tombstone(
    admin: &Admin,
    asked: &mut Asked<'_>,
    node: &str,
) -> Result<Reply, Refusal> {
    let actor = asked.operator(admin)?;
    let body = Body::read(asked).await.map_err(|_| Refusal::bad("INVALID_BODY"))?;
    if !is_valid_name(body.topic.as_bytes()) {
        return Err(Refusal::bad("INVALID_TOPIC"));
    }
    // Nobody is asked who is not a node.
    let found = find_node(admin, node).await?.value;
    let told = admin.cluster.tombstone(&body.topic, &found).await.map_err(refused)?;
    let what = Subject { topic: &body.topic, channel: None };
    tell(admin, asked, &actor, "tombstone_topic_producer", what, Some(node));
    answer(told.map(|()| json!({})))
}

fn tell(
    admin: &Admin,
    asked: &Asked<'_>,
    actor: &Actor,
    action: &str,
    what: Subject<'_>,
    node: Option<&str>,
) {
    admin.notifier.tell(
        actor,
        asked,
        &Action {
            action,
            topic: what.topic,
            channel: what.channel.unwrap_or_default(),
            node: node.unwrap_or_default(),
        },
    );
}

/// A level as nsqadmin shows it.
fn level_number(level: &str) -> u8 {
    match level.to_ascii_lowercase().as_str() {
        "trace" | "debug" => 1,
        "warn" => 3,
        "error" => 4,
        "fatal" => 5,
        _ => 2,
    }
}

/// GET and PUT `/config/:option`.
pub(super) async fn config(
    admin: &Admin,
    asked: &mut Asked<'_>,
    option: &str,
    is_put: bool,
) -> Result<Reply, Refusal> {
    admin.access.may_configure(asked.remote())?;
    if is_put {
        asked.comes_from_here(admin)?;
        let body = asked.body().await.map_err(|_| Refusal::too_large("INVALID_VALUE"))?;
        if body.is_empty() {
            return Err(Refusal::too_large("INVALID_VALUE"));
        }
        match option {
            "nsqlookupd_http_addresses" => {
                let addresses: Vec<String> =
                    serde_json::from_slice(&body).map_err(|_| Refusal::bad("INVALID_VALUE"))?;
                admin.cluster.set_lookupds(addresses);
            }
            "log_level" => {
                let level = String::from_utf8_lossy(&body);
                let set = admin.level.set_level(level.trim());
                set.map_err(|_| Refusal::bad("INVALID_VALUE"))?;
            }
            _ => return Err(Refusal::bad("INVALID_OPTION")),
        }
    }
    let options = &admin.options;
    let seconds = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Reply::json(&match option {
        "nsqlookupd_http_addresses" => json!(admin.cluster.lookupds()),
        "nsqd_http_addresses" => json!(options.nsqds),
        "log_level" => json!(level_number(&admin.level.level())),
        "base_path" => json!(if options.base_path.is_empty() { "/" } else { &options.base_path }),
        "graphite_url" => json!(options.graphite_url.as_deref().unwrap_or_default()),
        "proxy_graphite" => json!(options.proxy_graphite),
        "statsd_prefix" => json!(options.statsd_prefix),
        "statsd_counter_format" => json!(options.statsd_counter_format),
        "statsd_gauge_format" => json!(options.statsd_gauge_format),
        "statsd_interval" => json!(seconds(options.statsd_interval)),
        "http_client_connect_timeout" => json!(seconds(options.connect_timeout)),
        "http_client_request_timeout" => json!(seconds(options.request_timeout)),
        "acl_http_header" => json!(options.acl_http_header),
        "admin_users" => json!(options.admin_users),
        "notification_http_endpoint" => {
            json!(options.notification_endpoint.as_deref().unwrap_or_default())
        }
        _ => return Err(Refusal::bad("INVALID_OPTION")),
    })
}
