//! A node: wires engine, front-ends and routes together, runs them, and ends them in order.
//!
//! Start: lock the data folder, bind the ports, load what is kept, then serve; nothing has happened yet when one of the
//! first two fails. End: take nothing more, answer what is open, settle the routes, write down what is still owed.

mod admin;
mod doors;
mod ending;
pub mod export;
mod figures;
mod flows;
mod import;
mod lookupd;
mod membership;
mod options;
mod routes;
mod secure;
mod shared;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::bridge::envelope;
use crate::bridge::route::Route;
use crate::config::{LogFormat, NodeConfig, NsqdConfig};
use crate::engine::policy::{Pattern, Policies, TopicRow};
use crate::engine::{self, Engine};
pub use crate::http::OptionValue;
use crate::http::{self, RoutesView};
use crate::protocol::command::Limits;
use crate::protocol::identify::{Offer, Settings};
use crate::server;
use crate::storage::wal::writer::WalOptions;
use crate::storage::{DataLock, StorageError, metadata};
use crate::task::{spawn, stopped};
pub use crate::telemetry::logs::nsqd_line as log_line;
use crate::telemetry::{logs, statsd};
pub use admin::{AdminPlan, run_admin};
use doors::Doors;
use flows::Flows;
use lookupd::{Discovery, Lookupd};
pub use lookupd::{LookupdPlan, run_lookupd};
use options::Resolved;
use routes::Control;
use secure::Security;

/// nsqd's default time between heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// nsqd's default output buffer, bytes.
const OUTPUT_BUFFER_SIZE: usize = 16 * 1024;

/// What to run.
#[derive(Debug)]
pub struct Plan {
    /// The node's configuration.
    pub config: NodeConfig,
    /// Its routes.
    pub routes: Vec<Route>,
    /// A log level or directives, instead of the configuration's.
    pub log_level: Option<String>,
    /// Whether a missing data folder is made; nsqd does not.
    pub makes_data_path: bool,
    /// What is to be said once at start.
    pub notes: Vec<String>,
    /// Options that were given by their names in nsqd's config file; shown for those that the configuration does not have.
    pub given: BTreeMap<String, OptionValue>,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The log level is not one.
    #[error("{0}")]
    Log(#[from] logs::LogError),
    /// The data folder.
    #[error("{0}")]
    Storage(#[from] StorageError),
    /// TLS towards clients.
    #[error("failed to build TLS config - {0}")]
    Tls(String),
    /// The auth servers cannot be asked.
    #[error("failed to build client TLS config - {0}")]
    Auth(String),
    /// A port cannot be had.
    #[error("cannot listen on {address} (--{}, {option}): {source}", .option.replace('_', "-"))]
    Listen {
        /// `host:port`, or a path.
        address: String,
        /// The option that says so.
        option: &'static str,
        /// The system's words.
        source: io::Error,
    },
    /// An address that is to be asked means nothing here.
    #[error("failed to resolve {flag} address ({address}) - {source}")]
    Resolve {
        /// The flag that gives it.
        flag: &'static str,
        /// As it was given.
        address: String,
        /// The system's words.
        source: io::Error,
    },
    /// The runtime or a signal handler cannot be had.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// The name under which the registry is to know the node.
    #[error(
        "\"{0}\" cannot be a node's name in the registry: set nsqd.broadcast_address to a host's name or address"
    )]
    Name(String),
    /// What was kept cannot be loaded.
    #[error("cannot load what was kept: {0}")]
    Restore(#[from] engine::PublishError),
}

impl NodeError {
    /// Whether the configuration is to be mended (exit code 2), rather than the machine.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(self, Self::Log(_) | Self::Name(_))
    }
}

/// Runs a node until SIGTERM or SIGINT.
///
/// # Errors
/// Why it did not start.
pub fn run(plan: Plan) -> Result<(), NodeError> {
    let logging = logs::init(&logs::LogOptions {
        level: plan.level().to_owned(),
        format: match (plan.config.log.format, &plan.config.nsqd.log_prefix) {
            (LogFormat::Json, _) => logs::LogFormat::Json,
            (LogFormat::Text, None) => logs::LogFormat::Text,
            (LogFormat::Text, Some(prefix)) => logs::LogFormat::Nsqd(prefix.clone()),
        },
        outputs: plan.config.log.outputs.clone(),
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(Box::pin(serve(plan, logging.clone())));
    if let Err(error) = &ended
        && logging.has_outputs()
    {
        // Whoever started it is told on standard error; this is for whoever reads the outputs.
        tracing::error!(%error, "ended");
    }
    logging.flush();
    ended
}

impl Plan {
    /// What is logged.
    fn level(&self) -> &str {
        self.log_level.as_deref().unwrap_or_else(|| self.config.log.level.as_str())
    }
}

/// The data folder of a node that has one.
struct Kept {
    folder: PathBuf,
    /// One writer at a time: a pause writes the metadata before it is answered, whatever else does so.
    writing: Mutex<()>,
    _lock: DataLock,
}

impl Kept {
    fn of(folder: &Path, lock: DataLock) -> Self {
        Self { folder: folder.into(), writing: Mutex::new(()), _lock: lock }
    }

    fn open(plan: &Plan) -> Result<Option<Arc<Self>>, StorageError> {
        let Some(folder) = plan.config.nsqd.data_path.clone() else { return Ok(None) };
        let lock = if plan.makes_data_path {
            DataLock::acquire_or_create(&folder)?
        } else {
            DataLock::acquire(&folder)?
        };
        Ok(Some(Arc::new(Self::of(&folder, lock))))
    }

    fn load(&self, engine: &Engine) -> Result<(), NodeError> {
        let (topics, invalid) = metadata::load(&self.folder)?;
        for name in invalid {
            tracing::warn!(name, "skipping an invalid name in nsqd.dat");
        }
        engine.restore(&topics)?;
        import::take_over(engine, &self.folder)?;
        self.save_metadata(engine)?;
        Ok(())
    }

    fn save_metadata(&self, engine: &Engine) -> Result<(), StorageError> {
        let _writing = self.writing.lock();
        metadata::save(&self.folder, engine.metadata())
    }

    /// Writes down everything that is owed, at a clean exit.
    fn save(&self, engine: &Engine) {
        let saved = self.save_metadata(engine);
        // Messages come first: a list of topics that is old by a moment loses none.
        let written = engine.save();
        let saved = saved.and(written);
        if let Err(error) = saved {
            tracing::error!(%error, "what is owed could not be written down: it is lost");
        }
    }
}

async fn serve(plan: Plan, logging: logs::LevelHandle) -> Result<(), NodeError> {
    let nsqd = &plan.config.nsqd;
    let kept = Kept::open(&plan)?;
    let security = Security::load(nsqd)?;
    let doors = Doors::open(nsqd, &security).await?;
    let own = Lookupd::embedded(&plan.config).await?;
    let admin = admin::Embedded::open(&plan, (&doors, own.as_ref()), &logging).await?;
    let mut signals = ending::Signals::new(logging.clone())?;
    let resolved = resolve(nsqd, &hostname(), &doors)?;
    greet(&plan, &resolved);
    let engine = open(engine_options(&plan, &resolved), nsqd, kept.as_deref())?;
    engine.declare()?;
    let running = Arc::clone(&engine);
    let alarms = spawn("alarms", async move { running.run().await });
    let stop = watch::Sender::new(false);
    let keeping = kept.clone().map(|kept| {
        let (engine, stop) = (Arc::clone(&engine), stop.subscribe());
        spawn("metadata", keep_metadata(kept, engine, stop))
    });
    let flows = Flows::start(&plan, &resolved, &engine, &stop)?;
    let options = Arc::new(live_options(&plan, &resolved, logging, own.as_ref())?);
    let told = (options.lookupds(), stop.subscribe());
    let discovery = Discovery::start(own, &engine, nsqd, &resolved, told)?;
    let context = context(&plan, &doors, &flows, (&engine, kept.clone()), options)?;
    let mut serving = Vec::new();
    serving.extend(figures::start(&plan, &resolved, &context, &stop.subscribe())?);
    if doors.has_http() {
        let both = (doors.http, doors.https);
        serving.extend(doors::serve_http(both, &context, &security, &stop.subscribe())?);
    }
    serving.extend(admin::serve(admin, &stop.subscribe())?);
    let settled = watch::Sender::new(false);
    let prefix = resolved.statsd_prefix(nsqd);
    let pushing =
        statsd::run(nsqd.statsd.clone(), prefix, Arc::clone(&engine), settled.subscribe());
    let pushing = spawn("statsd", pushing);
    let tcp = doors.tcp;
    tracing::info!("TCP: listening on {}", tcp.local_address()?);
    let options = Arc::new(server_options(&plan.config, &security));
    let (workers, of_engine) = (server::Workers::for_this_machine()?, Arc::clone(&engine));
    let listening = server::serve(tcp, workers, of_engine, options, stop.subscribe());
    let clients = spawn("tcp", listening);

    ending::until_end(&engine, &mut signals, nsqd.drain_timeout, &flows.keeper).await;
    stop.send_replace(true);
    discovery.end().await;
    report("tcp", clients.await);
    flows.stop(plan.config.shutdown_timeout).await;
    for http in serving {
        report("http", http.await);
    }
    if let Some(keeping) = keeping {
        report("metadata", keeping.await);
    }
    // Its last push has what was settled to the end.
    settled.send_replace(true);
    report("statsd", pushing.await);
    alarms.abort();
    if let Some(kept) = &kept {
        kept.save(&engine);
    }
    engine.close();
    tracing::info!("stopped");
    Ok(())
}

/// All that HTTP endpoints and figures are made of.
fn context(
    plan: &Plan,
    doors: &Doors,
    flows: &Flows,
    (engine, kept): (&Arc<Engine>, Option<Arc<Kept>>),
    options: Arc<http::Options>,
) -> io::Result<Arc<http::Context>> {
    let nsqd = &plan.config.nsqd;
    let node = doors.node(nsqd, hostname())?;
    let mut context = http::Context::new(Arc::clone(engine), node, http_limits(nsqd));
    context.routes = Arc::clone(&flows.bridge) as Arc<dyn RoutesView>;
    context.queues = Some(Arc::clone(&flows.bridge));
    context.control = Some(Arc::new(Control(Arc::clone(&flows.keeper))));
    context.registry = flows.registered();
    context.persist = persist(kept, engine);
    context.health = health(engine);
    context.disk = figures::disk(nsqd);
    context.certificates = figures::certificates(plan);
    context.opentsdb = plan.config.opentsdb.as_ref().map(|_| Arc::default());
    context.options = options;
    Ok(Arc::new(context))
}

fn engine_options(plan: &Plan, resolved: &Resolved) -> engine::Options {
    let nsqd = &plan.config.nsqd;
    engine::Options {
        node_id: resolved.node_id,
        mem_queue_size: nsqd.mem_queue_size,
        max_msg_timeout: nsqd.max_msg_timeout,
        policies: Arc::new(policies(&plan.config)),
        durability: nsqd.durability,
        latency: nsqd.e2e_processing_latency.clone(),
    }
}

/// Says what starts, and what was noted before there was a log.
fn greet(plan: &Plan, resolved: &Resolved) {
    tracing::info!("nsqd v{} (built w/leveret {})", http::NSQ_VERSION, http::VERSION);
    tracing::info!("ID: {}", resolved.node_id);
    for note in &plan.notes {
        tracing::warn!("{note}");
    }
}

fn resolve(nsqd: &NsqdConfig, hostname: &str, doors: &Doors) -> io::Result<Resolved> {
    // A unix socket has no port to announce.
    let announced = |port: u16, listener: Option<&server::Listener>| match (port, listener) {
        (0, Some(listener)) => listener.port().map(|port| u16::try_from(port).unwrap_or(0)),
        _ => Ok(port),
    };
    Ok(Resolved {
        broadcast_address: nsqd.broadcast_address.clone().unwrap_or_else(|| hostname.to_owned()),
        tcp_port: announced(nsqd.broadcast_tcp_port, Some(&doors.tcp))?,
        http_port: announced(nsqd.broadcast_http_port, doors.http.as_ref())?,
        node_id: nsqd.node_id.unwrap_or_else(|| default_node_id(hostname)),
    })
}

/// The options as they hold now, for `/config` to show and change.
fn live_options(
    plan: &Plan,
    resolved: &Resolved,
    logging: logs::LevelHandle,
    own: Option<&Lookupd>,
) -> io::Result<http::Options> {
    let set_level = Arc::new(move |level: &str| logging.set(level).map_err(|e| e.to_string()));
    let shown = options::shown(plan, resolved);
    let lookupds = lookupd::addresses(&plan.config.nsqd, own)?;
    Ok(http::Options::new(shown, plan.level(), set_level, lookupds))
}

fn report(task: &str, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(task, %error, "task failed");
    }
}

/// Writes the list of topics and channels down whenever it changes, once for all changes that came meanwhile.
async fn keep_metadata(kept: Arc<Kept>, engine: Arc<Engine>, mut stop: watch::Receiver<bool>) {
    let mut changes = engine.changes();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
        let (kept, engine) = (Arc::clone(&kept), Arc::clone(&engine));
        let saving = tokio::task::spawn_blocking(move || kept.save_metadata(&engine));
        if let Ok(Err(error)) = saving.await {
            tracing::error!(%error, "the list of topics could not be written down");
        }
    }
}

fn persist(kept: Option<Arc<Kept>>, engine: &Arc<Engine>) -> http::Persist {
    let engine = Arc::clone(engine);
    Arc::new(move || match &kept {
        Some(kept) => kept.save_metadata(&engine).map_err(io::Error::other),
        None => Ok(()),
    })
}

/// The folder within the data path that is Leveret's own.
const FOLDER: &str = "leveret";
/// A file of the log is turned over at this size.
const WAL_FILE_BYTES: u64 = 64 << 20;

/// An engine with everything that was kept.
fn open(
    options: engine::Options,
    nsqd: &NsqdConfig,
    kept: Option<&Kept>,
) -> Result<Arc<Engine>, NodeError> {
    let Some(kept) = kept else { return Ok(Engine::new(options)) };
    let engine = Engine::open(options, wal_options(nsqd, &kept.folder))?;
    kept.load(&engine)?;
    Ok(engine)
}

fn wal_options(nsqd: &NsqdConfig, data_path: &Path) -> WalOptions {
    WalOptions {
        folder: data_path.join(FOLDER),
        file_bytes: WAL_FILE_BYTES,
        sync_interval: nsqd.sync_timeout,
        reserve_bytes: nsqd.min_free_bytes,
    }
}

/// Not well while nothing can be written down.
fn health(engine: &Arc<Engine>) -> http::Health {
    let journal = engine.journal().cloned();
    Arc::new(move || match &journal {
        Some(journal) => journal.check().map_err(|trouble| trouble.to_string()),
        None => Ok(()),
    })
}

fn http_limits(nsqd: &NsqdConfig) -> http::Limits {
    http::Limits {
        max_msg_size: nsqd.max_msg_size,
        max_body_size: nsqd.max_body_size,
        max_defer_time: nsqd.max_defer_time.unwrap_or(nsqd.max_req_timeout),
        explain_errors: nsqd.explain_errors,
        drain_timeout: nsqd.drain_timeout,
        max_heartbeat_interval: nsqd.max_heartbeat_interval,
        max_output_buffer_size: nsqd.max_output_buffer_size,
        max_output_buffer_timeout: nsqd.max_output_buffer_timeout,
        max_deflate_level: nsqd.max_deflate_level,
    }
}

fn server_options(config: &NodeConfig, security: &Security) -> server::Options {
    let nsqd = &config.nsqd;
    let signed = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    server::Options {
        limits: Limits {
            max_msg_size: signed(nsqd.max_msg_size),
            max_body_size: signed(nsqd.max_body_size),
            max_rdy_count: signed(nsqd.max_rdy_count),
            max_req_timeout: nsqd.max_req_timeout,
            max_defer_time: nsqd.max_defer_time,
            explain_errors: nsqd.explain_errors,
        },
        offer: Offer {
            max_rdy_count: signed(nsqd.max_rdy_count),
            version: http::NSQ_VERSION.to_owned(),
            max_msg_timeout: nsqd.max_msg_timeout,
            max_heartbeat_interval: nsqd.max_heartbeat_interval,
            max_output_buffer_size: signed(nsqd.max_output_buffer_size),
            max_output_buffer_timeout: nsqd.max_output_buffer_timeout,
            min_output_buffer_timeout: nsqd.min_output_buffer_timeout,
            tls: security.tls.is_some(),
            deflate: nsqd.deflate,
            max_deflate_level: nsqd.max_deflate_level.into(),
            snappy: nsqd.snappy,
            auth_required: security.has_auth(),
            topology_region: nsqd.topology_region.clone(),
            topology_zone: nsqd.topology_zone.clone(),
        },
        defaults: Settings {
            heartbeat_interval: Some(HEARTBEAT),
            output_buffer_size: OUTPUT_BUFFER_SIZE,
            output_buffer_timeout: Some(nsqd.output_buffer_timeout),
            sample_rate: 0,
            msg_timeout: nsqd.msg_timeout,
        },
        topology_aware: nsqd.topology_aware,
        max_channel_consumers: usize::try_from(nsqd.max_channel_consumers).unwrap_or(usize::MAX),
        shutdown_timeout: config.shutdown_timeout,
        secure: security.for_clients(),
    }
}

/// The rows of the file, behind one that holds what the node as a whole asks for.
fn policies(config: &NodeConfig) -> Policies {
    let all = TopicRow { durability: config.nsqd.durability, ..TopicRow::new(Pattern::any()) };
    let rows = std::iter::once(all).chain(config.topics.iter().cloned());
    Policies::new(rows.collect(), envelope::json)
}

fn hostname() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// nsqd's: CRC-32 of the MD5 of the hostname, modulo 1024.
fn default_node_id(hostname: &str) -> u16 {
    use md5::{Digest as _, Md5};
    let crc = crc32fast::hash(&Md5::digest(hostname.as_bytes()));
    u16::try_from(crc % 1024).unwrap_or(0)
}
