//! A node's side of nsqlookupd: what it has is registered at every nsqlookupd, for as long as it has it, and a new topic
//! begins with the channels that they know.
//!
//! | file | what it is |
//! | --- | --- |
//! | `address` | which nsqlookupds an address means |
//! | `announced` | what one has been told, and what it has to be told now |
//! | `link` | the connection to one |
//!
//! nsqd speaks to them one after the other and finds out that one is lost at the next of its 15 s ticks. Here each has a
//! task of its own, a lost connection is noticed when it breaks and made again from a quarter of a second on, and what a
//! nsqlookupd has to know is compared with what it was told, so that nothing is left out whatever was lost meanwhile.

mod address;
mod announced;
mod link;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::client::lookupd::LookupdClient;
use crate::clock::jittered;
use crate::engine::{DrainPhase, Engine, KnownChannels, Topic};
use crate::names::{is_ephemeral, is_valid_name};
use crate::task::{spawn, stopped};
use crate::tls::{ClientTls, TlsError};
use address::Place;

/// How often names are resolved anew.
const RESOLVE: Duration = Duration::from_secs(15);
/// So many new topics are asked for at a time.
const ASKING: usize = 16;

/// What a node tells of itself, with the keys of nsqd's IDENTIFY.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Where clients reach it.
    pub broadcast_address: String,
    /// The machine's name.
    pub hostname: String,
    /// The port of its HTTP API; nsqlookupd refuses 0.
    pub http_port: u16,
    /// The port of the NSQ protocol; nsqlookupd refuses 0.
    pub tcp_port: u16,
    /// The larger domain that it is part of; empty if unknown.
    pub topology_region: String,
    /// The failure domain that it is part of; empty if unknown.
    pub topology_zone: String,
    /// The version of nsqd that it stands in for.
    pub version: String,
}

/// How nsqlookupds are spoken to.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the node tells of itself.
    pub identity: Identity,
    /// For addresses that are `tls://`.
    pub tls: ClientTls,
    /// For a connection to be open.
    pub connect_timeout: Duration,
    /// For an answer.
    pub request_timeout: Duration,
}

/// See the module's description.
#[derive(Debug)]
pub struct Announcer {
    engine: Arc<Engine>,
    options: Options,
    plain: LookupdClient,
    /// For nsqlookupds in TLS; its files are read when the first one is met.
    secure: Mutex<Option<LookupdClient>>,
    /// The HTTP addresses of those that are connected.
    live: Mutex<BTreeMap<Place, String>>,
    asking: Semaphore,
    runtime: Handle,
    this: Weak<Self>,
}

impl Announcer {
    /// One for the topics of `engine`. To be called in a runtime, which does its work.
    ///
    /// # Errors
    /// An HTTP client cannot be had.
    pub fn new(engine: Arc<Engine>, options: Options) -> Result<Arc<Self>, TlsError> {
        let plain = LookupdClient::new(options.connect_timeout, options.request_timeout, None)?;
        Ok(Arc::new_cyclic(|this| Self {
            engine,
            options,
            plain,
            secure: Mutex::default(),
            live: Mutex::default(),
            asking: Semaphore::new(ASKING),
            runtime: Handle::current(),
            this: this.clone(),
        }))
    }

    /// Announces the node to the nsqlookupds of these addresses as they change, until `stop` turns true or the node drains.
    pub async fn run(
        self: Arc<Self>,
        mut addresses: watch::Receiver<Vec<String>>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut draining = self.engine.drain_state();
        let mut links = BTreeMap::new();
        loop {
            let named: BTreeSet<String> = addresses.borrow_and_update().iter().cloned().collect();
            self.link(&mut links, &named).await;
            tokio::select! {
                () = stopped(&mut stop) => break,
                _ = draining.wait_for(|state| state.phase != DrainPhase::Serving) => break,
                changed = addresses.changed() => if changed.is_err() { break },
                () = sleep(jittered(RESOLVE)) => {}
            }
        }
        for link in std::mem::take(&mut links).into_values() {
            link.end().await;
        }
    }

    /// Has a connection to each nsqlookupd that `named` means, and to no other.
    async fn link(self: &Arc<Self>, links: &mut BTreeMap<Place, Kept>, named: &BTreeSet<String>) {
        let resolving =
            named.iter().map(|name| async move { (name, address::resolve(name).await) });
        let mut wanted = BTreeSet::new();
        for (name, resolved) in join_all(resolving).await {
            match resolved {
                Ok(places) => wanted.extend(places),
                Err(error) => {
                    tracing::error!("LOOKUPD({name}): {error}");
                    // Where it was is where it may still be.
                    wanted.extend(links.keys().filter(|place| place.name == *name).cloned());
                }
            }
        }
        let gone: Vec<Place> =
            links.keys().filter(|place| !wanted.contains(place)).cloned().collect();
        for place in gone {
            tracing::info!("LOOKUPD({place}): removing peer");
            if let Some(link) = links.remove(&place) {
                link.end().await;
            }
        }
        for place in wanted {
            if !links.contains_key(&place) {
                tracing::info!("LOOKUPD({place}): adding peer");
                links.insert(place.clone(), Kept::start(Arc::clone(self), place));
            }
        }
    }

    /// The channels of a topic that nsqlookupds know of and that are to be there from its beginning.
    async fn known_channels(&self, topic: &str) -> BTreeSet<String> {
        let live: Vec<_> = self.live.lock().values().cloned().collect();
        let asking = live.iter().map(|address| async move {
            let client = self.client_of(address);
            (address, client.channels(address, topic).await)
        });
        let mut known = BTreeSet::new();
        for (address, answer) in join_all(asking).await {
            match answer {
                Ok(channels) => known.extend(channels),
                Err(error) => tracing::error!(
                    topic,
                    "cannot ask nsqlookupd {address} for channels to pre-create: {error}"
                ),
            }
        }
        known.retain(|name| is_valid_name(name.as_bytes()) && !is_ephemeral(name));
        known
    }

    fn client_of(&self, address: &str) -> LookupdClient {
        let secure = self.secure.lock().clone();
        secure.filter(|_| address.starts_with("https://")).unwrap_or_else(|| self.plain.clone())
    }
}

impl KnownChannels for Announcer {
    fn can_tell(&self) -> bool {
        !self.live.lock().is_empty()
    }

    fn made(&self, topic: Arc<Topic>) {
        // Who makes a topic may be on any thread.
        let _entered = self.runtime.enter();
        let withheld = Withheld(topic);
        let Some(this) = self.this.upgrade() else { return };
        drop(spawn("precreation", async move {
            let Ok(_turn) = this.asking.acquire().await else { return };
            let topic = &withheld.0;
            for channel in this.known_channels(topic.name()).await {
                tracing::info!("TOPIC({}): pre-creating channel({channel})", topic.name());
                if topic.channel(&channel).is_err() {
                    // It is being deleted.
                    return;
                }
            }
        }));
    }
}

/// A topic that begins when this goes, whatever the reason.
struct Withheld(Arc<Topic>);

impl Drop for Withheld {
    fn drop(&mut self) {
        self.0.begin();
    }
}

/// A connection that is kept.
struct Kept {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Kept {
    fn start(announcer: Arc<Announcer>, place: Place) -> Self {
        let stop = watch::Sender::new(false);
        let task = spawn("lookupd", link::keep(announcer, place, stop.subscribe()));
        Self { stop, task }
    }

    async fn end(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a nsqlookupd's task failed");
        }
    }
}
