//! Accepts connections and ends them at shutdown.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};

use super::conn::{self, Host};
use super::rider::Rider;
use super::workers::Workers;
use super::{Accepted, Listener, Options};
use crate::engine::{Engine, Signal};
use crate::task::stopped;

/// How long to wait before accepting again when the system has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves NSQ clients on `workers` until `stop` turns true, then waits until every connection has ended: each answers its
/// open publishes first, within the options' `shutdown_timeout`.
pub async fn serve(
    listener: Listener,
    workers: Workers,
    engine: Arc<Engine>,
    options: Arc<Options>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = Connections { workers, tasks: JoinSet::new(), signals: HashMap::new() };
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = listener.accept() => accepted,
            Some(ended) = connections.tasks.join_next_with_id(), if !connections.tasks.is_empty() => {
                connections.ended(ended);
                continue;
            }
        };
        match accepted {
            Ok((client, peer)) => {
                tracing::debug!(peer, "TCP: new client");
                let host = Host {
                    engine: Arc::clone(&engine),
                    options: Arc::clone(&options),
                    stop: stop.clone(),
                };
                connections.start(client, peer, host);
            }
            Err(error) => {
                tracing::warn!(%error, "TCP: cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    // They look at `stop` when they are woken.
    connections.signals.values().for_each(|signal| signal.wake());
    while let Some(ended) = connections.tasks.join_next_with_id().await {
        connections.ended(ended);
    }
}

/// A connection's whole life.
type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves a client on whichever thread the result is polled first: the runtime that a socket is registered with is to be
/// that thread's.
fn serving(client: Accepted, peer: String, host: Host, signal: Arc<Signal>) -> io::Result<Serving> {
    let failed = |error| tracing::warn!(%error, "TCP: cannot take a connection");
    Ok(match client {
        Accepted::Tcp(stream) => {
            let stream = stream.into_std()?;
            Box::pin(async move {
                match TcpStream::from_std(stream) {
                    Ok(stream) => conn::run(stream, peer, host, signal).await,
                    Err(error) => failed(error),
                }
            })
        }
        Accepted::Unix(stream) => {
            let stream = stream.into_std()?;
            Box::pin(async move {
                match UnixStream::from_std(stream) {
                    Ok(stream) => conn::run(stream, peer, host, signal).await,
                    Err(error) => failed(error),
                }
            })
        }
    })
}

/// The connections that there are, and where they are served.
struct Connections {
    workers: Workers,
    tasks: JoinSet<Option<Rider>>,
    signals: HashMap<Id, Arc<Signal>>,
}

impl Connections {
    fn start(&mut self, client: Accepted, peer: String, host: Host) {
        let signal = Arc::<Signal>::default();
        match serving(client, peer, host, Arc::clone(&signal)) {
            Ok(serving) => self.seat(Rider::new(serving, self.workers.seat()), signal),
            Err(error) => tracing::warn!(%error, "TCP: cannot take a connection"),
        }
    }

    /// Has a connection served where its seat is.
    fn seat(&mut self, rider: Rider, signal: Arc<Signal>) {
        let Some(handle) = rider.seat().handle().cloned() else { return };
        let task = self.tasks.spawn_on(rider.ride(), &handle);
        self.signals.insert(task.id(), signal);
    }

    fn ended(&mut self, ended: Result<(Id, Option<Rider>), JoinError>) {
        let (id, rider) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(%error, "a connection's task failed");
                (error.id(), None)
            }
        };
        let signal = self.signals.remove(&id);
        if let (Some(rider), Some(signal)) = (rider, signal) {
            self.seat(rider, signal);
        }
    }
}
