//! When a node goes: at a signal, or when it has been told to drain and has delivered everything.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep_until;

use super::routes::RouteKeeper;
use crate::clock::{self, Instant};
use crate::engine::{DrainPhase, Engine};
use crate::telemetry::logs::LevelHandle;

/// The signals that end a node.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    logs: LevelHandle,
}

impl Signals {
    /// Listens for them from now on. SIGHUP has `logs` open its files anew.
    pub(super) fn new(logs: LevelHandle) -> std::io::Result<Self> {
        Ok(Self {
            logs,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one that ends the node. SIGHUP has it read its routes again and open its log files anew, if it
    /// has any; a node without, as nsqd
    /// is one, ends.
    async fn next(&mut self, routes: &RouteKeeper) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => {
                    if !routes.has_files() && !self.logs.has_outputs() {
                        return "SIGHUP";
                    }
                }
            }
            self.logs.reopen();
            // It says itself what comes of it, and is not left half-way.
            routes.reload().await.map(drop).unwrap_or_default();
        }
    }
}

/// Returns when the node is to stop.
///
/// A drain that was asked for ends when nothing is owed any more, or at its deadline. A signal ends it at once; but if
/// there is a `drain_timeout`, what is in flight then may be settled for so long, unless a second signal comes.
pub(super) async fn until_end(
    engine: &Engine,
    signals: &mut Signals,
    drain_timeout: Duration,
    routes: &RouteKeeper,
) {
    let name = tokio::select! {
        name = signals.next(routes) => name,
        () = drained(engine) => return,
    };
    tracing::info!(signal = name, "stopping");
    if drain_timeout.is_zero() {
        return;
    }
    let deadline = clock::now() + drain_timeout;
    engine.halt(Some(deadline));
    tracing::info!(
        in_flight = engine.in_flight(),
        timeout = ?drain_timeout,
        "waiting for what is in flight (--drain-timeout)"
    );
    tokio::select! {
        () = engine.settled() => tracing::info!("nothing is in flight any more"),
        () = sleep_until(deadline) => {
            tracing::warn!(in_flight = engine.in_flight(), "the time to settle is over");
        }
        name = signals.next(routes) => tracing::warn!(signal = name, "stopping at once"),
    }
}

/// Returns when a drain that was asked for is over.
async fn drained(engine: &Engine) {
    let mut state = engine.drain_state();
    // The sender lives as long as the engine does.
    if state.wait_for(|state| state.phase == DrainPhase::Draining).await.is_err() {
        return std::future::pending().await;
    }
    tracing::info!(messages = engine.owed(), "draining");
    let end = async {
        engine.drained().await;
        "everything is delivered"
    };
    tokio::pin!(end);
    loop {
        let deadline = state.borrow_and_update().deadline;
        let why = tokio::select! {
            why = &mut end => why,
            () = reached(deadline) => "the time to drain is over",
            // Asked again, perhaps with another deadline.
            _ = state.changed() => continue,
        };
        tracing::info!(messages = engine.owed(), "stopping: {why}");
        return;
    }
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
