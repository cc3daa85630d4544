//! Deliveries that cannot be NSQ messages: empty ones, and ones above `max_msg_size`.
//!
//! They stay unacknowledged in their queue: nothing is lost, and the route says so.

use std::sync::Arc;

use crate::bridge::amqp::arrival::Arrival;
use crate::bridge::status::Status;

/// See the module's description.
pub(super) struct Misfits {
    max_msg_size: u64,
    status: Arc<Status>,
}

impl Misfits {
    pub(super) const fn new(max_msg_size: u64, status: Arc<Status>) -> Self {
        Self { max_msg_size, status }
    }

    /// Leaves misfits where they are and returns the rest.
    pub(super) fn sift(&self, burst: Vec<Arrival>) -> Vec<Arrival> {
        let (fitting, misfits): (Vec<_>, Vec<_>) = burst
            .into_iter()
            .partition(|arrival| (1..=self.max_msg_size).contains(&arrival.size()));
        for misfit in misfits {
            self.leave(&misfit, &why(misfit.size(), self.max_msg_size));
        }
        fitting
    }

    /// Leaves one where it is, and says why.
    pub(super) fn leave(&self, misfit: &Arrival, why: &str) {
        let id = misfit.message_id.as_deref().unwrap_or("without message_id");
        self.status.failed(format!("message {id} {why}; it stays unacknowledged in its queue"));
    }
}

/// Why a message without a body is none of NSQ.
pub(super) const EMPTY: &str = "without a body it cannot be an NSQ message";

/// Why a body of `size` bytes is no NSQ message.
pub(super) fn why(size: u64, max: u64) -> String {
    format!("of {size} bytes cannot be an NSQ message of 1 to {max} bytes")
}
