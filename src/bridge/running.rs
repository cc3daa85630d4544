//! One route, running: its tasks, and how they end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::amqp::consumer::{Consuming, Settlements};
use super::amqp::link::Role;
use super::amqp::source::{Inflow, QueueSource};
use super::deferred::{self, Defer, Deferral, Onward};
use super::gate::Gate;
use super::links::LinkKey;
use super::message::{Message, Provenance, Settle};
use super::nsq::arrivals::Feeder;
use super::nsq::held::Held;
use super::nsq::ingress::Producers;
use super::nsq::queue::Queue;
use super::nsq::remote_source::RemoteSource;
use super::phase::Phase;
use super::remote;
use super::route::{
    AmqpSource, DeadLetter, Flow, Move, NsqChannel, OnExceed, PublishOptions, Route, RouteLimit,
    Source, Target, Window,
};
use super::runner::{self, Pace, Runner};
use super::settler::{Dead, DeadLetters, Origin, Settler, Verdicts};
use super::shaper::{Shaper, reads_properties};
use super::sinks::{Shared, SinkOptions, Sinks};
use super::status::Status;
use super::topology::Topology;
use super::transform::Template;
use crate::engine::Ingress;

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
    producers: Option<Arc<Producers>>,
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
        let mut running = Self {
            route: route.clone(),
            status,
            shared: Arc::clone(shared),
            phase: watch::Sender::new(Phase::Running),
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

    fn ingress(
        &mut self,
        topic: &str,
        to: &Target,
        publish: PublishOptions,
        defer: bool,
    ) -> Option<()> {
        let from = Provenance {
            topic: topic.to_owned(),
            channel: String::new(),
            text: self.route.from_text(),
        };
        let limit = self.route.limit.as_ref();
        let rejects = limit.is_some_and(|limit| limit.on_exceed == OnExceed::Reject);
        // Whoever is to be told of it is told at once, so nothing meets the limit later.
        let rejecting = rejects.then(|| self.limit.subscribe());
        let nothing = watch::channel(None).1;
        let producers =
            Producers::new(Arc::clone(&self.status), publish, rejecting, from.clone(), to.defers());
        let status = Arc::clone(&self.status);
        let gate = match rejects {
            true => Gate::new(nothing, from.clone(), status, publish.window),
            false => self.gate(&from, publish.window),
        };
        let shaper = Shaper::new(&self.route, &from);
        let outbox = self.sink(
            to,
            SinkOptions {
                from,
                publish,
                excess_key: self.excess_key(),
                settle: Arc::clone(&producers) as Arc<dyn Settle>,
                phase: None,
            },
        )?;
        let runner = Runner {
            source: runner::Source::Producers(Arc::clone(&producers)),
            settler: None,
            gate,
            shaper,
            settle: Arc::clone(&producers) as Arc<dyn Settle>,
            pace: Pace::of(None),
            outbox,
            phase: self.phase.subscribe(),
        };
        self.tasks.spawn(runner.run());
        let expiring = Arc::clone(&producers);
        self.expiry.spawn(async move { expiring.expire().await });
        if defer {
            self.defer(topic, to, publish, &producers)?;
        }
        let ingress = Arc::clone(&producers) as Arc<dyn Ingress>;
        self.shared.engine.set_ingress(topic, Some(ingress));
        self.producers = Some(producers);
        Some(())
    }

    /// Lets producers publish with a delay.
    fn defer(
        &mut self,
        topic: &str,
        to: &Target,
        publish: PublishOptions,
        by: &Arc<Producers>,
    ) -> Option<()> {
        let deferral = Deferral::of(&self.route, topic, to)?;
        let target = deferral.target()?;
        let wanted = watch::Sender::new(true);
        let options = SinkOptions {
            from: deferred::provenance(topic, &self.route),
            publish,
            excess_key: None,
            settle: Arc::clone(by) as Arc<dyn Settle>,
            phase: None,
        };
        let mut sinks = Sinks {
            shared: &self.shared,
            status: &self.status,
            tasks: &mut self.tasks,
            used: &mut self.used,
        };
        let ladder = sinks.ladder(target, deferral.queue(), options, wanted.subscribe())?;
        self.used.extend(self.used.first().map(|(broker, _)| (broker.clone(), Role::Consume)));
        let bringing = deferral.run(
            self.route.clone(),
            Arc::clone(&self.shared),
            Arc::clone(&self.status),
            self.phase.subscribe(),
        );
        self.tasks.spawn(bringing);
        by.defer_by(Defer { ladder, wanted });
        Some(())
    }

    fn channel(&mut self, from: &AmqpSource, to: &NsqChannel, max_hold: Duration) -> Option<()> {
        let settlements = Arc::<Settlements>::default();
        let provenance = Provenance {
            topic: from.queue.clone(),
            channel: String::new(),
            text: self.route.from_text(),
        };
        let held = Held::new(Arc::clone(&settlements), Arc::clone(&self.status), max_hold);
        let wanted = watch::Sender::new(false);
        let options = SinkOptions {
            from: provenance.clone(),
            publish: PublishOptions::default(),
            excess_key: None,
            settle: Arc::clone(&held) as Arc<dyn Settle>,
            phase: Some(self.phase.subscribe()),
        };
        let mut target = deferred::queue_target(&from.broker, &from.queue)?;
        // It is the one that is consumed.
        target.declare = Topology::default();
        let mut sinks = Sinks {
            shared: &self.shared,
            status: &self.status,
            tasks: &mut self.tasks,
            used: &mut self.used,
        };
        let ladder = sinks.ladder(target, &from.queue, options, wanted.subscribe())?;
        held.put_off_by(Defer { ladder, wanted });
        let feeder = Feeder::new(
            Arc::clone(&self.shared.engine),
            to.clone(),
            Arc::clone(&self.status),
            (held, Arc::clone(&settlements)),
            self.limit.subscribe(),
            (self.shared.max_msg_size, self.phase.subscribe()),
            Shaper::new(&self.route, &provenance),
        );
        self.consume(from, settlements, feeder)
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

    fn moving(&mut self, moving: &Move) -> Option<()> {
        let is_memory_only = self.shared.engine.journal().is_none();
        let mut places = moving.to.places().into_iter();
        let is_kept_here = places.any(|place| matches!(place, Target::Topic { .. }));
        if is_memory_only && is_kept_here && !matches!(moving.from, Source::Nsq(_)) {
            self.status.failed(
                "what is settled where it comes from is to be kept here, which needs nsqd.data_path",
            );
            return Some(());
        }
        let (source, origin, from) = self.source(moving)?;
        let settler = self.settler(moving, origin, &from)?;
        let mut gate = self.gate(&from, moving.publish.window);
        if moving.ordered {
            gate.keep_order();
        }
        let shaper = Shaper::new(self.shaped_as(), &from);
        let settle: Arc<dyn Settle> = Arc::new(Verdicts(Arc::clone(&settler)));
        let outbox = self.sink(
            &moving.to,
            SinkOptions {
                from,
                publish: moving.publish,
                excess_key: self.excess_key(),
                settle: Arc::clone(&settle),
                phase: Some(self.phase.subscribe()),
            },
        )?;
        let runner = Runner {
            source,
            settler: Some(settler),
            gate,
            shaper,
            settle,
            pace: Pace::of(None),
            outbox,
            phase: self.phase.subscribe(),
        };
        self.tasks.spawn(runner.run());
        Some(())
    }

    /// The route by whose rules messages are shaped.
    fn shaped_as(&self) -> &Route {
        self.due_of.as_ref().unwrap_or(&self.route)
    }

    /// The source, who settles at it, and how it is called.
    fn source(&mut self, moving: &Move) -> Option<(runner::Source, Arc<dyn Origin>, Provenance)> {
        let text = moving.from.to_string();
        match &moving.from {
            Source::Nsq(from) => {
                let NsqChannel { topic, channel } = from.clone();
                let engine = Arc::clone(&self.shared.engine);
                let window = moving.publish.window.messages;
                let queue = Queue::new(engine, from.clone(), window, Arc::clone(&self.status));
                queue.subscribe();
                let origin = Arc::clone(&queue) as Arc<dyn Origin>;
                Some((runner::Source::Channel(queue), origin, Provenance { topic, channel, text }))
            }
            Source::Remote(from) => self.remote(from),
            Source::Amqp(from) => {
                let settlements = Arc::<Settlements>::default();
                let source = QueueSource::new(Arc::clone(&settlements));
                let phase = self.phase.subscribe();
                self.consume(from, settlements, Inflow { source: Arc::clone(&source), phase })?;
                let origin = Arc::clone(&source) as Arc<dyn Origin>;
                let provenance = match &self.due_of {
                    Some(Route { flow: Flow::Ingress { topic, .. }, .. }) => {
                        let provenance = deferred::provenance(topic, self.shaped_as());
                        self.wait_for_due(from, &source, provenance.clone(), moving.publish)?;
                        provenance
                    }
                    _ => Provenance { topic: from.queue.clone(), channel: String::new(), text },
                };
                Some((runner::Source::Queue(source), origin, provenance))
            }
        }
    }

    /// The source that is a channel of other nsqds.
    fn remote(
        &mut self,
        from: &remote::RemoteSource,
    ) -> Option<(runner::Source, Arc<dyn Origin>, Provenance)> {
        let started = RemoteSource::start(from, Arc::clone(&self.status));
        let failed = |error: crate::tls::TlsError| self.status.failed(error.to_string());
        let (source, work) = started.map_err(failed).ok()?;
        self.tasks.spawn(Arc::clone(&source).attend(work, self.phase.subscribe()));
        let origin = Arc::clone(&source) as Arc<dyn Origin>;
        let (topic, channel) = (from.topic.clone(), from.channel.clone());
        let called = Provenance { topic, channel, text: from.to_string() };
        Some((runner::Source::Remote(source), origin, called))
    }

    /// Has deferred messages that come too early wait on.
    fn wait_for_due(
        &mut self,
        from: &AmqpSource,
        source: &Arc<QueueSource>,
        provenance: Provenance,
        publish: PublishOptions,
    ) -> Option<()> {
        let options = SinkOptions {
            from: provenance,
            publish,
            excess_key: None,
            settle: Arc::new(Onward(Arc::clone(source), Arc::clone(&self.status))),
            phase: Some(self.phase.subscribe()),
        };
        let target = deferred::queue_target(&from.broker, &from.queue)?;
        let mut sinks = Sinks {
            shared: &self.shared,
            status: &self.status,
            tasks: &mut self.tasks,
            used: &mut self.used,
        };
        let now = watch::Sender::new(true);
        let ladder = sinks.ladder(target, &from.queue, options, now.subscribe())?;
        source.wait_on(ladder);
        Some(())
    }

    /// Who decides on refused messages, and the sink of dead letters if there is one.
    fn settler(
        &mut self,
        moving: &Move,
        origin: Arc<dyn Origin>,
        from: &Provenance,
    ) -> Option<Arc<Settler>> {
        let settler =
            |dead, status| Settler::new(origin, moving.retry, dead, moving.ordered, status);
        let status = Arc::clone(&self.status);
        let target = match &moving.dead_letter {
            DeadLetter::Stop => return Some(settler(Dead::Stop, status)),
            DeadLetter::Drop => return Some(settler(Dead::Drop, status)),
            DeadLetter::To(target) => target,
        };
        let settle = DeadLetters::new();
        let sink = self.sink(
            target,
            SinkOptions {
                from: from.clone(),
                publish: moving.publish,
                excess_key: None,
                settle: Arc::clone(&settle) as Arc<dyn Settle>,
                phase: Some(self.phase.subscribe()),
            },
        )?;
        let settler = settler(Dead::Sink(sink), status);
        settle.belong_to(&settler);
        Some(settler)
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
