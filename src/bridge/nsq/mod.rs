//! The NSQ side of a route: this node's own topics and channels.

pub(super) mod arrivals;
pub(super) mod held;
pub(super) mod ingress;
mod misfits;
pub(super) mod queue;
mod refusing;
pub(super) mod topic_sink;
