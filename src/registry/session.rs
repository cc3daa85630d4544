//! What happens over one connection: the lease is renewed, the keys are listed and watched, what the node says is
//! written down, and routes of which there is one are taken and given up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::sync::watch;
use tokio::time::sleep;

use super::etcd::{Connection, RegistryError, Renewals, Watch};
use super::keeper::{Shared, Standing};
use super::layout::Key;
use super::lease::Lease;
use super::mirror::Mirror;
use super::ownership::{Question, Step, decide};
use super::records::encode;
use crate::clock::{self, Instant};
use crate::task::stopped;

/// How often is looked whether somebody's patience is over.
const TICK: Duration = Duration::from_secs(1);
/// How often a node says what it has to do.
const LOAD_INTERVAL: Duration = Duration::from_secs(10);
/// Keys that are made or removed at a time.
const AT_ONCE: usize = 32;

struct Session<'a> {
    shared: &'a Shared,
    connection: Connection,
    lease: i64,
    mirror: Mirror,
    /// What has been written over this connection.
    written: BTreeMap<Key, String>,
    /// When the node has last said what it has to do.
    said: Option<Instant>,
    /// Since when nobody has had the key of a route.
    vacant: BTreeMap<String, Instant>,
    leaving: BTreeMap<String, Leaving>,
}

/// A route that is being given up.
#[derive(Clone, Copy, Debug, Default)]
struct Leaving {
    /// The generation of the view from which on the node does not have it.
    told: u64,
    /// Whether the key has been removed.
    is_removed: bool,
}

/// Runs until `stop`, and leaves the registry then, or until something fails.
pub(super) async fn run(
    shared: &Shared,
    endpoint: &str,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), RegistryError> {
    let opened = tokio::select! {
        opened = open(shared, endpoint) => opened,
        () = stopped(stop) => return Ok(()),
    };
    let (mut session, renewals, watch) = opened?;
    let lease = session.lease;
    tokio::select! {
        failed = renew(shared, renewals, lease) => Err(failed),
        served = session.serve(watch, stop) => served,
    }
}

async fn open<'a>(
    shared: &'a Shared,
    endpoint: &str,
) -> Result<(Session<'a>, Renewals, Watch), RegistryError> {
    let connection = Connection::open(&shared.options, endpoint).await?;
    let (lease, renewals) = hold_lease(shared, &connection).await?;
    let mirror = connection.list().await?;
    let watch = connection.watch(mirror.revision).await?;
    let me = &shared.me.name;
    if mirror.nodes.contains_key(me) {
        tracing::debug!(node = me, "the node's name is known: an earlier life, or another node");
    }
    let session = Session {
        shared,
        connection,
        lease,
        mirror,
        written: BTreeMap::new(),
        said: None,
        vacant: BTreeMap::new(),
        leaving: BTreeMap::new(),
    };
    Ok((session, renewals, watch))
}

/// Goes on with the lease that there is, or has a new one.
async fn hold_lease(
    shared: &Shared,
    connection: &Connection,
) -> Result<(i64, Renewals), RegistryError> {
    if let Some(lease) = shared.lease.get() {
        let asked = clock::now();
        match connection.renewals(lease.id).await {
            Ok(renewals) => {
                shared.lease.renewed(lease.id, asked, lease.time);
                return Ok((lease.id, renewals));
            }
            // What lived with it is not ours any more.
            Err(RegistryError::LeaseOver { .. }) => shared.lease.set(None),
            Err(error) => return Err(error),
        }
    }
    let renewed = clock::now();
    let (id, time) = connection.grant(shared.options.lease).await?;
    let renewals = connection.renewals(id).await?;
    shared.lease.set(Some(Lease { id, time, renewed }));
    Ok((id, renewals))
}

/// Renews the lease for as long as that succeeds.
async fn renew(shared: &Shared, mut renewals: Renewals, lease: i64) -> RegistryError {
    loop {
        let interval = shared.lease.get().map_or(TICK, |lease| lease.interval());
        sleep(interval).await;
        let asked = clock::now();
        match renewals.renew().await {
            Ok(time) => shared.lease.renewed(lease, asked, time),
            Err(error) => return error,
        }
    }
}

impl Session<'_> {
    async fn serve(
        &mut self,
        mut watch: Watch,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), RegistryError> {
        let mut standing = self.shared.standing.subscribe();
        let mut renewed = self.shared.lease.changes();
        loop {
            let now = standing.borrow_and_update().clone();
            self.step(&now).await?;
            tokio::select! {
                told = watch.next() => {
                    let (revision, events) = told?;
                    self.mirror.follow(revision, events);
                }
                _ = standing.changed() => {}
                _ = renewed.changed() => {}
                () = sleep(TICK) => {}
                () = stopped(stop) => {
                    self.connection.revoke(self.lease).await?;
                    tracing::info!("left the registry");
                    return Ok(());
                }
            }
        }
    }

    /// Does what there is to do.
    async fn step(&mut self, standing: &Standing) -> Result<(), RegistryError> {
        let steps = self.decide();
        self.publish(&steps);
        self.introduce().await?;
        self.write_down(standing).await?;
        self.claim(&steps).await?;
        self.give_up(standing).await
    }

    /// What is to become of every route of which there is one.
    fn decide(&mut self) -> BTreeMap<String, Step> {
        let now = clock::now();
        let contested = self.mirror.contested();
        self.vacant.retain(|route, _| contested.contains(route));
        let decided = contested.into_iter().map(|route| {
            let owner = self.mirror.owners.get(&route);
            let vacant = match owner {
                Some(_) => {
                    self.vacant.remove(&route);
                    Duration::ZERO
                }
                None => now - *self.vacant.entry(route.clone()).or_insert(now),
            };
            let step = decide(&Question {
                route: &route,
                me: &self.shared.me.name,
                lease: self.lease,
                candidates: &self.mirror.candidates(&route),
                owner,
                vacant,
                patience: self.shared.options.lease,
            });
            (route, step)
        });
        decided.collect()
    }

    /// Has the node see what is, without the routes that it is to give up.
    fn publish(&mut self, steps: &BTreeMap<String, Step>) {
        let ours = self.mirror.owned_with(self.lease);
        let stays = |route: &String| steps.get(route) == Some(&Step::Keep);
        // What has been removed is not ours, even if the watch has not told yet.
        self.leaving
            .retain(|route, leaving| ours.contains(route) && (leaving.is_removed || !stays(route)));
        let new: Vec<&String> =
            ours.iter().filter(|route| steps.get(*route) == Some(&Step::GiveUp)).collect();
        let is_safe = self.shared.lease.safe().is_some_and(|lease| lease.id == self.lease);
        let owned: BTreeSet<String> = ours
            .iter()
            .filter(|route| is_safe && !new.contains(route) && !self.leaving.contains_key(*route))
            .cloned()
            .collect();
        let told = self.shared.publish(self.connection.endpoint(), &self.mirror, &owned);
        for route in new {
            self.leaving.entry(route.clone()).or_insert(Leaving { told, is_removed: false });
        }
    }

    /// Says who the node is, and now and then what it has to do.
    async fn introduce(&mut self) -> Result<(), RegistryError> {
        if self.said.is_some_and(|said| clock::since(said) < LOAD_INTERVAL) {
            return Ok(());
        }
        let me = &self.shared.me;
        let key = Key::Node(me.name.clone());
        self.write(vec![(key, encode(&(me.record)()))]).await?;
        self.said = Some(clock::now());
        Ok(())
    }

    /// Says what the node makes of the routes.
    async fn write_down(&mut self, standing: &Standing) -> Result<(), RegistryError> {
        let status = |route: &String| Key::Status {
            route: route.clone(),
            node: self.shared.me.name.clone(),
        };
        let said: BTreeMap<Key, String> = standing
            .statuses
            .iter()
            .map(|(route, record)| (status(route), encode(record)))
            .collect();
        let is_over = |key: &&Key| matches!(key, Key::Status { .. }) && !said.contains_key(*key);
        let over: Vec<Key> = self.written.keys().filter(is_over).cloned().collect();
        self.write(said.into_iter().collect()).await?;
        self.connection.delete_all(&over).await?;
        for key in &over {
            self.written.remove(key);
        }
        Ok(())
    }

    /// Writes what is not written yet.
    async fn write(&mut self, pairs: Vec<(Key, String)>) -> Result<(), RegistryError> {
        let is_new = |(key, value): &(Key, String)| self.written.get(key) != Some(value);
        let new: Vec<(Key, String)> = pairs.into_iter().filter(is_new).collect();
        self.connection.put_all(&new, self.lease).await?;
        self.written.extend(new);
        Ok(())
    }

    async fn claim(&self, steps: &BTreeMap<String, Step>) -> Result<(), RegistryError> {
        // Without a lease that holds, a key would only be in the way of others.
        if self.shared.lease.safe().is_none() {
            return Ok(());
        }
        let claims = steps.iter().filter(|(_, step)| **step == Step::Claim);
        let routes: Vec<&String> = claims.map(|(route, _)| route).collect();
        for routes in routes.chunks(AT_ONCE) {
            let create = |route: &&String| {
                let (connection, route) = (&self.connection, (*route).clone());
                async move {
                    let key = Key::Owner(route.clone());
                    let is_made = connection.create(&key, &self.shared.me.name, self.lease).await?;
                    if is_made {
                        tracing::info!(route, "this node is the one that runs the route");
                    }
                    Ok(())
                }
            };
            try_join_all(routes.iter().map(create)).await?;
        }
        Ok(())
    }

    /// Removes the keys of routes that have come to rest here.
    async fn give_up(&mut self, standing: &Standing) -> Result<(), RegistryError> {
        for (route, leaving) in &mut self.leaving {
            let is_at_rest = standing.seen >= leaving.told && !standing.running.contains(route);
            let Some(owner) = self.mirror.owners.get(route) else { continue };
            if leaving.is_removed || !is_at_rest {
                continue;
            }
            let key = Key::Owner(route.clone());
            self.connection.delete_made_at(&key, owner.fence).await?;
            leaving.is_removed = true;
            tracing::info!(route, "the route is given up for another node to run");
        }
        Ok(())
    }
}
