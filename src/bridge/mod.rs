//! Routes: where messages come from, where they go, and how they are changed on the way.
//!
//! [`route`], [`broker`] and [`transform`] are plain, validated values: no I/O, no serde, no lapin. Whoever holds a
//! [`route::Route`] may rely on everything its documentation promises.

pub mod broker;
pub mod route;
pub mod transform;
