//! In which order the hosts of a broker are tried.
//!
//! Each connection begins somewhere else, so that connections spread. A host that failed comes last until the others
//! have failed after it.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};

/// A host and its port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host {
    /// Name or address, without brackets.
    pub name: String,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

/// What a connection remembers of its hosts.
#[derive(Debug)]
pub(in crate::bridge) struct Turns {
    /// Where this connection begins.
    start: usize,
    /// Which failure was the last of each, counted from 1.
    failed: BTreeMap<Host, u64>,
    failures: u64,
}

impl Turns {
    /// Begins anywhere.
    pub(in crate::bridge) fn new() -> Self {
        // The standard library's hash seeds are random for each instance.
        let random = std::hash::RandomState::new().build_hasher().finish();
        Self::starting_at(usize::try_from(random >> 32).unwrap_or(0))
    }

    const fn starting_at(start: usize) -> Self {
        Self { start, failed: BTreeMap::new(), failures: 0 }
    }

    /// The one to try now; `None` of none.
    pub(in crate::bridge) fn next(&self, hosts: &[Host]) -> Option<Host> {
        let rank = |index: usize| (index + hosts.len() - self.start % hosts.len()) % hosts.len();
        let order = |(index, host): &(usize, &Host)| {
            (self.failed.get(*host).copied().unwrap_or(0), rank(*index))
        };
        hosts.iter().enumerate().min_by_key(order).map(|(_, host)| host.clone())
    }

    /// It could not be reached, or was lost.
    pub(in crate::bridge) fn failed(&mut self, host: &Host) {
        self.failures += 1;
        self.failed.insert(host.clone(), self.failures);
    }

    /// It took the connection.
    pub(in crate::bridge) fn worked(&mut self, host: &Host) {
        self.failed.remove(host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> Vec<Host> {
        names.iter().map(|name| Host { name: (*name).to_owned(), port: 1 }).collect()
    }

    #[test]
    fn a_host_that_failed_comes_last() {
        let all = hosts(&["a", "b", "c"]);
        let mut turns = Turns::starting_at(4);
        let mut tried = String::new();
        for _ in 0..5 {
            let host = turns.next(&all).unwrap();
            turns.failed(&host);
            tried += &host.name;
        }
        assert_eq!(tried, "bcabc");
        // The one that works is kept to, until it fails.
        turns.worked(&all[0]);
        assert_eq!(turns.next(&all).unwrap().name, "a");
        turns.failed(&all[0]);
        assert_eq!(turns.next(&all).unwrap().name, "b");
    }

    #[test]
    fn connections_begin_at_different_hosts() {
        let all = hosts(&["a", "b", "c", "d"]);
        let mut begun: Vec<_> =
            (0..200).filter_map(|_| Turns::new().next(&all)).map(|host| host.name).collect();
        begun.sort();
        begun.dedup();
        assert_eq!(begun.len(), 4);
        assert_eq!(Turns::new().next(&[]), None);
    }
}
