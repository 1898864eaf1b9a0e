//! Handoff: tell the backend who the client is. One file per way; this one is the PROXY header.
//!
//! Every way is a [`Conversation`], begun by an [`Introduction`]. Pure: an identity in, the header's bytes out, in
//! canonical form: re-encoded from what was understood, never the received text. Over the kind's budget optional TLVs go
//! in a fixed order; address and checksum never.

mod about;
mod choice;
mod conversation;
mod environment;
mod host;
mod imap_id;
pub mod kind;
mod opening;
mod own_tlvs;
mod tlvs;
mod turn;
mod xclient;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use truepeer::proto::{Addresses, EncodeError, Encoder};
use truepeer::{ClientIdentity, ClientPair, Endpoint, PeerAddress, Role};

use crate::engine::label::Label;
use crate::engine::spare;
use crate::facts::address::Family;

pub use crate::engine::label::{LabelDestination, Settings as LabelSettings};
use about::About;
pub use about::Counter;
pub use choice::{Handoff, HandoffFacts, Proof};
use conversation::Words;
pub use conversation::{ConnectAs, Conversation, Dialled, Introduction, Step, drive};
pub use host::{behind_a_proxy, lacking, lacking_for_programs};
use imap_id::{Confirmed, ImapId};
pub use kind::Kind;
use kind::PortZero;
pub use opening::{Company, Opening};
pub use own_tlvs::{CUSTOM, Names, OwnFact, OwnTlvs};
use tlvs::Collected;
pub use tlvs::{Fact, FactSet, TlvChoice};
pub use turn::{Purpose, Untold};
use xclient::Xclient;

/// How a backend is told: what it is, and the way.
#[derive(Debug, Clone, Copy)]
pub struct Telling<'a> {
    /// What it can read.
    pub kind: Kind,
    /// The way that was chosen.
    pub handoff: Handoff,
    /// Which facts travel besides addresses.
    pub tlvs: TlvChoice,
    /// What we add to them.
    pub own_tlvs: OwnTlvs,
    /// What its socket is to say, if that is the way.
    pub label: &'a LabelSettings,
}

impl Telling<'_> {
    /// What to change if a backend refuses what it is told.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        let of_handoff = self.handoff.facts().remedy;
        if of_handoff.is_empty() { self.kind.facts().remedy } else { of_handoff }
    }
}

/// What precedes the client's bytes on the way to a backend.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// To be written first, in one write. Empty with `handoff = "none"`.
    pub bytes: Vec<u8>,
    /// What was replaced because it was not told or did not fit.
    pub substituted: Substituted,
    /// TLVs that did not fit into the backend's budget.
    pub dropped_tlvs: usize,
    /// The family of the client that it names; `None` if it names none.
    pub family: Option<Family>,
}

/// What a header says that the client's proxy did not. One byte, since every connection has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Substituted(u8);

impl Substituted {
    /// The destination is the address that the peer reached.
    pub const DESTINATION: Self = Self(1);
    /// The client's port is made up, since the backend refuses "not told".
    pub const CLIENT_PORT: Self = Self(2);
    /// The client's address is one that was configured for it, since the backend cannot say its family.
    pub const CLIENT_ADDRESS: Self = Self(4);

    /// Whether `what` was.
    #[must_use]
    pub const fn has(self, Self(what): Self) -> bool {
        self.0 & what != 0
    }

    /// Notes whether `what` was.
    pub(crate) const fn note(&mut self, Self(what): Self, was: bool) {
        self.0 = if was { self.0 | what } else { self.0 & !what };
    }

    /// What was, in the words of a record; `None` if nothing was.
    #[must_use]
    pub fn words(self) -> Option<&'static str> {
        match (self.has(Self::DESTINATION), self.has(Self::CLIENT_ADDRESS), self.has(Self::CLIENT_PORT)) {
            (true, true, true) => Some("destination,client_address,client_port"),
            (true, true, false) => Some("destination,client_address"),
            (true, false, true) => Some("destination,client_port"),
            (true, false, false) => Some("destination"),
            (false, true, true) => Some("client_address,client_port"),
            (false, true, false) => Some("client_address"),
            (false, false, true) => Some("client_port"),
            (false, false, false) => None,
        }
    }
}

/// Why a backend cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untellable {
    /// The proxy's own connection came over a UNIX socket: it has no address, and ours would be a lie.
    NoAddress,
    /// The header cannot be encoded.
    Encode(EncodeError),
}

/// The port that stands for "not told" where 0 is refused.
const MADE_UP_PORT: u16 = 1;

/// What a backend that is told in this way is to be told.
///
/// `reached`: the address that the peer connected to. `names`: the connection's id, sent to those that read it, where
/// the proxy sent none, and its listener.
///
/// # Errors
/// [`Untellable`].
pub fn introduce(
    telling: Telling<'_>,
    counter: &Counter,
    identity: &ClientIdentity,
    reached: Option<SocketAddr>,
    names: Names<'_>,
) -> Result<Introduction, Untellable> {
    let spoken = |words: fn(About) -> Words| {
        let about = About::new(counter, identity, reached, names.id)?;
        let substituted = about.substituted;
        Ok(Introduction::spoken(words(about), substituted))
    };
    match telling.handoff {
        Handoff::ProxyV2 | Handoff::ProxyV1 | Handoff::None => {
            header(telling, identity, reached, names).map(Introduction::written)
        }
        Handoff::Transparent => {
            let client = client(identity)?;
            Ok(Introduction::from_address(client.to_socket_addr(client.port.map_or(0, Into::into))))
        }
        Handoff::Label => {
            let (label, substituted) = label(telling, identity, reached)?;
            Ok(Introduction::labelled(label, substituted))
        }
        Handoff::Exec => {
            let (environment, substituted) = environment::of(identity, reached, names.id)?;
            let (label, _) = label(telling, identity, reached)?;
            Ok(Introduction::to_program(environment, label, substituted))
        }
        Handoff::Xclient => spoken(|about| Words::Xclient(Xclient::new(about))),
        Handoff::ImapId => spoken(|about| Words::ImapId(ImapId::new(about, Confirmed::Said))),
        Handoff::ImapIdUnconfirmed => spoken(|about| Words::ImapId(ImapId::new(about, Confirmed::Unsaid))),
    }
}

/// What a socket is to say of the client.
fn label(
    telling: Telling<'_>,
    identity: &ClientIdentity,
    reached: Option<SocketAddr>,
) -> Result<(Label, Substituted), Untellable> {
    let client = client(identity)?;
    let mut substituted = Substituted::default();
    substituted.note(Substituted::CLIENT_PORT, client.port.is_none());
    let destination = match telling.label.destination {
        LabelDestination::Own => None,
        LabelDestination::Clients => Some(destination(identity, client.ip, reached, &mut substituted)),
    };
    let client = client.to_socket_addr(client.port.map_or(0, Into::into));
    Ok((Label { client, destination, substitute: telling.label.substitute }, substituted))
}

/// The header for a backend that reads one.
fn header(
    telling: Telling<'_>,
    identity: &ClientIdentity,
    reached: Option<SocketAddr>,
    names: Names<'_>,
) -> Result<Header, Untellable> {
    if telling.handoff == Handoff::None {
        return Ok(Header::default());
    }
    let facts = telling.kind.facts();
    let mut substituted = Substituted::default();
    let source = client(identity)?;
    let destination = destination(identity, source.ip, reached, &mut substituted);
    let source_port = match (source.port, telling.handoff, facts.v1_port_zero) {
        (None, Handoff::ProxyV1, PortZero::Refused) => {
            substituted.note(Substituted::CLIENT_PORT, true);
            MADE_UP_PORT
        }
        (port, ..) => port.map_or(0, Into::into),
    };
    let client = SocketAddr::new(source.ip, source_port);
    let family = Some(Family::of(source.ip));
    let addresses: Addresses<'_> = ClientPair { client, destination }.addresses();
    if telling.handoff == Handoff::ProxyV1 {
        let bytes = encode(&Encoder::v1(addresses))?;
        return Ok(Header { bytes, substituted, dropped_tlvs: 0, family });
    }
    let breaks = facts.breaks.map_or(FactSet::NONE, |(breaks, _)| breaks);
    let collected = Collected::new(telling, facts.tlvs, breaks, identity, names);
    let mut tlvs = collected.tlvs();
    let mut dropped_tlvs = 0_usize;
    loop {
        let mut encoder = Encoder::v2(addresses).tlvs(&tlvs);
        if collected.checksum {
            encoder = encoder.with_checksum();
        }
        let len = encoder.encoded_len().map_err(Untellable::Encode)?;
        if len <= facts.header_budget || tlvs.is_empty() {
            return Ok(Header { bytes: encode(&encoder)?, substituted, dropped_tlvs, family });
        }
        tlvs.pop();
        dropped_tlvs = dropped_tlvs.saturating_add(1);
    }
}

/// Whom the header names: the client, or the proxy itself for its own connections. Never us.
fn client(identity: &ClientIdentity) -> Result<Endpoint, Untellable> {
    match (identity.role(), identity.peer()) {
        (Role::Client(client), _) => Ok(client),
        (Role::ProxyOwn(_), PeerAddress::Tcp(proxy)) => Ok(proxy.into()),
        (Role::ProxyOwn(_), _) => Err(Untellable::NoAddress),
    }
}

/// Where the client wanted to go, in the client's family: the two are never mixed.
fn destination(
    identity: &ClientIdentity,
    client: IpAddr,
    reached: Option<SocketAddr>,
    substituted: &mut Substituted,
) -> SocketAddr {
    let same_family = |ip: &IpAddr| ip.is_ipv4() == client.is_ipv4();
    let told = identity.destination();
    let reached_port = reached.map_or(0, |reached| reached.port());
    let port = told.and_then(|told| told.port).map_or(reached_port, Into::into);
    if let Some(told) = told.filter(|told| same_family(&told.ip)) {
        substituted.note(Substituted::DESTINATION, told.port.is_none());
        return SocketAddr::new(told.ip, port);
    }
    substituted.note(Substituted::DESTINATION, true);
    let unspecified = match client {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(reached.map(|reached| reached.ip()).filter(same_family).unwrap_or(unspecified), port)
}

/// With room for the client's first bytes, which mostly follow in the same write.
fn encode(encoder: &Encoder<'_>) -> Result<Vec<u8>, Untellable> {
    const FIRST_BYTES: usize = 256;
    let len = encoder.encoded_len().map_err(Untellable::Encode)?;
    let mut bytes = spare();
    bytes.reserve(len.saturating_add(FIRST_BYTES));
    bytes.resize(len, 0);
    let len = encoder.encode(&mut bytes).map_err(Untellable::Encode)?;
    bytes.truncate(len);
    Ok(bytes)
}

#[cfg(test)]
mod dialogue;
#[cfg(test)]
mod tests;
