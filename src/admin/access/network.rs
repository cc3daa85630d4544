//! Networks in CIDR notation.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// `ADDRESS/BITS`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
        let most = if address.is_ipv4() { 32 } else { 128 };
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether a peer's `host:port` is in it. An IPv4 address may come as one of IPv6.
    #[must_use]
    pub fn has(&self, peer: &str) -> bool {
        let Ok(peer) = peer.parse::<SocketAddr>() else { return false };
        match (self.address, peer.ip().to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.bits);
                alike(own.to_bits().into(), other.to_bits().into(), shift)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                alike(own.to_bits(), other.to_bits(), 128 - u32::from(self.bits))
            }
            _ => false,
        }
    }
}

fn alike(one: u128, other: u128, shift: u32) -> bool {
    one.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0)
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_in_it_by_their_first_bits() {
        let has = |network: &str, peer: &str| Network::parse(network).unwrap().has(peer);
        assert!(has("127.0.0.1/8", "127.9.9.9:1"));
        assert!(has("127.0.0.1/8", "[::ffff:127.0.0.1]:1"));
        assert!(!has("127.0.0.1/8", "128.0.0.1:1"));
        assert!(has("0.0.0.0/0", "9.9.9.9:1") && !has("0.0.0.0/0", "[::1]:1"));
        assert!(has("10.1.2.3/32", "10.1.2.3:9") && !has("10.1.2.3/32", "10.1.2.2:9"));
        assert!(has("fd00::/8", "[fd12::1]:1") && has("::/0", "[::1]:1"));
        assert!(!has("127.0.0.1/8", "/run/socket"));
        for wrong in ["", "1.2.3.4", "1.2.3.4/33", "::/129", "x/8", "1.2.3.4/-1"] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }
}
