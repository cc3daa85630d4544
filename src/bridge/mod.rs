//! Routes: named flows between NSQ and RabbitMQ, each with its own limit and delivery contract.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`route`], [`broker`], [`transform`] | what a user writes, validated; plain values |
//! | [`supervisor`] | starts all routes and stops them |
//! | `runner` | a flow to RabbitMQ: source, limit, publisher |
//! | [`properties`] | what AMQP says of a message besides its body |
//! | [`envelope`] | bodies inside of JSON |
//! | `message`, `status` | what flows, and what a route says of itself |
//! | `amqp/` | the RabbitMQ side; the only code that names lapin |
//! | `nsq/` | this node's own topics and channels as sources and sinks |

mod amqp;
pub mod broker;
pub mod envelope;
mod message;
mod nsq;
pub mod properties;
pub mod route;
mod runner;
mod status;
pub mod supervisor;
pub mod transform;

pub use supervisor::Bridge;
