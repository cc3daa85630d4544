//! Which nsqlookupds an address means.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

/// How long a name may take to be resolved.
const RESOLVING: Duration = Duration::from_secs(5);

/// One nsqlookupd.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The address that means it.
    pub(super) name: String,
    /// Where it is.
    pub(super) at: SocketAddr,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.to_string();
        if self.name.ends_with(&at) {
            f.write_str(&self.name)
        } else {
            write!(f, "{} at {at}", self.name)
        }
    }
}

/// Why an address means none.
#[derive(Debug, thiserror::Error)]
pub(super) enum AddressError {
    #[error("the name took longer than {RESOLVING:?} to resolve")]
    Timeout,
    #[error("{0}")]
    Resolve(#[from] std::io::Error),
    #[error("the name has no addresses")]
    None,
}

impl Place {
    /// Whether it is spoken to in TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.name.starts_with(TLS)
    }

    /// The host that its certificate is to name.
    pub(super) fn host(&self) -> &str {
        let name = bare(&self.name);
        let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }
}

const TLS: &str = "tls://";

fn bare(name: &str) -> &str {
    name.strip_prefix(TLS).unwrap_or(name)
}

/// All nsqlookupds that `name` (`host:port`, with `tls://` before it for TLS) means now.
pub(super) async fn resolve(name: &str) -> Result<Vec<Place>, AddressError> {
    let resolved = timeout(RESOLVING, lookup_host(bare(name))).await;
    let addresses = resolved.map_err(|_| AddressError::Timeout)??.collect();
    let places = of_one_family(addresses).into_iter();
    let places: Vec<_> = places.map(|at| Place { name: name.to_owned(), at }).collect();
    if places.is_empty() { Err(AddressError::None) } else { Ok(places) }
}

/// A name with addresses of both families means the same nsqlookupds twice: those of version 4 will do.
fn of_one_family(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_mixed = addresses.iter().any(SocketAddr::is_ipv4);
    addresses.into_iter().filter(|address| address.is_ipv4() || !is_mixed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_each_nsqlookupd_once() {
        let all: Vec<SocketAddr> = ["[::1]:1", "127.0.0.1:1", "127.0.0.2:1"]
            .map(|address| address.parse().unwrap())
            .to_vec();
        assert_eq!(of_one_family(all.clone()), all[1..]);
        assert_eq!(of_one_family(all[..1].to_vec()), all[..1]);
    }

    #[tokio::test]
    async fn addresses_are_resolved() {
        let places = resolve("tls://127.0.0.1:4160").await.unwrap();
        assert_eq!(places.len(), 1);
        assert!(places[0].is_secure() && places[0].host() == "127.0.0.1");
        assert_eq!(places[0].to_string(), "tls://127.0.0.1:4160");
        let places = resolve("[::1]:4160").await.unwrap();
        assert_eq!((places[0].host(), places[0].is_secure()), ("::1", false));
        let places = resolve("localhost:4160").await.unwrap();
        assert!(places[0].to_string().starts_with("localhost:4160 at "), "{}", places[0]);
        assert!(resolve("no-port").await.is_err());
        assert!(resolve("host.invalid:1").await.is_err());
    }
}
