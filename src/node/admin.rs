//! nsqadmin, as a program of its own or within a node.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::doors::{self, Doors};
use super::lookupd::Lookupd;
use super::{NodeError, Plan, report};
use crate::admin::{self, Admin, AdminOptions, Levels};
use crate::config::LogLevel;
use crate::http::{self, Entrance};
use crate::server::{ClientAuth, Listener, Tls, TlsOptions};
use crate::task::{spawn, stopped};
use crate::telemetry::logs;

/// A nsqadmin to run.
#[derive(Debug)]
pub struct AdminPlan {
    /// Where it listens, `host:port`.
    pub http_address: String,
    /// Everything else.
    pub options: AdminOptions,
    /// What is logged.
    pub log_level: LogLevel,
    /// What stands before each line of the log.
    pub log_prefix: String,
    /// What is to be said once at start.
    pub notes: Vec<String>,
}

/// The level of the logs, for `/config/log_level`.
#[derive(Debug)]
pub(super) struct LogLevels {
    pub(super) handle: logs::LevelHandle,
    pub(super) level: Mutex<String>,
}

impl Levels for LogLevels {
    fn level(&self) -> String {
        self.level.lock().clone()
    }

    fn set_level(&self, level: &str) -> Result<(), String> {
        self.handle.set(level).map_err(|error| error.to_string())?;
        level.clone_into(&mut self.level.lock());
        Ok(())
    }
}

/// Runs a nsqadmin until SIGTERM or SIGINT.
///
/// # Errors
/// Why it did not start.
pub fn run_admin(plan: AdminPlan) -> Result<(), NodeError> {
    let level = plan.log_level.as_str();
    let handle = logs::init(&logs::LogOptions {
        level: level.to_owned(),
        format: logs::LogFormat::Nsqd(plan.log_prefix.clone()),
        outputs: Vec::new(),
    })?;
    let levels = LogLevels { handle, level: Mutex::new(level.to_owned()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        for (flag, addresses) in [
            ("--lookupd-http-address", &plan.options.lookupds),
            ("--nsqd-http-address", &plan.options.nsqds),
        ] {
            resolve(flag, addresses).await?;
        }
        let listener = doors::listen(&plan.http_address, "http_address").await?;
        tracing::info!("nsqadmin v{} (built w/leveret {})", http::NSQ_VERSION, http::VERSION);
        for note in &plan.notes {
            tracing::warn!("{note}");
        }
        let stop = watch::Sender::new(false);
        let (tls, options, levels) = (None, plan.options, Arc::new(levels));
        let embedded = Embedded { listener, tls, options, levels };
        let serving = serve(Some(embedded), &stop.subscribe())?;
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
        stop.send_replace(true);
        if let Some(serving) = serving {
            report("admin", serving.await);
        }
        Ok(())
    })
}

/// nsqadmin does not start with addresses that mean nothing.
async fn resolve(flag: &'static str, addresses: &[String]) -> Result<(), NodeError> {
    for address in addresses {
        if let Err(source) = tokio::net::lookup_host(address).await {
            return Err(NodeError::Resolve { flag, address: address.clone(), source });
        }
    }
    Ok(())
}

/// One that has its port and does not serve yet.
pub(super) struct Embedded {
    listener: Listener,
    tls: Option<Tls>,
    options: AdminOptions,
    levels: Arc<LogLevels>,
}

impl Embedded {
    /// The node's own one, if it is to have one. It shows what the node's own nsqlookupd knows, or the node if there is
    /// none, unless it was told of others. May block: it reads certificates.
    pub(super) async fn open(
        plan: &Plan,
        (doors, lookupd): (&Doors, Option<&Lookupd>),
        handle: &logs::LevelHandle,
    ) -> Result<Option<Self>, NodeError> {
        let Some(config) = &plan.config.admin else { return Ok(None) };
        let tls = match &config.tls {
            None => None,
            Some((cert, key)) => {
                let options = TlsOptions {
                    cert: cert.clone(),
                    key: key.clone(),
                    root_ca_file: None,
                    client_auth: ClientAuth::None,
                    only_tls13: false,
                };
                Some(Tls::load(&options).map_err(|error| NodeError::Tls(error.to_string()))?)
            }
        };
        let mut options = config.options.clone();
        if options.lookupds.is_empty() && options.nsqds.is_empty() {
            match lookupd.and_then(Lookupd::own_http) {
                Some(lookupd) => options.lookupds.push(lookupd),
                None => options.nsqds.extend(doors.own_http()),
            }
        }
        options.is_https = tls.is_some();
        let listener = doors::listen(&config.listen, "admin.listen").await?;
        let level = plan.log_level.clone();
        let level = level.unwrap_or_else(|| plan.config.log.level.as_str().to_owned());
        let levels = Arc::new(LogLevels { handle: handle.clone(), level: Mutex::new(level) });
        Ok(Some(Self { listener, tls, options, levels }))
    }
}

/// Serves until `stop` turns true, if there is anything to serve.
pub(super) fn serve(
    embedded: Option<Embedded>,
    stop: &watch::Receiver<bool>,
) -> Result<Option<JoinHandle<()>>, NodeError> {
    let Some(Embedded { listener, tls, options, levels }) = embedded else { return Ok(None) };
    let name = if tls.is_some() { "HTTPS" } else { "HTTP" };
    tracing::info!("{name}: listening on {} (nsqadmin)", listener.local_address()?);
    let entrance = Entrance::from(listener);
    let entrance = match tls {
        Some(tls) => entrance.secured(tls),
        None => entrance,
    };
    let admin = Admin::new(options, levels).map_err(|error| NodeError::Tls(error.to_string()))?;
    let mut stop = stop.clone();
    Ok(Some(spawn("admin", async move {
        let shutdown = async move { stopped(&mut stop).await };
        if let Err(error) = admin::serve(entrance, admin, shutdown).await {
            tracing::error!(%error, "{name} of nsqadmin ended");
        }
    })))
}
