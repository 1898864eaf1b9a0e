//! The SSL TLV: what the proxy says about the client's TLS.
//!
//! Exactly one level of sub-TLVs is read; an SSL TLV inside an SSL TLV is opaque, so that
//! nothing recurses on a peer's word.
use core::fmt;

use super::{Tlv, TlvType, Tlvs, behind_items};

/// `client` byte of the SSL TLV. Source: PROXY protocol 2.2.6, PP2_CLIENT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientFlags(pub u8);

impl ClientFlags {
    /// The client used TLS.
    pub const SSL: Self = Self(0x01);
    /// It presented a certificate on this connection.
    pub const CERT_CONN: Self = Self(0x02);
    /// It presented one at least once in this TLS session.
    pub const CERT_SESS: Self = Self(0x04);

    /// True where every flag of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The SSL TLV. Presence proves nothing: ask `is_tls`. Source: PROXY protocol 2.2.6.
///
/// `{:?}` shows the flags, and of the sub-TLVs types and lengths only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ssl<'a> {
    /// Which of the facts below hold.
    pub client: ClientFlags,
    /// Zero where a certificate verified, else the sender's code. Means nothing without a certificate.
    pub verify: u32,
    pub(crate) subs: &'a [u8],
}

impl<'a> Ssl<'a> {
    /// From the value of a TLV of type SSL; `None` where it is malformed.
    pub fn new(value: &'a [u8]) -> Option<Self> {
        Self::check(value).ok()?;
        let (&[client, a, b, c, d], subs) = value.split_first_chunk::<5>()?;
        Some(Self { client: ClientFlags(client), verify: u32::from_be_bytes([a, b, c, d]), subs })
    }

    /// True where the client used TLS; a TLV with no flag set comes for plain-text clients, too.
    pub fn is_tls(&self) -> bool {
        self.client.contains(ClientFlags::SSL)
    }

    /// True where the client presented a certificate, now or earlier in the session.
    pub fn has_certificate(&self) -> bool {
        self.client.contains(ClientFlags::CERT_CONN) || self.client.contains(ClientFlags::CERT_SESS)
    }

    /// `verify == 0` and a certificate was presented (HAProxy sends verify=0 without one, too).
    pub fn is_verified(&self) -> bool {
        self.is_tls() && self.has_certificate() && self.verify == 0
    }

    /// Every sub-TLV, in order.
    pub fn sub_tlvs(&self) -> Tlvs<'a> {
        Tlvs::new(self.subs)
    }

    /// Version of TLS, `TLSv1.3`.
    pub fn version(&self) -> Option<&'a [u8]> {
        self.sub_tlvs().find(TlvType::SSL_VERSION)
    }

    /// Common name of the client's certificate; worth something only if `is_verified`.
    pub fn common_name(&self) -> Option<&'a [u8]> {
        self.sub_tlvs().find(TlvType::SSL_CN)
    }

    /// Name of the cipher.
    pub fn cipher(&self) -> Option<&'a [u8]> {
        self.sub_tlvs().find(TlvType::SSL_CIPHER)
    }

    /// Algorithm that signed the proxy's own certificate.
    pub fn signature_algorithm(&self) -> Option<&'a [u8]> {
        self.sub_tlvs().find(TlvType::SSL_SIG_ALG)
    }

    /// Key of the proxy's own certificate.
    pub fn key_algorithm(&self) -> Option<&'a [u8]> {
        self.sub_tlvs().find(TlvType::SSL_KEY_ALG)
    }

    /// Key-exchange group of the handshake.
    pub fn group(&self) -> Option<&'a [u8]> {
        self.sub_tlvs().find(TlvType::SSL_GROUP)
    }

    /// Signature scheme of the handshake.
    pub fn signature_scheme(&self) -> Option<&'a [u8]> {
        self.sub_tlvs().find(TlvType::SSL_SIG_SCHEME)
    }

    /// The client's certificate in DER, as presented: not verified by anyone here.
    pub fn client_certificate(&self) -> Option<&'a [u8]> {
        self.sub_tlvs().find(TlvType::SSL_CLIENT_CERT)
    }

    /// Offset of the first byte that is wrong, from the TLV's type on.
    pub(crate) fn check(value: &[u8]) -> Result<(), usize> {
        let length_at = 1usize;
        let (_, subs) = value.split_first_chunk::<5>().ok_or(length_at)?;
        let wrong = behind_items(subs);
        if wrong.is_empty() { Ok(()) } else { Err(value.len().wrapping_sub(wrong.len()).wrapping_add(3)) }
    }
}

impl fmt::Debug for Ssl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ssl")
            .field("client", &self.client)
            .field("verify", &self.verify)
            .field("subs", &self.sub_tlvs())
            .finish()
    }
}

/// What to say in an SSL TLV: [`Encoder::ssl`](crate::Encoder::ssl) writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SslFacts<'a> {
    /// Which facts hold.
    pub client: ClientFlags,
    /// Result of the verification; zero for "verified", meaningless without a certificate.
    pub verify: u32,
    /// Sub-TLVs in this order.
    pub subs: &'a [Tlv<'a>],
}

impl<'a> SslFacts<'a> {
    /// `verify`: see the field; `subs`: sub-TLVs in the order in which they go.
    pub const fn new(client: ClientFlags, verify: u32, subs: &'a [Tlv<'a>]) -> Self {
        Self { client, verify, subs }
    }
}
