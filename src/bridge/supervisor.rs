//! Starts all routes and stops them. A route that cannot run says so; the others go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::amqp::consumer::{Consuming, Settlements};
use super::amqp::link::{Link, Role};
use super::amqp::publisher::{Publisher, Publishing, Settle};
use super::broker::BrokerOptions;
use super::message::Message;
use super::nsq::arrivals::{Feeder, Target};
use super::nsq::ingress::Producers;
use super::nsq::misfits::{DeadLetters, Fate, Misfits};
use super::nsq::queue::Queue;
use super::route::{
    AmqpSource, AmqpTarget, DeadLetter, Flow, NsqChannel, OnExceed, PublishOptions, Retry, Route,
};
use super::runner::{self, Pace, Source};
use super::status::Status;
use crate::engine::{Engine, Ingress};
use crate::limit::Limiter;
use crate::metrics::RoutesView;
use crate::metrics::broker::BrokerStatus;
use crate::metrics::route::RouteStatus;
use crate::task::stopped;

/// Portions that may wait for a publisher's window.
const OUTBOX: usize = 4;

/// All routes of a node, running.
pub struct Bridge {
    engine: Arc<Engine>,
    brokers: Vec<BrokerOptions>,
    links: BTreeMap<(String, &'static str), Arc<Link>>,
    statuses: Vec<Arc<Status>>,
    /// Topics whose publishes go to a broker.
    producers: Vec<Arc<Producers>>,
    stop: watch::Sender<bool>,
    stop_links: watch::Sender<bool>,
    tasks: JoinSet<()>,
    link_tasks: JoinSet<()>,
    max_msg_size: u64,
}

impl std::fmt::Debug for Bridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bridge").field("routes", &self.statuses.len()).finish_non_exhaustive()
    }
}

impl Bridge {
    /// Starts `routes`. `max_msg_size` is what an NSQ message may have, in bytes.
    #[must_use]
    pub fn start(
        engine: Arc<Engine>,
        routes: &[Route],
        brokers: Vec<BrokerOptions>,
        max_msg_size: u64,
    ) -> Self {
        let mut bridge = Self {
            engine,
            brokers,
            links: BTreeMap::new(),
            statuses: Vec::new(),
            producers: Vec::new(),
            stop: watch::Sender::new(false),
            stop_links: watch::Sender::new(false),
            tasks: JoinSet::new(),
            link_tasks: JoinSet::new(),
            max_msg_size,
        };
        for route in routes {
            bridge.start_route(route);
        }
        bridge
    }

    /// What is shown of the routes.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::new(View {
            statuses: self.statuses.clone(),
            links: self.links.values().cloned().collect(),
        })
    }

    /// The link of a broker for a role; `None` if there is no such broker.
    fn link(&mut self, broker: &str, role: Role) -> Option<Arc<Link>> {
        let key = (broker.to_owned(), role.as_str());
        if let Some(link) = self.links.get(&key) {
            return Some(Arc::clone(link));
        }
        let options = self.brokers.iter().find(|options| options.name == broker)?.clone();
        let link = Link::new(options, role);
        let mut stop = self.stop_links.subscribe();
        let running = Arc::clone(&link);
        self.link_tasks.spawn(async move {
            running.run(async { drop(stop.wait_for(|stop| *stop).await) }).await;
        });
        self.links.insert(key, Arc::clone(&link));
        Some(link)
    }

    fn start_route(&mut self, route: &Route) {
        let status = Status::new(route.clone());
        self.statuses.push(Arc::clone(&status));
        let started = match route.flow.clone() {
            Flow::PublishDirect { topic, to, publish } => {
                self.publish_direct(route, &status, &topic, to, publish)
            }
            Flow::PublishQueued { from, to, publish, retry, dead_letter } => {
                self.publish_queued(route, &status, from, (to, publish), (retry, dead_letter))
            }
            Flow::DeliverDirect { from, to: NsqChannel { topic, channel } } => {
                let target = Target::Channel { topic, channel };
                self.consume(route, &status, from, target, Fate::Stay, Arc::default())
            }
            Flow::DeliverQueued { from, topic, dead_letter, publish } => {
                self.deliver_queued(route, &status, from, topic, (dead_letter, publish))
            }
        };
        if started.is_none() {
            // The configuration was checked, so this is a caller's mistake; the route is shown as what it is.
            status.failed("its broker is not configured");
        }
    }

    fn publish_direct(
        &mut self,
        route: &Route,
        status: &Arc<Status>,
        topic: &str,
        to: AmqpTarget,
        options: PublishOptions,
    ) -> Option<()> {
        let rates = route.limit.map(|limit| limit.rates);
        let limiter = rates.as_ref().map(Limiter::new);
        if let Some(limiter) = &limiter {
            status.set_throttle(limiter.throttle());
        }
        let rejects = route.limit.is_some_and(|limit| limit.on_exceed == OnExceed::Reject);
        let (rejecting, waiting) = if rejects { (limiter, None) } else { (None, limiter) };
        let producers = Producers::new(Arc::clone(status), options, rejecting);
        let link = self.link(&to.broker, Role::Publish)?;
        let outbox = self.publisher(Publishing {
            link,
            topic: topic.to_owned(),
            channel: String::new(),
            to,
            dead: None,
            options,
            status: Arc::clone(status),
            settle: Arc::clone(&producers) as Arc<dyn Settle>,
            stop: None,
        });
        let pace = Pace::of(if rejects { None } else { rates.as_ref() });
        let source = Source::Producers(Arc::clone(&producers));
        self.tasks.spawn(runner::run(source, waiting, pace, outbox, self.stop.subscribe()));
        let expiring = Arc::clone(&producers);
        let mut stop = self.stop_links.subscribe();
        self.link_tasks.spawn(async move {
            tokio::select! {
                () = expiring.expire() => {}
                () = stopped(&mut stop) => {}
            }
        });
        self.engine.set_ingress(topic, Some(Arc::clone(&producers) as Arc<dyn Ingress>));
        self.producers.push(producers);
        Some(())
    }

    fn publish_queued(
        &mut self,
        route: &Route,
        status: &Arc<Status>,
        from: NsqChannel,
        (to, options): (AmqpTarget, PublishOptions),
        (retry, dead_letter): (Retry, DeadLetter),
    ) -> Option<()> {
        let rates = route.limit.map(|limit| limit.rates);
        let limiter = rates.as_ref().map(Limiter::new);
        if let Some(limiter) = &limiter {
            status.set_throttle(limiter.throttle());
        }
        let dead = match &dead_letter {
            DeadLetter::Amqp(target) => Some((**target).clone()),
            DeadLetter::Stop | DeadLetter::Drop | DeadLetter::Nsq { .. } => None,
        };
        let NsqChannel { topic, channel } = from.clone();
        let engine = Arc::clone(&self.engine);
        let queue = Queue::new(
            engine,
            from,
            retry,
            dead_letter,
            options.window.messages,
            Arc::clone(status),
        );
        queue.subscribe();
        let link = self.link(&to.broker, Role::Publish)?;
        let outbox = self.publisher(Publishing {
            link,
            topic,
            channel,
            to,
            dead,
            options,
            status: Arc::clone(status),
            settle: Arc::clone(&queue) as Arc<dyn Settle>,
            stop: Some(self.stop.subscribe()),
        });
        let pace = Pace::of(rates.as_ref());
        let source = Source::Queue(queue);
        self.tasks.spawn(runner::run(source, limiter, pace, outbox, self.stop.subscribe()));
        Some(())
    }

    fn publisher(&mut self, publishing: Publishing) -> mpsc::Sender<Vec<Message>> {
        let (outbox, inbox) = mpsc::channel(OUTBOX);
        self.tasks.spawn(Publisher::new(publishing).run(inbox));
        outbox
    }

    fn deliver_queued(
        &mut self,
        route: &Route,
        status: &Arc<Status>,
        from: AmqpSource,
        topic: String,
        (dead_letter, options): (DeadLetter, PublishOptions),
    ) -> Option<()> {
        let settlements = Arc::<Settlements>::default();
        let fate = match dead_letter {
            DeadLetter::Drop => Fate::Drop,
            DeadLetter::Amqp(target) => {
                let link = self.link(&target.broker, Role::Publish)?;
                Fate::Publish(self.publisher(Publishing {
                    link,
                    topic: topic.clone(),
                    channel: String::new(),
                    to: (*target).clone(),
                    dead: None,
                    options,
                    status: Arc::clone(status),
                    settle: Arc::new(DeadLetters {
                        settlements: Arc::clone(&settlements),
                        status: Arc::clone(status),
                    }),
                    stop: None,
                }))
            }
            // What cannot be an NSQ message cannot be one of another topic either.
            DeadLetter::Stop | DeadLetter::Nsq { .. } => Fate::Stay,
        };
        self.consume(route, status, from, Target::Topic { topic }, fate, settlements)
    }

    fn consume(
        &mut self,
        route: &Route,
        status: &Arc<Status>,
        from: AmqpSource,
        target: Target,
        fate: Fate,
        settlements: Arc<Settlements>,
    ) -> Option<()> {
        let link = self.link(&from.broker, Role::Consume)?;
        let misfits =
            Misfits::new(self.max_msg_size, fate, Arc::clone(&settlements), Arc::clone(status));
        let rates = route.limit.map(|limit| limit.rates);
        let arrivals = Feeder::new(
            Arc::clone(&self.engine),
            target,
            Arc::clone(status),
            Arc::clone(&settlements),
            rates.as_ref(),
            misfits,
        );
        let consuming = Consuming { link, from, status: Arc::clone(status), settlements, arrivals };
        self.tasks.spawn(consuming.run(self.stop.subscribe()));
        Some(())
    }

    /// Stops all routes: takes nothing more, settles what it can within `limit`, and leaves the rest to be redelivered.
    pub async fn stop(mut self, limit: Duration) {
        self.stop.send_replace(true);
        // The topics stay theirs: what comes from now on is refused, and does not end up in the topics' own logs.
        for producers in &self.producers {
            producers.close();
        }
        let settled = timeout(limit, join_all(&mut self.tasks)).await.is_ok();
        if !settled {
            tracing::warn!("routes did not settle everything in time; the rest is redelivered");
            for producers in &self.producers {
                producers.abandon();
            }
            self.tasks.shutdown().await;
        }
        self.stop_links.send_replace(true);
        join_all(&mut self.link_tasks).await;
    }
}

/// The routes and connections of a [`Bridge`], for those who show them.
pub struct View {
    statuses: Vec<Arc<Status>>,
    links: Vec<Arc<Link>>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("routes", &self.statuses.len()).finish_non_exhaustive()
    }
}

impl RoutesView for View {
    fn routes(&self) -> Vec<RouteStatus> {
        self.statuses.iter().map(|status| status.show()).collect()
    }

    fn brokers(&self) -> Vec<BrokerStatus> {
        self.links.iter().map(|link| link.status()).collect()
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
