//! TLVs of the operator's own: types of the custom range, each with one fact of this connection that we know ourselves.
//!
//! Pure. The facts are a closed set, so that no text of a client's gets into a header by way of a template. A type that
//! is ours here is never passed on from a proxy: anyone who reads it reads what we say.

use truepeer::proto::{Tlv, TlvType};
use truepeer::{ClientIdentity, PeerAddress};

/// The types that the specification leaves to applications. Source: PROXY protocol 2.2.7, PP2_TYPE_MIN_CUSTOM.
pub const CUSTOM: std::ops::RangeInclusive<u8> = 0xE0..=0xEF;
/// How many there are.
const TYPES: usize = 16;

/// What may stand in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnFact {
    /// The listener's id.
    Listener,
    /// The proxy's address and port; the client's own where there is no proxy.
    Peer,
    /// How the client is known: `v1`, `v2`, `direct`.
    Source,
    /// Common name of a client certificate that the proxy verified.
    ClientCn,
    /// Our id for the connection, also where the proxy has sent one of its own.
    Id,
}

impl OwnFact {
    /// Every fact, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Listener, Self::Peer, Self::Source, Self::ClientCn, Self::Id];

    /// The word in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Peer => "peer",
            Self::Source => "source",
            Self::ClientCn => "client-cn",
            Self::Id => "id",
        }
    }

    /// What it says of a connection; `None`: nothing, and then there is no TLV.
    fn value(self, identity: &ClientIdentity, names: Names<'_>) -> Option<Vec<u8>> {
        let text = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
        match self {
            Self::Listener => text(names.listener),
            Self::Id => text(names.id),
            Self::Peer => match identity.peer() {
                PeerAddress::Tcp(peer) => text(&peer.to_string()),
                _ => text("unix"),
            },
            Self::Source => text(identity.source().code()),
            Self::ClientCn => identity.tls().and_then(|tls| tls.verified_common_name()).map(<[u8]>::to_vec),
        }
    }
}

/// What we call a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Names<'a> {
    /// Its id; empty for a proof.
    pub id: &'a str,
    /// The listener that it came to; empty for a proof.
    pub listener: &'a str,
}

/// `backend.<id>.own-tlvs`: a fact for each type that has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct OwnTlvs([Option<OwnFact>; TYPES]);

impl OwnTlvs {
    /// Adds one; `false` if `kind` is not in [`CUSTOM`], or has a fact already.
    pub fn add(&mut self, kind: u8, fact: OwnFact) -> bool {
        match self.place(kind) {
            Some(place @ None) => {
                *place = Some(fact);
                true
            }
            _ => false,
        }
    }

    /// Whether that type is ours.
    #[must_use]
    pub fn has(&self, kind: TlvType) -> bool {
        let at = kind.0.checked_sub(*CUSTOM.start()).map(usize::from);
        at.and_then(|at| self.0.get(at)).is_some_and(Option::is_some)
    }

    /// Those that say something of this connection, in the order of their types.
    pub(super) fn collect(&self, identity: &ClientIdentity, names: Names<'_>) -> Vec<(TlvType, Vec<u8>)> {
        if *self == Self::default() {
            return Vec::new();
        }
        let said = CUSTOM.zip(&self.0).filter_map(|(kind, fact)| Some((kind, (*fact)?)));
        said.filter_map(|(kind, fact)| Some((TlvType(kind), fact.value(identity, names)?))).collect()
    }

    /// Whether a received item must not go on, since its type is ours.
    pub(super) fn hides(&self, tlv: &Tlv<'_>) -> bool {
        self.has(tlv.kind)
    }

    fn place(&mut self, kind: u8) -> Option<&mut Option<OwnFact>> {
        self.0.get_mut(usize::from(kind.checked_sub(*CUSTOM.start())?))
    }
}
