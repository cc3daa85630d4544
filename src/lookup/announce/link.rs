//! The connection to one nsqlookupd, made again for as long as it is wanted.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufStream,
};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::address::Place;
use super::announced::Announced;
use super::{Announcer, Options};
use crate::client::lookupd::LookupdClient;
use crate::clock::jittered;
use crate::lookup::command::MAGIC;
use crate::task::stopped;
use crate::tls::TlsError;

/// How often a sign of life is sent, as nsqd does.
const PING: Duration = Duration::from_secs(15);
/// The first and the longest wait for the next attempt.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));
/// So many lines are sent before their answers are read.
const BATCH: usize = 64;
/// An answer beyond this is none, bytes.
const ANSWER_MAX: u32 = 1 << 20;

/// Why a nsqlookupd is not told of the node.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("{0} took too long")]
    Timeout(&'static str),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("it refuses: {0}")]
    Refused(String),
    #[error("an answer of {0} bytes")]
    TooLong(u32),
    #[error("it says what nobody asked")]
    Unasked,
}

/// What a nsqlookupd answers to IDENTIFY.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Lookupd {
    broadcast_address: String,
    http_port: u16,
    tcp_port: u16,
    version: String,
}

/// Keeps the nsqlookupd at `place` up to date until `stop` turns true.
pub(super) async fn keep(announcer: Arc<Announcer>, place: Place, mut stop: watch::Receiver<bool>) {
    let mut pause = PAUSES.0;
    let mut last = String::new();
    loop {
        let mut link = Link { announcer: &announcer, place: &place, was_known: false };
        let Err(error) = tokio::select! {
            () = stopped(&mut stop) => return,
            ended = link.attend() => ended,
        };
        if link.was_known {
            pause = PAUSES.0;
            last.clear();
        }
        let why = error.to_string();
        if why == last {
            tracing::debug!("LOOKUPD({place}): {why}");
        } else {
            tracing::error!("LOOKUPD({place}): {why}");
            last = why;
        }
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = sleep(jittered(pause)) => {}
        }
        pause = (pause * 2).min(PAUSES.1);
    }
}

struct Link<'a> {
    announcer: &'a Announcer,
    place: &'a Place,
    was_known: bool,
}

/// The connection is no source of channels any more when this goes.
struct Live<'a>(&'a Announcer, &'a Place);

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.live.lock().remove(self.1);
    }
}

impl Link<'_> {
    /// Connects and tells what there is to tell, for as long as that goes well.
    async fn attend(&mut self) -> Result<Infallible, LinkError> {
        let options = &self.announcer.options;
        let stream =
            within(options.connect_timeout, "connecting", TcpStream::connect(self.place.at))
                .await??;
        stream.set_nodelay(true)?;
        if !self.place.is_secure() {
            return self.speak(stream).await;
        }
        let (config, client) = secure(options).await?;
        let name = options.tls.name_for(self.place.host())?;
        *self.announcer.secure.lock() = Some(client);
        let connecting = TlsConnector::from(config).connect(name, stream);
        let stream = within(options.request_timeout, "TLS", connecting).await??;
        self.speak(stream).await
    }

    async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: S,
    ) -> Result<Infallible, LinkError> {
        let options = &self.announcer.options;
        let mut stream = BufStream::new(stream);
        let lookupd = self.identify(&mut stream).await?;
        self.was_known = true;
        let place = self.place;
        tracing::info!(
            "LOOKUPD({place}): peer info {}:{} version {}",
            lookupd.broadcast_address,
            lookupd.tcp_port,
            lookupd.version
        );
        if lookupd.broadcast_address.is_empty() {
            tracing::error!("LOOKUPD({place}): no broadcast address");
        } else {
            self.announcer.live.lock().insert(place.clone(), self.http_address(&lookupd));
        }
        let _live = Live(self.announcer, place);
        let engine = &self.announcer.engine;
        let mut listing = engine.listing();
        let mut announced = Announced::default();
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        loop {
            listing.mark_unchanged();
            let lines = announced.update(&engine.topics());
            for batch in lines.chunks(BATCH) {
                within(options.request_timeout, "an answer", tell(&mut stream, batch)).await??;
            }
            tokio::select! {
                // The engine is there as long as this is.
                _ = listing.changed() => {}
                _ = ping.tick() => {
                    let lines = ["PING\n".to_owned()];
                    within(options.request_timeout, "an answer", tell(&mut stream, &lines)).await??;
                }
                said = stream.fill_buf() => {
                    let is_end = said?.is_empty();
                    let end = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Err(if is_end { end.into() } else { LinkError::Unasked });
                }
            }
        }
    }

    async fn identify<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
    ) -> Result<Lookupd, LinkError> {
        let options = &self.announcer.options;
        let body = serde_json::to_vec(&options.identity).map_err(io::Error::from)?;
        let mut hello = MAGIC.to_vec();
        hello.extend_from_slice(b"IDENTIFY\n");
        hello.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        hello.extend_from_slice(&body);
        let answering = async {
            stream.write_all(&hello).await?;
            stream.flush().await?;
            answer(stream).await
        };
        let said = within(options.request_timeout, "the answer to IDENTIFY", answering).await??;
        serde_json::from_slice(&said)
            .map_err(|_| LinkError::Refused(String::from_utf8_lossy(&said).into_owned()))
    }

    /// Where the nsqlookupd is asked over HTTP.
    fn http_address(&self, lookupd: &Lookupd) -> String {
        let (host, port) = (&lookupd.broadcast_address, lookupd.http_port);
        let scheme = if self.place.is_secure() { "https" } else { "http" };
        if host.contains(':') {
            format!("{scheme}://[{host}]:{port}")
        } else {
            format!("{scheme}://{host}:{port}")
        }
    }
}

async fn within<F: Future>(
    time: Duration,
    what: &'static str,
    future: F,
) -> Result<F::Output, LinkError> {
    timeout(time, future).await.map_err(|_| LinkError::Timeout(what))
}

/// Reads the files of TLS.
async fn secure(
    options: &Options,
) -> Result<(Arc<rustls::ClientConfig>, LookupdClient), LinkError> {
    let options = options.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let (connect, request) = (options.connect_timeout, options.request_timeout);
        let client = LookupdClient::new(connect, request, Some(&options.tls))?;
        Ok::<_, TlsError>((options.tls.load()?, client))
    });
    Ok(reading.await.map_err(io::Error::other)??)
}

/// Sends lines and reads as many answers.
async fn tell<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    lines: &[String],
) -> Result<(), LinkError> {
    for line in lines {
        stream.write_all(line.as_bytes()).await?;
    }
    stream.flush().await?;
    for _ in lines {
        let said = answer(stream).await?;
        if said != b"OK" {
            return Err(LinkError::Refused(String::from_utf8_lossy(&said).into_owned()));
        }
    }
    Ok(())
}

async fn answer<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, LinkError> {
    let length = stream.read_u32().await?;
    if length > ANSWER_MAX {
        return Err(LinkError::TooLong(length));
    }
    let mut said = Vec::new();
    stream.take(length.into()).read_to_end(&mut said).await?;
    if said.len() as u64 != u64::from(length) {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(said)
}
