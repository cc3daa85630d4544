//! The TCP side of nsqlookupd: nsqds connect, tell who they are, and register what they have.
//!
//! Replies are one to a request, and every error is the last one. A connection that ends, however it does, takes its
//! registrations along. Unlike with the original a silent connection holds up nothing: an exit closes it, one that never
//! says its protocol is closed after a while, and one whose other end is gone without a word is found out by keep-alive.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rustix::net::sockopt;
use serde_json::json;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::command::{self, Command, LINE_MAX, MAGIC, Refusal};
use super::peer::PeerInfo;
use super::registrations::{Lifetimes, PeerId, Registrations, Stamp};
use crate::server::{Accepted, Listener, Tls};
use crate::task::stopped;

/// How long to wait before accepting again when the system has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a connection may take until it has said its protocol, a TLS handshake included.
const GREETING: Duration = Duration::from_secs(60);
/// After so long without a byte the system asks whether the other end is there, and so often.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What nsqlookupd tells of itself, and how long things count with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `--broadcast-address`: the host that nsqds are to ask over HTTP.
    pub broadcast_address: String,
    /// The machine's name.
    pub hostname: String,
    /// The port of the TCP side.
    pub tcp_port: i32,
    /// The port of the HTTP side; 0 if there is none.
    pub http_port: i32,
    /// The version of nsqlookupd that it stands in for.
    pub version: &'static str,
    /// How long nsqds and tombstones count.
    pub lifetimes: Lifetimes,
}

/// A nsqlookupd.
#[derive(Debug)]
pub struct Daemon {
    options: Options,
    registrations: Mutex<Registrations>,
}

impl Daemon {
    /// One that knows of nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Arc<Self> {
        Arc::new(Self { options, registrations: Mutex::default() })
    }

    /// What it tells of itself.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// What it knows. To be held for a moment only.
    pub fn registrations(&self) -> MutexGuard<'_, Registrations> {
        self.registrations.lock()
    }

    /// What an IDENTIFY is answered.
    fn identity(&self) -> String {
        json!({
            "broadcast_address": self.options.broadcast_address,
            "hostname": self.options.hostname,
            "http_port": self.options.http_port,
            "tcp_port": self.options.tcp_port,
            "version": self.options.version,
        })
        .to_string()
    }
}

/// Serves nsqds, in TLS if there is one, until `stop` turns true.
pub async fn serve(
    listener: Listener,
    tls: Option<Tls>,
    daemon: Arc<Daemon>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = listener.accept() => accepted,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                report(ended);
                continue;
            }
        };
        match accepted {
            Ok((client, peer)) => {
                tracing::info!("TCP: new client({peer})");
                keep_alive(&client, &peer);
                let seat = Seat { id: peer.into(), daemon: Arc::clone(&daemon), is_known: false };
                let (tls, mut stop) = (tls.clone(), stop.clone());
                connections.spawn(async move {
                    tokio::select! {
                        () = stopped(&mut stop) => {}
                        () = serve_client(client, tls, seat) => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "TCP: cannot accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

fn keep_alive(client: &Accepted, peer: &str) {
    let Accepted::Tcp(stream) = client else { return };
    let set = sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(stream, KEEP_ALIVE))
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, KEEP_ALIVE));
    if let Err(error) = set {
        tracing::debug!(peer, %error, "no keep-alive");
    }
}

/// A connection's place in the books, which is given up with it.
struct Seat {
    id: PeerId,
    daemon: Arc<Daemon>,
    is_known: bool,
}

impl Drop for Seat {
    fn drop(&mut self) {
        tracing::info!("client({}): closing", self.id);
        self.daemon.registrations().leave(&self.id);
    }
}

async fn serve_client(client: Accepted, tls: Option<Tls>, mut seat: Seat) {
    let ended = match tls {
        None => seat.serve(client).await,
        Some(tls) => match timeout(GREETING, tls.acceptor().accept(client)).await {
            Ok(Ok(stream)) => seat.serve(stream).await,
            Ok(Err(error)) => Err(error),
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        },
    };
    if let Err(error) = ended {
        tracing::debug!(client = %seat.id, %error, "connection ended");
    }
}

impl Seat {
    /// Answers requests until one is refused or there are no more.
    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: S) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut magic = [0; MAGIC.len()];
        timeout(GREETING, stream.read_exact(&mut magic)).await??;
        if magic != MAGIC {
            tracing::error!("client({}): bad protocol magic '{}'", self.id, magic.escape_ascii());
            return answer(&mut stream, Refusal::Protocol.to_string().as_bytes()).await;
        }
        let mut line = Vec::new();
        loop {
            line.clear();
            let bounded = &mut (&mut stream).take(LINE_MAX as u64);
            bounded.read_until(b'\n', &mut line).await?;
            if line.is_empty() {
                return Ok(());
            }
            let answered = if line.ends_with(b"\n") {
                self.handle(&String::from_utf8_lossy(&line), &mut stream).await?
            } else if line.len() < LINE_MAX {
                // The client went in the middle of a line.
                return Ok(());
            } else {
                Err(Refusal::Invalid(format!("a line may have {LINE_MAX} bytes")))
            };
            match answered {
                Ok(text) => answer(&mut stream, text.as_bytes()).await?,
                Err(refusal) => {
                    tracing::error!("client({}): {refusal}", self.id);
                    return answer(&mut stream, refusal.to_string().as_bytes()).await;
                }
            }
        }
    }

    /// Does what a line asks for, and gives what is answered.
    async fn handle<S: AsyncRead + Unpin>(
        &mut self,
        line: &str,
        stream: &mut S,
    ) -> std::io::Result<Result<String, Refusal>> {
        let command = match command::parse(line, self.is_known) {
            Ok(command) => command,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match command {
            Command::Identify => {
                let body = match read_body(stream).await {
                    Ok(body) => body,
                    Err(refusal) => return Ok(Err(refusal)),
                };
                return Ok(self.identify(&body));
            }
            Command::Ping => self.daemon.registrations().ping(&self.id, Stamp::now()),
            Command::Register(topic, channel) => {
                self.note("REGISTER", topic, channel);
                self.daemon.registrations().register(&self.id, topic, channel);
            }
            Command::Unregister(topic, channel) => {
                self.note("UNREGISTER", topic, channel);
                self.daemon.registrations().unregister(&self.id, topic, channel);
            }
        }
        Ok(Ok("OK".to_owned()))
    }

    fn note(&self, what: &str, topic: &str, channel: Option<&str>) {
        let channel = channel.unwrap_or_default();
        tracing::info!("DB: client({}) {what} topic:{topic} channel:{channel}", self.id);
    }

    fn identify(&mut self, body: &[u8]) -> Result<String, Refusal> {
        let info = PeerInfo::read(&self.id, body);
        let info = info.map_err(|error| Refusal::Body(error.to_string()))?;
        tracing::info!(
            "client({}): IDENTIFY Address:{} TCP:{} HTTP:{} Version:{}",
            self.id,
            info.broadcast_address,
            info.tcp_port,
            info.http_port,
            info.version
        );
        self.is_known = self.daemon.registrations().identify(&self.id, info, Stamp::now());
        Ok(self.daemon.identity())
    }
}

async fn read_body<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, Refusal> {
    let mut raw = [0; 4];
    let failed = |what: &str| Refusal::Body(format!("IDENTIFY failed to read body{what}"));
    stream.read_exact(&mut raw).await.map_err(|_| failed(" size"))?;
    let length = command::body_len(raw)?;
    // What has come takes memory, not what was declared.
    let mut body = Vec::new();
    let read = stream.take(length as u64).read_to_end(&mut body).await;
    if read.is_ok() && body.len() == length { Ok(body) } else { Err(failed("")) }
}

async fn answer<S: AsyncWrite + Unpin>(stream: &mut S, text: &[u8]) -> std::io::Result<()> {
    let mut out = Vec::with_capacity(4 + text.len());
    command::push_answer(&mut out, text);
    stream.write_all(&out).await?;
    stream.flush().await
}
