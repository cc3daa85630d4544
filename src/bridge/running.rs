//! One route, running: its tasks, and how they end.

mod direct;
mod moving;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::amqp::consumer::{Consuming, Settlements};
use super::amqp::link::Role;
use super::gate::Gate;
use super::links::LinkKey;
use super::message::{Message, Provenance};
use super::nsq::ingress::Producers;
use super::phase::Phase;
use super::route::{AmqpSource, Flow, Route, RouteLimit, Target, Window};
use super::shaper::reads_properties;
use super::sinks::{Shared, SinkOptions, Sinks};
use super::status::Status;
use super::transform::Template;

/// See the module's description.
pub(super) struct Running {
    pub(super) route: Route,
    pub(super) status: Arc<Status>,
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    /// The limit of the moment.
    limit: watch::Sender<Option<RouteLimit>>,
    tasks: JoinSet<()>,
    /// Fails what producers have waited for too long; it outlives the rest.
    expiry: JoinSet<()>,
    /// The producers whose publishes go to the target.
    pub(super) producers: Option<Arc<Producers>>,
    /// The connections that it needs.
    used: Vec<LinkKey>,
    /// The route whose deferred messages this one brings on, if it does.
    due_of: Option<Route>,
}

impl Running {
    /// Starts `route`. If it cannot run, its status says so.
    pub(super) fn start(route: &Route, shared: &Arc<Shared>) -> Self {
        Self::begin(route, shared, Status::new(route.clone()), None)
    }

    /// Starts `route`, which brings on what `of` has deferred, and speaks through its status.
    pub(super) fn start_for(
        route: &Route,
        shared: &Arc<Shared>,
        status: Arc<Status>,
        of: Route,
    ) -> Self {
        Self::begin(route, shared, status, Some(of))
    }

    fn begin(
        route: &Route,
        shared: &Arc<Shared>,
        status: Arc<Status>,
        due_of: Option<Route>,
    ) -> Self {
        let is_paused = shared.paused.lock().contains(&route.name);
        status.set_paused(is_paused);
        let phase = if is_paused { Phase::Paused } else { Phase::Running };
        let mut running = Self {
            route: route.clone(),
            status,
            shared: Arc::clone(shared),
            phase: watch::Sender::new(phase),
            limit: watch::Sender::new(route.limit.clone()),
            tasks: JoinSet::new(),
            expiry: JoinSet::new(),
            producers: None,
            used: Vec::new(),
            due_of,
        };
        let started = match &route.flow {
            Flow::Ingress { topic, to, publish, defer } => {
                running.ingress(topic, to, *publish, *defer)
            }
            Flow::Channel { from, to, max_hold } => running.channel(from, to, *max_hold),
            Flow::Move(moving) => running.moving(moving),
        };
        if started.is_none() && running.status.is_starting() {
            // The configuration was checked, so this is a caller's mistake; the route is shown as what it is.
            running.status.failed("its broker is not configured");
        }
        running
    }

    /// The connections that it needs.
    pub(super) fn used(&self) -> &[LinkKey] {
        &self.used
    }

    /// Where the route's messages meet its limit.
    fn gate(&self, from: &Provenance, bound: Window) -> Gate {
        Gate::new(self.limit.subscribe(), from.clone(), Arc::clone(&self.status), bound)
    }

    /// Has `route` go on as this one, if it differs in the figures of its limit alone. No change grants a burst that would
    /// not have been there.
    pub(super) fn retune(&mut self, route: &Route) -> bool {
        let is_alike = match (&self.route.limit, &route.limit) {
            (Some(old), Some(new)) => old.is_alike(new),
            (old, new) => old == new,
        };
        let same = Route { limit: route.limit.clone(), ..self.route.clone() };
        if !is_alike || same != *route {
            return false;
        }
        self.route = same;
        self.status.set_limit(route.limit.clone());
        self.limit.send_replace(route.limit.clone());
        true
    }

    /// The routing key of what passes above the committed rate.
    fn excess_key(&self) -> Option<Template> {
        self.route.limit.as_ref()?.excess.as_ref()?.routing_key.clone()
    }

    fn sink(
        &mut self,
        target: &Target,
        options: SinkOptions,
    ) -> Option<mpsc::Sender<Vec<Message>>> {
        let mut sinks = Sinks {
            shared: &self.shared,
            status: &self.status,
            tasks: &mut self.tasks,
            used: &mut self.used,
        };
        sinks.make(target, options)
    }

    fn consume<A>(
        &mut self,
        from: &AmqpSource,
        settlements: Arc<Settlements>,
        arrivals: A,
    ) -> Option<()>
    where
        A: super::amqp::consumer::Arrivals + 'static,
    {
        let link = self.shared.links.link(&from.broker, Role::Consume)?;
        self.used.push((from.broker.clone(), Role::Consume));
        let status = Arc::clone(&self.status);
        let with_properties = reads_properties(self.shaped_as());
        let from = from.clone();
        let consuming = Consuming { link, from, status, settlements, arrivals, with_properties };
        self.tasks.spawn(consuming.run(self.phase.subscribe()));
        Some(())
    }

    /// Has it take nothing more, or go on.
    pub(super) fn pause(&self, is_paused: bool) {
        self.status.set_paused(is_paused);
        let phase = if is_paused { Phase::Paused } else { Phase::Running };
        self.phase.send_if_modified(|now| {
            let changes = *now != Phase::Stopping && *now != phase;
            if changes {
                *now = phase;
            }
            changes
        });
    }

    /// Takes nothing more, settles what it can within `limit`, and leaves the rest to be redelivered. A topic whose
    /// publishes went to the target refuses them from now on, until somebody else takes them.
    pub(super) async fn stop(mut self, limit: Duration) {
        self.phase.send_replace(Phase::Stopping);
        if let Some(producers) = &self.producers {
            producers.close();
        }
        let settled = timeout(limit, join_all(&mut self.tasks)).await.is_ok();
        if !settled {
            let route = &self.route.name;
            tracing::warn!(route, "did not settle everything in time; the rest is redelivered");
            if let Some(producers) = &self.producers {
                producers.abandon();
            }
            self.tasks.shutdown().await;
        }
        self.expiry.shutdown().await;
    }
}

async fn join_all(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            tracing::error!(%error, "a route's task failed");
        }
    }
}
