//! Leveret: NSQ on the outside and, where you ask for it, RabbitMQ on the inside.
//!
//! The map of the house. A module may use those on lower levels only; `tests/house.rs` checks it.
//!
//! | level | modules |
//! | --- | --- |
//! | 5 | `main`, [`cli`], [`tools`] |
//! | 4 | [`http`], [`telemetry`], [`config`] |
//! | 3 | [`bridge`] |
//! | 2 | [`server`], [`client`] |
//! | 1 | [`engine`], [`limit`] |
//! | 0 | [`protocol`], [`storage`], [`names`], [`clock`], [`metrics`], [`task`] |

pub mod clock;
pub mod engine;
pub mod http;
pub mod metrics;
pub mod names;
pub mod protocol;
pub mod storage;
pub mod task;
pub mod telemetry;
