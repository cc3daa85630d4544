//! The NSQ side of a route: this node's own topics and channels.

pub(super) mod arrivals;
pub(super) mod ingress;
pub(super) mod misfits;
pub(super) mod queue;
