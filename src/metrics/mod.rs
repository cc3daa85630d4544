//! What a node counts of itself: atomics and the plain values read from them. No exporters.

pub mod broker;
pub mod history;
pub mod quantile;
pub mod registry;
pub mod route;

use broker::BrokerStatus;
use history::HistoryShown;
use route::RouteStatus;

/// Whoever runs the routes, as seen by those who show them.
pub trait RoutesView: Send + Sync {
    /// Every route that is configured, whatever its state.
    fn routes(&self) -> Vec<RouteStatus>;

    /// Every connection to a broker that is kept up for them.
    fn brokers(&self) -> Vec<BrokerStatus>;

    /// The last hour of a route; `None` if there is none of this name, or nobody remembers.
    fn history(&self, _name: &str) -> Option<HistoryShown> {
        None
    }
}

/// A node without routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoRoutes;

impl RoutesView for NoRoutes {
    fn routes(&self) -> Vec<RouteStatus> {
        Vec::new()
    }

    fn brokers(&self) -> Vec<BrokerStatus> {
        Vec::new()
    }
}
