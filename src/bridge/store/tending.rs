//! Tends one topic: looks at what the engine has of it, and makes the broker's side and the flows between both alike.
//!
//! A look is repeated when something has changed, after a fault, and once a minute, should somebody have deleted something
//! at the broker. What a look finds depends on nothing but the engine, so that none is lost when two changes come at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::keeper::{Applied, Entry, RabbitStore};
use super::options::StoreOptions;
use super::{layout, names};
use crate::bridge::amqp::desk::Desk;
use crate::bridge::amqp::link::Role;
use crate::bridge::deferred;
use crate::bridge::route::Route;
use crate::bridge::running::Running;
use crate::bridge::sinks::Shared;
use crate::clock::jittered;
use crate::engine::{Channel, Topic};
use crate::names::is_ephemeral;

/// How often a topic is looked at though nothing has changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// How soon after a fault.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// How often the backlog is looked at while it is brought to the channels.
const BACKLOG_INTERVAL: Duration = Duration::from_secs(1);
/// How often it has to be found empty before nobody waits for more of it.
const EMPTY_LOOKS: u32 = 3;
/// How long a flow that ends may settle what it has.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// A channel, and the flow that feeds it.
struct Fed {
    channel: Weak<Channel>,
    flow: Box<Running>,
}

/// Brings what the topic has for no channel yet to its channels.
struct CatchingUp {
    flow: Box<Running>,
    /// How often the backlog was found empty.
    empty: u32,
}

/// See the module's description.
pub(super) struct Tending {
    entry: Arc<Entry>,
    shared: Arc<Shared>,
    store: Weak<RabbitStore>,
    /// The topic that it was when it was last looked at.
    topic: Weak<Topic>,
    /// Whether the broker may have something of the topic.
    is_made: bool,
    is_paused: bool,
    publishing: Option<Box<Running>>,
    channels: BTreeMap<String, Fed>,
    /// Channels that are gone and whose queues are still to be deleted.
    doomed: BTreeSet<String>,
    catching_up: Option<CatchingUp>,
}

impl Tending {
    pub(super) fn new(entry: &Arc<Entry>, shared: &Arc<Shared>, store: Weak<RabbitStore>) -> Self {
        let mut tending = Self {
            entry: Arc::clone(entry),
            shared: Arc::clone(shared),
            store,
            topic: Weak::new(),
            is_made: false,
            is_paused: false,
            publishing: None,
            channels: BTreeMap::new(),
            doomed: BTreeSet::new(),
            catching_up: None,
        };
        // At once: what is published before the first look is to find somebody.
        let old = tending.publish_to(false);
        debug_assert!(old.is_none(), "there was none");
        tending
    }

    fn options(&self) -> &StoreOptions {
        &self.entry.options
    }

    fn start(&self, route: &Route) -> Box<Running> {
        let flow = Box::new(Running::start(route, &self.shared));
        self.entry.flows.lock().insert(route.name.clone(), Arc::clone(&flow.status));
        flow
    }

    /// Ends a flow, and shows it no longer.
    fn end(&self, flow: Box<Running>, limit: Duration) -> impl Future<Output = ()> + use<> {
        let (entry, status) = (Arc::clone(&self.entry), Arc::clone(&flow.status));
        // Apart, as it is large.
        let stopping = Box::pin(flow.stop(limit));
        async move {
            stopping.await;
            let mut flows = entry.flows.lock();
            if flows.get(&*status.name).is_some_and(|shown| Arc::ptr_eq(shown, &status)) {
                flows.remove(&*status.name);
            }
        }
    }

    /// Has publishes go to the exchange, or to the topic's own queue while it is paused; returns the flow that took them
    /// until now.
    fn publish_to(&mut self, is_paused: bool) -> Option<Box<Running>> {
        let route = layout::publishing(&self.entry.topic, self.options(), is_paused)?;
        let flow = self.start(&route);
        self.entry.front.lead_to(flow.producers.clone());
        self.is_paused = is_paused;
        self.publishing.replace(flow)
    }

    /// Tends the topic until it is gone, or `stop` says how long settling may take.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<Option<Duration>>) {
        let mut wanted = self.entry.wanted.subscribe();
        loop {
            let version = *wanted.borrow_and_update();
            let mut applied = tokio::select! {
                _ = stop.wait_for(Option::is_some) => break,
                applied = self.look() => applied,
            };
            applied.version = version;
            let is_well = applied.fault.is_none() && applied.faults.is_empty();
            self.entry.applied.send_replace(applied);
            if is_well && self.is_over() && self.retire(version) {
                return self.finish(SETTLE_TIMEOUT).await;
            }
            let pause = match (is_well, &self.catching_up) {
                (false, _) => jittered(RETRY_INTERVAL),
                (true, Some(_)) => BACKLOG_INTERVAL,
                (true, None) => LOOK_INTERVAL,
            };
            tokio::select! {
                _ = stop.wait_for(Option::is_some) => break,
                changed = wanted.changed() => if changed.is_err() { break },
                () = sleep(pause) => {}
            }
        }
        let limit = stop.borrow().unwrap_or(SETTLE_TIMEOUT);
        let fault = Some("exiting".to_owned());
        let applied = Applied { version: u64::MAX, fault, ..Applied::default() };
        self.entry.applied.send_replace(applied);
        self.finish(limit).await;
    }

    /// Whether there is nothing to tend.
    fn is_over(&self) -> bool {
        !self.is_made && self.shared.engine.find_topic(&self.entry.topic).is_none()
    }

    fn retire(&self, version: u64) -> bool {
        self.store.upgrade().is_none_or(|store| store.retire(&self.entry.topic, version))
    }

    /// Ends all flows; the broker keeps everything.
    async fn finish(mut self, limit: Duration) {
        self.entry.front.lead_to(None);
        let channels = std::mem::take(&mut self.channels).into_values().map(|fed| fed.flow);
        let catching_up = self.catching_up.take().map(|moving| moving.flow);
        let flows = channels.chain(catching_up).chain(self.publishing.take());
        futures_util::future::join_all(flows.map(|flow| self.end(flow, limit))).await;
    }

    /// Makes the broker's side as the engine's is.
    async fn look(&mut self) -> Applied {
        let mut applied = Applied::default();
        let Some(link) = self.shared.links.link(&self.options().broker, Role::Consume) else {
            let broker = &self.options().broker;
            applied.fault = Some(format!("broker {broker} is not configured"));
            return applied;
        };
        let done = match Desk::open(&link).await {
            Ok(mut desk) => {
                let done = self.look_with(&mut desk, &mut applied).await;
                desk.close().await;
                done
            }
            Err(words) => Err(words),
        };
        if let Err(words) = done {
            tracing::warn!(topic = self.entry.topic, reason = words, "the topic's broker refuses");
            applied.fault = Some(words);
        }
        for (channel, reason) in &applied.faults {
            tracing::warn!(
                topic = self.entry.topic,
                channel,
                reason,
                "the channel's broker refuses"
            );
        }
        applied
    }

    async fn look_with(&mut self, desk: &mut Desk, applied: &mut Applied) -> Result<(), String> {
        let topic = self.shared.engine.find_topic(&self.entry.topic);
        if topic.is_none() && self.shared.engine.is_exiting() {
            return Ok(());
        }
        let is_same = topic.as_ref().is_some_and(|topic| is(&self.topic, topic));
        if !is_same && self.is_made {
            self.unmake(desk).await?;
        }
        let Some(topic) = topic else { return Ok(()) };
        self.topic = Arc::downgrade(&topic);
        self.is_made = true;
        if self.publishing.is_none() {
            self.publish_to(topic.is_paused());
        }
        desk.declare(&layout::topic(&self.entry.topic, self.options())).await?;
        self.channels(&topic, desk, applied).await;
        self.empty(&topic, desk, applied).await;
        for (name, fed) in &self.channels {
            let is_paused = topic.find_channel(name).is_some_and(|channel| channel.is_paused());
            fed.flow.pause(is_paused);
        }
        if topic.is_paused() != self.is_paused
            && let Some(old) = self.publish_to(topic.is_paused())
        {
            self.end(old, SETTLE_TIMEOUT).await;
        }
        self.catch_up(&topic, desk).await
    }

    /// Makes queues for new channels, and deletes those of channels that are gone.
    async fn channels(&mut self, topic: &Arc<Topic>, desk: &mut Desk, applied: &mut Applied) {
        let channels = topic.channels();
        let is_there = |name: &str, fed: &Fed| {
            let found = channels.iter().find(|channel| **channel.name() == *name);
            found.is_some_and(|channel| is(&fed.channel, channel))
        };
        let gone: Vec<String> = self
            .channels
            .iter()
            .filter(|(name, fed)| !is_there(name, fed))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.doom(name).await;
        }
        for name in self.doomed.iter().cloned().collect::<Vec<_>>() {
            if let Err(words) = self.unmake_channel(&name, desk).await {
                applied.faults.insert(name, words);
            }
        }
        for channel in channels {
            let name = channel.name().to_string();
            if applied.faults.contains_key(&name) {
                continue;
            }
            let topology = layout::channel(&self.entry.topic, &name, self.options());
            if let Err(words) = desk.declare(&topology).await {
                applied.faults.insert(name, words);
            } else if !self.channels.contains_key(&name) {
                self.feed(&channel, name);
            }
        }
    }

    fn feed(&mut self, channel: &Arc<Channel>, name: String) {
        let route = layout::delivering(&self.entry.topic, &name, self.options());
        let flow = self.start(&route);
        flow.pause(channel.is_paused());
        self.channels.insert(name, Fed { channel: Arc::downgrade(channel), flow });
    }

    /// Ends a channel's flow, and has its queue deleted.
    async fn doom(&mut self, name: String) {
        if let Some(fed) = self.channels.remove(&name) {
            self.end(fed.flow, SETTLE_TIMEOUT).await;
        }
        self.doomed.insert(name);
    }

    /// Deletes the queue of a channel that is gone. An ephemeral one may have consumers elsewhere, and goes with the last.
    async fn unmake_channel(&mut self, name: &str, desk: &mut Desk) -> Result<(), String> {
        let if_unused = is_ephemeral(name) || is_ephemeral(&self.entry.topic);
        desk.delete_queue(&names::queue(&self.entry.topic, name), if_unused).await?;
        self.doomed.remove(name);
        Ok(())
    }

    /// Deletes all that the broker has of the topic.
    async fn unmake(&mut self, desk: &mut Desk) -> Result<(), String> {
        let topic = self.entry.topic.clone();
        if let Some(moving) = self.catching_up.take() {
            self.end(moving.flow, SETTLE_TIMEOUT).await;
        }
        for name in self.channels.keys().cloned().collect::<Vec<_>>() {
            self.doom(name).await;
        }
        for name in self.doomed.iter().cloned().collect::<Vec<_>>() {
            self.unmake_channel(&name, desk).await?;
        }
        let is_shared = is_ephemeral(&topic);
        desk.delete_exchange(&names::exchange(&topic), is_shared).await?;
        desk.delete_queue(&names::backlog(&topic), is_shared).await?;
        // Its flow would make them anew.
        self.entry.front.lead_to(None);
        if let Some(publishing) = self.publishing.take() {
            self.end(publishing, SETTLE_TIMEOUT).await;
        }
        let due = deferred::queue_name(&names::flow(&topic, None), &topic);
        desk.delete_queue(&format!("{due}.dead"), is_shared).await?;
        desk.delete_queue(&due, is_shared).await?;
        self.is_made = false;
        self.topic = Weak::new();
        Ok(())
    }

    /// Empties queues as it was asked for. A channel's consumer is closed meanwhile: what is on its way to it is meant too.
    async fn empty(&mut self, topic: &Arc<Topic>, desk: &mut Desk, applied: &mut Applied) {
        let asked = std::mem::take(&mut *self.entry.emptied.lock());
        for name in asked {
            let Err(words) = self.empty_one(topic, name.as_deref(), desk).await else { continue };
            match &name {
                Some(name) => applied.faults.insert(name.clone(), words).map(drop),
                None => applied.fault.replace(words).map(drop),
            };
            self.entry.emptied.lock().insert(name);
        }
    }

    async fn empty_one(
        &mut self,
        topic: &Arc<Topic>,
        name: Option<&str>,
        desk: &mut Desk,
    ) -> Result<(), String> {
        let Some(name) = name else {
            if let Some(moving) = self.catching_up.take() {
                self.end(moving.flow, SETTLE_TIMEOUT).await;
            }
            topic.set_elsewhere(0);
            return desk.purge(&names::backlog(&self.entry.topic)).await;
        };
        let fed = self.channels.remove(name);
        if let Some(fed) = fed {
            self.end(fed.flow, SETTLE_TIMEOUT).await;
        }
        let Some(channel) = topic.find_channel(name) else { return Ok(()) };
        let purged = desk.purge(&names::queue(&self.entry.topic, name)).await;
        channel.clear();
        channel.set_elsewhere(0);
        self.feed(&channel, name.to_owned());
        purged
    }

    /// Brings what the topic has for no channel yet to its channels, as long as there is some of it.
    async fn catch_up(&mut self, topic: &Arc<Topic>, desk: &mut Desk) -> Result<(), String> {
        let can = !self.is_paused && !self.channels.is_empty();
        let waiting = desk.count(&names::backlog(&self.entry.topic)).await?;
        topic.set_elsewhere(waiting);
        match &mut self.catching_up {
            None if can && waiting > 0 => {
                let route = layout::catching_up(&self.entry.topic, self.options());
                self.catching_up =
                    route.map(|route| CatchingUp { flow: self.start(&route), empty: 0 });
            }
            None => {}
            Some(moving) if can && (waiting > 0 || moving.empty < EMPTY_LOOKS) => {
                moving.empty = if waiting > 0 { 0 } else { moving.empty + 1 };
            }
            Some(_) => {
                if let Some(moving) = self.catching_up.take() {
                    self.end(moving.flow, SETTLE_TIMEOUT).await;
                }
            }
        }
        Ok(())
    }
}

/// Whether that is still the same one.
fn is<T>(seen: &Weak<T>, now: &Arc<T>) -> bool {
    std::ptr::addr_eq(seen.as_ptr(), Arc::as_ptr(now))
}
