//! nsqlookupd, as a program of its own or within a node; and a node's announcement to the ones there are.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::options::Resolved;
use super::{NodeError, doors, hostname, report};
use crate::config::{LogLevel, LookupdConfig, NodeConfig, NsqdConfig};
use crate::engine::{Engine, KnownChannels};
use crate::http::{self, Entrance};
use crate::lookup::announce::{Announcer, Identity, Options as AnnounceOptions};
use crate::lookup::registrations::Lifetimes;
use crate::lookup::{Daemon, Options, daemon};
use crate::server::{ClientAuth, Listener, Tls, TlsOptions};
use crate::task::{spawn, stopped};
use crate::telemetry::logs;

/// A nsqlookupd to run.
#[derive(Debug)]
pub struct LookupdPlan {
    /// Its configuration.
    pub config: LookupdConfig,
    /// What is logged.
    pub log_level: LogLevel,
    /// What stands before each line of the log.
    pub log_prefix: String,
    /// What is to be said once at start.
    pub notes: Vec<String>,
}

/// Runs a nsqlookupd until SIGTERM or SIGINT.
///
/// # Errors
/// Why it did not start.
pub fn run_lookupd(plan: &LookupdPlan) -> Result<(), NodeError> {
    logs::init(&logs::LogOptions {
        level: plan.log_level.as_str().to_owned(),
        format: logs::LogFormat::Nsqd(plan.log_prefix.clone()),
        outputs: Vec::new(),
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let lookupd = Lookupd::open(&plan.config).await?;
        tracing::info!("nsqlookupd v{} (built w/leveret {})", http::NSQ_VERSION, http::VERSION);
        for note in &plan.notes {
            tracing::warn!("{note}");
        }
        let stop = watch::Sender::new(false);
        let serving = lookupd.serve(&stop.subscribe())?;
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
        stop.send_replace(true);
        for one in serving {
            report("lookupd", one.await);
        }
        Ok(())
    })
}

/// A nsqlookupd that has its ports and does not serve yet.
pub(super) struct Lookupd {
    tcp: Listener,
    http: Option<Listener>,
    tls: Option<Tls>,
    daemon: Arc<Daemon>,
}

impl Lookupd {
    /// The node's own one, if it is to have one.
    pub(super) async fn embedded(config: &NodeConfig) -> Result<Option<Self>, NodeError> {
        match &config.lookupd {
            Some(config) => Ok(Some(Self::open(config).await?)),
            None => Ok(None),
        }
    }

    /// Listens, and reads certificates. May block.
    pub(super) async fn open(config: &LookupdConfig) -> Result<Self, NodeError> {
        let tls = match &config.tls {
            None => None,
            Some((cert, key)) => {
                let ca = config.tls_root_ca_file.clone();
                let client_auth =
                    ca.as_ref().map_or(ClientAuth::None, |_| ClientAuth::RequireVerify);
                let options = TlsOptions {
                    cert: cert.clone(),
                    key: key.clone(),
                    root_ca_file: ca,
                    client_auth,
                    only_tls13: false,
                };
                Some(Tls::load(&options).map_err(|error| NodeError::Tls(error.to_string()))?)
            }
        };
        let tcp = doors::listen(&config.listen, "tcp_address").await?;
        let http = match &config.http_address {
            Some(address) => Some(doors::listen(address, "http_address").await?),
            None => None,
        };
        let hostname = hostname();
        let options = Options {
            broadcast_address: config.broadcast_address.clone().unwrap_or_else(|| hostname.clone()),
            hostname,
            tcp_port: tcp.port()?,
            http_port: http.as_ref().map_or(Ok(0), Listener::port)?,
            version: http::NSQ_VERSION,
            lifetimes: Lifetimes {
                inactive_producer: config.inactive_producer_timeout,
                tombstone: config.tombstone_lifetime,
            },
        };
        Ok(Self { tcp, http, tls, daemon: Daemon::new(options) })
    }

    /// The address by which the node that it is part of reaches it.
    pub(super) fn own_address(&self) -> io::Result<String> {
        let scheme = if self.tls.is_some() { "tls://" } else { "" };
        let address = self.tcp.local_address()?;
        Ok(format!("{scheme}{}", doors::from_here(&address)))
    }

    /// Where it is asked over HTTP from this machine; `None` if it is not, or in TLS.
    pub(super) fn own_http(&self) -> Option<String> {
        let http = self.http.as_ref().filter(|_| self.tls.is_none())?;
        http.local_address().ok().map(|address| doors::from_here(&address))
    }

    /// Serves until `stop` turns true.
    pub(super) fn serve(self, stop: &watch::Receiver<bool>) -> io::Result<Vec<JoinHandle<()>>> {
        let mut serving = Vec::new();
        tracing::info!("TCP: listening on {} (nsqlookupd)", self.tcp.local_address()?);
        let (daemon, tls) = (Arc::clone(&self.daemon), self.tls.clone());
        serving.push(spawn("lookupd", daemon::serve(self.tcp, tls, daemon, stop.clone())));
        let Some(listener) = self.http else { return Ok(serving) };
        let name = if self.tls.is_some() { "HTTPS" } else { "HTTP" };
        tracing::info!("{name}: listening on {} (nsqlookupd)", listener.local_address()?);
        let entrance = Entrance::from(listener);
        let entrance = match self.tls {
            Some(tls) => entrance.secured(tls),
            None => entrance,
        };
        let (daemon, mut stop) = (self.daemon, stop.clone());
        serving.push(spawn("lookupd-http", async move {
            let shutdown = async move { stopped(&mut stop).await };
            if let Err(error) = http::lookupd::serve(entrance, daemon, shutdown).await {
                tracing::error!(%error, "{name} of nsqlookupd ended");
            }
        }));
        Ok(serving)
    }
}

/// The nsqlookupds that the node starts with: those that are given, else its own.
pub(super) fn addresses(nsqd: &NsqdConfig, own: Option<&Lookupd>) -> io::Result<Vec<String>> {
    match own {
        Some(own) if nsqd.nsqlookupd_tcp_addresses.is_empty() => Ok(vec![own.own_address()?]),
        _ => Ok(nsqd.nsqlookupd_tcp_addresses.clone()),
    }
}

/// A node's part in discovery.
pub(super) struct Discovery {
    /// Its own nsqlookupd.
    own: Vec<JoinHandle<()>>,
    announcing: JoinHandle<()>,
    /// Who tells new topics of the channels that are known elsewhere, for as long as this is there.
    _announcer: Arc<Announcer>,
}

impl Discovery {
    /// Serves the node's own nsqlookupd, if it has one, and announces the node at `addresses` as they change.
    pub(super) fn start(
        own: Option<Lookupd>,
        engine: &Arc<Engine>,
        nsqd: &NsqdConfig,
        resolved: &Resolved,
        (addresses, stop): (watch::Receiver<Vec<String>>, watch::Receiver<bool>),
    ) -> Result<Self, NodeError> {
        let own = own.map_or_else(|| Ok(Vec::new()), |own| own.serve(&stop))?;
        let options = AnnounceOptions {
            identity: identity(nsqd, resolved),
            tls: nsqd.nsqlookupd_tls.clone(),
            connect_timeout: nsqd.http_client_connect_timeout,
            request_timeout: nsqd.http_client_request_timeout,
        };
        let announcer = Announcer::new(Arc::clone(engine), options);
        let announcer = announcer.map_err(|error| NodeError::Tls(error.to_string()))?;
        let known: Arc<dyn KnownChannels> = announcer.clone();
        engine.set_known_channels(&known);
        let announcing = spawn("lookupds", Arc::clone(&announcer).run(addresses, stop));
        Ok(Self { own, announcing, _announcer: announcer })
    }

    /// Waits for its end, once it was told to stop.
    pub(super) async fn end(self) {
        report("lookupds", self.announcing.await);
        for one in self.own {
            report("lookupd", one.await);
        }
    }
}

/// What the node tells of itself.
fn identity(nsqd: &NsqdConfig, resolved: &Resolved) -> Identity {
    Identity {
        broadcast_address: resolved.broadcast_address.clone(),
        hostname: hostname(),
        http_port: resolved.http_port,
        tcp_port: resolved.tcp_port,
        topology_region: nsqd.topology_region.clone(),
        topology_zone: nsqd.topology_zone.clone(),
        version: http::NSQ_VERSION.to_owned(),
    }
}
