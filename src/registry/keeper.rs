//! Holds a node in the registry for as long as it runs: one session after the other, over one member after the other.
//!
//! The node sees a [`View`] of what etcd holds and answers with a [`Standing`]: what it makes of the routes, and which of
//! those that it owns it runs. A view outlives the connection that it came over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::etcd::RegistryError;
use super::lease::Held;
use super::mirror::{Mirror, SharedRoute};
use super::options::EtcdOptions;
use super::records::{NodeRecord, StatusRecord, Verdict};
use super::session;
use crate::clock;
use crate::metrics::registry::RegistryStatus;
use crate::task::{spawn, stopped};

/// Before the next member is tried; twice as long with each failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How etcd is reached at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// It has not been reached yet.
    Connecting,
    /// Over this member.
    Up(String),
    /// It is lost.
    Down {
        /// Why.
        error: RegistryError,
        /// Since when, seconds since the Unix epoch.
        since: i64,
    },
}

/// What a node is to know of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Grows with every change of what follows.
    pub generation: u64,
    /// How etcd is reached.
    pub link: Link,
    /// Whether etcd has been read at least once.
    pub is_known: bool,
    /// The routes that all nodes share, by name, as last seen.
    pub routes: Arc<BTreeMap<String, SharedRoute>>,
    /// Of the routes of which there is one, those that this node is to run.
    pub owned: BTreeSet<String>,
    /// How long a route that is not owned any more may take to settle what it has.
    pub settling: Duration,
    /// etcd's revision when it was last read.
    revision: i64,
}

/// What a node makes of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The generation of the view that it has taken over.
    pub seen: u64,
    /// By route: all that are shared, and those of its own files of which there is one.
    pub statuses: BTreeMap<String, StatusRecord>,
    /// Of the routes of which there is one, those that run here.
    pub running: BTreeSet<String>,
}

/// Who registers.
pub struct Me {
    /// The node's name: no other node has it. See [`super::layout::is_node`].
    pub name: String,
    /// What it says of itself at a moment.
    pub record: Box<dyn Fn() -> NodeRecord + Send + Sync>,
}

/// What sessions share.
pub(super) struct Shared {
    pub(super) options: EtcdOptions,
    pub(super) me: Me,
    pub(super) lease: Held,
    pub(super) standing: watch::Sender<Arc<Standing>>,
    view: watch::Sender<View>,
}

/// A node's place in the registry.
pub struct Registry {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("me", &self.shared.me.name).finish_non_exhaustive()
    }
}

impl Registry {
    /// Registers `me`, now or as soon as etcd can be reached. Called inside the node's runtime.
    #[must_use]
    pub fn start(options: EtcdOptions, me: Me) -> Arc<Self> {
        let view = View {
            generation: 0,
            link: Link::Connecting,
            is_known: false,
            routes: Arc::default(),
            owned: BTreeSet::new(),
            settling: options.lease / 6,
            revision: 0,
        };
        let shared = Arc::new(Shared {
            options,
            me,
            lease: Held::nothing(),
            standing: watch::Sender::default(),
            view: watch::Sender::new(view),
        });
        let stop = watch::Sender::new(false);
        let running = spawn("registry", run(Arc::clone(&shared), stop.subscribe()));
        let guarded = Arc::clone(&shared);
        let guarding = spawn("registry lease", async move {
            guarded.lease.watch(|| guarded.suspend()).await;
        });
        Arc::new(Self { shared, stop, tasks: Mutex::new(vec![running, guarding]) })
    }

    /// What etcd holds for this node, now and as it changes.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<View> {
        self.shared.view.subscribe()
    }

    /// How things stand, for those who ask the node.
    #[must_use]
    pub fn status(&self) -> RegistryStatus {
        let view = self.shared.view.borrow().clone();
        let standing = Arc::clone(&*self.shared.standing.borrow());
        let shared = standing.statuses.iter().filter(|(_, status)| status.revision > 0);
        let (applied, refused): (Vec<_>, Vec<_>) =
            shared.partition(|(_, status)| status.state == Verdict::Applied);
        let mut status = RegistryStatus {
            node: self.shared.me.name.clone(),
            state: "connecting",
            applied: applied.len(),
            refused: refused
                .into_iter()
                .map(|(route, status)| (route.clone(), status.errors.clone()))
                .collect(),
            owned: view.owned.into_iter().collect(),
            ..RegistryStatus::default()
        };
        match view.link {
            Link::Connecting => {}
            Link::Up(endpoint) => (status.state, status.endpoint) = ("up", Some(endpoint)),
            Link::Down { error, since } => {
                status.state = "down";
                (status.error, status.down_since) = (Some(error.to_string()), Some(since));
            }
        }
        status
    }

    /// Says what the node makes of it.
    pub fn report(&self, standing: Standing) {
        self.shared.standing.send_if_modified(|known| {
            let is_new = **known != standing;
            if is_new {
                *known = Arc::new(standing);
            }
            is_new
        });
    }

    /// Leaves: what this node owns is free for others at once, if etcd can be reached. To be called when nothing of it runs
    /// any more.
    pub async fn leave(&self) {
        self.stop.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        let guarding = tasks.pop();
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "the registry's task failed");
            }
        }
        guarding.iter().for_each(JoinHandle::abort);
    }
}

async fn run(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut backoff = BACKOFF.0;
    for endpoint in shared.options.endpoints.iter().cycle() {
        let error = match Box::pin(session::run(&shared, endpoint, &mut stop)).await {
            Ok(()) => return,
            Err(error) => error,
        };
        if shared.lost(error) {
            backoff = BACKOFF.0;
        }
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = sleep(clock::jittered(backoff)) => {}
        }
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

impl Shared {
    /// Has the node see what `mirror` holds, and that it is to run `owned`; tells the view's generation.
    pub(super) fn publish(&self, endpoint: &str, mirror: &Mirror, owned: &BTreeSet<String>) -> u64 {
        let mut generation = 0;
        self.view.send_if_modified(|view| {
            let is_up = matches!(view.link, Link::Up(_));
            let loses_all = mirror.routes.is_empty() && !view.routes.is_empty();
            // An etcd that was set up anew knows nothing of us; that is no word that the routes are to go.
            let is_older = mirror.revision < view.revision && loses_all;
            let has_other = *view.routes != mirror.routes && !is_older;
            if is_older && !is_up {
                tracing::error!(
                    "etcd has lost all routes: it is older than what was read from it. The routes go on as they were; \
                     push them again"
                );
            }
            if !is_older {
                view.revision = mirror.revision;
            }
            let changes = has_other || !is_up || !view.is_known || view.owned != *owned;
            if changes {
                view.generation += 1;
                view.is_known = true;
                view.owned.clone_from(owned);
                view.settling = self.settling();
                if has_other {
                    view.routes = Arc::new(mirror.routes.clone());
                }
            }
            if !is_up {
                view.link = Link::Up(endpoint.to_owned());
                tracing::info!(endpoint, node = self.me.name, "registered with etcd");
            }
            generation = view.generation;
            changes
        });
        generation
    }

    fn settling(&self) -> Duration {
        self.lease.get().map_or(self.options.lease / 6, |lease| lease.settling())
    }

    /// The lease cannot be relied on: nothing that lives with it is ours.
    fn suspend(&self) {
        self.view.send_if_modified(|view| {
            let had = !view.owned.is_empty();
            if had {
                let routes = std::mem::take(&mut view.owned);
                view.generation += 1;
                tracing::error!(
                    ?routes,
                    "the lease cannot be renewed: these stop, for another node to run"
                );
            }
            had
        });
    }

    /// A session has ended with `error`; tells whether it had been up.
    fn lost(&self, error: RegistryError) -> bool {
        let mut was_up = false;
        self.view.send_if_modified(|view| {
            was_up = matches!(view.link, Link::Up(_));
            let since = match view.link {
                Link::Down { since, .. } => since,
                Link::Connecting | Link::Up(_) => clock::unix_seconds(),
            };
            match &view.link {
                Link::Down { .. } => tracing::debug!(%error, "etcd cannot be reached"),
                Link::Connecting => tracing::warn!(
                    %error,
                    "etcd cannot be reached: the node runs its own files until then"
                ),
                Link::Up(_) => tracing::warn!(%error, "etcd is lost: all goes on as it last was"),
            }
            view.link = Link::Down { error, since };
            true
        });
        was_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::layout::Key;
    use crate::registry::mirror::Entry;

    fn shared() -> Shared {
        let options = EtcdOptions {
            endpoints: vec!["http://127.0.0.1:1".into()],
            prefix: "/leveret".into(),
            tls: crate::registry::EtcdTls::default(),
            auth: None,
            lease: Duration::from_secs(6),
        };
        let registry = View {
            generation: 0,
            link: Link::Connecting,
            is_known: false,
            routes: Arc::default(),
            owned: BTreeSet::new(),
            settling: Duration::ZERO,
            revision: 0,
        };
        Shared {
            options,
            me: Me { name: "n:1".into(), record: Box::new(NodeRecord::default) },
            lease: Held::nothing(),
            standing: watch::Sender::default(),
            view: watch::Sender::new(registry),
        }
    }

    fn mirror(revision: i64, names: &[&str]) -> Mirror {
        let entry = |name: &&str| Entry {
            key: Key::Route((*name).to_owned()),
            value: b"mode: queued".to_vec(),
            created: 1,
            changed: 1,
            lease: 0,
        };
        Mirror::listed(revision, names.iter().map(entry))
    }

    #[test]
    fn a_view_changes_only_when_something_has() {
        let shared = shared();
        let owned = BTreeSet::from(["a".to_owned()]);
        assert_eq!(shared.publish("e", &mirror(5, &["a"]), &owned), 1);
        assert_eq!(shared.publish("e", &mirror(6, &["a"]), &owned), 1);
        assert_eq!(shared.publish("e", &mirror(7, &["a", "b"]), &owned), 2);
        shared.suspend();
        assert_eq!((shared.view.borrow().generation, shared.view.borrow().owned.len()), (3, 0));
        shared.suspend();
        assert_eq!(shared.view.borrow().generation, 3);
        assert_eq!(shared.publish("e", &mirror(7, &[]), &BTreeSet::new()), 4);
        assert!(shared.view.borrow().routes.is_empty());
    }

    #[test]
    fn what_was_read_outlives_the_connection_and_an_etcd_that_is_empty() {
        let shared = shared();
        shared.publish("e", &mirror(50, &["a"]), &BTreeSet::new());
        let error = RegistryError::LeaseOver { endpoint: "e".into() };
        assert!(shared.lost(error.clone()));
        assert!(!shared.lost(error));
        assert_eq!(shared.view.borrow().routes.len(), 1);
        shared.publish("e", &mirror(3, &[]), &BTreeSet::new());
        assert_eq!(shared.view.borrow().routes.len(), 1, "set up anew");
        shared.publish("e", &mirror(4, &["b"]), &BTreeSet::new());
        assert_eq!(shared.view.borrow().routes.keys().collect::<Vec<_>>(), ["b"]);
        shared.publish("e", &mirror(5, &[]), &BTreeSet::new());
        assert!(shared.view.borrow().routes.is_empty(), "removed by somebody");
    }
}
