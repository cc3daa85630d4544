//! The NSQ side of a route: this node's own topics and channels, and those of other nsqds.

pub(super) mod arrivals;
pub(super) mod held;
pub(super) mod ingress;
mod misfits;
pub(super) mod queue;
mod refusing;
pub(super) mod remote_sink;
pub(super) mod remote_source;
pub(super) mod topic_sink;
mod topics;
