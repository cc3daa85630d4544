//! What the node knows of itself for figures and alerts, and who looks at it.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::options::Resolved;
use super::{NodeError, Plan};
use crate::client::HttpClient;
use crate::config::NsqdConfig;
use crate::http;
use crate::storage;
use crate::task::spawn;
use crate::telemetry::alerts::Runner;
use crate::telemetry::opentsdb;
use crate::tls::{self, ClientTls};

/// Free space of the data folder's disk, and how much of it publishes may not take.
pub(super) fn disk(nsqd: &NsqdConfig) -> http::Disk {
    let (folder, reserve) = (nsqd.data_path.clone(), nsqd.min_free_bytes);
    Arc::new(move || Some((storage::free_bytes(folder.as_deref()?).ok()?, reserve)))
}

/// When the certificates expire that the node serves. May block.
pub(super) fn certificates(plan: &Plan) -> Vec<(String, i64)> {
    let config = &plan.config;
    let own = config.nsqd.tls.cert.clone();
    let lookupd = config.lookupd.as_ref().and_then(|lookupd| lookupd.tls.clone());
    let admin = config.admin.as_ref().and_then(|admin| admin.tls.clone());
    let others = [lookupd, admin].into_iter().flatten().map(|(cert, _)| cert);
    tls::expiries(&own.into_iter().chain(others).collect::<Vec<_>>())
}

/// Looks at the figures: for alerts, and to push them.
pub(super) fn start(
    plan: &Plan,
    resolved: &Resolved,
    context: &Arc<http::Context>,
    stop: &watch::Receiver<bool>,
) -> Result<Vec<JoinHandle<()>>, NodeError> {
    let config = &plan.config;
    let mut looking = Vec::new();
    if config.alerts.is_none() && config.opentsdb.is_none() {
        return Ok(looking);
    }
    let nsqd = &config.nsqd;
    let (connect, request) = (nsqd.http_client_connect_timeout, nsqd.http_client_request_timeout);
    let client = HttpClient::new(connect, request, Some(&ClientTls::default()));
    let client = client.map_err(|error| NodeError::Tls(error.to_string()))?;
    let of = Arc::downgrade(context);
    let figures = Arc::new(move || of.upgrade().map(|of| of.figures()).unwrap_or_default());
    let name = format!("{}:{}", resolved.broadcast_address, resolved.http_port);
    if let Some(options) = config.alerts.clone() {
        let (name, figures, folder) = (name.clone(), figures.clone(), nsqd.data_path.clone());
        let runner = Runner::start(options, name, figures, folder, &client, stop);
        // It is set here alone.
        context.alerts.set(Arc::clone(&runner)).unwrap_or_default();
        looking.push(spawn("alerts", runner.run(stop.clone())));
    }
    if let (Some(options), Some(counters)) = (config.opentsdb.clone(), &context.opentsdb) {
        let counters = Arc::clone(counters);
        let pushing = opentsdb::run(options, name, figures, client, counters, stop.clone());
        looking.push(spawn("opentsdb", pushing));
    }
    Ok(looking)
}
