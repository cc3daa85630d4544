//! Accepts connections and ends them at shutdown.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Accepted, Listener, Options, conn};
use crate::engine::Engine;
use crate::task::stopped;

/// How long to wait before accepting again when the system has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves NSQ clients until `stop` turns true, then waits until every connection has ended: each answers its open
/// publishes first, within the options' `shutdown_timeout`.
pub async fn serve(
    listener: Listener,
    engine: Arc<Engine>,
    options: Arc<Options>,
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
                tracing::debug!(peer, "TCP: new client");
                let (engine, options) = (Arc::clone(&engine), Arc::clone(&options));
                let stop = stop.clone();
                match client {
                    Accepted::Tcp(stream) => {
                        connections.spawn(conn::run(stream, peer, engine, options, stop))
                    }
                    Accepted::Unix(stream) => {
                        connections.spawn(conn::run(stream, peer, engine, options, stop))
                    }
                };
            }
            Err(error) => {
                tracing::warn!(%error, "TCP: cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
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
