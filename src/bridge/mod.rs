//! Routes: named flows between NSQ and RabbitMQ, each with its own limit and delivery contract.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`route`], [`broker`], [`transform`] | what a user writes, validated; plain values |
//! | [`supervisor`], `running` | starts all routes and stops them; one route |
//! | `links` | the connections to brokers that routes share |
//! | `runner` | a flow: source, limit, sink |
//! | `sinks` | makes the sinks that a route asks for |
//! | `split` | sinks that hand on to two others: tee and share |
//! | `settler` | what becomes of a message after its sink has spoken |
//! | [`envelope`] | bodies inside of JSON |
//! | `message`, `status`, `phase` | what flows, what a route says of itself, and what it is asked to do |
//! | `amqp/` | the RabbitMQ side; the only code that names lapin |
//! | `nsq/` | this node's own topics and channels as sources and sinks |

mod amqp;
pub mod broker;
pub mod envelope;
mod links;
mod message;
mod nsq;
mod phase;
pub mod route;
mod runner;
mod running;
mod settler;
mod sinks;
mod split;
mod status;
pub mod supervisor;
pub mod transform;

pub use supervisor::{Applied, Bridge, UnknownRoute};
