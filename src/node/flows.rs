//! The routes of a node, from its start to its end: those of its files, and those of the registry.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::options::Resolved;
use super::routes::RouteKeeper;
use super::{NodeError, Plan, membership, report, shared};
use crate::bridge::Bridge;
use crate::engine::Engine;
use crate::http;
use crate::registry::Registry;
use crate::storage::pauses;
use crate::task::spawn;

/// See the module's description.
pub(super) struct Flows {
    pub(super) bridge: Arc<Bridge>,
    pub(super) keeper: Arc<RouteKeeper>,
    registry: Option<Arc<Registry>>,
    /// What has them change: it ends with `stop`.
    changing: [(&'static str, JoinHandle<()>); 2],
    guarding: JoinHandle<()>,
}

impl Flows {
    /// Starts the routes of the files, and has them change with the files and the registry until `stop`.
    pub(super) fn start(
        plan: &Plan,
        resolved: &Resolved,
        engine: &Arc<Engine>,
        stop: &watch::Sender<bool>,
    ) -> Result<Self, NodeError> {
        let config = &plan.config;
        let folder = config.nsqd.data_path.as_deref();
        let paused = folder.map(pauses::load).transpose()?.unwrap_or_default();
        let (brokers, most) = (config.brokers.clone(), config.nsqd.max_msg_size);
        // Of a route of which there is one, nobody is the owner yet.
        let first = shared::to_run(&plan.routes, &BTreeSet::new());
        let of_engine = Arc::clone(engine);
        let bridge = Bridge::start(of_engine, &first, &config.stores, brokers, paused, most);
        let registry = membership::join(config, resolved, engine, &bridge)?;
        let routes = plan.routes.clone();
        let keeper =
            RouteKeeper::new(Arc::clone(&bridge), config.clone(), routes, registry.clone());
        let watching = spawn("bridges", Arc::clone(&keeper).watch(stop.subscribe()));
        let following = spawn("shared routes", Arc::clone(&keeper).follow(stop.subscribe()));
        let changing = [("bridges", watching), ("shared routes", following)];
        let guarding = spawn("owned routes", Arc::clone(&keeper).guard());
        Ok(Self { bridge, keeper, registry, changing, guarding })
    }

    /// What the node says of the registry.
    pub(super) fn registered(&self) -> http::Registered {
        let registry = self.registry.clone();
        Arc::new(move || Some(registry.as_ref()?.status()))
    }

    /// Stops all routes, each with `limit` to settle what it has; then others may have what this node owned.
    pub(super) async fn stop(self, limit: Duration) {
        for (task, changing) in self.changing {
            report(task, changing.await);
        }
        self.bridge.stop(limit).await;
        self.guarding.abort();
        if let Some(registry) = self.registry {
            registry.leave().await;
        }
    }
}
