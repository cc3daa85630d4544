//! Routes on which nothing is kept: a topic whose producers are answered by the target, and a queue that appears as a
//! channel.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Running;
use crate::bridge::amqp::consumer::Settlements;
use crate::bridge::amqp::link::Role;
use crate::bridge::deferred::{self, Defer, Deferral};
use crate::bridge::gate::Gate;
use crate::bridge::message::{Provenance, Settle};
use crate::bridge::nsq::arrivals::Feeder;
use crate::bridge::nsq::held::Held;
use crate::bridge::nsq::ingress::Producers;
use crate::bridge::route::{AmqpSource, NsqChannel, OnExceed, PublishOptions, Target};
use crate::bridge::runner::{self, Pace, Runner};
use crate::bridge::shaper::Shaper;
use crate::bridge::sinks::{SinkOptions, Sinks};
use crate::bridge::store::is_stores;
use crate::bridge::topology::Topology;
use crate::engine::Ingress;

impl Running {
    pub(super) fn ingress(
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
        // The store leads the publishes of its topics to its flows itself.
        if !is_stores(&self.route) {
            let ingress = Arc::clone(&producers) as Arc<dyn Ingress>;
            self.shared.engine.set_ingress(topic, Some(ingress));
        }
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

    pub(super) fn channel(
        &mut self,
        from: &AmqpSource,
        to: &NsqChannel,
        max_hold: Duration,
    ) -> Option<()> {
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
            (self.shared.max_msg_size, from.is_no_stream(), self.phase.subscribe()),
            Shaper::new(&self.route, &provenance),
        );
        self.consume(from, settlements, feeder)
    }
}
