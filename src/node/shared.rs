//! The routes that come from the registry: which of them are in force here, and what the node says of them.
//!
//! One that would make the configuration wrong changes nothing: the last good one of its name stays, and the registry
//! is told why.

use std::collections::{BTreeMap, BTreeSet};

use crate::bridge::route::{Instances, Route};
use crate::config::SharedText;
use crate::registry::mirror::SharedRoute;
use crate::registry::records::{StatusRecord, Verdict};

/// A route of the registry that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Accepted {
    text: SharedText,
    revision: i64,
}

/// One that is not.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refused {
    revision: i64,
    errors: Vec<String>,
}

/// See the module's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SharedRoutes {
    accepted: BTreeMap<String, Accepted>,
    refused: BTreeMap<String, Refused>,
}

impl SharedRoutes {
    /// The texts in force.
    pub(super) fn texts(&self) -> Vec<SharedText> {
        self.accepted.values().map(|accepted| accepted.text.clone()).collect()
    }

    /// The text in force that stands at `origin`.
    pub(super) fn text_at(&self, origin: &str) -> Option<String> {
        let found = self.accepted.values().find(|accepted| accepted.text.origin == origin);
        found.map(|accepted| accepted.text.text.clone())
    }

    /// Whether some were refused.
    pub(super) fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Judges what the registry holds. `check` says what is wrong if these texts are in force. `origin` says where a route
    /// stands.
    ///
    /// All changes at once are tried first, since two of them may only be right together, then without those that are
    /// blamed; these then one after the other, for as long as that gets on.
    pub(super) fn judge(
        &self,
        held: &BTreeMap<String, SharedRoute>,
        origin: impl Fn(&str) -> String,
        mut check: impl FnMut(&[SharedText]) -> Result<(), Vec<String>>,
    ) -> Self {
        let stays = |(name, _): &(&String, &Accepted)| held.contains_key(*name);
        let mut judged = Self {
            accepted: self
                .accepted
                .iter()
                .filter(stays)
                .map(|(n, a)| (n.clone(), a.clone()))
                .collect(),
            refused: BTreeMap::new(),
        };
        let is_new = |name: &str, route: &SharedRoute| {
            self.accepted.get(name).is_none_or(|accepted| accepted.revision != route.revision)
        };
        let mut open: BTreeMap<String, Accepted> = held
            .iter()
            .filter(|(name, route)| is_new(name, route))
            .map(|(name, route)| {
                let (name, text) = (name.clone(), route.text.clone());
                let text = SharedText { origin: origin(&name), name: name.clone(), text };
                (name, Accepted { text, revision: route.revision })
            })
            .collect();
        if open.is_empty() {
            return judged;
        }
        // Those that are blamed step aside until the others are in.
        let mut blamed = BTreeMap::new();
        loop {
            let mut together = judged.clone();
            together.accepted.extend(open.clone());
            let Err(errors) = check(&together.texts()) else {
                judged = together;
                open.clear();
                break;
            };
            let is_blamed = |(_, new): &(String, Accepted)| {
                let origin = format!("{}:", new.text.origin);
                errors.iter().any(|error| error.starts_with(&origin))
            };
            let (aside, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
                open.into_iter().partition(is_blamed);
            open = others;
            if aside.is_empty() {
                break;
            }
            blamed.extend(aside);
        }
        open.append(&mut blamed);
        if !open.is_empty()
            && let Err(errors) = check(&judged.texts())
        {
            // It is not theirs: the node's files are wrong at the moment.
            let refuse = |(name, new): (String, Accepted)| {
                (name, Refused { revision: new.revision, errors: errors.clone() })
            };
            judged.refused = open.into_iter().map(refuse).collect();
            return judged;
        }
        judged.take_one_by_one(open, check);
        judged
    }

    /// Takes what can be taken of `open`, one after the other, for as long as that gets on; refuses the rest.
    fn take_one_by_one(
        &mut self,
        mut open: BTreeMap<String, Accepted>,
        mut check: impl FnMut(&[SharedText]) -> Result<(), Vec<String>>,
    ) {
        while !open.is_empty() {
            let before = open.len();
            open.retain(|name, new| {
                let old = self.accepted.insert(name.clone(), new.clone());
                let Err(errors) = check(&self.texts()) else {
                    self.refused.remove(name);
                    return false;
                };
                match old {
                    Some(old) => self.accepted.insert(name.clone(), old),
                    None => self.accepted.remove(name),
                };
                let revision = new.revision;
                self.refused.insert(name.clone(), Refused { revision, errors });
                true
            });
            if open.len() == before {
                break;
            }
        }
    }

    /// What is newly refused, compared with `earlier`, and why.
    pub(super) fn newly_refused<'a>(
        &'a self,
        earlier: &'a Self,
    ) -> impl Iterator<Item = (&'a str, &'a [String])> {
        let is_new = move |(name, refused): &(&String, &Refused)| {
            earlier.refused.get(*name) != Some(*refused)
        };
        let refused = self.refused.iter().filter(is_new);
        refused.map(|(name, refused)| (name.as_str(), refused.errors.as_slice()))
    }

    /// What the node says of the routes of the registry, and of those of its own files (among `routes`) of which there is
    /// one.
    pub(super) fn statuses(&self, routes: &[Route]) -> BTreeMap<String, StatusRecord> {
        let instances = |name: &str| {
            let found = routes.iter().find(|route| route.name == name);
            found.map_or(Instances::All, |route| route.instances).into()
        };
        let applied = |revision| StatusRecord {
            state: Verdict::Applied,
            revision,
            last_good: revision,
            instances: Instances::One.into(),
            errors: Vec::new(),
        };
        let mut statuses: BTreeMap<String, StatusRecord> = routes
            .iter()
            .filter(|route| route.instances == Instances::One)
            .map(|route| (route.name.clone(), applied(0)))
            .collect();
        for (name, accepted) in &self.accepted {
            let status = StatusRecord { instances: instances(name), ..applied(accepted.revision) };
            statuses.insert(name.clone(), status);
        }
        for (name, refused) in &self.refused {
            let status = StatusRecord {
                state: Verdict::Refused,
                revision: refused.revision,
                last_good: self.accepted.get(name).map_or(0, |accepted| accepted.revision),
                instances: instances(name),
                errors: refused.errors.clone(),
            };
            statuses.insert(name.clone(), status);
        }
        statuses
    }
}

/// Of `routes`, those that are to run on a node that owns `owned`.
pub(super) fn to_run(routes: &[Route], owned: &BTreeSet<String>) -> Vec<Route> {
    let runs = |route: &&Route| route.instances == Instances::All || owned.contains(&route.name);
    routes.iter().filter(runs).cloned().collect()
}

/// The names of those of `routes` of which there is one and which are not owned.
pub(super) fn not_owned(routes: &[Route], owned: &BTreeSet<String>) -> BTreeSet<String> {
    let stops = |route: &&Route| route.instances == Instances::One && !owned.contains(&route.name);
    routes.iter().filter(stops).map(|route| route.name.clone()).collect()
}

/// The names of those of `running` of which there is one and which do not go on as they are among `routes`.
pub(super) fn restarted(running: &[Route], routes: &[Route]) -> BTreeSet<String> {
    let goes_on = |old: &Route| {
        routes.iter().any(|new| {
            // Other figures of a limit need no restart.
            let limits = old.limit.as_ref().zip(new.limit.as_ref());
            let is_retuned = limits.is_some_and(|(old, new)| old.is_alike(new));
            let limit = if is_retuned { new.limit.clone() } else { old.limit.clone() };
            Route { limit, ..old.clone() } == *new
        })
    };
    let stale = running.iter().filter(|old| old.instances == Instances::One && !goes_on(old));
    stale.map(|old| old.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(routes: &[(&str, &str, i64)]) -> BTreeMap<String, SharedRoute> {
        let route = |(name, text, revision): &(&str, &str, i64)| {
            ((*name).to_owned(), SharedRoute { text: (*text).to_owned(), revision: *revision })
        };
        routes.iter().map(route).collect()
    }

    /// Texts are right if none says bad, and if each `needs x` finds an `x`.
    fn check(texts: &[SharedText]) -> Result<(), Vec<String>> {
        for SharedText { name, text, .. } in texts {
            let needed = text.strip_prefix("needs ");
            let has = |needed: &str| texts.iter().any(|other| other.text == needed);
            if text == "bad" || needed.is_some_and(|needed| !has(needed)) {
                return Err(vec![format!("{name} is {text}")]);
            }
        }
        Ok(())
    }

    fn judge(known: &SharedRoutes, routes: &[(&str, &str, i64)]) -> SharedRoutes {
        known.judge(&held(routes), |name| format!("etcd:{name}"), check)
    }

    fn in_force(known: &SharedRoutes) -> Vec<(String, String)> {
        known.texts().into_iter().map(|text| (text.name, text.text)).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_bad_route_leaves_its_last_good_one_and_all_others() {
        let first = judge(&SharedRoutes::default(), &[("a", "1", 1), ("b", "2", 2)]);
        assert_eq!(in_force(&first), pairs(&[("a", "1"), ("b", "2")]));
        let then = judge(&first, &[("a", "bad", 3), ("b", "3", 4), ("c", "bad", 5)]);
        assert_eq!(in_force(&then), pairs(&[("a", "1"), ("b", "3")]));
        let said = then.statuses(&[]);
        let short = |name: &str| (said[name].state, said[name].revision, said[name].last_good);
        assert_eq!(short("a"), (Verdict::Refused, 3, 1));
        assert_eq!(short("b"), (Verdict::Applied, 4, 4));
        assert_eq!(short("c"), (Verdict::Refused, 5, 0));
        assert_eq!(said["a"].errors, ["a is bad"]);
        assert_eq!(then.newly_refused(&first).count(), 2);
        let again = judge(&then, &[("a", "bad", 3), ("b", "3", 4)]);
        assert_eq!(again.newly_refused(&then).count(), 0);
        assert_eq!(in_force(&judge(&again, &[])), pairs(&[]));
    }

    #[test]
    fn routes_that_are_right_only_together_are_taken_in_any_order() {
        let none = SharedRoutes::default();
        let both = judge(&none, &[("a", "needs 2", 1), ("b", "2", 2)]);
        assert!(!both.has_refused());
        // A bad one among them: those that need each other come in one after the other.
        let some = judge(&none, &[("a", "needs 2", 1), ("b", "2", 2), ("c", "bad", 3)]);
        assert_eq!(in_force(&some), pairs(&[("a", "needs 2"), ("b", "2")]));
        assert_eq!(some.refused.keys().collect::<Vec<_>>(), ["c"]);
        assert_eq!(some.text_at("etcd:b").as_deref(), Some("2"));
    }

    #[test]
    fn one_bad_route_among_many_costs_few_checks_and_bad_files_one() {
        let names: Vec<String> = (0..1000).map(|number| format!("r{number}")).collect();
        let text = |name: &String| if name == "r500" { "bad" } else { "good" };
        let routes: Vec<(&str, &str, i64)> =
            names.iter().map(|name| (name.as_str(), text(name), 1)).collect();
        let (held, mut checks) = (held(&routes), 0);
        let judged = SharedRoutes::default().judge(
            &held,
            |name| format!("etcd:{name}"),
            |texts| {
                checks += 1;
                let bad = texts.iter().find(|text| text.text == "bad");
                bad.map_or(Ok(()), |bad| Err(vec![format!("{}:1:1: bad", bad.origin)]))
            },
        );
        assert_eq!((judged.accepted.len(), judged.refused.len()), (999, 1));
        assert!(checks < 6, "{checks}");

        let mut checks = 0;
        let files = vec!["bridges/a.yaml:1:1: bad".to_owned()];
        let judged = SharedRoutes::default().judge(
            &held,
            |name| format!("etcd:{name}"),
            |_| {
                checks += 1;
                Err(files.clone())
            },
        );
        assert_eq!((judged.accepted.len(), judged.refused.len()), (0, 1000));
        assert_eq!(judged.refused["r1"].errors, files);
        assert!(checks < 4, "{checks}");
    }
}
