//! The store of a node: which topics it keeps, and who tends each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::front::Front;
use super::names;
use super::options::{Home, StoreOptions, StoreRow, resolve};
use super::tending::Tending;
use crate::bridge::amqp::desk::Desk;
use crate::bridge::amqp::link::Role;
use crate::bridge::links::LinkKey;
use crate::bridge::sinks::Shared;
use crate::bridge::status::Status;
use crate::clock::{self, Instant};
use crate::engine::{Applying, Engine, Ingress, Store};
use crate::metrics::route::RouteStatus;
use crate::task::spawn;

/// How often it is asked at most how much waits at a broker, and how long the answers may take.
const COUNT_PACE: Duration = Duration::from_secs(1);
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);

/// What came of a look at a topic.
#[derive(Clone, Debug, Default)]
pub(super) struct Applied {
    /// What had been told of it by then.
    pub(super) version: u64,
    /// What stands against the whole topic.
    pub(super) fault: Option<String>,
    /// What stands against single channels.
    pub(super) faults: BTreeMap<String, String>,
}

/// A topic of the store.
pub(super) struct Entry {
    pub(super) topic: String,
    pub(super) options: StoreOptions,
    pub(super) front: Arc<Front>,
    /// Counts what was told of it.
    pub(super) wanted: watch::Sender<u64>,
    pub(super) applied: watch::Sender<Applied>,
    /// Channels to be emptied; `None` is the topic itself.
    pub(super) emptied: Mutex<BTreeSet<Option<String>>>,
    /// The flows that move its messages, to be shown.
    pub(super) flows: Mutex<BTreeMap<String, Arc<Status>>>,
}

impl Entry {
    fn change(&self) {
        self.wanted.send_modify(|version| *version += 1);
    }
}

struct Tended {
    entry: Arc<Entry>,
    task: JoinHandle<()>,
}

/// See the module's description.
pub(in crate::bridge) struct RabbitStore {
    rows: Vec<StoreRow>,
    shared: Arc<Shared>,
    /// Where topics are tended: whoever makes one may be on a thread that ends before.
    runtime: Handle,
    topics: Mutex<BTreeMap<String, Tended>>,
    /// When it was last asked how much waits.
    counted: Mutex<Option<Instant>>,
    /// Held by whoever asks.
    counting: Semaphore,
    /// Once it stops: how long settling may take.
    stop: watch::Sender<Option<Duration>>,
    this: Weak<Self>,
}

impl RabbitStore {
    /// Keeps the topics of `rows` from now on; `None` if there are none. Called inside the node's runtime.
    pub(in crate::bridge) fn start(rows: &[StoreRow], shared: &Arc<Shared>) -> Option<Arc<Self>> {
        if rows.iter().all(|row| row.home != Some(Home::Rabbitmq)) {
            return None;
        }
        let store = Arc::new_cyclic(|this| Self {
            rows: rows.to_vec(),
            shared: Arc::clone(shared),
            runtime: Handle::current(),
            topics: Mutex::default(),
            counted: Mutex::default(),
            counting: Semaphore::new(1),
            stop: watch::Sender::new(None),
            this: Weak::clone(this),
        });
        shared.engine.set_store(&(Arc::clone(&store) as Arc<dyn Store>));
        Some(store)
    }

    /// The connections that it needs, or may need.
    pub(in crate::bridge) fn used(&self) -> Vec<LinkKey> {
        let mut brokers: BTreeSet<String> =
            self.rows.iter().filter_map(|row| row.broker.clone()).collect();
        brokers.insert(StoreOptions::default().broker);
        let roles = [Role::Publish, Role::Consume];
        brokers.iter().flat_map(|broker| roles.map(|role| (broker.clone(), role))).collect()
    }

    /// How its flows are.
    pub(in crate::bridge) fn status(&self) -> Vec<RouteStatus> {
        let topics = self.topics.lock();
        let flows = topics.values().flat_map(|tended| {
            tended.entry.flows.lock().values().map(|status| status.show()).collect::<Vec<_>>()
        });
        flows.collect()
    }

    /// Takes nothing more, settles what it can within `limit`, and leaves all else to the broker.
    pub(in crate::bridge) async fn stop(&self, limit: Duration) {
        self.stop.send_replace(Some(limit));
        let topics = std::mem::take(&mut *self.topics.lock());
        for tended in topics.into_values() {
            if let Err(error) = tended.task.await {
                tracing::error!(topic = tended.entry.topic, %error, "a topic's task failed");
            }
        }
    }

    /// Forgets a topic that is gone, unless something new was told of it since `version`.
    pub(super) fn retire(&self, topic: &str, version: u64) -> bool {
        let mut topics = self.topics.lock();
        let is_old =
            topics.get(topic).is_none_or(|tended| *tended.entry.wanted.borrow() == version);
        if is_old {
            topics.remove(topic);
        }
        is_old
    }

    fn entry(&self, topic: &str) -> Option<Arc<Entry>> {
        self.topics.lock().get(topic).map(|tended| Arc::clone(&tended.entry))
    }

    fn begin(&self, topic: &str, options: StoreOptions) -> Tended {
        let entry = Arc::new(Entry {
            topic: topic.to_owned(),
            options,
            front: Arc::default(),
            wanted: watch::Sender::new(0),
            applied: watch::Sender::new(Applied::default()),
            emptied: Mutex::default(),
            flows: Mutex::default(),
        });
        let _runtime = self.runtime.enter();
        let tending = Tending::new(&entry, &self.shared, Weak::clone(&self.this));
        let task = spawn("topic", tending.run(self.stop.subscribe()));
        Tended { entry, task }
    }

    /// Asks how much waits, and notes it in the engine.
    async fn recount(&self) -> Result<(), String> {
        let _counting = self.counting.acquire().await;
        if self.counted.lock().is_some_and(|at| at + COUNT_PACE > clock::now()) {
            return Ok(());
        }
        let asked = timeout(COUNT_TIMEOUT, self.ask_all()).await;
        *self.counted.lock() = Some(clock::now());
        asked.unwrap_or_else(|_| Err("the broker did not answer in time".to_owned()))
    }

    async fn ask_all(&self) -> Result<(), String> {
        let entries: Vec<Arc<Entry>> =
            self.topics.lock().values().map(|tended| Arc::clone(&tended.entry)).collect();
        let mut desks: BTreeMap<String, Option<Desk>> = BTreeMap::new();
        for entry in entries {
            let broker = &entry.options.broker;
            if !desks.contains_key(broker) {
                let link = self.shared.links.link(broker, Role::Consume);
                let desk = match link.filter(|link| link.trouble().is_none()) {
                    Some(link) => Some(Desk::open(&link).await?),
                    None => None,
                };
                desks.insert(broker.clone(), desk);
            }
            let Some(Some(desk)) = desks.get_mut(broker) else { continue };
            count_topic(desk, &self.shared.engine, &entry.topic).await?;
        }
        for desk in desks.into_values().flatten() {
            desk.close().await;
        }
        Ok(())
    }
}

async fn count_topic(desk: &mut Desk, engine: &Engine, name: &str) -> Result<(), String> {
    let Some(topic) = engine.find_topic(name) else { return Ok(()) };
    topic.set_elsewhere(desk.count(&names::backlog(name)).await?);
    for channel in topic.channels() {
        channel.set_elsewhere(desk.count(&names::queue(name, channel.name())).await?);
    }
    Ok(())
}

impl Store for RabbitStore {
    fn keeps(&self, topic: &str) -> bool {
        resolve(&self.rows, topic).is_some()
    }

    fn take(&self, topic: &str) -> Arc<dyn Ingress> {
        let mut topics = self.topics.lock();
        if let Some(tended) = topics.get(topic) {
            tended.entry.change();
            return Arc::clone(&tended.entry.front) as Arc<dyn Ingress>;
        }
        if self.stop.borrow().is_some() {
            // Refuses everything.
            return Arc::new(Front::default());
        }
        let tended = self.begin(topic, resolve(&self.rows, topic).unwrap_or_default());
        let front = Arc::clone(&tended.entry.front);
        topics.insert(topic.to_owned(), tended);
        front
    }

    fn changed(&self, topic: &str) {
        if let Some(entry) = self.entry(topic) {
            entry.change();
        }
    }

    fn emptied(&self, topic: &str, channel: Option<&str>) {
        if let Some(entry) = self.entry(topic) {
            entry.emptied.lock().insert(channel.map(str::to_owned));
            entry.change();
        }
    }

    fn applied(&self, topic: &str, channel: Option<&str>) -> Applying {
        let Some(entry) = self.entry(topic) else { return Box::pin(async { Ok(()) }) };
        let version = *entry.wanted.borrow();
        let channel = channel.map(str::to_owned);
        let link = self.shared.links.link(&entry.options.broker, Role::Consume);
        Box::pin(async move {
            let limit = entry.options.publish.timeout;
            let mut applied = entry.applied.subscribe();
            let waiting = applied.wait_for(|applied| applied.version >= version);
            let Ok(Ok(applied)) = timeout(limit, waiting).await else {
                let why = link.and_then(|link| link.trouble()).map(|(words, _)| words);
                let why = why.unwrap_or_else(|| format!("broker {}", entry.options.broker));
                return Err(format!("not done within {} s ({why})", limit.as_secs_f64()));
            };
            let of_channel = channel.and_then(|channel| applied.faults.get(&channel));
            match applied.fault.as_ref().or(of_channel) {
                Some(fault) => Err(fault.clone()),
                None => Ok(()),
            }
        })
    }

    fn count(&self) -> Applying {
        let this = self.this.upgrade();
        Box::pin(async move {
            match this {
                Some(this) => this.recount().await,
                None => Ok(()),
            }
        })
    }
}
