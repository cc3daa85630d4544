//! What a topic of a store hands its publishes to, for as long as it lives: the flow behind it changes with its pause.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::bridge::nsq::ingress::Producers;
use crate::engine::{Ingress, Outbound, PublishError, Ticket};

/// See the module's description.
#[derive(Default)]
pub(super) struct Front {
    current: RwLock<Option<Arc<Producers>>>,
}

impl Front {
    /// Hands publishes to these from now on; with `None` they are refused.
    pub(super) fn lead_to(&self, producers: Option<Arc<Producers>>) {
        *self.current.write() = producers;
    }
}

impl Ingress for Front {
    fn offer(&self, batch: Vec<Outbound>, ticket: Ticket) -> Result<(), PublishError> {
        // Held meanwhile, so that nothing is offered to a flow that was replaced.
        match &*self.current.read() {
            Some(producers) => producers.offer(batch, ticket),
            None => Err(PublishError::Exiting),
        }
    }

    fn is_congested(&self) -> bool {
        self.current.read().as_ref().is_some_and(|producers| producers.is_congested())
    }
}
