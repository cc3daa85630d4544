//! `/v1/routes` and `/metrics`.

use serde::Serialize;

use super::reply::{Refusal, Reply};
use super::{Context, NSQ_VERSION, VERSION};
use crate::clock;
use crate::metrics::broker::BrokerStatus;
use crate::metrics::route::RouteStatus;
use crate::telemetry::process::ProcessUsage;
use crate::telemetry::samples::Samples;
use crate::telemetry::{figures, figures::Exposed, prometheus};

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

/// GET `/v1/alerts`.
pub(super) fn alerts(context: &Context) -> Result<Reply, Refusal> {
    Reply::json(&context.alerts.get().ok_or_else(|| Refusal::missing("NO_ALERTS"))?.view())
}

/// GET `/metrics`.
pub(super) fn metrics(context: &Context) -> Reply {
    Reply::Typed(prometheus::CONTENT_TYPE, prometheus::render(&context.figures()))
}

impl Context {
    /// All figures of the node.
    #[must_use]
    pub fn figures(&self) -> Samples {
        let now = clock::unix_seconds();
        let ends = self.certificates.iter();
        let left: Vec<(String, i64)> = ends.map(|(file, end)| (file.clone(), end - now)).collect();
        let alerts = self.alerts.get().map(|runner| runner.view());
        figures::collect(&Exposed {
            disk: (self.disk)(),
            certificates: &left,
            opentsdb: self.opentsdb.as_deref(),
            alerts: alerts.as_ref(),
            version: VERSION,
            nsq_version: NSQ_VERSION,
            start_time: self.node.start_time,
            healthy: (self.health)().is_ok(),
            process: ProcessUsage::read(),
            engine: &self.engine,
            routes: &self.routes.routes(),
            brokers: &self.routes.brokers(),
            registry: (self.registry)().as_ref(),
        })
    }
}
