//! What `/stats` says of a connection. Owned by the server, read by whoever shows it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use parking_lot::Mutex;

/// What is known of a client: what it said of itself in IDENTIFY, and what was put over its connection since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `client_id`; before IDENTIFY the host part of the remote address.
    pub client_id: String,
    /// `hostname`; before IDENTIFY the host part of the remote address.
    pub hostname: String,
    /// `user_agent`.
    pub user_agent: String,
    /// Percentage of messages that a consumer wants, 0 for all.
    pub sample_rate: u8,
    /// `topology_region`.
    pub topology_region: String,
    /// `topology_zone`.
    pub topology_zone: String,
    /// Whether its connection is packed with Deflate.
    pub deflate: bool,
    /// Whether its connection is packed with Snappy.
    pub snappy: bool,
    /// The TLS of its connection, if it has any.
    pub tls: Option<TlsIdentity>,
    /// What an auth server says of it, if one was asked.
    pub auth: Option<AuthIdentity>,
}

/// A connection's TLS, in nsqd's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsIdentity {
    /// Such as `TLS1.3`.
    pub version: &'static str,
    /// A name, or `Unknown` and a number.
    pub cipher_suite: String,
}

/// Who a client is by the word of an auth server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthIdentity {
    /// Whether anything is allowed to it.
    pub is_authorized: bool,
    /// `identity`.
    pub identity: String,
    /// `identity_url`.
    pub identity_url: String,
}

/// How near a consumer is to the node. The nearest is the least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Locality {
    /// In the same zone.
    Zone = 0,
    /// In the same region, in another zone.
    Region = 1,
    /// Anywhere, or it is not known.
    #[default]
    Global = 2,
}

impl Locality {
    /// How near a client that names this region and zone is to a node with its own: plain comparisons, as nsqd makes
    /// them, so that two empty names are the same.
    #[must_use]
    pub fn of(client: (&str, &str), node: (&str, &str)) -> Self {
        if client.1 == node.1 {
            Self::Zone
        } else if client.0 == node.0 {
            Self::Region
        } else {
            Self::Global
        }
    }
}

/// A connection's state as nsqd numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// Connected.
    Init = 0,
    /// After SUB.
    Subscribed = 3,
    /// After CLS.
    Closing = 4,
}

/// The counters of one connection since it was made.
#[derive(Debug, Default)]
pub struct ClientCounters {
    /// Deliveries, redeliveries included.
    pub messages: AtomicU64,
    /// FINs.
    pub finished: AtomicU64,
    /// REQs.
    pub requeued: AtomicU64,
}

/// All connections past their magic.
#[derive(Debug, Default)]
pub struct Clients {
    clients: Mutex<BTreeMap<u64, Arc<Client>>>,
    next: AtomicU64,
}

impl Clients {
    /// Lists `client` until the returned guard is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>, client: Arc<Client>) -> Listed {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.clients.lock().insert(number, client);
        Listed { clients: Arc::clone(self), number }
    }

    /// All of them, in the order in which they came.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.clients.lock().values().cloned().collect()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.clients.lock().len()
    }
}

/// Keeps a connection in its [`Clients`].
#[derive(Debug)]
pub struct Listed {
    clients: Arc<Clients>,
    number: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.clients.clients.lock().remove(&self.number);
    }
}

/// One connection past its magic.
#[derive(Debug)]
pub struct Client {
    /// `host:port`, or `@` for a unix socket.
    pub remote_address: String,
    /// When it connected, Unix seconds.
    pub connected_at: i64,
    /// Counters, updated by the channel that it subscribes.
    pub counters: ClientCounters,
    state: AtomicU8,
    locality: AtomicU8,
    identity: Mutex<Arc<Identity>>,
    published: Mutex<HashMap<Arc<str>, u64>>,
}

impl Client {
    /// A connection from `remote_address`, made at `connected_at` (Unix seconds).
    #[must_use]
    pub fn new(remote_address: String, connected_at: i64, identity: Identity) -> Self {
        Self {
            remote_address,
            connected_at,
            counters: ClientCounters::default(),
            state: AtomicU8::new(ClientState::Init as u8),
            locality: AtomicU8::new(Locality::Global as u8),
            identity: Mutex::new(Arc::new(identity)),
            published: Mutex::default(),
        }
    }

    /// What it said of itself.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity.lock())
    }

    /// Changes what is known of it.
    pub fn amend(&self, change: impl FnOnce(&mut Identity)) {
        change(Arc::make_mut(&mut self.identity.lock()));
    }

    /// The state as nsqd's number: 0, 3 or 4.
    #[must_use]
    pub fn state(&self) -> u8 {
        self.state.load(Ordering::Relaxed)
    }

    /// Notes a new state.
    pub fn enter(&self, state: ClientState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// How near it is to the node. A subscription keeps what holds when it begins.
    #[must_use]
    pub fn locality(&self) -> Locality {
        match self.locality.load(Ordering::Relaxed) {
            0 => Locality::Zone,
            1 => Locality::Region,
            _ => Locality::Global,
        }
    }

    /// Notes how near it is.
    pub fn locate(&self, locality: Locality) {
        self.locality.store(locality as u8, Ordering::Relaxed);
    }

    /// Notes that it published `messages` to `topic`.
    pub fn published(&self, topic: &Arc<str>, messages: u64) {
        let mut published = self.published.lock();
        match published.get_mut(topic) {
            Some(count) => *count += messages,
            None => {
                published.insert(Arc::clone(topic), messages);
            }
        }
    }

    /// How much it published to each topic; empty for one that never did.
    #[must_use]
    pub fn publications(&self) -> BTreeMap<Arc<str>, u64> {
        let published = self.published.lock();
        published.iter().map(|(topic, count)| (Arc::clone(topic), *count)).collect()
    }
}
