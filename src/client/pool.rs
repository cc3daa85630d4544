//! One task for each nsqd: it connects, has the connection served, and connects again for ever, with growing and jittered
//! pauses.
//!
//! A connection that nsqlookupds no longer tell of goes on; it is only not made again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::connect::{ConnectOptions, connect};
use super::connection::Connection;
use super::discovery::{Discovery, Found};
use crate::clock::jittered;
use crate::task::{spawn, stopped};

/// First and longest pause before a nsqd is tried again.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Pause where somebody has to mend something.
const PAUSE_LASTING: Duration = Duration::from_secs(15);

/// How a client's connections are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// At least one is up.
    Up,
    /// None is up, and why; it may be better by itself.
    Waiting(String),
    /// None is up, and somebody has to mend something.
    Failed(String),
}

/// How the service of a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// As asked for.
    Closed,
    /// It did not go on.
    Lost {
        reason: String,
        /// Whether it was of use: then the next one is tried soon.
        was_useful: bool,
        is_lasting: bool,
    },
}

/// What is done with a connection.
pub(super) trait Serve: Send + Sync + 'static {
    /// Works on a connection until it ends.
    fn serve(
        &self,
        address: &Arc<str>,
        connection: Connection,
        up: &Up<'_>,
    ) -> impl Future<Output = Ended> + Send;
}

/// Why a nsqd has no connection, and whether somebody has to mend something; `None` if it has one.
type Trouble = Option<(String, bool)>;

/// Tells how the connections are, all together.
#[derive(Debug)]
struct Report {
    health: watch::Sender<Health>,
    nodes: parking_lot::Mutex<BTreeMap<Arc<str>, Trouble>>,
}

impl Report {
    /// Notes how a node is.
    fn say(&self, address: &Arc<str>, trouble: Trouble, found: &Found) {
        self.nodes.lock().insert(Arc::clone(address), trouble);
        self.refresh(found);
    }

    fn forget(&self, address: &Arc<str>, found: &Found) {
        self.nodes.lock().remove(address);
        self.refresh(found);
    }

    fn refresh(&self, found: &Found) {
        let health = overall(&self.nodes.lock(), found);
        self.health.send_if_modified(|known| {
            let changes = *known != health;
            *known = health;
            changes
        });
    }
}

/// One connection that is up is enough; without one, what is known of the first.
fn overall(nodes: &BTreeMap<Arc<str>, Trouble>, found: &Found) -> Health {
    if nodes.values().any(Option::is_none) {
        return Health::Up;
    }
    let troubles = nodes
        .iter()
        .filter_map(|(address, trouble)| trouble.as_ref().map(|trouble| (address, trouble)));
    // A trouble that mends itself is hope.
    match troubles.min_by_key(|(_, (_, is_lasting))| *is_lasting) {
        Some((address, (words, false))) => Health::Waiting(format!("nsqd {address}: {words}")),
        Some((address, (words, true))) => Health::Failed(format!("nsqd {address}: {words}")),
        None => Health::Waiting(
            found.trouble.clone().unwrap_or_else(|| "no nsqlookupd knows of a nsqd".to_owned()),
        ),
    }
}

/// A client's work in the background. It ends with this, at the latest.
#[derive(Debug)]
pub struct Work(JoinHandle<()>);

impl Work {
    pub(super) fn spawn(
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self(spawn(name, work))
    }

    /// Waits until all is done.
    pub async fn ended(&mut self) {
        if !self.0.is_finished()
            && let Err(error) = (&mut self.0).await
        {
            tracing::error!(%error, "a client of NSQ failed");
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// See the module's description.
pub(super) struct Pool<S> {
    serve: Arc<S>,
    options: Arc<ConnectOptions>,
    discovery: Arc<Discovery>,
    report: Arc<Report>,
    found: Arc<watch::Sender<Found>>,
    stop: watch::Receiver<bool>,
}

impl<S> Clone for Pool<S> {
    fn clone(&self) -> Self {
        Self {
            serve: Arc::clone(&self.serve),
            options: Arc::clone(&self.options),
            discovery: Arc::clone(&self.discovery),
            report: Arc::clone(&self.report),
            found: Arc::clone(&self.found),
            stop: self.stop.clone(),
        }
    }
}

impl<S: Serve> Pool<S> {
    /// Once `stop` turns true no connection is made any more; those that are up end as [`Serve::serve`] does.
    pub(super) fn new(
        serve: Arc<S>,
        options: ConnectOptions,
        discovery: Discovery,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let found = watch::Sender::new(discovery.named());
        let health = watch::Sender::new(Health::Waiting("connecting".into()));
        Self {
            serve,
            options: Arc::new(options),
            discovery: Arc::new(discovery),
            report: Arc::new(Report { health, nodes: parking_lot::Mutex::default() }),
            found: Arc::new(found),
            stop,
        }
    }

    /// How the connections are.
    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.report.health.subscribe()
    }

    /// Runs until it is stopped and every connection has ended.
    pub(super) async fn run(self) {
        let mut found = self.found.subscribe();
        found.mark_changed();
        let mut stop = self.stop.clone();
        let mut tasks: JoinSet<Arc<str>> = JoinSet::new();
        let mut running: BTreeSet<Arc<str>> = BTreeSet::new();
        let discovery = Arc::clone(&self.discovery);
        let sender = Arc::clone(&self.found);
        let discovering = discovery.run(&sender);
        tokio::pin!(discovering);
        loop {
            tokio::select! {
                () = stopped(&mut stop) => break,
                () = &mut discovering => {}
                Some(ended) = tasks.join_next() => {
                    if let Ok(address) = ended {
                        self.report.forget(&address, &self.found.borrow());
                        running.remove(&address);
                        // It may have been told of again since.
                        found.mark_changed();
                    }
                }
                Ok(()) = found.changed() => {
                    let now = found.borrow_and_update().clone();
                    self.report.refresh(&now);
                    for address in now.addresses {
                        if running.insert(Arc::clone(&address)) {
                            tasks.spawn(self.clone().keep(address));
                        }
                    }
                }
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Keeps a connection to one nsqd for as long as it is known.
    async fn keep(self, address: Arc<str>) -> Arc<str> {
        let mut pause = PAUSE_MIN;
        let mut stop = self.stop.clone();
        let up = Up { report: &self.report, found: &self.found, address: &address };
        while !*stop.borrow() && self.found.borrow().addresses.contains(&address) {
            let connecting = connect(&address, &self.options);
            let connected = tokio::select! {
                () = stopped(&mut stop) => break,
                connected = connecting => connected,
            };
            let (words, is_lasting) = match connected {
                Err(error) => (error.to_string(), error.is_lasting()),
                Ok(connection) => match self.serve.serve(&address, connection, &up).await {
                    Ended::Closed => break,
                    Ended::Lost { reason, was_useful, is_lasting } => {
                        if was_useful {
                            pause = PAUSE_MIN;
                        }
                        (reason, is_lasting)
                    }
                },
            };
            tracing::debug!(%address, reason = %words, "no connection to nsqd");
            self.discovery.again.notify_one();
            self.report.say(&address, Some((words, is_lasting)), &self.found.borrow());
            let wait = jittered(if is_lasting { PAUSE_LASTING } else { pause });
            pause = (pause * 2).min(PAUSE_MAX);
            tokio::select! {
                () = stopped(&mut stop) => {}
                () = sleep(wait) => {}
            }
        }
        Arc::clone(&address)
    }
}

/// Lets whoever serves a connection say that it is up: SUB may still fail behind IDENTIFY.
#[derive(Debug)]
pub(super) struct Up<'a> {
    report: &'a Report,
    found: &'a watch::Sender<Found>,
    address: &'a Arc<str>,
}

impl Up<'_> {
    /// Says so.
    pub(super) fn say(&self) {
        self.report.say(self.address, None, &self.found.borrow());
    }
}
