//! `/v1/routes` and `/metrics`.

use serde::Serialize;

use super::reply::{Refusal, Reply};
use super::{Context, NSQ_VERSION, VERSION};
use crate::metrics::broker::BrokerStatus;
use crate::metrics::route::RouteStatus;
use crate::telemetry::process::ProcessUsage;
use crate::telemetry::prometheus::{self, Exposed};

#[derive(Serialize)]
struct Routes {
    routes: Vec<RouteStatus>,
    brokers: Vec<BrokerStatus>,
}

/// GET `/v1/routes`.
pub(super) fn routes(context: &Context) -> Result<Reply, Refusal> {
    Reply::json(&Routes { routes: context.routes.routes(), brokers: context.routes.brokers() })
}

/// GET `/v1/registry`.
pub(super) fn registry(context: &Context) -> Result<Reply, Refusal> {
    Reply::json(&(context.registry)().ok_or_else(|| Refusal::missing("NO_REGISTRY"))?)
}

/// GET `/metrics`.
pub(super) fn metrics(context: &Context) -> Reply {
    let text = prometheus::render(&Exposed {
        version: VERSION,
        nsq_version: NSQ_VERSION,
        start_time: context.node.start_time,
        healthy: (context.health)().is_ok(),
        process: ProcessUsage::read(),
        engine: &context.engine,
        routes: &context.routes.routes(),
        brokers: &context.routes.brokers(),
        registry: (context.registry)().as_ref(),
    });
    Reply::Typed(prometheus::CONTENT_TYPE, text)
}
