//! The node's HTTP side: nsqd's API to the letter, health, `/v1/routes` and `/metrics`.
//!
//! axum carries the bytes; what a path, a method and a query mean is decided here, because nsqd's answers (path repairs,
//! `Allow` lists, the order of checks) are a contract of their own. A request goes through [`router`] to an endpoint,
//! which takes its parameters from [`query`] and answers with a [`reply`]. Nothing is allocated because a client declared
//! it, and a panic in an endpoint ends that request and nothing else.
//!
//! Where nsqd knows one reason for refusing a publish (503 `EXITING`), a routed topic knows more: the message is then the
//! reason in words, such as the broker's, with the same status.

pub(crate) mod body;
mod debug;
mod drain;
pub(crate) mod entrance;
pub(crate) mod exchange;
pub(crate) mod gotime;
mod handler;
mod health;
mod info;
mod letters;
pub mod lookupd;
mod messages;
mod options;
mod peek;
mod publish;
pub(crate) mod query;
pub(crate) mod reply;
mod route_control;
pub(crate) mod router;
mod routes;
mod stats;
mod topics;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::handler::{Handler, HandlerService};
use tokio::sync::oneshot;

use crate::bridge::Bridge;
use crate::clock::{self, Instant};
use crate::engine::Engine;
use crate::metrics::registry::RegistryStatus;
pub use crate::metrics::{NoRoutes, RoutesView};
use crate::telemetry::alerts::Runner;
use crate::telemetry::opentsdb;
pub use entrance::Entrance;
use entrance::{Door, Remote};
use handler::Front;
pub use options::{OptionValue, Options, SetLogLevel};
pub use route_control::{Changes, ControlError, Definition, Pending, RouteControl};

/// Version of nsqd that the node stands in for.
pub const NSQ_VERSION: &str = "1.3.0";

/// Leveret's own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long requests that are under way may keep the node from exiting.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Who the node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where others reach it.
    pub broadcast_address: String,
    /// The machine's name.
    pub hostname: String,
    /// The port of the NSQ protocol; -1 for a unix socket.
    pub tcp_port: i32,
    /// The port of this API; -1 for a unix socket.
    pub http_port: i32,
    /// `--topology-region`, shown by `/info`.
    pub topology_region: String,
    /// `--topology-zone`, shown by `/info`.
    pub topology_zone: String,
    /// When it started, Unix seconds.
    pub start_time: i64,
    /// The same moment on the monotonic clock.
    pub started: Instant,
}

impl Node {
    /// A node that starts now.
    #[must_use]
    pub fn starting(
        broadcast_address: String,
        hostname: String,
        tcp_port: i32,
        http_port: i32,
    ) -> Self {
        Self {
            broadcast_address,
            hostname,
            tcp_port,
            http_port,
            topology_region: String::new(),
            topology_zone: String::new(),
            start_time: clock::unix_seconds(),
            started: clock::now(),
        }
    }
}

/// What nsqd's flags bound. The defaults are nsqd's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `--max-msg-size`, bytes.
    pub max_msg_size: u64,
    /// `--max-body-size`, bytes.
    pub max_body_size: u64,
    /// `--max-defer-time`, else `--max-req-timeout`: the longest `defer`.
    pub max_defer_time: Duration,
    /// `--explain-errors`: refusals say in a `detail` which limit it was and which flag sets it.
    pub explain_errors: bool,
    /// `--drain-timeout`: how long a drain may take; zero for as long as it needs.
    pub drain_timeout: Duration,
    /// `--max-heartbeat-interval`, shown by `/info`.
    pub max_heartbeat_interval: Duration,
    /// `--max-output-buffer-size`, shown by `/info`.
    pub max_output_buffer_size: u64,
    /// `--max-output-buffer-timeout`, shown by `/info`.
    pub max_output_buffer_timeout: Duration,
    /// `--max-deflate-level`, shown by `/info`.
    pub max_deflate_level: u8,
}

impl Limits {
    /// How a size (`None`: it was not read to its end) is above a limit that `flag` sets; `None` if that is not asked for.
    fn explain(&self, size: Option<u64>, max: u64, flag: &str) -> Option<String> {
        let size = size.map_or_else(|| format!("more than {max}"), |size| size.to_string());
        self.explain_errors.then(|| format!("{size} bytes, at most {max}: see --{flag}"))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_msg_size: 1024 * 1024,
            max_body_size: 5 * 1024 * 1024,
            max_defer_time: Duration::from_secs(60 * 60),
            explain_errors: false,
            drain_timeout: Duration::ZERO,
            max_heartbeat_interval: Duration::from_secs(60),
            max_output_buffer_size: 64 * 1024,
            max_output_buffer_timeout: Duration::from_secs(30),
            max_deflate_level: 6,
        }
    }
}

/// Whether the node is well; `Err` says what is wrong and follows `NOK - `.
pub type Health = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the node says of the registry that it shares with others.
pub type Registered = Arc<dyn Fn() -> Option<RegistryStatus> + Send + Sync>;

/// Free bytes, and how many of them are kept free.
pub type Disk = Arc<dyn Fn() -> Option<(u64, u64)> + Send + Sync>;

/// Writes the list of topics and channels down before it returns. May block.
pub type Persist = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

/// All that the endpoints need to know.
#[derive(Clone)]
pub struct Context {
    /// Topics, channels and connections.
    pub engine: Arc<Engine>,
    /// Who the node is.
    pub node: Node,
    /// What it takes.
    pub limits: Limits,
    /// Whether it is well.
    pub health: Health,
    /// Called after a pause or its end, before that is answered, as nsqd writes its metadata then.
    pub persist: Persist,
    /// The routes that run in it.
    pub routes: Arc<dyn RoutesView>,
    /// Where messages of brokers' queues are looked at; nowhere if there are no brokers.
    pub queues: Option<Arc<Bridge>>,
    /// Who changes them; nobody if there are none to change.
    pub control: Option<Arc<dyn RouteControl>>,
    /// What it shares with other nodes, if it does.
    pub registry: Registered,
    /// Free space of the data folder's disk, and how much of it publishes may not take, bytes.
    pub disk: Disk,
    /// Certificates that are served, and when they expire, Unix seconds.
    pub certificates: Vec<(String, i64)>,
    /// What was pushed to OpenTSDB, if anything is.
    pub opentsdb: Option<Arc<opentsdb::Counters>>,
    /// What there is to complain of, once somebody looks.
    pub alerts: Arc<OnceLock<Arc<Runner>>>,
    /// Its options, as `/config` shows and changes them.
    pub options: Arc<Options>,
}

impl Context {
    /// A node that is always well, keeps nothing, and has neither routes nor options. The fields are there to be replaced.
    #[must_use]
    pub fn new(engine: Arc<Engine>, node: Node, limits: Limits) -> Self {
        Self {
            engine,
            node,
            limits,
            health: Arc::new(|| Ok(())),
            persist: Arc::new(|| Ok(())),
            routes: Arc::new(NoRoutes),
            queues: None,
            control: None,
            registry: Arc::new(|| None),
            disk: Arc::new(|| None),
            certificates: Vec::new(),
            opentsdb: None,
            alerts: Arc::default(),
            options: Arc::new(Options::new(
                BTreeMap::new(),
                "info",
                Arc::new(|_| Ok(())),
                Vec::new(),
            )),
        }
    }

    /// `OK`, or `NOK - ` and what is wrong.
    fn health_text(&self) -> String {
        match (self.health)() {
            Ok(()) => "OK".to_owned(),
            Err(wrong) => format!("NOK - {wrong}"),
        }
    }
}

/// `count` as it fits into 64 bits.
fn saturated(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("engine", &self.engine)
            .field("node", &self.node)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Serves `context` at `entrance` (such as a `TcpListener`) until `shutdown` resolves, then finishes the requests that are
/// under way (for at most five seconds).
///
/// # Errors
/// The listener's.
pub async fn serve(
    entrance: impl Into<Entrance>,
    context: Arc<Context>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let entrance = entrance.into();
    let front = Front { context, refused_for: entrance.refused_for };
    serve_at(entrance, handler::handle.with_state(front), shutdown).await
}

/// Serves whatever `handler` answers.
pub(crate) async fn serve_at<H, T, S>(
    entrance: Entrance,
    handler: HandlerService<H, T, S>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    let service = handler.into_make_service_with_connect_info::<Remote>();
    let (stopping, stopped) = oneshot::channel::<()>();
    let serving = axum::serve(Door(entrance), service).with_graceful_shutdown(async move {
        shutdown.await;
        // Nobody listens any more if serving has ended by itself.
        stopping.send(()).unwrap_or_default();
    });
    let overdue = async {
        if stopped.await.is_ok() {
            tokio::time::sleep(SHUTDOWN_GRACE).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        served = serving => served,
        () = overdue => {
            tracing::warn!("requests still under way after {SHUTDOWN_GRACE:?} are cut off");
            Ok(())
        }
    }
}
