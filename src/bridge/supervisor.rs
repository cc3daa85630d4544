//! Starts all routes and stops them. A route that cannot run says so; the others go on.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::broker::BrokerOptions;
use super::links::{LinkKey, Links};
use super::route::{Flow, Route};
use super::running::Running;
use super::sinks::Shared;
use super::store::keeper::RabbitStore;
use super::store::options::StoreRow;
use crate::clock;
use crate::engine::Engine;
use crate::metrics::RoutesView;
use crate::metrics::broker::BrokerStatus;
use crate::metrics::history::{self, HistoryShown};
use crate::metrics::route::RouteStatus;
use crate::task::spawn;

/// All routes of a node, running.
pub struct Bridge {
    pub(super) shared: Arc<Shared>,
    routes: Mutex<Vec<Running>>,
    /// The topics that live at brokers, if any do.
    store: Option<Arc<RabbitStore>>,
    /// Held by whoever starts and stops routes: one at a time.
    changing: Semaphore,
    /// Asked before a route starts, if somebody wants to be.
    permit: OnceLock<Permit>,
}

/// Whether a route may start at this moment.
pub type Permit = Box<dyn Fn(&Route) -> bool + Send + Sync>;

/// What became of the routes when others were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Routes that were not there before.
    pub started: Vec<String>,
    /// Routes that started anew, since what is asked of them has changed.
    pub changed: Vec<String>,
    /// Routes that went on with other figures of their limits.
    pub retuned: Vec<String>,
    /// Routes that are no more.
    pub stopped: Vec<String>,
    /// How many others went on undisturbed.
    pub unchanged: usize,
}

/// No route has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no route \"{0}\"")]
pub struct UnknownRoute(pub String);

impl std::fmt::Debug for Bridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bridge").field("routes", &self.routes.lock().len()).finish_non_exhaustive()
    }
}

impl Bridge {
    /// Starts `routes`, those that are `paused` without taking anything, and has the topics of `stores` live at their
    /// brokers. `max_msg_size` is what an NSQ message may have, in bytes. Called inside the node's runtime.
    #[must_use]
    pub fn start(
        engine: Arc<Engine>,
        routes: &[Route],
        stores: &[StoreRow],
        brokers: Vec<BrokerOptions>,
        paused: BTreeSet<String>,
        max_msg_size: u64,
    ) -> Arc<Self> {
        let shared = Arc::new(Shared {
            engine,
            links: Links::new(brokers),
            max_msg_size,
            paused: Mutex::new(paused),
        });
        let store = RabbitStore::start(stores, &shared);
        let routes = routes.iter().map(|route| Running::start(route, &shared)).collect();
        let (routes, changing) = (Mutex::new(routes), Semaphore::new(1));
        let bridge = Arc::new(Self { shared, routes, store, changing, permit: OnceLock::new() });
        spawn("history", remember(Arc::downgrade(&bridge)));
        bridge
    }

    /// Has `permit` asked before a route starts, from now on; to be said once.
    pub fn ask_before(&self, permit: Permit) {
        // A second one would be a caller's mistake; the first one stays.
        self.permit.set(permit).unwrap_or_default();
    }

    /// Makes `routes` the ones that run. Those that are the same go on undisturbed; the others have `limit` to settle
    /// what they have. A topic that loses its direct route keeps its messages itself from then on.
    pub async fn apply(&self, routes: &[Route], limit: Duration) -> Applied {
        let _changing = self.changing.acquire().await;
        let mut applied = Applied::default();
        let names: BTreeSet<&str> = routes.iter().map(|route| route.name.as_str()).collect();
        self.shared.paused.lock().retain(|name| names.contains(name.as_str()));
        let (new, old) = self.sort_out(routes, &mut applied);
        for route in &new {
            let is_change = old.iter().any(|running| running.route.name == route.name);
            let list = if is_change { &mut applied.changed } else { &mut applied.started };
            list.push(route.name.clone());
        }
        let gone = old.iter().filter(|running| !names.contains(running.route.name.as_str()));
        applied.stopped = gone.map(|running| running.route.name.clone()).collect();
        self.replace(old, &new, limit).await;
        self.put_in_order(routes);
        let mut used: BTreeSet<LinkKey> =
            self.routes.lock().iter().flat_map(|running| running.used().to_vec()).collect();
        used.extend(self.store.iter().flat_map(|store| store.used()));
        self.shared.links.retain(&used).await;
        applied
    }

    /// Takes out what is not to run as it does, and tells what is to start. What goes on is not missed by anybody who
    /// looks meanwhile.
    fn sort_out(&self, routes: &[Route], applied: &mut Applied) -> (Vec<Route>, Vec<Running>) {
        let mut all = self.routes.lock();
        let mut stays = |running: &mut Running| {
            match routes.iter().find(|route| route.name == running.route.name) {
                Some(route) if running.route == *route => applied.unchanged += 1,
                Some(route) if running.retune(route) => applied.retuned.push(route.name.clone()),
                _ => return false,
            }
            true
        };
        let old = all.extract_if(.., |running| !stays(running)).collect();
        let is_known = |route: &Route| all.iter().any(|running| running.route == *route);
        (routes.iter().filter(|route| !is_known(route)).cloned().collect(), old)
    }

    /// Stops `old` and starts `new`. Producers of a direct route never find their topic without one in between; all
    /// else that is new begins when what is old has ended.
    async fn replace(&self, old: Vec<Running>, new: &[Route], limit: Duration) {
        let (first, then): (Vec<&Route>, Vec<&Route>) =
            new.iter().partition(|route| matches!(route.flow, Flow::Ingress { .. }));
        let start = |route: &Route| {
            // What is old may have taken its time to end: what was right then need not be so now.
            if self.permit.get().is_some_and(|permit| !permit(route)) {
                return;
            }
            let running = Running::start(route, &self.shared);
            self.routes.lock().push(running);
        };
        first.into_iter().for_each(start);
        let taken: BTreeSet<String> =
            self.routes.lock().iter().filter_map(|running| topic_of(&running.route)).collect();
        for topic in old.iter().filter_map(|running| topic_of(&running.route)) {
            if !taken.contains(&topic) {
                self.shared.engine.set_ingress(&topic, None);
            }
        }
        join_all(old.into_iter().map(|running| running.stop(limit))).await;
        then.into_iter().for_each(start);
    }

    /// Has a route take nothing more until it is resumed; what is under way is settled.
    ///
    /// # Errors
    /// [`UnknownRoute`].
    pub fn pause(&self, name: &str) -> Result<(), UnknownRoute> {
        self.with(name, |running| running.pause(true))?;
        self.shared.paused.lock().insert(name.to_owned());
        Ok(())
    }

    /// The routes that are paused, by name.
    #[must_use]
    pub fn paused(&self) -> BTreeSet<String> {
        self.shared.paused.lock().clone()
    }

    /// Has a paused route go on.
    ///
    /// # Errors
    /// [`UnknownRoute`].
    pub fn resume(&self, name: &str) -> Result<(), UnknownRoute> {
        self.with(name, |running| running.pause(false))?;
        self.shared.paused.lock().remove(name);
        Ok(())
    }

    /// Has a route start anew, also if it was paused: its counters at zero, and what it had stopped at coming again.
    ///
    /// # Errors
    /// [`UnknownRoute`].
    pub async fn reset(&self, name: &str, limit: Duration) -> Result<(), UnknownRoute> {
        let _changing = self.changing.acquire().await;
        let order = self.configured();
        let old = {
            let mut routes = self.routes.lock();
            let at = routes.iter().position(|running| running.route.name == name);
            let at = at.ok_or_else(|| UnknownRoute(name.to_owned()))?;
            routes.remove(at)
        };
        let route = old.route.clone();
        self.shared.paused.lock().remove(name);
        self.replace(vec![old], std::slice::from_ref(&route), limit).await;
        self.put_in_order(&order);
        Ok(())
    }

    /// Has the list be in the order of `routes`.
    fn put_in_order(&self, routes: &[Route]) {
        self.routes.lock().sort_by_key(|running| {
            routes.iter().position(|route| route.name == running.route.name)
        });
    }

    /// The routes as they were asked for.
    #[must_use]
    pub fn configured(&self) -> Vec<Route> {
        self.routes.lock().iter().map(|running| running.route.clone()).collect()
    }

    /// Messages that a route has taken and not settled.
    ///
    /// # Errors
    /// [`UnknownRoute`].
    pub fn pending(&self, name: &str) -> Result<u64, UnknownRoute> {
        self.with(name, |running| running.status.show().pending)
    }

    fn with<T>(&self, name: &str, act: impl FnOnce(&Running) -> T) -> Result<T, UnknownRoute> {
        let routes = self.routes.lock();
        let found = routes.iter().find(|running| running.route.name == name);
        found.map(act).ok_or_else(|| UnknownRoute(name.to_owned()))
    }

    /// Stops some routes at once, whatever else is being changed: they have `limit` to settle what they have. The next
    /// [`Bridge::apply`] says whether they run again.
    pub async fn withdraw(&self, names: &BTreeSet<String>, limit: Duration) {
        let is_meant = |running: &mut Running| names.contains(&running.route.name);
        let old: Vec<Running> = self.routes.lock().extract_if(.., is_meant).collect();
        join_all(old.into_iter().map(|running| running.stop(limit))).await;
    }

    /// Stops all routes: takes nothing more, settles what it can within `limit`, and leaves the rest to be redelivered.
    /// Topics whose publishes went to a target stay theirs: what comes from now on is refused, and does not end up in
    /// the topics' own logs.
    pub async fn stop(&self, limit: Duration) {
        let _changing = self.changing.acquire().await;
        let running = std::mem::take(&mut *self.routes.lock());
        let stopping = join_all(running.into_iter().map(|route| route.stop(limit)));
        let storing = async {
            if let Some(store) = &self.store {
                store.stop(limit).await;
            }
        };
        tokio::join!(stopping, storing);
        self.shared.links.retain(&BTreeSet::new()).await;
    }
}

/// The topic whose publishes a direct route takes.
fn topic_of(route: &Route) -> Option<String> {
    match &route.flow {
        Flow::Ingress { topic, .. } => Some(topic.clone()),
        Flow::Channel { .. } | Flow::Move(_) => None,
    }
}

/// Has each route remember how it is, every few seconds, for as long as there are routes.
async fn remember(bridge: Weak<Bridge>) {
    loop {
        sleep(history::STEP).await;
        let Some(bridge) = bridge.upgrade() else { return };
        let now = clock::unix_seconds();
        bridge.routes.lock().iter().for_each(|running| running.status.remember(now));
    }
}

impl RoutesView for Bridge {
    fn routes(&self) -> Vec<RouteStatus> {
        let mut shown: Vec<RouteStatus> =
            self.routes.lock().iter().map(|route| route.status.show()).collect();
        shown.extend(self.store.iter().flat_map(|store| store.status()));
        shown
    }

    fn brokers(&self) -> Vec<BrokerStatus> {
        let used: Vec<LinkKey> =
            self.routes.lock().iter().flat_map(|running| running.used().to_vec()).collect();
        self.shared.links.status(&used)
    }

    fn history(&self, name: &str) -> Option<HistoryShown> {
        self.with(name, |running| running.status.history()).ok()
    }
}
