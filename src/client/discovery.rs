//! Which nsqds there are: those that are named, and those that nsqlookupds tell of.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::http::HttpError;
use super::lookupd::{LookupdClient, Producer};
use crate::clock::jittered;
use crate::tls::{ClientTls, TlsError};

/// Asked for out of turn, nsqlookupds are not asked again before this long.
const AGAIN: Duration = Duration::from_secs(1);

/// Where nsqds are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Addresses {
    /// `host:port` of nsqds.
    pub nsqd: Vec<String>,
    /// `host:port`, or a URL, of nsqlookupds' HTTP.
    pub lookupd: Vec<String>,
}

/// Which of the nsqds that a nsqlookupd knows are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Those that have this topic.
    Topic(String),
    /// All.
    Nodes,
}

/// What is known of nsqds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) addresses: BTreeSet<Arc<str>>,
    /// Why nsqlookupds could not be asked, or what they do not have.
    pub(super) trouble: Option<String>,
}

/// Asks nsqlookupds from time to time.
#[derive(Debug)]
pub(super) struct Discovery {
    addresses: Addresses,
    lookup: Lookup,
    interval: Duration,
    client: LookupdClient,
    /// Somebody has lost a connection and would like to know more.
    pub(super) again: Notify,
}

impl Discovery {
    /// `timeout` bounds each question, `interval` is the time between them. May block: it reads authorities' files.
    ///
    /// # Errors
    /// The files of TLS cannot be used.
    pub(super) fn new(
        addresses: Addresses,
        lookup: Lookup,
        interval: Duration,
        timeout: Duration,
        tls: Option<&ClientTls>,
    ) -> Result<Self, TlsError> {
        let is_secure = addresses.lookupd.iter().any(|address| address.starts_with("https://"));
        let default = ClientTls::default();
        let tls = is_secure.then(|| tls.unwrap_or(&default));
        let client = LookupdClient::new(timeout, timeout, tls)?;
        Ok(Self { addresses, lookup, interval, client, again: Notify::new() })
    }

    /// What is known without asking.
    pub(super) fn named(&self) -> Found {
        let addresses = self.addresses.nsqd.iter().map(|address| address.as_str().into());
        Found { addresses: addresses.collect(), trouble: None }
    }

    /// Keeps `found` up to date for as long as it is polled.
    pub(super) async fn run(&self, found: &watch::Sender<Found>) {
        if self.addresses.lookupd.is_empty() {
            return std::future::pending().await;
        }
        loop {
            let next = self.ask().await;
            found.send_if_modified(|known| {
                let next = merge(self.named(), known, next);
                let changes = *known != next;
                *known = next;
                changes
            });
            tokio::select! {
                () = sleep(jittered(self.interval)) => {}
                () = self.again.notified() => sleep(jittered(AGAIN)).await,
            }
        }
    }

    /// What each nsqlookupd says.
    async fn ask(&self) -> Vec<Result<Vec<String>, String>> {
        let asking = self.addresses.lookupd.iter().map(|address| async move {
            self.ask_one(address).await.map_err(|error| format!("nsqlookupd {address}: {error}"))
        });
        join_all(asking).await
    }

    async fn ask_one(&self, address: &str) -> Result<Vec<String>, HttpError> {
        let producers = match &self.lookup {
            Lookup::Topic(topic) => self.client.producers(address, topic).await?,
            Lookup::Nodes => self.client.nodes(address).await?,
        };
        Ok(producers.iter().map(Producer::tcp_address).collect())
    }
}

/// Everything that is named and everything that any nsqlookupd says. If none can be asked what was known stays.
fn merge(named: Found, known: &Found, said: Vec<Result<Vec<String>, String>>) -> Found {
    let mut next = named;
    let mut has_answer = false;
    for answer in said {
        match answer {
            Ok(addresses) => {
                has_answer = true;
                next.addresses.extend(addresses.into_iter().map(Arc::from));
            }
            Err(error) => next.trouble = Some(error),
        }
    }
    if !has_answer {
        next.addresses.extend(known.addresses.iter().cloned());
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_known_stays_while_nobody_can_be_asked() {
        let found = |addresses: &[&str]| Found {
            addresses: addresses.iter().map(|address| Arc::from(*address)).collect(),
            trouble: None,
        };
        let known = found(&["a:1", "b:1"]);
        let next = merge(found(&["a:1"]), &known, vec![Err("down".into())]);
        assert_eq!(next.addresses, known.addresses);
        assert_eq!(next.trouble.as_deref(), Some("down"));
        let next = merge(found(&["a:1"]), &known, vec![Err("down".into()), Ok(vec!["c:1".into()])]);
        assert_eq!(next.addresses, found(&["a:1", "c:1"]).addresses);
    }
}
