//! Routes whose source keeps each message until the target has it.

use std::sync::Arc;

use tokio::sync::watch;

use super::Running;
use crate::bridge::amqp::consumer::Settlements;
use crate::bridge::amqp::source::{Inflow, QueueSource};
use crate::bridge::deferred::{self, Onward};
use crate::bridge::message::{Provenance, Settle};
use crate::bridge::nsq::queue::Queue;
use crate::bridge::nsq::remote_source::RemoteSource;
use crate::bridge::remote;
use crate::bridge::route::{
    AmqpSource, DeadLetter, Flow, Move, NsqChannel, PublishOptions, Route, Source, Target,
};
use crate::bridge::runner::{self, Pace, Runner};
use crate::bridge::settler::{Dead, DeadLetters, Origin, Settler, Verdicts};
use crate::bridge::shaper::Shaper;
use crate::bridge::sinks::{SinkOptions, Sinks};

impl Running {
    pub(super) fn moving(&mut self, moving: &Move) -> Option<()> {
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
    pub(super) fn shaped_as(&self) -> &Route {
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
        let (source, work) = match RemoteSource::start(from, Arc::clone(&self.status)) {
            Ok(started) => started,
            Err(error) => {
                self.status.failed(error.to_string());
                return None;
            }
        };
        self.tasks.spawn(Arc::clone(&source).attend(work, self.phase.subscribe()));
        let origin = Arc::clone(&source) as Arc<dyn Origin>;
        let (topic, channel) = (from.topic.clone(), from.channel.clone());
        let text = from.to_string();
        Some((runner::Source::Remote(source), origin, Provenance { topic, channel, text }))
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
}
