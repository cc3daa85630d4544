//! The routes in etcd as a person changes them: looked at, pushed and removed, without a node.

use std::collections::BTreeMap;

use super::etcd::{Connection, RegistryError};
use super::layout::Key;
use super::mirror::{Mirror, SharedRoute};
use super::options::EtcdOptions;

/// A connection for a person's commands.
pub struct Desk {
    connection: Connection,
}

/// What etcd holds of nodes and routes, as of one moment.
pub type Listing = Mirror;

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("endpoint", &self.connection.endpoint()).finish()
    }
}

impl Desk {
    /// Connects to the first member that answers.
    ///
    /// # Errors
    /// What the last one says, if none does.
    pub async fn open(options: &EtcdOptions) -> Result<Self, RegistryError> {
        let mut last = RegistryError::Secret("there are no endpoints".to_owned());
        for endpoint in &options.endpoints {
            let opened = async {
                let connection = Connection::open(options, endpoint).await?;
                // A connection is made by the first call.
                connection.list_under(&format!("{}/none/", options.prefix)).await?;
                Ok(Self { connection })
            };
            match Box::pin(opened).await {
                Ok(desk) => return Ok(desk),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// All that is there.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn list(&self) -> Result<Listing, RegistryError> {
        self.connection.list().await
    }

    /// The routes alone, by name.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub async fn routes(&self) -> Result<BTreeMap<String, SharedRoute>, RegistryError> {
        Ok(self.connection.list_under(&self.connection.layout().routes()).await?.routes)
    }

    /// Writes a route down for all nodes; tells the revision that it has now.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub async fn put(&self, name: &str, text: &str) -> Result<i64, RegistryError> {
        self.connection.put(&Key::Route(name.to_owned()), text).await
    }

    /// Removes a route from all nodes; tells whether it was there.
    ///
    /// # Errors
    /// Why it cannot be removed.
    pub async fn remove(&self, name: &str) -> Result<bool, RegistryError> {
        self.connection.delete(&Key::Route(name.to_owned())).await
    }
}
