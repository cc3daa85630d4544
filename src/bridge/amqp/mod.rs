//! The RabbitMQ side of a route. The only code that names lapin.
//!
//! lapin's own recovery forgets the prefetch, gives up, and dies of a channel error; a [`link::Link`] is a supervised
//! connection instead: on an error everything of it is dropped and built again, and what leaves it carries a generation
//! number. Publishing and consuming have a link each: a memory alarm at the broker freezes all that a publishing
//! connection writes, acks included.

mod acks;
pub(super) mod arrival;
mod confirms;
mod connect;
pub(super) mod consumer;
pub(super) mod desk;
mod errors;
pub(super) mod hand;
pub(super) mod link;
pub(super) mod observer;
mod outgoing;
pub(super) mod plan;
pub(super) mod properties;
pub(super) mod publisher;
mod renewal;
mod socket;
pub(super) mod source;
mod stream;
mod topology;
