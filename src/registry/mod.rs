//! What nodes share through etcd: who they are, the routes that all of them have, and who runs those of which there is
//! one.
//!
//! | file | what it is |
//! | --- | --- |
//! | `options` | what a user writes of it |
//! | [`layout`], [`records`] | the keys and what they hold; pure |
//! | [`mirror`] | what etcd holds, as last seen; pure |
//! | [`ownership`] | who is to run a route of which there is one; pure |
//! | `etcd` | a connection: typed errors, a deadline on every call |
//! | `keeper` | holds a node in the registry for as long as it runs, over connections that come and go |
//! | `lease` | how long a node may take its lease for granted |
//! | `session` | what happens over one connection |
//! | `desk` | the routes as a person changes them |
//!
//! Without etcd everything goes on as it last was, but for routes of which there is one: these stop before the lease
//! can be over, since another node may take them then.

mod desk;
mod etcd;
mod keeper;
pub mod layout;
mod lease;
pub mod mirror;
mod options;
pub mod ownership;
pub mod records;
mod secrets;
mod session;

pub use desk::{Desk, Listing};
pub use etcd::RegistryError;
pub use keeper::{Link, Me, Registry, Standing, View};
pub use options::{EtcdAuth, EtcdOptions, EtcdTls, LEASE, PREFIX};
