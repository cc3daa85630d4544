//! The node's place in the registry: under which name, and what it says of itself.

use std::sync::Arc;

use super::NodeError;
use super::options::Resolved;
use crate::bridge::Bridge;
use crate::bridge::route::Instances;
use crate::clock;
use crate::config::NodeConfig;
use crate::engine::Engine;
use crate::http;
use crate::metrics::RoutesView as _;
use crate::registry::layout::is_node;
use crate::registry::records::{Load, NodeRecord};
use crate::registry::{Me, Registry};

/// Registers the node, if there is a registry. It is known by the address that it announces, as nsqlookupd knows nodes.
pub(super) fn join(
    config: &NodeConfig,
    resolved: &Resolved,
    engine: &Arc<Engine>,
    bridge: &Arc<Bridge>,
) -> Result<Option<Arc<Registry>>, NodeError> {
    let Some(options) = config.registry.clone() else { return Ok(None) };
    let name = format!("{}:{}", resolved.broadcast_address, resolved.tcp_port);
    if !is_node(&name) {
        return Err(NodeError::Name(name));
    }
    let first = NodeRecord {
        host: resolved.broadcast_address.clone(),
        tcp_port: resolved.tcp_port,
        http_port: resolved.http_port,
        region: config.nsqd.topology_region.clone(),
        zone: config.nsqd.topology_zone.clone(),
        version: http::VERSION.to_owned(),
        started: clock::unix_seconds(),
        load: Load::default(),
    };
    let (engine, bridge, asked) = (Arc::clone(engine), Arc::clone(bridge), bridge);
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let record = move || {
        let load = Load {
            routes: count(bridge.routes().len()),
            topics: count(engine.topics().len()),
            messages: engine.owed(),
        };
        NodeRecord { load, ..first.clone() }
    };
    let registry = Registry::start(options, Me { name, record: Box::new(record) });
    let view = registry.view();
    asked.ask_before(Box::new(move |route| {
        route.instances == Instances::All || view.borrow().owned.contains(&route.name)
    }));
    Ok(Some(registry))
}
