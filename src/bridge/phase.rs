//! What a route is asked to do.

use tokio::sync::watch;

/// See the module's description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// To move messages.
    #[default]
    Running,
    /// To take nothing more, and to wait.
    Paused,
    /// To take nothing more, to settle what is under way, and to end.
    Stopping,
}

/// Waits until the phase is `wanted`; for ever if nobody can change it any more.
pub(super) async fn is(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    if phase.wait_for(|phase| *phase == wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until the phase is not `this`. Nobody is left to say go on, so a lost sender is an end too.
pub(super) async fn is_not(phase: &mut watch::Receiver<Phase>, this: Phase) {
    drop(phase.wait_for(|phase| *phase != this).await);
}

/// Waits until the route is to end.
pub(super) async fn stopping(phase: &mut watch::Receiver<Phase>) {
    drop(phase.wait_for(|phase| *phase == Phase::Stopping).await);
}
