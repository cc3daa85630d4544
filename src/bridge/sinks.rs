//! Makes the sinks of a route, as its targets ask for.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::amqp::link::Role;
use super::amqp::publisher::{Publisher, Publishing};
use super::delay::Ladder;
use super::links::{LinkKey, Links};
use super::message::{Message, Provenance, Settle};
use super::nsq::remote_sink::RemoteSink;
use super::nsq::topic_sink::TopicSink;
use super::phase::Phase;
use super::route::{AmqpTarget, PublishOptions, Target};
use super::split::{self, Both, Divide, Side};
use super::status::Status;
use super::transform::Template;
use crate::engine::Engine;

/// Portions that may wait for a sink's window.
const OUTBOX: usize = 4;
/// Messages that may wait to be put off.
const LADDER: usize = 4096;

/// What all routes of a node share.
pub(super) struct Shared {
    pub(super) engine: Arc<Engine>,
    pub(super) links: Links,
    /// What an NSQ message may have, in bytes.
    pub(super) max_msg_size: u64,
    /// Names of routes that are to take nothing until somebody resumes them, also when they start anew.
    pub(super) paused: Mutex<BTreeSet<String>>,
}

/// How a sink is to work.
#[derive(Clone)]
pub(super) struct SinkOptions {
    pub(super) from: Provenance,
    pub(super) publish: PublishOptions,
    /// The routing key of what passed above the committed rate, if it has one of its own.
    pub(super) excess_key: Option<Template>,
    pub(super) settle: Arc<dyn Settle>,
    /// The route's phase, if its source still has what the sink holds: nothing need be waited for then when it stops.
    pub(super) phase: Option<watch::Receiver<Phase>>,
}

/// Makes the sinks of one route.
pub(super) struct Sinks<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) status: &'a Arc<Status>,
    pub(super) tasks: &'a mut JoinSet<()>,
    /// The connections that the route needs.
    pub(super) used: &'a mut Vec<LinkKey>,
}

impl Sinks<'_> {
    /// Starts a sink; `None` if its broker is not configured. It ends when the sender is dropped and all is settled.
    pub(super) fn make(
        &mut self,
        target: &Target,
        options: SinkOptions,
    ) -> Option<mpsc::Sender<Vec<Message>>> {
        let (outbox, inbox) = mpsc::channel(OUTBOX);
        match target {
            Target::Tee(targets) => {
                let both = Both::new(Arc::clone(&options.settle));
                let side = |side| SinkOptions { settle: both.side(side), ..options.clone() };
                let (first, second) = (side(Side::First), side(Side::Second));
                let to = (self.make(&targets.first, first)?, self.make(&targets.second, second)?);
                self.tasks.spawn(split::tee(both, to, inbox));
            }
            Target::Share(share) => {
                let divide =
                    Divide { share: share.share, by: share.by.clone(), from: options.from.clone() };
                let part = self.make(&share.part, options.clone())?;
                let to = (part, self.make(&share.rest, options.clone())?);
                self.tasks.spawn(split::share(divide, options.settle, to, inbox));
            }
            place => self.place(place, options, inbox)?,
        }
        Some(outbox)
    }

    /// Starts a sink that puts messages off until they come to the queue that `to` is about, which it makes sure of. It
    /// does nothing before `wanted` turns true.
    pub(super) fn ladder(
        &mut self,
        to: AmqpTarget,
        queue: &str,
        options: SinkOptions,
        mut wanted: watch::Receiver<bool>,
    ) -> Option<Ladder> {
        let (outbox, inbox) = mpsc::channel(LADDER);
        let link = self.shared.links.link(&to.broker, Role::Publish)?;
        self.used.push((to.broker.clone(), Role::Publish));
        let SinkOptions { from, publish, excess_key, settle, phase } = options;
        let status = Arc::clone(self.status);
        let publishing =
            Publishing { link, from, to, excess_key, options: publish, status, settle, phase };
        let publisher = Publisher::new(publishing);
        self.tasks.spawn(async move {
            if wanted.wait_for(|wanted| *wanted).await.is_ok() {
                publisher.run(inbox).await;
            }
        });
        Some(Ladder { queue: queue.into(), outbox })
    }

    /// Starts the sink of one place.
    fn place(
        &mut self,
        target: &Target,
        options: SinkOptions,
        inbox: mpsc::Receiver<Vec<Message>>,
    ) -> Option<()> {
        let SinkOptions { from, publish, excess_key, settle, phase } = options;
        let status = Arc::clone(self.status);
        match target {
            Target::Amqp(to) => {
                let link = self.shared.links.link(&to.broker, Role::Publish)?;
                self.used.push((to.broker.clone(), Role::Publish));
                let publishing = Publishing {
                    link,
                    from,
                    to: to.clone(),
                    excess_key,
                    options: publish,
                    status,
                    settle,
                    phase,
                };
                self.tasks.spawn(Publisher::new(publishing).run(inbox));
            }
            Target::Topic { topic } => {
                let sink = TopicSink {
                    engine: Arc::clone(&self.shared.engine),
                    topic: topic.clone(),
                    from,
                    max_msg_size: self.shared.max_msg_size,
                    window: publish.window,
                    status,
                    settle,
                };
                self.tasks.spawn(sink.run(inbox));
            }
            Target::Remote(to) => {
                let to = (**to).clone();
                let sink = RemoteSink { to, from, options: publish, status, settle, phase };
                self.tasks.spawn(sink.run(inbox));
            }
            // Not places.
            Target::Tee(_) | Target::Share(_) => return None,
        }
        Some(())
    }
}
