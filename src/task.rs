//! Spawning: every task has a name and an owner who learns how it ended.

use std::future::Future;

use tokio::task::JoinHandle;
use tracing::Instrument as _;

/// Spawns `future` on the current runtime inside a span that carries `name`.
///
/// The one place that calls `tokio::spawn`, so that every task shows up under its name in the logs. A panic
/// inside the task is reported by the panic hook and by the returned handle; it never takes the node down.
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[allow(clippy::disallowed_methods, reason = "this is the wrapper that the ban points to")]
    tokio::spawn(future.instrument(tracing::debug_span!("task", name)))
}

/// Waits until `stop` turns true, or its sender is gone.
pub async fn stopped(stop: &mut tokio::sync::watch::Receiver<bool>) {
    // Nobody is left to say go on, so a lost sender is a stop too.
    drop(stop.wait_for(|stop| *stop).await);
}
