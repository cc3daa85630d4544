//! Follows the registry: its routes beside those of the files, and of those of which there is one, the owned ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use super::{RouteKeeper, lines};
use crate::bridge::Applied;
use crate::bridge::route::Route;
use crate::config::{self, SharedText, process_env};
use crate::node::shared::{not_owned, restarted};
use crate::registry::{Standing, View};
use crate::task::stopped;

impl RouteKeeper {
    /// Stops what is not this node's to run any more; tells what is, of the routes of which there is one.
    pub(super) async fn let_go(&self) -> BTreeSet<String> {
        let Some(registry) = &self.registry else { return BTreeSet::new() };
        let _turn = self.letting_go.acquire().await;
        loop {
            let (owned, settling) = {
                let view = registry.view();
                let view = view.borrow();
                (view.owned.clone(), view.settling)
            };
            let lost = not_owned(&self.bridge.configured(), &owned);
            if lost.is_empty() {
                return owned;
            }
            self.bridge.withdraw(&lost, settling).await;
        }
    }

    /// Stops those that are to run otherwise than they do, of the routes of which there is one: no longer than the lease
    /// lasts, should it be lost meanwhile.
    pub(super) async fn make_way(&self, routes: &[Route]) {
        let Some(registry) = &self.registry else { return };
        let settling = registry.view().borrow().settling;
        let _turn = self.letting_go.acquire().await;
        let stale = restarted(&self.bridge.configured(), routes);
        if !stale.is_empty() {
            self.bridge.withdraw(&stale, settling).await;
        }
    }

    /// Tells the registry how things stand.
    pub(super) fn report(&self) {
        let Some(registry) = &self.registry else { return };
        let (seen, statuses) = {
            let known = self.known.lock();
            (known.seen, known.shared.statuses(&known.routes))
        };
        let running = not_owned(&self.bridge.configured(), &BTreeSet::new());
        registry.report(Standing { seen, statuses, running });
    }

    /// Follows the registry. For as long as it is polled.
    pub(in crate::node) async fn follow(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let Some(registry) = self.registry.clone() else { return };
        let mut view = registry.view();
        let take_over = async {
            loop {
                let now = view.borrow_and_update().clone();
                self.take_over(&now).await;
                if view.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = take_over => {}
            () = stopped(&mut stop) => {}
        }
    }

    /// Stops what is lost as soon as it is: a lease that ends waits for nobody's turn, and not for a node that is about to
    /// stop either. For as long as it is polled.
    pub(in crate::node) async fn guard(self: Arc<Self>) {
        let Some(registry) = &self.registry else { return };
        let mut view = registry.view();
        while view.changed().await.is_ok() {
            drop(self.let_go().await);
        }
    }

    /// Takes over what the registry holds, and what of it this node is to run.
    async fn take_over(&self, view: &View) {
        let _turn = self.turn.acquire().await;
        let is_same = {
            let known = self.known.lock();
            !view.is_known || (known.held == view.routes && !known.shared.has_refused())
        };
        if !is_same {
            self.judge(view).await;
        }
        self.known.lock().seen = view.generation;
        let applied = self.run().await;
        let Applied { started, changed, retuned, stopped, .. } = applied;
        if [&started, &changed, &retuned, &stopped].iter().any(|names| !names.is_empty()) {
            tracing::info!(
                ?started,
                ?retuned,
                ?changed,
                ?stopped,
                "routes taken over from the registry"
            );
        }
    }

    /// Decides which of the registry's routes are in force.
    async fn judge(&self, view: &View) {
        let (config, held) = (self.config.clone(), Arc::clone(&view.routes));
        let earlier = self.known.lock().shared.clone();
        let known = earlier.clone();
        let prefix = config.registry.as_ref().map(|options| options.prefix.clone());
        let prefix = prefix.unwrap_or_default();
        let judging = tokio::task::spawn_blocking(move || {
            let origin = |name: &str| format!("etcd:{prefix}/routes/{name}");
            let check = |texts: &[SharedText]| {
                let read = config::load_routes(&config, &process_env, None, texts);
                read.map(drop).map_err(|errors| lines(&errors))
            };
            let judged = known.judge(&held, origin, check);
            let set = config::load_routes(&config, &process_env, None, &judged.texts());
            (judged, set)
        });
        let Ok((judged, set)) = judging.await else { return };
        for (route, errors) in judged.newly_refused(&earlier) {
            for error in errors {
                tracing::error!("{error}");
            }
            tracing::error!(route, "a route of the registry is refused: its last good one goes on");
        }
        let mut known = self.known.lock();
        known.shared = judged;
        known.held = Arc::clone(&view.routes);
        match set {
            Ok(set) => known.routes = set.routes.into_iter().map(|(route, _)| route).collect(),
            // The files are wrong at the moment: nothing changes until they are right.
            Err(errors) => {
                tracing::error!(%errors, "the registry's routes wait for the files to be right")
            }
        }
    }

    /// Gives routes that were refused another chance, now that the files are others.
    pub(super) async fn judge_again(&self) {
        let Some(registry) = &self.registry else { return };
        if !self.known.lock().shared.has_refused() {
            return;
        }
        let view = registry.view().borrow().clone();
        self.judge(&view).await;
        self.run().await;
    }
}
