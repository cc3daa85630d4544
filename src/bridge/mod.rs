//! Routes: named flows between NSQ and RabbitMQ, each with its own limit and delivery contract.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`route`], [`topology`], [`broker`], [`transform`] | what a user writes, validated; plain values |
//! | [`supervisor`], `running` | starts all routes and stops them; one route |
//! | `links` | the connections to brokers that routes share |
//! | `runner` | a flow: source, limit, sink |
//! | `shaper` | what a message is sent as: filter, envelope, properties, address |
//! | `sinks` | makes the sinks that a route asks for |
//! | `split` | sinks that hand on to two others: tee and share |
//! | `deferred` | publishes with a delay |
//! | `delay` | delays over a broker that has none: a ladder of queues |
//! | [`store`] | topics that live at a broker |
//! | `settler` | what becomes of a message after its sink has spoken |
//! | [`properties`] | what AMQP says of a message besides its body |
//! | [`envelope`] | bodies inside of JSON |
//! | `message`, `status`, `phase` | what flows, what a route says of itself, and what it is asked to do |
//! | [`plan`], `management` | what routes ask of their brokers beside what is there; what only HTTP tells of it |
//! | `amqp/` | the RabbitMQ side; the only code that names lapin |
//! | `nsq/` | this node's own topics and channels as sources and sinks, and those of other nsqds |

mod amqp;
pub mod broker;
pub mod compare;
mod deferred;
mod delay;
pub mod envelope;
mod gate;
pub mod letters;
mod links;
mod management;
mod message;
mod nsq;
mod phase;
pub mod plan;
pub mod properties;
pub mod redrive;
pub mod remote;
pub mod route;
mod runner;
mod running;
mod settler;
mod shaper;
mod sinks;
mod split;
mod status;
pub mod store;
pub mod supervisor;
pub mod topology;
pub mod transform;

pub use supervisor::{Applied, Bridge, Permit, UnknownRoute};
