//! The connections of a node to its brokers: one to publish and one to consume for each broker that a route names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::amqp::link::{Link, Role};
use super::broker::BrokerOptions;
use crate::metrics::broker::BrokerStatus;
use crate::task::{spawn, stopped};

/// Which connection: a broker's name, and what it is for.
pub(super) type LinkKey = (String, Role);

struct Running {
    link: Arc<Link>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// See the module's description.
pub(super) struct Links {
    brokers: Vec<BrokerOptions>,
    running: Mutex<BTreeMap<LinkKey, Running>>,
}

impl Links {
    pub(super) fn new(brokers: Vec<BrokerOptions>) -> Self {
        Self { brokers, running: Mutex::default() }
    }

    /// The connection for `role` to the broker of this name, begun if there is none; `None` if there is no such broker.
    pub(super) fn link(&self, broker: &str, role: Role) -> Option<Arc<Link>> {
        let mut running = self.running.lock();
        let key = (broker.to_owned(), role);
        if let Some(found) = running.get(&key) {
            return Some(Arc::clone(&found.link));
        }
        let options = self.broker(broker)?;
        let link = Link::new(options, role);
        let stop = watch::Sender::new(false);
        let (kept, mut stopping) = (Arc::clone(&link), stop.subscribe());
        let task = spawn("link", async move { kept.run(stopped(&mut stopping)).await });
        running.insert(key, Running { link: Arc::clone(&link), stop, task });
        Some(link)
    }

    /// The broker of this name.
    pub(super) fn broker(&self, name: &str) -> Option<BrokerOptions> {
        self.brokers.iter().find(|options| options.name == name).cloned()
    }

    /// How all of them are, sorted by broker; `used` has each as often as a route uses it.
    pub(super) fn status(&self, used: &[LinkKey]) -> Vec<BrokerStatus> {
        let running = self.running.lock();
        let shown = running.iter().map(|(key, running)| BrokerStatus {
            routes: used.iter().filter(|other| *other == key).count(),
            ..running.link.status()
        });
        shown.collect()
    }

    /// Closes those that are not among `used`.
    pub(super) async fn retain(&self, used: &BTreeSet<LinkKey>) {
        let unused: Vec<Running> = {
            let mut running = self.running.lock();
            let keys: Vec<_> = running.keys().filter(|key| !used.contains(*key)).cloned().collect();
            keys.iter().filter_map(|key| running.remove(key)).collect()
        };
        for running in &unused {
            running.stop.send_replace(true);
        }
        for running in unused {
            if let Err(error) = running.task.await {
                tracing::error!(%error, "a connection's task failed");
            }
        }
    }
}
