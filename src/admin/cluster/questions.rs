//! What there is: topics, nodes, who has a topic, and its figures.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Cluster, Silence, Told, each};
use crate::admin::shapes::{
    Origin, Producer, ProducerTopic, Registered, TopicStats, merged, with_age,
};
use crate::clock;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Stats {
    topics: Option<Vec<TopicStats>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Listed {
    topics: Vec<String>,
    channels: Vec<String>,
    producers: Vec<Registered>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Info {
    version: String,
    broadcast_address: String,
    hostname: String,
    http_port: i64,
    tcp_port: i64,
    topology_region: String,
    topology_zone: String,
}

impl Cluster {
    /// All topics, sorted.
    pub(in crate::admin) async fn topics(&self) -> Result<Told<Vec<String>>, Silence> {
        let names = if self.has_lookupds() {
            let lookupds = self.lookupds();
            let told = each(&lookupds, "nsqlookupd", |at| self.ask::<Listed>(at, "/topics", &[]));
            told.await?.map(|told| told.into_iter().flat_map(|(_, told)| told.topics).collect())
        } else {
            let query = [("format", "json"), ("include_clients", "false")];
            let told = each(&self.nsqds, "nsqd", |at| self.ask::<Stats>(at, "/stats", &query));
            told.await?.map(|told| {
                let topics = told.into_iter().flat_map(|(_, told)| told.topics.unwrap_or_default());
                topics.map(|topic| topic.topic_name).collect::<BTreeSet<String>>()
            })
        };
        Ok(names.map(|names| names.into_iter().collect()))
    }

    /// Topics that nsqlookupds know and no node has, with their channels.
    pub(in crate::admin) async fn inactive(
        &self,
    ) -> Result<Told<BTreeMap<String, Vec<String>>>, Silence> {
        if !self.has_lookupds() {
            return Ok(self.topics().await?.map(|_| BTreeMap::new()));
        }
        let (topics, lookupds) = (self.topics().await?, self.lookupds());
        let mut inactive = BTreeMap::new();
        let mut warnings = topics.warnings;
        for topic in topics.value {
            let producers = self.registered(&lookupds, &topic).await?;
            warnings.extend(producers.warnings);
            if !producers.value.is_empty() {
                continue;
            }
            let query = [("topic", topic.as_str())];
            let ask = |at| self.ask::<Listed>(at, "/channels", &query);
            let told = each(&lookupds, "nsqlookupd", ask).await?;
            warnings.extend(told.warnings);
            let channels: BTreeSet<String> =
                told.value.into_iter().flat_map(|(_, told)| told.channels).collect();
            inactive.insert(topic.clone(), channels.into_iter().collect());
        }
        Ok(Told { value: inactive, warnings })
    }

    /// All nodes.
    pub(in crate::admin) async fn nodes(&self) -> Result<Told<Vec<Producer>>, Silence> {
        if !self.has_lookupds() {
            return self.nsqds(&self.nsqds).await;
        }
        let lookupds = self.lookupds();
        let told =
            each(&lookupds, "nsqlookupd", |at| self.ask::<Listed>(at, "/nodes", &[])).await?;
        Ok(told.map(|told| {
            merged(told.into_iter().flat_map(|(lookupd, told)| {
                told.producers.into_iter().map(move |found| (lookupd.to_owned(), found))
            }))
        }))
    }

    /// What nsqds say of themselves.
    pub(in crate::admin) async fn nsqds(
        &self,
        addresses: &[String],
    ) -> Result<Told<Vec<Producer>>, Silence> {
        let told = each(addresses, "nsqd", |at| self.nsqd(at)).await?;
        Ok(told.map(|told| with_age(told.into_iter().map(|(_, node)| node).collect())))
    }

    async fn nsqd(&self, address: &str) -> Result<Producer, String> {
        let query = [("format", "json"), ("include_clients", "false")];
        let info = self.ask::<Info>(address, "/info", &[]);
        let (info, stats) =
            futures_util::future::join(info, self.ask::<Stats>(address, "/stats", &query)).await;
        let (info, stats) = (info?, stats?);
        let topics: BTreeSet<String> =
            stats.topics.unwrap_or_default().into_iter().map(|topic| topic.topic_name).collect();
        let topic = |topic| ProducerTopic { topic, tombstoned: false };
        let topics: Vec<ProducerTopic> = topics.into_iter().map(topic).collect();
        Ok(Producer {
            remote_addresses: None,
            remote_address: String::new(),
            hostname: info.hostname,
            broadcast_address: info.broadcast_address,
            tcp_port: u16::try_from(info.tcp_port).unwrap_or_default(),
            http_port: u16::try_from(info.http_port).unwrap_or_default(),
            version: info.version,
            topology_zone: info.topology_zone,
            topology_region: info.topology_region,
            topics: (!topics.is_empty()).then_some(topics),
            out_of_date: false,
            asked_at: Some(address.to_owned()),
        })
    }

    async fn registered(
        &self,
        lookupds: &[String],
        topic: &str,
    ) -> Result<Told<Vec<Producer>>, Silence> {
        let query = [("topic", topic)];
        let told = each(lookupds, "nsqlookupd", async |at| {
            match self.ask::<Listed>(at, "/lookup", &query).await {
                // One that does not know the topic has told so.
                Err(words) if words.contains("TOPIC_NOT_FOUND") => Ok(Listed::default()),
                told => told,
            }
        });
        let told = told.await?;
        Ok(told.map(|told| {
            let mut nodes: BTreeMap<String, (String, Registered)> = BTreeMap::new();
            for (lookupd, told) in told {
                for found in told.producers {
                    let address = format!("{}:{}", found.broadcast_address, found.http_port);
                    nodes.entry(address).or_insert_with(|| (lookupd.to_owned(), found));
                }
            }
            merged(nodes.into_values())
        }))
    }

    /// The nodes that have a topic.
    pub(in crate::admin) async fn producers(
        &self,
        topic: &str,
    ) -> Result<Told<Vec<Producer>>, Silence> {
        if self.has_lookupds() {
            return self.registered(&self.lookupds(), topic).await;
        }
        let query = [("format", "json"), ("topic", topic), ("include_clients", "false")];
        let having =
            each(&self.nsqds, "nsqd", |at| self.ask::<Stats>(at, "/stats", &query)).await?;
        let has = |stats: &Stats| stats.topics.iter().flatten().any(|had| had.topic_name == topic);
        let addresses: Vec<String> = having
            .value
            .iter()
            .filter(|(_, stats)| has(stats))
            .map(|(at, _)| (*at).into())
            .collect();
        if addresses.is_empty() {
            return Ok(Told { value: Vec::new(), warnings: having.warnings });
        }
        Ok(self.nsqds(&addresses).await?.with(having.warnings))
    }

    /// The figures of nodes: of one topic and one channel, if they are named.
    pub(in crate::admin) async fn stats(
        &self,
        of: &[Producer],
        (topic, channel): (Option<&str>, Option<&str>),
        with_clients: bool,
    ) -> Result<Told<Vec<TopicStats>>, Silence> {
        let mut query = vec![("format", "json")];
        query.extend(topic.map(|topic| ("topic", topic)));
        query.extend(channel.map(|channel| ("channel", channel)));
        if with_clients {
            // Leveret's nodes say then why a consumer gets nothing; others pass over it.
            query.push(("include_waiting", "true"));
        } else {
            query.push(("include_clients", "false"));
        }
        let addresses: Vec<String> = of.iter().map(Producer::reached_at).collect();
        let told = each(&addresses, "nsqd", |at| self.ask::<Stats>(at, "/stats", &query)).await?;
        let now = clock::unix_seconds();
        Ok(told.map(|told| {
            let mut all = Vec::new();
            for (address, stats) in told {
                let Some(node) = of.iter().find(|node| node.reached_at() == address) else {
                    continue;
                };
                let origin = Origin {
                    address: &node.http_address(),
                    hostname: &node.hostname,
                    region: &node.topology_region,
                    zone: &node.topology_zone,
                };
                for mut found in stats.topics.unwrap_or_default() {
                    if topic.is_none_or(|topic| found.topic_name == topic) {
                        found.of_one(&origin, now);
                        all.push(found);
                    }
                }
            }
            all
        }))
    }
}
