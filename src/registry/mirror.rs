//! What etcd holds, as this node has last seen it: filled by a listing, followed by a watch. No sockets.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::{Key, Layout};
use super::ownership::Owner;
use super::records::{Fitness, NodeRecord, StatusRecord, decode};

/// A route that all nodes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedRoute {
    /// Its definition.
    pub text: String,
    /// When it was last changed, in etcd's count.
    pub revision: i64,
}

/// A key with its value, as a listing or a watch gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is about.
    pub key: Key,
    /// What it holds.
    pub value: Vec<u8>,
    /// When it was made, in etcd's count.
    pub created: i64,
    /// When it was last changed, in etcd's count.
    pub changed: i64,
    /// The lease that it lives with; 0 if it has none.
    pub lease: i64,
}

impl Entry {
    /// The entry of a key of ours.
    pub(super) fn of(layout: &Layout, pair: &etcd_client::KeyValue) -> Option<Self> {
        Some(Self {
            key: layout.parse(pair.key())?,
            value: pair.value().to_vec(),
            created: pair.create_revision(),
            changed: pair.mod_revision(),
            lease: pair.lease(),
        })
    }
}

/// One thing that a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key has this now.
    Put(Entry),
    /// A key is gone.
    Gone(Key),
}

/// See the module's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirror {
    /// Up to which of etcd's revisions this is what it holds.
    pub revision: i64,
    /// The routes by name.
    pub routes: BTreeMap<String, SharedRoute>,
    /// The live nodes by name.
    pub nodes: BTreeMap<String, NodeRecord>,
    /// Who runs the routes of which there is one.
    pub owners: BTreeMap<String, Owner>,
    /// What the nodes make of the routes: by route, then by node.
    pub statuses: BTreeMap<String, BTreeMap<String, StatusRecord>>,
}

impl Mirror {
    /// What a listing at `revision` gave.
    #[must_use]
    pub fn listed(revision: i64, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut mirror = Self { revision, ..Self::default() };
        for entry in entries {
            mirror.put(entry);
        }
        mirror
    }

    /// Follows what a watch told; `revision` is etcd's then.
    pub fn follow(&mut self, revision: i64, events: impl IntoIterator<Item = Event>) {
        for event in events {
            match event {
                Event::Put(entry) => self.put(entry),
                Event::Gone(key) => self.remove(&key),
            }
        }
        self.revision = self.revision.max(revision);
    }

    fn put(&mut self, entry: Entry) {
        let Entry { key, value, created, changed, lease } = entry;
        match key {
            Key::Route(name) => {
                // What is not text is refused as a route, in words.
                let text = String::from_utf8_lossy(&value).into_owned();
                self.routes.insert(name, SharedRoute { text, revision: changed });
            }
            Key::Owner(route) => {
                let node = String::from_utf8_lossy(&value).into_owned();
                self.owners.insert(route, Owner { node, lease, fence: created });
            }
            Key::Node(node) => {
                // A node of another version is alive too, whatever it says of itself.
                self.nodes.insert(node, decode(&value).unwrap_or_default());
            }
            Key::Status { route, node } => match decode(&value) {
                Some(status) => {
                    self.statuses.entry(route).or_default().insert(node, status);
                }
                None => self.remove(&Key::Status { route, node }),
            },
        }
    }

    fn remove(&mut self, key: &Key) {
        match key {
            Key::Route(name) => drop(self.routes.remove(name)),
            Key::Owner(route) => drop(self.owners.remove(route)),
            Key::Node(node) => drop(self.nodes.remove(node)),
            Key::Status { route, node } => {
                if let Some(of_route) = self.statuses.get_mut(route) {
                    of_route.remove(node);
                    if of_route.is_empty() {
                        self.statuses.remove(route);
                    }
                }
            }
        }
    }

    /// The live nodes that want to be the one that runs a route.
    #[must_use]
    pub fn candidates(&self, route: &str) -> BTreeMap<&str, Fitness> {
        let statuses = self.statuses.get(route).into_iter().flatten();
        let live = statuses.filter(|(node, _)| self.nodes.contains_key(*node));
        live.filter_map(|(node, status)| Some((node.as_str(), status.fitness()?))).collect()
    }

    /// The routes whose keys are bound to `lease`.
    #[must_use]
    pub fn owned_with(&self, lease: i64) -> BTreeSet<String> {
        let ours = self.owners.iter().filter(|(_, owner)| owner.lease == lease);
        ours.map(|(route, _)| route.clone()).collect()
    }

    /// Every route that somebody owns, or wants to.
    #[must_use]
    pub fn contested(&self) -> BTreeSet<String> {
        let wanted = |statuses: &BTreeMap<String, StatusRecord>| {
            statuses.values().any(|status| status.fitness().is_some())
        };
        let wanted = self.statuses.iter().filter(|(_, statuses)| wanted(statuses));
        wanted.map(|(route, _)| route).chain(self.owners.keys()).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: Key, value: &str, revision: i64, lease: i64) -> Entry {
        Entry { key, value: value.into(), created: revision, changed: revision, lease }
    }

    const ONE: &str = r#"{"state":"applied","revision":3,"instances":"one"}"#;

    #[test]
    fn a_listing_and_a_watch_come_to_the_same() {
        let route = Key::Route("r".into());
        let status = Key::Status { route: "r".into(), node: "a".into() };
        let node = r#"{"host":"a","tcp_port":1,"http_port":2,"region":"","zone":"z","version":"1","started":5,"load":{"routes":1,"topics":2,"messages":3}}"#;
        let entries = [
            entry(route.clone(), "text", 3, 0),
            entry(Key::Node("a".into()), node, 4, 9),
            entry(status.clone(), ONE, 5, 9),
            entry(Key::Owner("r".into()), "a", 6, 9),
        ];
        let listed = Mirror::listed(6, entries.clone());
        let mut followed = Mirror::default();
        followed.follow(6, entries.into_iter().map(Event::Put));
        assert_eq!(listed, followed);
        assert_eq!(listed.routes["r"], SharedRoute { text: "text".into(), revision: 3 });
        assert_eq!(listed.owners["r"], Owner { node: "a".into(), lease: 9, fence: 6 });
        assert_eq!(listed.nodes["a"].zone, "z");
        assert_eq!(listed.candidates("r"), BTreeMap::from([("a", Fitness::Fit)]));
        assert_eq!(listed.owned_with(9), BTreeSet::from(["r".to_owned()]));
        assert_eq!(listed.owned_with(8), BTreeSet::new());

        let keys = [route, Key::Node("a".into()), status, Key::Owner("r".into())];
        followed.follow(9, keys.into_iter().map(Event::Gone));
        assert_eq!(followed, Mirror { revision: 9, ..Mirror::default() });
    }

    #[test]
    fn only_live_nodes_are_candidates_and_what_is_contested_is_known() {
        let mut mirror = Mirror::default();
        for node in ["a", "b"] {
            let key = Key::Status { route: "r".into(), node: node.into() };
            mirror.follow(2, [Event::Put(entry(key, ONE, 2, 1))]);
        }
        mirror.follow(3, [Event::Put(entry(Key::Node("b".into()), "?", 3, 1))]);
        assert_eq!(mirror.candidates("r").into_keys().collect::<Vec<_>>(), ["b"]);
        mirror.follow(4, [Event::Put(entry(Key::Owner("gone".into()), "x", 4, 1))]);
        let contested: Vec<String> = mirror.contested().into_iter().collect();
        assert_eq!(contested, ["gone", "r"]);
        // What cannot be read is as good as not there.
        let key = Key::Status { route: "r".into(), node: "b".into() };
        mirror.follow(5, [Event::Put(entry(key, "?", 5, 1))]);
        assert!(mirror.candidates("r").is_empty());
    }
}
