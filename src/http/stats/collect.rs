//! Reads the engine for `/stats`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::view::{ChannelStats, ClientStats, PubCount, Stats, TopicStats};
use crate::engine::{Channel, Client, ConsumerCounts, Engine, Topic, WaitingFor};
use crate::http::query::Query;
use crate::http::{Context, NSQ_VERSION};
use crate::telemetry::process::HeapFigures;

/// What was asked for.
struct Wanted<'a> {
    topic: Option<&'a str>,
    channel: Option<&'a str>,
    clients: bool,
    /// Whether consumers are to say why they get nothing: not nsqd's.
    waiting: bool,
}

/// All that `query` asks for. An empty filter is none.
pub(super) fn collect(context: &Context, query: &Query) -> Stats {
    let wanted = Wanted {
        topic: query.get("topic").filter(|name| !name.is_empty()),
        channel: query.get("channel").filter(|name| !name.is_empty()),
        clients: query.is_on("include_clients"),
        waiting: query.get("include_waiting").is_some() && query.is_on("include_waiting"),
    };
    let topics = topics(&context.engine, &wanted);
    let producers = if wanted.clients && topics.is_some() {
        producers(&context.engine, &wanted)
    } else {
        Vec::new()
    };
    Stats {
        version: NSQ_VERSION,
        health: context.health_text(),
        start_time: context.node.start_time,
        topics,
        memory: query.is_on("include_mem").then(HeapFigures::read),
        producers: (!producers.is_empty()).then_some(producers),
    }
}

/// `None` if the topic that was asked for is not there.
fn topics(engine: &Engine, wanted: &Wanted<'_>) -> Option<Vec<TopicStats>> {
    let topics = match wanted.topic {
        Some(name) => vec![engine.find_topic(name)?],
        None => engine.topics(),
    };
    let shown = topics.iter().filter_map(|topic| show_topic(topic, wanted));
    Some(shown.collect())
}

/// `None` if it does not have the channel that was asked for.
fn show_topic(topic: &Topic, wanted: &Wanted<'_>) -> Option<TopicStats> {
    let channels = match wanted.channel {
        Some(name) => vec![topic.find_channel(name)?],
        None => topic.channels(),
    };
    let shown = channels.iter().map(|channel| show_channel(channel, wanted));
    Some(TopicStats {
        topic_name: topic.name().to_string(),
        channels: shown.collect(),
        depth: topic.depth(),
        backend_depth: topic.backend_depth(),
        message_count: topic.message_count(),
        message_bytes: topic.message_bytes(),
        paused: topic.is_paused(),
        e2e_processing_latency: topic.latency().into(),
        dropped_count: topic.dropped(),
        expired_count: topic.expired(),
    })
}

fn show_channel(channel: &Channel, wanted: &Wanted<'_>) -> ChannelStats {
    let counts = channel.counts();
    let clients = wanted.clients.then(|| {
        let consumers = channel.consumers();
        let shown =
            consumers.iter().map(|consumer| show_client(&consumer.client, Some(consumer), wanted));
        shown.collect()
    });
    ChannelStats {
        channel_name: channel.name().to_string(),
        depth: counts.depth,
        backend_depth: counts.backend_depth,
        in_flight_count: counts.in_flight,
        deferred_count: counts.deferred,
        message_count: counts.messages,
        zone_local_msg_count: counts.zone_local,
        region_local_msg_count: counts.region_local,
        global_msg_count: counts.global,
        requeue_count: counts.requeues,
        timeout_count: counts.timeouts,
        client_count: counts.consumers,
        clients,
        paused: counts.paused,
        e2e_processing_latency: channel.latency().into(),
        dropped_count: counts.dropped,
        expired_count: counts.expired,
        dead_letter_count: counts.dead_letters,
    }
}

/// Connections that have published. One that also subscribed is shown with what it has in flight.
fn producers(engine: &Engine, wanted: &Wanted<'_>) -> Vec<ClientStats> {
    let mut clients = engine.clients().all();
    clients.retain(|client| !client.publications().is_empty());
    let subscribed = if clients.iter().any(|client| client.state() != 0) {
        consumers(engine)
    } else {
        HashMap::new()
    };
    let shown = clients.iter().map(|client| {
        let consumer = subscribed.get(&Arc::as_ptr(client));
        show_client(client, consumer, wanted)
    });
    shown.collect()
}

/// Every consumer by its connection.
fn consumers(engine: &Engine) -> HashMap<*const Client, ConsumerCounts> {
    let topics = engine.topics();
    let channels = topics.iter().flat_map(|topic| topic.channels());
    channels
        .flat_map(|channel| channel.consumers())
        .map(|consumer| (Arc::as_ptr(&consumer.client), consumer))
        .collect()
}

fn show_client(
    client: &Client,
    consumer: Option<&ConsumerCounts>,
    wanted: &Wanted<'_>,
) -> ClientStats {
    let identity = client.identity();
    let counters = &client.counters;
    let auth = identity.auth.as_ref();
    let tls = identity.tls.as_ref();
    ClientStats {
        client_id: identity.client_id.clone(),
        hostname: identity.hostname.clone(),
        version: "V2",
        remote_address: client.remote_address.clone(),
        state: client.state(),
        ready_count: consumer.map_or(0, |consumer| consumer.ready),
        in_flight_count: consumer.map_or(0, |consumer| consumer.in_flight),
        message_count: counters.messages.load(Ordering::Relaxed),
        finish_count: counters.finished.load(Ordering::Relaxed),
        requeue_count: counters.requeued.load(Ordering::Relaxed),
        connect_ts: client.connected_at,
        sample_rate: identity.sample_rate,
        deflate: identity.deflate,
        snappy: identity.snappy,
        user_agent: identity.user_agent.clone(),
        authed: auth.is_some_and(|auth| auth.is_authorized),
        auth_identity: auth.map(|auth| auth.identity.clone()).unwrap_or_default(),
        auth_identity_url: auth.map(|auth| auth.identity_url.clone()).unwrap_or_default(),
        topology_zone: identity.topology_zone.clone(),
        topology_region: identity.topology_region.clone(),
        pub_counts: publications(client, wanted),
        tls: tls.is_some(),
        tls_cipher_suite: tls.map(|tls| tls.cipher_suite.clone()).unwrap_or_default(),
        tls_version: tls.map_or("", |tls| tls.version).to_owned(),
        // Nothing is negotiated inside TLS, which both sides know: so says Go.
        tls_negotiated_protocol: String::new(),
        tls_negotiated_protocol_is_mutual: tls.is_some(),
        waiting_for: consumer
            .and_then(|consumer| consumer.waiting_for)
            .filter(|_| wanted.waiting)
            .map(WaitingFor::as_str),
    }
}

/// At most one: that of the topic asked for, else any. So says nsqd.
fn publications(client: &Client, wanted: &Wanted<'_>) -> Vec<PubCount> {
    let publications = client.publications();
    let mut shown =
        publications.iter().filter(|(topic, _)| wanted.topic.is_none_or(|name| ***topic == *name));
    let one =
        shown.next().map(|(topic, count)| PubCount { topic: topic.to_string(), count: *count });
    one.into_iter().collect()
}
