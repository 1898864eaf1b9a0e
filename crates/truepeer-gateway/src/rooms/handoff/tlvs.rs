//! Which facts travel in a version 2 header besides addresses: the choice, and their collection from an identity.
//!
//! Pure. What is sent is made from what was understood of this connection's own header: a name that nobody verified
//! stays behind, and of two items of one type the first counts.

use std::borrow::Cow;

use smallvec::SmallVec;
use truepeer::ClientIdentity;
use truepeer::proto::{Ssl, Tlv, TlvType, TlvValue};

use super::{Names, Telling};

/// A kind of fact with a name in the configuration; the most useful first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// TLS between client and proxy: version, cipher, and the name in a certificate that was verified.
    Ssl,
    /// The proxy's id of the connection, or ours where it has none.
    UniqueId,
    /// The host name that the client asked for.
    Authority,
    /// The protocol that TLS negotiated.
    Alpn,
    /// The VPC endpoint of AWS.
    AwsVpcEndpointId,
    /// The private link of Azure.
    AzureLinkId,
    /// The Private Service Connect connection of Google Cloud.
    GcpConnectionId,
    /// VPC, endpoint and service of Alibaba Cloud.
    AlibabaIds,
    /// The proxy's network namespace.
    Netns,
    /// A checksum over the header, computed here.
    Crc32c,
}

impl Fact {
    /// Every fact, in the order in which they are kept: the last but the checksum is the first to go.
    pub const ALL: [Self; 10] = [
        Self::Ssl,
        Self::UniqueId,
        Self::Authority,
        Self::Alpn,
        Self::AwsVpcEndpointId,
        Self::AzureLinkId,
        Self::GcpConnectionId,
        Self::AlibabaIds,
        Self::Netns,
        Self::Crc32c,
    ];

    /// The word in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ssl => "ssl",
            Self::UniqueId => "unique-id",
            Self::Authority => "authority",
            Self::Alpn => "alpn",
            Self::AwsVpcEndpointId => "aws-vpc-endpoint-id",
            Self::AzureLinkId => "azure-link-id",
            Self::GcpConnectionId => "gcp-connection-id",
            Self::AlibabaIds => "alibaba-ids",
            Self::Netns => "netns",
            Self::Crc32c => "crc32c",
        }
    }

    /// Whether a received item is this fact, in the form that its registration or its vendor gives it.
    fn is(self, tlv: &Tlv<'_>) -> bool {
        matches!(
            (self, tlv.to_value()),
            (Self::Authority, TlvValue::Authority(_))
                | (Self::Alpn, TlvValue::Alpn(_))
                | (Self::AwsVpcEndpointId, TlvValue::AwsVpcEndpointId(_))
                | (Self::AzureLinkId, TlvValue::AzureLinkId(_))
                | (Self::GcpConnectionId, TlvValue::GcpConnectionId(_))
                | (
                    Self::AlibabaIds,
                    TlvValue::AlibabaVpcId(_)
                        | TlvValue::AlibabaEndpointId(_)
                        | TlvValue::AlibabaServiceId(_)
                )
                | (Self::Netns, TlvValue::Netns(_))
        )
    }
}

/// A set of facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FactSet(u16);

impl FactSet {
    /// No fact.
    pub const NONE: Self = Self(0);
    /// What every reader of the registered types can use, with a checksum.
    pub const REGISTERED: Self =
        Self::of(&[Fact::Ssl, Fact::UniqueId, Fact::Authority, Fact::Alpn, Fact::Crc32c]);

    /// Exactly these.
    #[must_use]
    pub const fn of(mut facts: &[Fact]) -> Self {
        let mut set = 0;
        while let [fact, rest @ ..] = facts {
            set |= 1 << (*fact as u16);
            facts = rest;
        }
        Self(set)
    }

    /// Whether `fact` is in it.
    #[must_use]
    pub const fn has(self, fact: Fact) -> bool {
        self.0 & (1 << (fact as u16)) != 0
    }

    /// Those in it, in their order.
    pub fn iter(self) -> impl Iterator<Item = Fact> {
        Fact::ALL.into_iter().filter(move |fact| self.has(*fact))
    }
}

/// `backend.<id>.tlvs`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TlvChoice {
    /// What the kind of backend reads.
    #[default]
    Kind,
    /// These and no others.
    Only(FactSet),
    /// Whatever was received, unknown types included, but what breaks the kind.
    All,
}

/// Items that a header mostly has at most: so many need no memory of their own.
const USUALLY: usize = 8;

/// What one header carries.
#[derive(Debug)]
pub(super) struct Collected<'a> {
    /// The items, most useful first, ours behind those with a name: the last one is the first to go when they do not fit.
    items: SmallVec<[(TlvType, Cow<'a, [u8]>); USUALLY]>,
    /// Whether a checksum is added; it never goes.
    pub(super) checksum: bool,
}

impl<'a> Collected<'a> {
    /// What is known of `identity`, as far as the choice of `telling` lets it travel to a kind that reads `usual`, never
    /// what is in `breaks`. `names`: what we call the connection, for proxies that have no id, and for our own items.
    pub(super) fn new(
        telling: Telling<'_>,
        usual: FactSet,
        breaks: FactSet,
        identity: &'a ClientIdentity,
        names: Names<'a>,
    ) -> Self {
        let (choice, own) = (telling.tlvs, telling.own_tlvs);
        let facts = match choice {
            TlvChoice::Kind => usual,
            TlvChoice::Only(facts) => facts,
            TlvChoice::All => FactSet::of(&Fact::ALL),
        };
        let all = choice == TlvChoice::All;
        let travels = |fact: &Fact| !(all && breaks.has(*fact));
        let mut items = SmallVec::new();
        for fact in facts.iter().filter(travels) {
            match fact {
                Fact::Ssl => items.extend(ssl(identity, all).map(|value| (TlvType::SSL, value.into()))),
                Fact::UniqueId => {
                    items.extend(
                        unique_id(identity, names.id).map(|value| (TlvType::UNIQUE_ID, value.into())),
                    );
                }
                Fact::Crc32c => {}
                _ => {
                    let limit = if fact == Fact::AlibabaIds { usize::MAX } else { 1 };
                    let found = identity.tlvs().filter(|tlv| fact.is(tlv)).take(limit);
                    items.extend(found.map(|tlv| (tlv.kind, tlv.value.into())));
                }
            }
        }
        items.extend(own.collect(identity, names).into_iter().map(|(kind, value)| (kind, value.into())));
        if all {
            let others = identity.tlvs().filter(|tlv| !is_understood(tlv) && !own.hides(tlv));
            items.extend(others.map(|tlv| (tlv.kind, tlv.value.into())));
        }
        Self { items, checksum: facts.has(Fact::Crc32c) }
    }

    /// The items as they are to be encoded.
    pub(super) fn tlvs(&self) -> SmallVec<[Tlv<'_>; USUALLY]> {
        self.items.iter().map(|(kind, value)| Tlv { kind: *kind, value }).collect()
    }
}

/// Whether an item is one of the facts, or is about the received header itself.
fn is_understood(tlv: &Tlv<'_>) -> bool {
    matches!(tlv.kind, TlvType::SSL | TlvType::UNIQUE_ID | TlvType::CRC32C | TlvType::NOOP)
        || Fact::ALL.iter().any(|fact| fact.is(tlv))
}

fn unique_id<'a>(identity: &'a ClientIdentity, id: &'a str) -> Option<&'a [u8]> {
    let own = (!id.is_empty()).then_some(id.as_bytes());
    identity.unique_id().or(own)
}

/// The value of an SSL TLV with what a backend may rely on: flags, version, cipher, and a common name only if it was
/// verified. Sent for clear-text clients, too, if the proxy said so: "no TLS" is a fact. With `all`, whatever else the
/// proxy said follows, a certificate only if it was verified.
fn ssl(identity: &ClientIdentity, all: bool) -> Option<Vec<u8>> {
    let received = Ssl::new(identity.tlvs().find(TlvType::SSL)?)?;
    let mut value = vec![received.client.0];
    value.extend_from_slice(&received.verify.to_be_bytes());
    let name = if received.is_verified() { received.common_name() } else { None };
    for (kind, part) in [
        (TlvType::SSL_VERSION, received.version()),
        (TlvType::SSL_CIPHER, received.cipher()),
        (TlvType::SSL_CN, name),
    ] {
        if let Some(part) = part {
            push(&mut value, kind, part);
        }
    }
    const SAID: [TlvType; 3] = [TlvType::SSL_VERSION, TlvType::SSL_CIPHER, TlvType::SSL_CN];
    for sub in received.sub_tlvs().filter(|sub| all && !SAID.contains(&sub.kind)) {
        if sub.kind != TlvType::SSL_CLIENT_CERT || received.is_verified() {
            push(&mut value, sub.kind, sub.value);
        }
    }
    Some(value)
}

fn push(value: &mut Vec<u8>, kind: TlvType, part: &[u8]) {
    if let Ok(len) = u16::try_from(part.len()) {
        value.push(kind.0);
        value.extend_from_slice(&len.to_be_bytes());
        value.extend_from_slice(part);
    }
}
