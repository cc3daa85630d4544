//! Leveret: NSQ on the outside and, where you ask for it, RabbitMQ on the inside.
//!
//! The map of the house. A module may use those on lower levels only; `tests/house.rs` checks it.
//!
//! | level | modules |
//! | --- | --- |
//! | 5 | `main`, [`cli`], [`node`], [`tools`] |
//! | 4 | [`http`], [`telemetry`], [`config`], [`admin`] |
//! | 3 | [`bridge`], [`lookup`], [`registry`] |
//! | 2 | [`server`], [`client`] |
//! | 1 | [`engine`], [`limit`] |
//! | 0 | [`protocol`], [`storage`], [`names`], [`clock`], [`metrics`], [`task`], [`stream`], [`tls`] |

pub mod admin;
pub mod bridge;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod engine;
pub mod http;
pub mod limit;
pub mod lookup;
pub mod metrics;
pub mod names;
pub mod node;
pub mod protocol;
pub mod registry;
pub mod server;
pub mod storage;
pub mod stream;
pub mod task;
pub mod telemetry;
pub mod tls;
pub mod tools;
