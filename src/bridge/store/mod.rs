//! Topics that live at RabbitMQ: a topic is a fanout exchange, a channel a queue that is bound to it.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`options`] | which topics, and how; plain values |
//! | `names`, `layout` | what they are at the broker; pure |
//! | `keeper` | the store as the engine knows it |
//! | `tending` | one topic: makes the broker's side as the engine's is |
//! | `front` | what the engine hands a topic's publishes to |
//!
//! Messages move through the same flows as those of direct routes: publishes are answered when the broker has confirmed
//! them, a consumer's FIN is the broker's ack.

mod front;
pub(super) mod keeper;
mod layout;
mod names;
pub mod options;
mod tending;

/// Whether it is a flow of a store: no route of a file has such a name.
pub(super) fn is_stores(route: &super::route::Route) -> bool {
    route.name.contains(names::SEPARATOR)
}
