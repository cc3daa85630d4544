//! The part of the state machine that takes back what an upstream had offered.

use std::sync::Arc;
use std::time::Duration;

use super::slots::Phase;
use super::state::State;
use crate::engine::upstream::{Origin, Postponed, Source, Upstream};

impl State {
    /// Drops what the upstream's lives up to and including `generation` had delivered: it will deliver it again.
    pub(super) fn revoke(&mut self, upstream: &Arc<dyn Upstream>, generation: u64) {
        let revoked: Vec<(u32, u64, Phase)> = self
            .slots
            .iter()
            .filter(|(_, slot)| {
                let source = slot.detached.as_ref().and_then(|detached| detached.source.as_ref());
                source.is_some_and(|source| {
                    source.is_from(upstream) && source.origin.generation <= generation
                })
            })
            .map(|(at, slot)| (at, slot.seq, slot.phase))
            .collect();
        for (at, seq, phase) in revoked {
            self.remove(at, seq, phase);
        }
    }

    /// Drops those of the upstream's messages that are held back until they are due: it keeps them now.
    pub(super) fn withdraw(&mut self, upstream: &Arc<dyn Upstream>, origins: &[Origin]) {
        let withdrawn: Vec<(u32, u64, Phase)> = self
            .slots
            .iter()
            .filter(|(_, slot)| {
                let source = slot.detached.as_ref().and_then(|detached| detached.source.as_ref());
                matches!(slot.phase, Phase::Deferred { .. })
                    && source.is_some_and(|source| {
                        origins.contains(&source.origin) && source.is_from(upstream)
                    })
            })
            .map(|(at, slot)| (at, slot.seq, slot.phase))
            .collect();
        for (at, seq, phase) in withdrawn {
            self.remove(at, seq, phase);
        }
    }

    /// The message as its upstream is told of it, if a delay is longer than the channel keeps it alone.
    pub(super) fn postponed(&self, seq: u64, delay: Duration) -> Option<(Source, Postponed)> {
        let slot = self.slots.get(self.window.get(seq)?)?;
        let detached = slot.detached.as_ref()?;
        let source =
            detached.source.as_ref().filter(|source| delay > source.upstream.hold_max())?;
        let postponed = Postponed {
            origin: source.origin,
            body: detached.body.clone(),
            timestamp: detached.timestamp,
            attempts: slot.attempts,
            delay,
        };
        Some((source.clone(), postponed))
    }

    /// Takes a live message away, wherever it is; nobody is told.
    pub(super) fn remove(&mut self, at: u32, seq: u64, phase: Phase) {
        match phase {
            Phase::Ready => self.again_live -= 1,
            Phase::Deferred { .. } | Phase::Condemned => self.deferred_live -= 1,
            Phase::InFlight { consumer, .. } => {
                self.take_back(at);
                self.consumers.relieved(consumer);
            }
        }
        self.window.remove(seq);
        self.slots.remove(at);
    }
}
