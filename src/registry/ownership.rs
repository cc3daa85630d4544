//! Which node runs a route of which there is one: decisions, and nothing else.
//!
//! Every node ranks the nodes that can run a route in the same way (rendezvous hashing), so all agree on who is to have
//! it without a word between them, and a node that comes or goes moves only its own share. What makes an owner is the
//! key in etcd alone: it is made if there is none, and bound to the owner's lease. Its create revision is the fence:
//! whoever gives a route up deletes the very key that it made, and no later one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::records::Fitness;

/// Who has a route's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The node.
    pub node: String,
    /// Its lease.
    pub lease: i64,
    /// When the key was made, in etcd's count: higher with each owner.
    pub fence: i64,
}

/// What a node is to do about a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the key, if nobody has by then.
    Claim,
    /// It is ours, and stays so.
    Keep,
    /// It is ours and another node is to have it: stop the route, then delete the key.
    GiveUp,
    /// Others see to it.
    Leave,
}

/// What is to be known for a decision.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The route.
    pub route: &'a str,
    /// Who asks.
    pub me: &'a str,
    /// The lease of who asks.
    pub lease: i64,
    /// Live nodes that want to run the route, and how fit they are for it.
    pub candidates: &'a BTreeMap<&'a str, Fitness>,
    /// Who has the key.
    pub owner: Option<&'a Owner>,
    /// How long nobody has had the key.
    pub vacant: Duration,
    /// How long a node that is to have the route may take to make the key, before the next one does.
    pub patience: Duration,
}

/// Decides. The node that ranks first takes a route; if it does not, the next one does when patience is over, so that
/// none stays without an owner.
#[must_use]
pub fn decide(question: &Question<'_>) -> Step {
    let rank = rank_of(question.me, question.route, question.candidates);
    match (question.owner, rank) {
        (Some(owner), Some(0)) if owner.lease == question.lease => Step::Keep,
        (Some(owner), _) if owner.lease == question.lease => Step::GiveUp,
        (Some(_), _) | (None, None) => Step::Leave,
        (None, Some(rank)) => {
            let turn = question.patience.saturating_mul(u32::try_from(rank).unwrap_or(u32::MAX));
            if question.vacant >= turn { Step::Claim } else { Step::Leave }
        }
    }
}

/// The place of `me` among the candidates, 0 first; `None` if it is none of them. The fittest come before all others.
fn rank_of(me: &str, route: &str, candidates: &BTreeMap<&str, Fitness>) -> Option<usize> {
    let mine = (*candidates.get(me)?, weight(route, me), me);
    let before =
        |(node, fitness): &(&&str, &Fitness)| (**fitness, weight(route, node), **node) > mine;
    Some(candidates.iter().filter(before).count())
}

/// What a node weighs for a route: the same on every machine and in every version.
fn weight(route: &str, node: &str) -> u64 {
    // FNV-1a, with a zero between the names, which none of them has.
    let bytes = route.bytes().chain(std::iter::once(0)).chain(node.bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // Its last bytes reach the high bits too little: splitmix64's finish spreads them.
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(6);

    fn fit<'a>(nodes: &[&'a str]) -> BTreeMap<&'a str, Fitness> {
        nodes.iter().map(|node| (*node, Fitness::Fit)).collect()
    }

    fn step(
        me: &str,
        candidates: &BTreeMap<&str, Fitness>,
        owner: Option<&Owner>,
        vacant: u64,
    ) -> Step {
        let lease = me.bytes().map(i64::from).sum();
        decide(&Question {
            route: "orders",
            me,
            lease,
            candidates,
            owner,
            vacant: Duration::from_secs(vacant),
            patience: PATIENCE,
        })
    }

    fn owned_by(node: &str) -> Owner {
        Owner { node: node.into(), lease: node.bytes().map(i64::from).sum(), fence: 7 }
    }

    /// The nodes in their order for the route.
    fn order<'a>(candidates: &BTreeMap<&'a str, Fitness>) -> Vec<&'a str> {
        let mut nodes: Vec<&str> = candidates.keys().copied().collect();
        nodes.sort_by_key(|node| rank_of(node, "orders", candidates));
        nodes
    }

    #[test]
    fn exactly_one_node_claims_and_the_next_one_if_it_does_not() {
        let candidates = fit(&["a", "b", "c"]);
        let nodes = order(&candidates);
        for (waited, claiming) in [(0, 1), (5, 1), (6, 2), (12, 3)] {
            let claims = |node: &&&str| step(node, &candidates, None, waited) == Step::Claim;
            assert_eq!(nodes.iter().filter(claims).count(), claiming, "after {waited} s");
        }
        assert_eq!(step(nodes[0], &candidates, None, 0), Step::Claim);
        assert_eq!(step("stranger", &candidates, None, 100), Step::Leave);
    }

    #[test]
    fn an_owner_keeps_gives_up_and_is_never_robbed() {
        let candidates = fit(&["a", "b", "c"]);
        let nodes = order(&candidates);
        let (first, last) = (nodes[0], nodes[2]);
        assert_eq!(step(first, &candidates, Some(&owned_by(first)), 0), Step::Keep);
        assert_eq!(step(last, &candidates, Some(&owned_by(last)), 0), Step::GiveUp);
        assert_eq!(step(first, &candidates, Some(&owned_by(last)), 100), Step::Leave);
        // The key of an earlier life of this node is bound to another lease.
        let earlier = Owner { lease: 1, ..owned_by(first) };
        assert_eq!(step(first, &candidates, Some(&earlier), 0), Step::Leave);
        // It cannot run the route any more.
        let others = fit(&[nodes[1], nodes[2]]);
        assert_eq!(step(first, &others, Some(&owned_by(first)), 0), Step::GiveUp);
    }

    #[test]
    fn who_can_run_it_as_it_is_goes_before_who_has_an_older_one() {
        let mut candidates = fit(&["a", "b", "c"]);
        let first = order(&candidates)[0];
        candidates.insert(first, Fitness::Outdated);
        assert_eq!(rank_of(first, "orders", &candidates), Some(2));
        assert_eq!(step(first, &candidates, Some(&owned_by(first)), 0), Step::GiveUp);
        let alone = BTreeMap::from([(first, Fitness::Outdated)]);
        assert_eq!(step(first, &alone, Some(&owned_by(first)), 0), Step::Keep);
    }

    #[test]
    fn a_node_that_goes_moves_its_own_routes_alone_and_shares_are_even() {
        let names: Vec<String> = (0..5).map(|node| format!("node-{node}:4150")).collect();
        let all: BTreeMap<&str, Fitness> =
            names.iter().map(|name| (name.as_str(), Fitness::Fit)).collect();
        let mut fewer = all.clone();
        fewer.remove(names[2].as_str());
        let owner = |route: &str, nodes: &BTreeMap<&str, Fitness>| {
            nodes.keys().find(|node| rank_of(node, route, nodes) == Some(0)).unwrap().to_string()
        };
        let mut shares: BTreeMap<String, usize> = BTreeMap::new();
        for route in (0..2000).map(|route| format!("route-{route}")) {
            let before = owner(&route, &all);
            if before != names[2] {
                assert_eq!(before, owner(&route, &fewer), "{route}");
            }
            *shares.entry(before).or_default() += 1;
        }
        assert!(shares.values().all(|share| (320..480).contains(share)), "{shares:?}");
    }

    #[test]
    fn weights_are_what_they_were() {
        // Nodes of different versions must agree.
        assert_eq!(weight("orders", "a:4150"), weight("orders", "a:4150"));
        assert_ne!(weight("orders", "a:4150"), weight("ordersa", ":4150"));
    }
}
