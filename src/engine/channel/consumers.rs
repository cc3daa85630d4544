//! A channel's consumers: credit, and who waits for messages.
//!
//! RDY is a level, not a credit: a consumer may have as many messages in flight as its RDY says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::slots::List;
use crate::engine::client::{Client, Locality};
use crate::engine::ticket::Signal;

/// Who subscribes, and on what terms.
#[derive(Clone, Debug)]
pub struct Subscriber {
    /// What `/stats` says of it.
    pub client: Arc<Client>,
    /// Woken when there is something to deliver; closed when the channel is deleted.
    pub signal: Arc<Signal>,
    /// How long it may hold a message.
    pub msg_timeout: Duration,
    /// How long TOUCH extends that. Differs from `msg_timeout` only after a repeated IDENTIFY.
    pub touch_timeout: Duration,
    /// Percentage of messages that it wants; 0 for all.
    pub sample_rate: u8,
}

/// Who there is to deliver to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// Consumers of the channel.
    pub consumers: usize,
    /// What all of them together may have in flight.
    pub ready: u64,
}

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) client: Arc<Client>,
    pub(super) signal: Arc<Signal>,
    pub(super) msg_timeout: Duration,
    pub(super) touch_timeout: Duration,
    pub(super) sample_rate: u8,
    pub(super) ready: u64,
    pub(super) in_flight: u64,
    /// What it has in flight, earliest deadline first.
    pub(super) list: List,
    pub(super) locality: Locality,
    is_waiting: bool,
}

impl Consumer {
    /// How many more messages it may get.
    pub(super) const fn credit(&self) -> u64 {
        self.ready.saturating_sub(self.in_flight)
    }
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    places: Vec<Option<Consumer>>,
    count: usize,
    /// What all of them together may have in flight.
    ready: u64,
    /// How many are of the node's zone or region.
    near: usize,
    waiting: VecDeque<u32>,
}

impl Consumers {
    /// Who there is to deliver to.
    pub(super) const fn audience(&self) -> Audience {
        Audience { consumers: self.count, ready: self.ready }
    }

    /// RDY of one of them.
    pub(super) fn set_ready(&mut self, at: u32, ready: u64) {
        if let Some(consumer) = self.places.get_mut(at as usize).and_then(Option::as_mut) {
            self.ready = self.ready.saturating_sub(consumer.ready).saturating_add(ready);
            consumer.ready = ready;
        }
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    pub(super) fn insert(&mut self, subscriber: Subscriber) -> u32 {
        let Subscriber { client, signal, msg_timeout, touch_timeout, sample_rate } = subscriber;
        let locality = client.locality();
        let consumer = Consumer {
            client,
            signal,
            msg_timeout,
            touch_timeout,
            sample_rate,
            ready: 0,
            in_flight: 0,
            list: List::EMPTY,
            locality,
            is_waiting: false,
        };
        self.count += 1;
        self.near += usize::from(locality != Locality::Global);
        let free = self.places.iter().position(Option::is_none);
        let at = free.unwrap_or(self.places.len());
        match self.places.get_mut(at) {
            Some(place) => *place = Some(consumer),
            None => self.places.push(Some(consumer)),
        }
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    pub(super) fn remove(&mut self, at: u32) {
        if let Some(place) = self.places.get_mut(at as usize)
            && let Some(gone) = place.take()
        {
            self.count -= 1;
            self.ready = self.ready.saturating_sub(gone.ready);
            self.near -= usize::from(gone.locality != Locality::Global);
            self.waiting.retain(|&waiting| waiting != at);
        }
    }

    pub(super) fn get(&self, at: u32) -> Option<&Consumer> {
        self.places.get(at as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Consumer> {
        self.places.get_mut(at as usize)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.places.iter().flatten()
    }

    /// Notes that `at` has credit and found nothing: it is woken when there is something.
    pub(super) fn wait(&mut self, at: u32) {
        if let Some(consumer) = self.places.get_mut(at as usize).and_then(Option::as_mut)
            && !consumer.is_waiting
        {
            consumer.is_waiting = true;
            self.waiting.push_back(at);
        }
    }

    /// Notes that `at` has got credit without doing anything for it, so that it will not look by itself.
    pub(super) fn relieved(&mut self, at: u32) {
        if self.get(at).is_some_and(|consumer| consumer.credit() > 0) {
            self.wait(at);
        }
    }

    /// All consumers' in-flight messages are gone.
    pub(super) fn relieve_all(&mut self) {
        for at in 0..u32::try_from(self.places.len()).unwrap_or(u32::MAX) {
            if let Some(consumer) = self.get_mut(at) {
                consumer.list = List::EMPTY;
                consumer.in_flight = 0;
            }
            self.relieved(at);
        }
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many others wait that are as near as `at`: those that are farther away get what it leaves.
    pub(super) fn waiting_besides(&self, at: u32) -> usize {
        if self.near == 0 {
            let is_waiting = self.get(at).is_some_and(|consumer| consumer.is_waiting);
            return self.waiting.len() - usize::from(is_waiting);
        }
        let own = self.locality(at);
        let peers =
            self.waiting.iter().filter(|&&other| other != at && self.locality(other) == own);
        peers.count()
    }

    fn locality(&self, at: u32) -> Locality {
        self.get(at).map_or(Locality::Global, |consumer| consumer.locality)
    }

    /// Whether somebody nearer than `at` waits and has credit.
    pub(super) fn yields(&self, at: u32) -> bool {
        self.near > 0 && {
            let own = self.locality(at);
            let others = self.waiting.iter().filter_map(|&other| self.get(other));
            others.into_iter().any(|other| other.locality < own && other.credit() > 0)
        }
    }

    /// Wakes one of the nearest consumers that wait and still have credit: the one that has waited longest.
    fn wake_nearest(&mut self) {
        let of = |at: &u32| Some(self.get(*at)?).filter(|consumer| consumer.credit() > 0);
        let waiting = self.waiting.iter().enumerate();
        let nearest = waiting.filter_map(|(place, at)| Some((of(at)?.locality, place))).min();
        let Some(at) = nearest.and_then(|(_, place)| self.waiting.remove(place)) else { return };
        if let Some(consumer) = self.get_mut(at) {
            consumer.is_waiting = false;
            consumer.signal.wake();
        }
    }

    /// Wakes the consumer that has waited longest and still has credit, of the nearest if there are nearer ones.
    pub(super) fn wake_one(&mut self) {
        if self.near > 0 {
            return self.wake_nearest();
        }
        while let Some(at) = self.waiting.pop_front() {
            let Some(consumer) = self.places.get_mut(at as usize).and_then(Option::as_mut) else {
                continue;
            };
            consumer.is_waiting = false;
            if consumer.credit() > 0 {
                consumer.signal.wake();
                return;
            }
        }
    }
}
