//! What nodes tell over HTTP, at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use serde::Deserialize;

use super::Options;
use crate::client::http::HttpClient;
use crate::client::lookupd::{LookupdClient, Producer};
use crate::client::nsqd_stats::TopicStats;
use crate::tools::program::ToolError;

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sample {
    pub(super) topics: Vec<TopicStats>,
    pub(super) routes: Vec<Route>,
    /// Nodes that told nothing, and why.
    pub(super) troubles: BTreeMap<String, String>,
    /// Nodes that did.
    pub(super) nodes: usize,
}

/// A route, as a node tells of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Route {
    pub(super) name: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) state: String,
    pub(super) reason: Option<String>,
    pub(super) counters: Counters,
    pub(super) pending: u64,
    pub(super) window: Option<u64>,
    pub(super) lag: Option<u64>,
    pub(super) limit: Option<Limit>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Counters {
    pub(super) received: u64,
    pub(super) confirmed: u64,
    pub(super) retried: u64,
    pub(super) dead_lettered: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Limit {
    pub(super) throttled_seconds: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stats {
    topics: Vec<TopicStats>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Routes {
    routes: Vec<Route>,
}

/// The nodes that are watched.
pub(super) struct Nodes {
    http: HttpClient,
    lookupds: LookupdClient,
    named: Vec<String>,
    lookupd: Vec<String>,
}

impl Nodes {
    pub(super) fn new(options: &Options) -> Result<Self, ToolError> {
        let setup = |error: crate::tls::TlsError| ToolError::Setup(error.to_string());
        Ok(Self {
            http: HttpClient::new(PATIENCE, PATIENCE, None).map_err(setup)?,
            lookupds: LookupdClient::new(PATIENCE, PATIENCE, None).map_err(setup)?,
            named: options.nodes.clone(),
            lookupd: options.lookupd.clone(),
        })
    }

    /// Asks all of them at once.
    pub(super) async fn sample(&self) -> Sample {
        let mut sample = Sample::default();
        let mut addresses: BTreeSet<String> = self.named.iter().cloned().collect();
        let asking = self
            .lookupd
            .iter()
            .map(|lookupd| async move { (lookupd, self.lookupds.nodes(lookupd).await) });
        for (lookupd, answer) in join_all(asking).await {
            match answer {
                Ok(producers) => addresses.extend(producers.iter().map(Producer::http_address)),
                Err(error) => {
                    sample.troubles.insert(lookupd.clone(), error.to_string());
                }
            }
        }
        let asking = addresses.iter().map(|address| async move {
            let query = [("format", "json"), ("include_clients", "false")];
            let stats = self.http.ask::<Stats>(address, "/stats", &query).await;
            // An nsqd that is not Leveret has none.
            let routes = self.http.ask::<Routes>(address, "/v1/routes", &[]).await;
            (address, stats, routes)
        });
        for (address, stats, routes) in join_all(asking).await {
            match stats {
                Ok(stats) => {
                    sample.nodes += 1;
                    sample.topics.extend(stats.unwrap_or_default().topics);
                }
                Err(error) => {
                    sample.troubles.insert(address.clone(), error.to_string());
                }
            }
            let routes = routes.ok().flatten().unwrap_or_default();
            sample.routes.extend(routes.routes);
        }
        sample
    }
}
