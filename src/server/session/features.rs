//! IDENTIFY: what a client is told, and what is put over its connection then.

use super::{Halt, Session};
use crate::engine::{Locality, TlsIdentity};
use crate::protocol::frame;
use crate::protocol::identify::{Agreed, Offer, Request, negotiate};
use crate::server::stream::PackingKind;
use crate::server::tls::Peer;

/// What is to be put over the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Upgrade {
    /// TLS comes first.
    pub(in crate::server) tls: bool,
    /// A compression comes over it.
    pub(in crate::server) packing: Option<PackingKind>,
}

impl Upgrade {
    fn of(agreed: &Agreed) -> Option<Self> {
        let packing = match agreed.deflate.map(u32::try_from) {
            Some(Ok(level)) => Some(PackingKind::Deflate(level)),
            _ => agreed.snappy.then_some(PackingKind::Snappy),
        };
        (agreed.tls || packing.is_some()).then_some(Self { tls: agreed.tls, packing })
    }
}

/// What was put over the connection.
#[derive(Debug, Default)]
pub(super) struct Features {
    tls: Option<Peer>,
    is_packed: bool,
}

impl Features {
    pub(super) const fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The common name of the client's certificate; empty without one.
    pub(super) fn common_name(&self) -> &str {
        self.tls.as_ref().map_or("", |peer| &peer.common_name)
    }

    /// The offer to a client that has these already: nothing is put over itself.
    fn left_of(&self, offer: &Offer) -> Offer {
        Offer {
            tls: offer.tls && self.tls.is_none(),
            deflate: offer.deflate && !self.is_packed,
            snappy: offer.snappy && !self.is_packed,
            ..offer.clone()
        }
    }
}

impl Session {
    pub(super) fn identify(&mut self, body: &[u8]) {
        let agreed = Request::parse(body).and_then(|request| {
            let offer = self.features.left_of(&self.options.offer);
            let agreed = negotiate(&request, &offer, self.settings)?;
            Ok((request, agreed))
        });
        match agreed {
            Ok((request, agreed)) => {
                self.settings = agreed.settings;
                if self.delivery.is_none() && self.options.topology_aware {
                    let client = (&*request.topology_region, &*request.topology_zone);
                    let node =
                        (&*self.options.offer.topology_region, &*self.options.offer.topology_zone);
                    self.client.locate(Locality::of(client, node));
                }
                self.delivery.get_or_insert(agreed.settings);
                self.client.amend(|identity| {
                    identity.client_id = request.client_id;
                    identity.hostname = request.hostname;
                    identity.user_agent = request.user_agent;
                    identity.sample_rate = agreed.settings.sample_rate;
                    identity.topology_region = request.topology_region;
                    identity.topology_zone = request.topology_zone;
                });
                self.halt = Upgrade::of(&agreed).map(Halt::Upgrade);
                self.replies.respond(&mut self.out, &agreed.reply);
            }
            Err(error) => self.replies.fail(&mut self.out, &error),
        }
    }

    /// What is to be put over the connection before another command is read.
    pub(in crate::server) const fn upgrade(&self) -> Option<Upgrade> {
        match self.halt {
            Some(Halt::Upgrade(upgrade)) => Some(upgrade),
            _ => None,
        }
    }

    /// Notes that the connection has TLS now.
    pub(in crate::server) fn secured(&mut self, peer: Peer) {
        let tls = TlsIdentity { version: peer.version, cipher_suite: peer.cipher_suite.clone() };
        self.client.amend(|identity| identity.tls = Some(tls));
        self.features.tls = Some(peer);
    }

    /// Notes that the connection is packed now.
    pub(in crate::server) fn packed(&mut self, kind: PackingKind) {
        self.client.amend(|identity| match kind {
            PackingKind::Snappy => identity.snappy = true,
            PackingKind::Deflate(_) => identity.deflate = true,
        });
        self.features.is_packed = true;
    }

    /// Goes on after an upgrade, which the client is told through all that was put over the connection.
    pub(in crate::server) fn upgraded(&mut self) {
        self.halt = None;
        self.replies.respond(&mut self.out, frame::OK);
    }
}
