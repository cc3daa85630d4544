//! The sockets that a node listens at: NSQ, HTTP, HTTPS.

use std::io;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{NodeError, secure::Security};
use crate::config::{NsqdConfig, TlsRequired};
use crate::http::{self, Entrance};
use crate::server::{Address, Listener};
use crate::task::{spawn, stopped};

/// All of them, had before anything else begins.
pub(super) struct Doors {
    pub(super) tcp: Listener,
    pub(super) http: Option<Listener>,
    pub(super) https: Option<Listener>,
}

impl Doors {
    /// Listens wherever it is to be listened.
    pub(super) async fn open(nsqd: &NsqdConfig, security: &Security) -> Result<Self, NodeError> {
        let tcp = listen(&nsqd.tcp_address, "tcp_address").await?;
        let http = match &nsqd.http_address {
            Some(address) => Some(listen(address, "http_address").await?),
            None => None,
        };
        let https = match &nsqd.https_address {
            Some(address) if security.tls.is_some() => {
                Some(listen(address, "https_address").await?)
            }
            _ => None,
        };
        Ok(Self { tcp, http, https })
    }

    /// Who the node is for those who ask it.
    pub(super) fn node(&self, nsqd: &NsqdConfig, hostname: String) -> io::Result<http::Node> {
        let broadcast = nsqd.broadcast_address.clone().unwrap_or_else(|| hostname.clone());
        let tcp_port = self.tcp.port()?;
        let http_port = self.http.as_ref().map_or(Ok(0), Listener::port)?;
        Ok(http::Node {
            topology_region: nsqd.topology_region.clone(),
            topology_zone: nsqd.topology_zone.clone(),
            ..http::Node::starting(broadcast, hostname, tcp_port, http_port)
        })
    }

    /// Where it is asked over plain HTTP from this machine.
    pub(super) fn own_http(&self) -> Option<String> {
        self.http.as_ref()?.local_address().ok().map(|address| from_here(&address))
    }

    /// Whether anybody can ask over HTTP.
    pub(super) const fn has_http(&self) -> bool {
        self.http.is_some() || self.https.is_some()
    }
}

/// An address that is listened at, as it is reached from this machine.
pub(super) fn from_here(address: &str) -> String {
    address.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:")
}

/// Listens at `address`, which `option` gives.
pub(super) async fn listen(address: &str, option: &'static str) -> Result<Listener, NodeError> {
    Listener::bind(&Address::parse(address)).await.map_err(|source| NodeError::Listen {
        address: address.to_owned(),
        option,
        source,
    })
}

/// Serves `context` at both HTTP doors that there are; where TLS is required of everybody the plain one refuses.
pub(super) fn serve_http(
    (plain, secured): (Option<Listener>, Option<Listener>),
    context: &Arc<http::Context>,
    security: &Security,
    stop: &watch::Receiver<bool>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let mut serving = Vec::new();
    let mut start = |name, entrance: Entrance| {
        let (context, mut stop) = (Arc::clone(context), stop.clone());
        serving.push(spawn("http", async move {
            let shutdown = async move { stopped(&mut stop).await };
            if let Err(error) = http::serve(entrance, context, shutdown).await {
                tracing::error!(%error, "{name} ended");
            }
        }));
    };
    let https_port = secured.as_ref().map_or(Ok(0), Listener::port)?;
    if let Some(listener) = plain {
        tracing::info!("HTTP: listening on {}", listener.local_address()?);
        let entrance = Entrance::from(listener);
        start(
            "HTTP",
            match security.required {
                TlsRequired::Yes => entrance.refusing(https_port),
                TlsRequired::No | TlsRequired::TcpHttps => entrance,
            },
        );
    }
    if let (Some(listener), Some(tls)) = (secured, &security.tls) {
        tracing::info!("HTTPS: listening on {}", listener.local_address()?);
        start("HTTPS", Entrance::from(listener).secured(tls.clone()));
    }
    Ok(serving)
}
