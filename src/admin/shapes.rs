//! What nsqds and nsqlookupds tell, read and added up: nsqadmin's objects, key for key and in its order.
//!
//! The sums differ from the original's in two points, both of which its users take for faults: the first node's channels
//! are their own and not the sum, and the least latency is the least.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::http::reply::number;

/// The node of what was added up.
const ALL: &str = "*";

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(count: &i64) -> bool {
    *count == 0
}

/// Latencies of one node, or of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Latency {
    pub(super) count: i64,
    pub(super) percentiles: Option<Vec<Percentile>>,
    topic: String,
    channel: String,
    host: String,
}

/// One of them, nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Percentile {
    #[serde(serialize_with = "go_number")]
    average: f64,
    #[serde(serialize_with = "go_number")]
    count: f64,
    #[serde(serialize_with = "go_number")]
    max: f64,
    #[serde(serialize_with = "go_number")]
    min: f64,
    #[serde(serialize_with = "go_number")]
    quantile: f64,
    /// Of one node alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Number>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn go_number<S: serde::Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    number(*value).serialize(serializer)
}

impl Latency {
    /// One node's own, as nsqadmin shows it.
    fn of_one(&mut self) {
        #[allow(clippy::cast_precision_loss, reason = "a count of messages in a window of minutes")]
        let count = self.count as f64;
        for percentile in self.percentiles.iter_mut().flatten() {
            let value = percentile.value.as_ref().and_then(Number::as_f64).unwrap_or_default();
            percentile.max = value;
            percentile.min = value;
            percentile.average = value;
            percentile.count = count;
        }
    }

    /// The sum of no nodes.
    fn sum(topic: &str, channel: &str) -> Self {
        let (topic, channel, host) = (topic.to_owned(), channel.to_owned(), ALL.to_owned());
        Self { topic, channel, host, ..Self::default() }
    }

    fn add(&mut self, other: &Self) {
        self.count += other.count;
        for one in other.percentiles.iter().flatten() {
            let all = self.percentiles.get_or_insert_default();
            let same = |found: &&mut Percentile| found.quantile.to_bits() == one.quantile.to_bits();
            match all.iter_mut().find(same) {
                None => all.push(Percentile { value: None, ..one.clone() }),
                Some(sum) => {
                    sum.max = sum.max.max(one.max);
                    sum.min = sum.min.min(one.min);
                    sum.count += one.count;
                    sum.average = if sum.count > 0.0 {
                        sum.average + (one.average - sum.average) * one.count / sum.count
                    } else {
                        0.0
                    };
                }
            }
        }
    }
}

/// A consumer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ClientStats {
    pub(super) node: String,
    remote_address: String,
    version: String,
    client_id: String,
    hostname: String,
    user_agent: String,
    connect_ts: i64,
    /// For how long, nanoseconds, whole seconds.
    connected: i64,
    in_flight_count: i64,
    ready_count: i64,
    finish_count: i64,
    requeue_count: i64,
    message_count: i64,
    sample_rate: i64,
    deflate: bool,
    snappy: bool,
    authed: bool,
    auth_identity: String,
    auth_identity_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    node_topology_region: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    node_topology_zone: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    topology_region: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    topology_zone: String,
    tls: bool,
    tls_cipher_suite: String,
    tls_version: String,
    tls_negotiated_protocol: String,
    tls_negotiated_protocol_is_mutual: bool,
    /// Why it gets nothing, where the node is Leveret's and was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<String>,
}

impl ClientStats {
    /// By node, then the nearest first.
    fn place(&self) -> (&str, bool, bool, &str, &str) {
        let is_near = self.node_topology_region == self.topology_region;
        let is_nearest = is_near && self.node_topology_zone == self.topology_zone;
        (&self.node, !is_nearest, !is_near, &self.topology_region, &self.topology_zone)
    }
}

/// A channel on a node, or on all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ChannelStats {
    node: String,
    hostname: String,
    pub(super) topic_name: String,
    pub(super) channel_name: String,
    pub(super) depth: i64,
    memory_depth: i64,
    backend_depth: i64,
    in_flight_count: i64,
    deferred_count: i64,
    requeue_count: i64,
    timeout_count: i64,
    pub(super) message_count: i64,
    #[serde(skip_serializing_if = "is_zero")]
    delivery_msg_count: i64,
    #[serde(skip_serializing_if = "is_zero")]
    zone_local_msg_count: i64,
    #[serde(skip_serializing_if = "is_zero")]
    region_local_msg_count: i64,
    #[serde(skip_serializing_if = "is_zero")]
    global_msg_count: i64,
    pub(super) client_count: i64,
    pub(super) nodes: Option<Vec<Self>>,
    #[serde(default)]
    pub(super) clients: Option<Vec<ClientStats>>,
    paused: bool,
    e2e_processing_latency: Latency,
    /// Of Leveret's nodes: messages that left the channel unfinished.
    #[serde(skip_serializing_if = "is_zero")]
    dropped_count: i64,
    #[serde(skip_serializing_if = "is_zero")]
    expired_count: i64,
    #[serde(skip_serializing_if = "is_zero")]
    dead_letter_count: i64,
}

impl ChannelStats {
    /// The sum of no nodes.
    pub(super) fn none(topic: &str, channel: &str) -> Self {
        Self {
            node: ALL.into(),
            topic_name: topic.into(),
            channel_name: channel.into(),
            nodes: Some(Vec::new()),
            e2e_processing_latency: Latency::sum(topic, channel),
            ..Self::default()
        }
    }

    /// What a node tells of its own.
    fn of_one(&mut self, node: &Origin<'_>, topic: &str, now: i64) {
        node.address.clone_into(&mut self.node);
        node.hostname.clone_into(&mut self.hostname);
        topic.clone_into(&mut self.topic_name);
        self.memory_depth = self.depth - self.backend_depth;
        self.delivery_msg_count =
            self.zone_local_msg_count + self.region_local_msg_count + self.global_msg_count;
        self.e2e_processing_latency.of_one();
        for client in self.clients.iter_mut().flatten() {
            node.address.clone_into(&mut client.node);
            node.zone.clone_into(&mut client.node_topology_zone);
            node.region.clone_into(&mut client.node_topology_region);
            let connected = now.saturating_sub(client.connect_ts).max(0);
            client.connected = connected.saturating_mul(1_000_000_000);
        }
    }

    /// What waits: ready, in flight, held back.
    pub(super) const fn waiting(&self) -> (i64, i64, i64) {
        (self.depth, self.in_flight_count, self.deferred_count)
    }

    /// Adds a node's to the sum.
    pub(super) fn add(&mut self, one: &Self) {
        ALL.clone_into(&mut self.node);
        self.depth += one.depth;
        self.memory_depth += one.memory_depth;
        self.backend_depth += one.backend_depth;
        self.in_flight_count += one.in_flight_count;
        self.deferred_count += one.deferred_count;
        self.requeue_count += one.requeue_count;
        self.timeout_count += one.timeout_count;
        self.message_count += one.message_count;
        self.delivery_msg_count += one.delivery_msg_count;
        self.zone_local_msg_count += one.zone_local_msg_count;
        self.region_local_msg_count += one.region_local_msg_count;
        self.global_msg_count += one.global_msg_count;
        self.client_count += one.client_count;
        self.dropped_count += one.dropped_count;
        self.expired_count += one.expired_count;
        self.dead_letter_count += one.dead_letter_count;
        self.paused |= one.paused;
        self.e2e_processing_latency.add(&one.e2e_processing_latency);
        let nodes = self.nodes.get_or_insert_default();
        nodes.push(one.clone());
        nodes.sort_by(|a, b| (&a.hostname, &a.node).cmp(&(&b.hostname, &b.node)));
        if let Some(more) = one.clients.as_ref().filter(|clients| !clients.is_empty()) {
            let clients = self.clients.get_or_insert_default();
            clients.extend(more.iter().cloned());
            clients.sort_by(|a, b| a.place().cmp(&b.place()));
        }
    }
}

/// A topic on a node, or on all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct TopicStats {
    pub(super) node: String,
    hostname: String,
    pub(super) topic_name: String,
    depth: i64,
    memory_depth: i64,
    backend_depth: i64,
    pub(super) message_count: i64,
    delivery_msg_count: i64,
    #[serde(skip_serializing_if = "is_zero")]
    zone_local_msg_count: i64,
    #[serde(skip_serializing_if = "is_zero")]
    region_local_msg_count: i64,
    #[serde(skip_serializing_if = "is_zero")]
    global_msg_count: i64,
    nodes: Option<Vec<Self>>,
    pub(super) channels: Option<Vec<ChannelStats>>,
    paused: bool,
    e2e_processing_latency: Latency,
    /// Of Leveret's nodes: messages that left the topic before a channel had them.
    #[serde(skip_serializing_if = "is_zero")]
    dropped_count: i64,
    #[serde(skip_serializing_if = "is_zero")]
    expired_count: i64,
}

/// The node that told something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    /// `host:port` of its HTTP API.
    pub(super) address: &'a str,
    pub(super) hostname: &'a str,
    pub(super) region: &'a str,
    pub(super) zone: &'a str,
}

impl TopicStats {
    /// The sum of no nodes.
    pub(super) fn none(topic: &str) -> Self {
        let (node, nodes) = (ALL.into(), Some(Vec::new()));
        let e2e_processing_latency = Latency::sum(topic, "");
        Self { node, topic_name: topic.into(), nodes, e2e_processing_latency, ..Self::default() }
    }

    /// What waits for its first channel, how much was published, and whether it is paused.
    pub(super) const fn own(&self) -> (i64, i64, bool) {
        (self.depth, self.message_count, self.paused)
    }

    /// What a node tells of its own at `now`, Unix seconds.
    pub(super) fn of_one(&mut self, node: &Origin<'_>, now: i64) {
        node.address.clone_into(&mut self.node);
        node.hostname.clone_into(&mut self.hostname);
        self.memory_depth = self.depth - self.backend_depth;
        self.e2e_processing_latency.of_one();
        for channel in self.channels.iter_mut().flatten() {
            channel.of_one(node, &self.topic_name, now);
            self.delivery_msg_count += channel.delivery_msg_count;
            self.zone_local_msg_count += channel.zone_local_msg_count;
            self.region_local_msg_count += channel.region_local_msg_count;
            self.global_msg_count += channel.global_msg_count;
        }
    }

    /// Adds a node's to the sum.
    pub(super) fn add(&mut self, one: &Self) {
        ALL.clone_into(&mut self.node);
        self.depth += one.depth;
        self.memory_depth += one.memory_depth;
        self.backend_depth += one.backend_depth;
        self.message_count += one.message_count;
        self.delivery_msg_count += one.delivery_msg_count;
        self.zone_local_msg_count += one.zone_local_msg_count;
        self.region_local_msg_count += one.region_local_msg_count;
        self.global_msg_count += one.global_msg_count;
        self.dropped_count += one.dropped_count;
        self.expired_count += one.expired_count;
        self.paused |= one.paused;
        self.e2e_processing_latency.add(&one.e2e_processing_latency);
        for channel in one.channels.iter().flatten() {
            let same = |found: &&mut ChannelStats| found.channel_name == channel.channel_name;
            let channels = self.channels.get_or_insert_default();
            match channels.iter_mut().find(same) {
                Some(sum) => sum.add(channel),
                None => {
                    let mut sum = ChannelStats::none(&self.topic_name, &channel.channel_name);
                    sum.add(channel);
                    channels.push(sum);
                    channels.sort_by(|a, b| a.channel_name.cmp(&b.channel_name));
                }
            }
        }
        let nodes = self.nodes.get_or_insert_default();
        nodes.push(one.clone());
        nodes.sort_by(|a, b| (&a.hostname, &a.node).cmp(&(&b.hostname, &b.node)));
    }
}

/// What a nsqlookupd tells of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Registered {
    pub(super) remote_address: String,
    pub(super) hostname: String,
    pub(super) broadcast_address: String,
    pub(super) tcp_port: u16,
    pub(super) http_port: u16,
    pub(super) version: String,
    pub(super) topology_zone: String,
    pub(super) topology_region: String,
    pub(super) tombstones: Vec<bool>,
    pub(super) topics: Vec<String>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Producer {
    pub(super) remote_addresses: Option<Vec<String>>,
    pub(super) remote_address: String,
    pub(super) hostname: String,
    pub(super) broadcast_address: String,
    pub(super) tcp_port: u16,
    pub(super) http_port: u16,
    pub(super) version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) topology_zone: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) topology_region: String,
    pub(super) topics: Option<Vec<ProducerTopic>>,
    pub(super) out_of_date: bool,
    /// Where it was asked, if nobody else has told of it: what it says of itself may be for others.
    #[serde(skip)]
    pub(super) asked_at: Option<String>,
}

/// A topic of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct ProducerTopic {
    pub(super) topic: String,
    pub(super) tombstoned: bool,
}

impl Producer {
    /// `host:port` of its HTTP API.
    pub(super) fn http_address(&self) -> String {
        at(&self.broadcast_address, self.http_port)
    }

    /// `host:port` where it is asked.
    pub(super) fn reached_at(&self) -> String {
        self.asked_at.clone().unwrap_or_else(|| self.http_address())
    }

    /// `host:port` of the NSQ protocol.
    pub(super) fn tcp_address(&self) -> String {
        at(&self.broadcast_address, self.tcp_port)
    }
}

fn at(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The nodes that nsqlookupds know, each once: `told` has who told it.
pub(super) fn merged(told: impl IntoIterator<Item = (String, Registered)>) -> Vec<Producer> {
    let mut nodes: BTreeMap<String, Producer> = BTreeMap::new();
    for (lookupd, found) in told {
        let remote = format!("{lookupd}/{}", found.remote_address);
        let mut topics: Vec<ProducerTopic> = Vec::with_capacity(found.topics.len());
        for (at, topic) in found.topics.into_iter().enumerate() {
            let tombstoned = found.tombstones.get(at).copied().unwrap_or_default();
            topics.push(ProducerTopic { topic, tombstoned });
        }
        topics.sort();
        let producer = Producer {
            remote_addresses: Some(vec![remote.clone()]),
            remote_address: found.remote_address,
            hostname: found.hostname,
            broadcast_address: found.broadcast_address,
            tcp_port: found.tcp_port,
            http_port: found.http_port,
            version: found.version,
            topology_zone: found.topology_zone,
            topology_region: found.topology_region,
            topics: (!topics.is_empty()).then_some(topics),
            out_of_date: false,
            asked_at: None,
        };
        match nodes.get_mut(&producer.tcp_address()) {
            Some(known) => known.remote_addresses.get_or_insert_default().push(remote),
            None => drop(nodes.insert(producer.tcp_address(), producer)),
        }
    }
    with_age(nodes.into_values().collect())
}

/// Says which of them are older than the newest, and puts them in order.
pub(super) fn with_age(mut nodes: Vec<Producer>) -> Vec<Producer> {
    let newest = nodes.iter().map(|node| version(&node.version)).max().unwrap_or_default();
    for node in &mut nodes {
        node.out_of_date = version(&node.version) < newest;
        node.remote_addresses.iter_mut().for_each(|addresses| addresses.sort());
    }
    nodes.sort_by(|a, b| (&a.hostname, a.tcp_address()).cmp(&(&b.hostname, b.tcp_address())));
    nodes
}

/// The numbers of a version; what follows a `-` makes it older than the same without.
fn version(text: &str) -> ([u64; 3], bool) {
    let (numbers, is_final) = match text.split_once('-') {
        Some((numbers, _)) => (numbers, false),
        None => (text, true),
    };
    let mut all = [0; 3];
    for (slot, number) in all.iter_mut().zip(numbers.split('.')) {
        *slot = number.parse().unwrap_or_default();
    }
    (all, is_final)
}

#[cfg(test)]
mod tests;
