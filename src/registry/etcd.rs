//! A connection to one member of etcd: every call has its deadline, every error says what and where.

use std::future::Future;
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, Error, EventType, GetOptions, LeaseKeepAliveStream,
    LeaseKeeper, PutOptions, Txn, TxnOp, WatchOptions, WatchStream,
};
use tokio::time::timeout;

use super::layout::{Key, Layout};
use super::mirror::{Entry, Event, Mirror};
use super::options::EtcdOptions;
use super::secrets::connect_options;

/// Keys in one answer of a listing.
const PAGE: i64 = 256;
/// The largest answer that is taken, bytes: a page of the largest values that etcd takes.
const ANSWER_MAX: usize = 512 << 20;
/// Operations in one transaction; etcd takes 128.
pub(super) const BATCH: usize = 100;
/// gRPC's codes for somebody who may not do what is asked.
const REFUSALS: [i32; 2] = [7, 16];

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// A file that is needed to connect.
    #[error("registry.etcd: {0}")]
    Secret(String),
    /// The user may not do this.
    #[error("etcd at {endpoint} does not let us {what}: {reason}; see registry.etcd.auth")]
    Refused {
        /// The member.
        endpoint: String,
        /// What was asked.
        what: &'static str,
        /// Its words.
        reason: String,
    },
    /// It cannot be reached, or cannot do it.
    #[error("etcd at {endpoint} fails to {what}: {reason}")]
    Failed {
        /// The member.
        endpoint: String,
        /// What was asked.
        what: &'static str,
        /// Its words, or those of the network.
        reason: String,
    },
    /// It did not answer in time.
    #[error("etcd at {endpoint} did not {what} within {limit:?}")]
    Late {
        /// The member.
        endpoint: String,
        /// What was asked.
        what: &'static str,
        /// The time that it had.
        limit: Duration,
    },
    /// The watch is behind what etcd has thrown away; a listing is needed.
    #[error("etcd at {endpoint} has compacted what was to be watched")]
    Compacted {
        /// The member.
        endpoint: String,
    },
    /// The lease is over.
    #[error("the lease is over: etcd at {endpoint} does not know it any more")]
    LeaseOver {
        /// The member.
        endpoint: String,
    },
}

/// See the module's description.
#[derive(Clone)]
pub(super) struct Connection {
    client: Client,
    endpoint: String,
    limit: Duration,
    layout: Layout,
}

/// How a lease is kept.
pub(super) struct Renewals {
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
    connection: Connection,
}

/// What comes after a listing.
pub(super) struct Watch {
    stream: WatchStream,
    connection: Connection,
}

impl Connection {
    /// Connects, and logs in if there is a user.
    pub(super) async fn open(options: &EtcdOptions, endpoint: &str) -> Result<Self, RegistryError> {
        let (files, of) = (options.clone(), endpoint.to_owned());
        let read = tokio::task::spawn_blocking(move || connect_options(&files, &of)).await;
        let read = read.unwrap_or_else(|error| Err(error.to_string()));
        let connect = read.map_err(RegistryError::Secret)?;
        let limit = options.call_limit();
        let connecting = Box::pin(Client::connect([endpoint], Some(connect)));
        let client = bounded(endpoint, "connect", limit, connecting).await?;
        let layout = Layout::new(&options.prefix);
        Ok(Self { client, endpoint: endpoint.to_owned(), limit, layout })
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) const fn layout(&self) -> &Layout {
        &self.layout
    }

    async fn call<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, RegistryError> {
        bounded(&self.endpoint, what, self.limit, call).await
    }

    /// A new lease: its id, and the time that it has without a renewal.
    pub(super) async fn grant(&self, time: Duration) -> Result<(i64, Duration), RegistryError> {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let mut client = self.client.lease_client();
        let granted = self.call("grant a lease", Box::pin(client.grant(seconds, None))).await?;
        let time = Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or(0));
        Ok((granted.id(), time))
    }

    /// Renews a lease once, and makes ready to go on with it.
    pub(super) async fn renewals(&self, lease: i64) -> Result<Renewals, RegistryError> {
        let mut client = self.client.lease_client();
        let what = "renew the lease";
        match timeout(self.limit, Box::pin(client.keep_alive(lease))).await {
            Ok(Ok((keeper, answers))) => Ok(Renewals { keeper, answers, connection: self.clone() }),
            Ok(Err(Error::LeaseKeepAliveError(_))) => {
                Err(RegistryError::LeaseOver { endpoint: self.endpoint.clone() })
            }
            Ok(Err(error)) => Err(failed(&self.endpoint, what, &error)),
            Err(_) => Err(late(&self.endpoint, what, self.limit)),
        }
    }

    /// Ends a lease, and with it all that lives with it.
    pub(super) async fn revoke(&self, lease: i64) -> Result<(), RegistryError> {
        let mut client = self.client.lease_client();
        self.call("revoke the lease", Box::pin(client.revoke(lease))).await.map(drop)
    }

    /// All that stands under the prefix, as of one moment.
    pub(super) async fn list(&self) -> Result<Mirror, RegistryError> {
        self.list_under(self.layout.prefix()).await
    }

    /// All that stands under `prefix`, as of one moment.
    pub(super) async fn list_under(&self, prefix: &str) -> Result<Mirror, RegistryError> {
        let end = end_of(prefix.as_bytes());
        let mut from = prefix.as_bytes().to_vec();
        let (mut revision, mut entries) = (0, Vec::new());
        let mut client = self.client.kv_client().max_decoding_message_size(ANSWER_MAX);
        loop {
            // Zero is the present one.
            let options =
                GetOptions::new().with_range(end.clone()).with_limit(PAGE).with_revision(revision);
            let page =
                self.call("list keys", Box::pin(client.get(from.clone(), Some(options)))).await?;
            if revision == 0 {
                revision = page.header().map_or(0, |header| header.revision());
            }
            entries.extend(page.kvs().iter().filter_map(|pair| Entry::of(&self.layout, pair)));
            match page.kvs().last() {
                Some(last) if page.more() => {
                    from = last.key().to_vec();
                    from.push(0);
                }
                _ => return Ok(Mirror::listed(revision, entries)),
            }
        }
    }

    /// What happens under the prefix after `revision`.
    pub(super) async fn watch(&self, revision: i64) -> Result<Watch, RegistryError> {
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision(revision.saturating_add(1))
            .with_progress_notify();
        let mut client = self.client.watch_client().max_decoding_message_size(ANSWER_MAX);
        let watching = Box::pin(client.watch(self.layout.prefix(), Some(options)));
        let stream = self.call("watch", watching).await?;
        Ok(Watch { stream, connection: self.clone() })
    }

    /// Writes values that live with a lease, some at a time.
    pub(super) async fn put_all(
        &self,
        pairs: &[(Key, String)],
        lease: i64,
    ) -> Result<(), RegistryError> {
        for batch in pairs.chunks(BATCH) {
            let put = |(key, value): &(Key, String)| {
                let options = PutOptions::new().with_lease(lease);
                TxnOp::put(self.layout.name(key), value.as_str(), Some(options))
            };
            let operations: Vec<TxnOp> = batch.iter().map(put).collect();
            self.commit("write", Txn::new().and_then(operations)).await?;
        }
        Ok(())
    }

    /// Removes keys, some at a time.
    pub(super) async fn delete_all(&self, keys: &[Key]) -> Result<(), RegistryError> {
        for batch in keys.chunks(BATCH) {
            let delete = |key: &Key| TxnOp::delete(self.layout.name(key), None);
            let operations: Vec<TxnOp> = batch.iter().map(delete).collect();
            self.commit("delete", Txn::new().and_then(operations)).await?;
        }
        Ok(())
    }

    /// Makes a key that lives with a lease, if nobody has made it; tells whether that was done.
    pub(super) async fn create(
        &self,
        key: &Key,
        value: &str,
        lease: i64,
    ) -> Result<bool, RegistryError> {
        let name = self.layout.name(key);
        let options = PutOptions::new().with_lease(lease);
        let absent = Compare::create_revision(name.as_str(), CompareOp::Equal, 0);
        let put = TxnOp::put(name.as_str(), value, Some(options));
        self.commit("take a route", Txn::new().when([absent]).and_then([put])).await
    }

    /// Removes a key if it is the one that was made at `fence`; tells whether it was.
    pub(super) async fn delete_made_at(
        &self,
        key: &Key,
        fence: i64,
    ) -> Result<bool, RegistryError> {
        let name = self.layout.name(key);
        let is_it = Compare::create_revision(name.as_str(), CompareOp::Equal, fence);
        let delete = TxnOp::delete(name.as_str(), None);
        self.commit("give a route up", Txn::new().when([is_it]).and_then([delete])).await
    }

    /// Writes a value for good; tells etcd's revision then.
    pub(super) async fn put(&self, key: &Key, value: &str) -> Result<i64, RegistryError> {
        let mut client = self.client.kv_client();
        let put = Box::pin(client.put(self.layout.name(key), value, None));
        let answer = self.call("write", put).await?;
        Ok(answer.header().map_or(0, |header| header.revision()))
    }

    /// Removes a key; tells whether it was there.
    pub(super) async fn delete(&self, key: &Key) -> Result<bool, RegistryError> {
        let mut client = self.client.kv_client();
        let delete = Box::pin(client.delete(self.layout.name(key), Some(DeleteOptions::new())));
        Ok(self.call("delete", delete).await?.deleted() > 0)
    }

    async fn commit(&self, what: &'static str, txn: Txn) -> Result<bool, RegistryError> {
        let mut client = self.client.kv_client();
        Ok(self.call(what, Box::pin(client.txn(txn))).await?.succeeded())
    }
}

impl Renewals {
    /// Renews the lease once more; tells the time that it has from when it was asked.
    pub(super) async fn renew(&mut self) -> Result<Duration, RegistryError> {
        let connection = &self.connection;
        let what = "renew the lease";
        connection.call(what, self.keeper.keep_alive()).await?;
        let answer = connection.call(what, self.answers.message()).await?;
        let seconds = answer.map_or(0, |answer| answer.ttl());
        match u64::try_from(seconds) {
            Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
            _ => Err(RegistryError::LeaseOver { endpoint: connection.endpoint.clone() }),
        }
    }
}

impl Watch {
    /// What happens next, and etcd's revision then. Nothing is lost if it is dropped before it has come.
    pub(super) async fn next(&mut self) -> Result<(i64, Vec<Event>), RegistryError> {
        let endpoint = &self.connection.endpoint;
        let ended = |reason: &str| RegistryError::Failed {
            endpoint: endpoint.clone(),
            what: "watch",
            reason: reason.to_owned(),
        };
        let answer = self.stream.message().await.map_err(|e| failed(endpoint, "watch", &e))?;
        let answer = answer.ok_or_else(|| ended("the stream has ended"))?;
        if answer.compact_revision() != 0 {
            return Err(RegistryError::Compacted { endpoint: endpoint.clone() });
        }
        if answer.canceled() {
            return Err(ended(answer.cancel_reason()));
        }
        let layout = &self.connection.layout;
        let event = |event: &etcd_client::Event| {
            let pair = event.kv()?;
            match event.event_type() {
                EventType::Put => Entry::of(layout, pair).map(Event::Put),
                EventType::Delete => layout.parse(pair.key()).map(Event::Gone),
            }
        };
        let revision = answer.header().map_or(0, |header| header.revision());
        Ok((revision, answer.events().iter().filter_map(event).collect()))
    }
}

async fn bounded<T>(
    endpoint: &str,
    what: &'static str,
    limit: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, RegistryError> {
    match timeout(limit, call).await {
        Ok(done) => done.map_err(|error| failed(endpoint, what, &error)),
        Err(_) => Err(late(endpoint, what, limit)),
    }
}

fn late(endpoint: &str, what: &'static str, limit: Duration) -> RegistryError {
    RegistryError::Late { endpoint: endpoint.to_owned(), what, limit }
}

fn failed(endpoint: &str, what: &'static str, error: &Error) -> RegistryError {
    let endpoint = endpoint.to_owned();
    let Error::GRpcStatus(status) = error else {
        return RegistryError::Failed { endpoint, what, reason: error.to_string() };
    };
    let reason = status.message().to_owned();
    let is_login = reason.contains("authentication failed");
    if is_login || REFUSALS.contains(&i32::from(status.code())) {
        return RegistryError::Refused { endpoint, what, reason };
    }
    RegistryError::Failed { endpoint, what, reason }
}

/// The first key behind all that begin with `prefix`.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    // There is none: to the end of all keys, in etcd's words.
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_behind_all_that_begins_so() {
        assert_eq!(end_of(b"/leveret/"), b"/leveret0");
        assert_eq!(end_of(b"a\xff"), b"b");
        assert_eq!(end_of(b"\xff"), b"\0");
    }
}
