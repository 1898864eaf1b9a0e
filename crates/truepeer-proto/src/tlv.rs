//! Type-length-value items: the registry, the iterator, values read as what they are.
//!
//! Values are octets that the sender chose: nothing here trusts, decodes as text or copies them.
//! Checks that a decoded header must pass are in `tlv/check.rs`, the SSL TLV in `tlv/ssl.rs`.
pub(crate) mod check;
mod ssl;

use core::fmt;

pub use ssl::{ClientFlags, Ssl, SslFacts};

/// A TLV's type; the registry grows, so this is open. Source: PROXY protocol 2.2, PP2_TYPE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TlvType(pub u8);

impl TlvType {
    /// Protocol name of the upper layer. Source: PROXY protocol 2.2.1.
    pub const ALPN: Self = Self(0x01);
    /// Host name the client asked for. Source: PROXY protocol 2.2.2.
    pub const AUTHORITY: Self = Self(0x02);
    /// Checksum of the header. Source: PROXY protocol 2.2.3.
    pub const CRC32C: Self = Self(0x03);
    /// Padding. Source: PROXY protocol 2.2.4.
    pub const NOOP: Self = Self(0x04);
    /// Opaque id of the connection, at most 128 bytes. Source: PROXY protocol 2.2.5.
    pub const UNIQUE_ID: Self = Self(0x05);
    /// TLS facts with sub-TLVs. Source: PROXY protocol 2.2.6.
    pub const SSL: Self = Self(0x20);
    /// Sub-TLV of SSL: version of TLS. Source: PROXY protocol 2.2.6.
    pub const SSL_VERSION: Self = Self(0x21);
    /// Sub-TLV of SSL: common name of the client's certificate. Source: PROXY protocol 2.2.6.
    pub const SSL_CN: Self = Self(0x22);
    /// Sub-TLV of SSL: name of the cipher. Source: PROXY protocol 2.2.6.
    pub const SSL_CIPHER: Self = Self(0x23);
    /// Sub-TLV of SSL: algorithm that signed the proxy's certificate. Source: PROXY protocol 2.2.6.
    pub const SSL_SIG_ALG: Self = Self(0x24);
    /// Sub-TLV of SSL: key of the proxy's certificate. Source: PROXY protocol 2.2.6.
    pub const SSL_KEY_ALG: Self = Self(0x25);
    /// Sub-TLV of SSL: key-exchange group. Source: PROXY protocol 2.2.6.
    pub const SSL_GROUP: Self = Self(0x26);
    /// Sub-TLV of SSL: signature scheme of the handshake. Source: PROXY protocol 2.2.6.
    pub const SSL_SIG_SCHEME: Self = Self(0x27);
    /// Sub-TLV of SSL: the client's certificate in DER. Source: PROXY protocol 2.2.6.
    pub const SSL_CLIENT_CERT: Self = Self(0x28);
    /// Name of the sender's network namespace. Source: PROXY protocol 2.2.7.
    pub const NETNS: Self = Self(0x30);
    /// Google Cloud Private Service Connect, by convention. Source: go-proxyproto, `tlvparse/gcp.go`.
    pub const GCP_PSC: Self = Self(0xE0);
    /// Alibaba Cloud PrivateLink, by convention. Source: Alibaba Cloud, real client information.
    pub const ALIBABA: Self = Self(0xE1);
    /// AWS VPC endpoint, by convention. Source: go-proxyproto, `tlvparse/aws.go`.
    pub const AWS: Self = Self(0xEA);
    /// Azure Private Link, by convention. Source: go-proxyproto, `tlvparse/azure.go`.
    pub const AZURE: Self = Self(0xEE);

    /// Name in the registry, without prefix; `None` for types that nobody has registered.
    /// The vendors' types are conventions inside the application range and have none.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::ALPN => "ALPN",
            Self::AUTHORITY => "AUTHORITY",
            Self::CRC32C => "CRC32C",
            Self::NOOP => "NOOP",
            Self::UNIQUE_ID => "UNIQUE_ID",
            Self::SSL => "SSL",
            Self::SSL_VERSION => "SSL_VERSION",
            Self::SSL_CN => "SSL_CN",
            Self::SSL_CIPHER => "SSL_CIPHER",
            Self::SSL_SIG_ALG => "SSL_SIG_ALG",
            Self::SSL_KEY_ALG => "SSL_KEY_ALG",
            Self::SSL_GROUP => "SSL_GROUP",
            Self::SSL_SIG_SCHEME => "SSL_SIG_SCHEME",
            Self::SSL_CLIENT_CERT => "SSL_CLIENT_CERT",
            Self::NETNS => "NETNS",
            _ => return None,
        })
    }

    /// 0xE0 to 0xEF: never registered, meaning depends on who sent it. Source: PROXY protocol 2.2.8.
    pub const fn is_application(self) -> bool {
        matches!(self.0, 0xE0..=0xEF)
    }

    /// 0xF0 to 0xF7: experiments. Source: PROXY protocol 2.2.8.
    pub const fn is_experiment(self) -> bool {
        matches!(self.0, 0xF0..=0xF7)
    }

    /// 0xF8 to 0xFF: kept for the future. Source: PROXY protocol 2.2.8.
    pub const fn is_future(self) -> bool {
        matches!(self.0, 0xF8..=0xFF)
    }
}

impl fmt::Display for TlvType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#04x}", self.0),
        }
    }
}

/// One item as received or to be sent. Source: PROXY protocol 2.2, type-length-value.
///
/// `{:?}` shows the type and the number of octets, never the octets: they are names, ids and certificates of people.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// What the value means.
    pub kind: TlvType,
    /// The value's octets, perhaps none.
    pub value: &'a [u8],
}

impl<'a> Tlv<'a> {
    /// The value read as its registered type; `Other` where the type is unknown or the value does not fit.
    ///
    /// The application range is read by the vendors' conventions, so ask only for senders known to follow them.
    pub fn to_value(&self) -> TlvValue<'a> {
        match (self.kind, self.value) {
            (TlvType::ALPN, value) => TlvValue::Alpn(value),
            (TlvType::AUTHORITY, value) => TlvValue::Authority(value),
            (TlvType::CRC32C, &[a, b, c, d]) => TlvValue::Crc32c(u32::from_be_bytes([a, b, c, d])),
            (TlvType::NOOP, _) => TlvValue::Noop,
            (TlvType::UNIQUE_ID, value) if value.len() <= UNIQUE_ID_MAX_LEN => TlvValue::UniqueId(value),
            (TlvType::SSL, value) => Ssl::new(value).map_or(TlvValue::Other(*self), TlvValue::Ssl),
            (TlvType::NETNS, value) => TlvValue::Netns(value),
            (TlvType::GCP_PSC, &[a, b, c, d, e, f, g, h]) => {
                TlvValue::GcpConnectionId(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
            }
            (TlvType::ALIBABA, [1, id @ ..]) => TlvValue::AlibabaVpcId(id),
            (TlvType::ALIBABA, [2, id @ ..]) => TlvValue::AlibabaEndpointId(id),
            (TlvType::ALIBABA, [3, id @ ..]) => TlvValue::AlibabaServiceId(id),
            (TlvType::AWS, [1, id @ ..]) => TlvValue::AwsVpcEndpointId(id),
            // The one integer of the whole protocol that is little-endian.
            (TlvType::AZURE, &[1, a, b, c, d]) => TlvValue::AzureLinkId(u32::from_le_bytes([a, b, c, d])),
            _ => TlvValue::Other(*self),
        }
    }
}

impl fmt::Debug for Tlv<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} bytes", self.kind, self.value.len())
    }
}

/// A value read as its type says. `{:?}` shows numbers of octets only.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlvValue<'a> {
    /// The protocol name itself (`h2`, `imap`), without a length prefix.
    Alpn(&'a [u8]),
    /// A host name that the client chose: validate before use.
    Authority(&'a [u8]),
    /// The checksum; a decoded header's is right.
    Crc32c(u32),
    /// Padding.
    Noop,
    /// Opaque, at most 128 bytes.
    UniqueId(&'a [u8]),
    /// TLS facts.
    Ssl(Ssl<'a>),
    /// A namespace of the sender: for logs only.
    Netns(&'a [u8]),
    /// Google Cloud: Private Service Connect connection id, sent big-endian.
    GcpConnectionId(u64),
    /// Alibaba Cloud: VPC id.
    AlibabaVpcId(&'a [u8]),
    /// Alibaba Cloud: endpoint id.
    AlibabaEndpointId(&'a [u8]),
    /// Alibaba Cloud: endpoint service id.
    AlibabaServiceId(&'a [u8]),
    /// AWS: VPC endpoint id.
    AwsVpcEndpointId(&'a [u8]),
    /// Azure: Private Link id, sent little-endian.
    AzureLinkId(u32),
    /// Unknown type, or a value that does not fit its type.
    Other(Tlv<'a>),
}

impl fmt::Debug for TlvValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value) = match self {
            Self::Alpn(value) => ("Alpn", value),
            Self::Authority(value) => ("Authority", value),
            Self::UniqueId(value) => ("UniqueId", value),
            Self::Netns(value) => ("Netns", value),
            Self::AlibabaVpcId(value) => ("AlibabaVpcId", value),
            Self::AlibabaEndpointId(value) => ("AlibabaEndpointId", value),
            Self::AlibabaServiceId(value) => ("AlibabaServiceId", value),
            Self::AwsVpcEndpointId(value) => ("AwsVpcEndpointId", value),
            Self::Crc32c(value) => return write!(f, "Crc32c({value:#010x})"),
            Self::Noop => return f.write_str("Noop"),
            Self::Ssl(ssl) => return f.debug_tuple("Ssl").field(ssl).finish(),
            Self::GcpConnectionId(id) => return write!(f, "GcpConnectionId({id})"),
            Self::AzureLinkId(id) => return write!(f, "AzureLinkId({id})"),
            Self::Other(tlv) => return f.debug_tuple("Other").field(tlv).finish(),
        };
        write!(f, "{name}({} bytes)", value.len())
    }
}

/// Iterator over a TLV area; ends at the first malformed item (a checked header has none).
/// `{:?}` lists what is left, each item by its type and length.
#[derive(Clone)]
pub struct Tlvs<'a> {
    rest: &'a [u8],
}

impl<'a> Tlvs<'a> {
    /// Over a kept TLV area (`Header::tlv_bytes`) or an SSL TLV's sub-items.
    pub fn new(area: &'a [u8]) -> Self {
        Self { rest: area }
    }

    /// Value of the first TLV of `kind`.
    pub fn find(&self, kind: TlvType) -> Option<&'a [u8]> {
        self.clone().find_map(|tlv| (tlv.kind == kind).then_some(tlv.value))
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Tlv<'a>;

    #[inline]
    fn next(&mut self) -> Option<Tlv<'a>> {
        let (tlv, rest) = split_item(self.rest)?;
        self.rest = rest;
        Some(tlv)
    }
}

impl core::iter::FusedIterator for Tlvs<'_> {}

impl fmt::Debug for Tlvs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// The first item and what follows it; `None` at the end and where the area is malformed.
#[inline(always)]
fn split_item(area: &[u8]) -> Option<(Tlv<'_>, &[u8])> {
    let (&[kind, high, low], rest) = area.split_first_chunk::<3>()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
    Some((Tlv { kind: TlvType(kind), value }, rest))
}

/// What is left behind the last whole item; nothing if the area is well formed.
#[inline(always)]
fn behind_items(mut area: &[u8]) -> &[u8] {
    while let Some((_, rest)) = split_item(area) {
        area = rest;
    }
    area
}

/// Source: PROXY protocol 2.2.5.
pub(crate) const UNIQUE_ID_MAX_LEN: usize = 128;
