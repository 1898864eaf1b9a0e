//! TLVs by name, with their values read as what they are.

use serde::Serialize;
use truepeer_proto::{Command, Header, Ssl, Tlv, TlvType, TlvValue};

use super::fields::hex;
use crate::excerpt;

/// One TLV.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TlvNote {
    /// Its first byte, counted from the header's.
    pub offset: usize,
    /// Its type, `0x20`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name in the registry, or what the range or a vendor's convention makes of the type.
    pub name: &'static str,
    /// Bytes of its value.
    pub length: usize,
    /// What it says.
    pub value: TlvText,
    /// Where it is defined.
    pub clause: &'static str,
}

/// The value of a TLV.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum TlvText {
    /// Text, a number or, where nothing else is known, bytes in base 16.
    Text(String),
    /// What the sender says about the client's TLS.
    Tls(Box<TlsNote>),
}

/// What an SSL TLV says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TlsNote {
    /// Whether the client used TLS at all: a TLV without this bit comes for clients in clear text, too.
    pub tls: bool,
    /// Whether it presented a certificate, now or earlier in the session.
    pub certificate: bool,
    /// The sender's result of verifying it; means something only with a certificate.
    pub verify: u32,
    /// Whether a certificate was presented **and** verified.
    pub verified: bool,
    /// The sub-TLVs by name.
    pub items: Vec<TlvNote>,
}

/// The TLVs of `header`.
pub(super) fn of(header: &Header<'_>) -> Vec<TlvNote> {
    let from = header.as_bytes().len().saturating_sub(header.tlv_bytes().len());
    walk(header.tlvs(), from, header.command() == Command::Local)
}

fn walk<'a>(tlvs: impl Iterator<Item = Tlv<'a>>, from: usize, local: bool) -> Vec<TlvNote> {
    let mut offset = from;
    tlvs.map(|tlv| {
        let note = TlvNote {
            offset,
            kind: format!("{:#04x}", tlv.kind.0),
            name: name(tlv.kind),
            length: tlv.value.len(),
            value: text(&tlv, offset, local),
            clause: clause(tlv.kind),
        };
        offset = offset.saturating_add(3).saturating_add(tlv.value.len());
        note
    })
    .collect()
}

fn name(kind: TlvType) -> &'static str {
    kind.name().unwrap_or(match kind {
        TlvType::GCP_PSC => "Google Cloud Private Service Connect",
        TlvType::ALIBABA => "Alibaba Cloud PrivateLink",
        TlvType::AWS => "AWS VPC endpoint",
        TlvType::AZURE => "Azure Private Link",
        kind if kind.is_application() => "application",
        kind if kind.is_experiment() => "experiment",
        kind if kind.is_future() => "reserved",
        _ => "not registered",
    })
}

fn clause(kind: TlvType) -> &'static str {
    match kind {
        TlvType::ALPN => "2.2.1",
        TlvType::AUTHORITY => "2.2.2",
        TlvType::CRC32C => "2.2.3",
        TlvType::NOOP => "2.2.4",
        TlvType::UNIQUE_ID => "2.2.5",
        TlvType::SSL
        | TlvType::SSL_VERSION
        | TlvType::SSL_CN
        | TlvType::SSL_CIPHER
        | TlvType::SSL_SIG_ALG
        | TlvType::SSL_KEY_ALG
        | TlvType::SSL_GROUP
        | TlvType::SSL_SIG_SCHEME
        | TlvType::SSL_CLIENT_CERT => "2.2.6",
        TlvType::NETNS => "2.2.7",
        kind if kind.is_application() || kind.is_experiment() || kind.is_future() => "2.2.8",
        _ => "2.2",
    }
}

fn text(tlv: &Tlv<'_>, offset: usize, local: bool) -> TlvText {
    let plain = |bytes: &[u8]| TlvText::Text(excerpt(bytes));
    match tlv.to_value() {
        TlvValue::Alpn(value) | TlvValue::Authority(value) | TlvValue::Netns(value) => plain(value),
        TlvValue::AlibabaVpcId(id)
        | TlvValue::AlibabaEndpointId(id)
        | TlvValue::AlibabaServiceId(id)
        | TlvValue::AwsVpcEndpointId(id) => plain(id),
        TlvValue::UniqueId(id) if id.iter().all(u8::is_ascii_graphic) => plain(id),
        TlvValue::Crc32c(sum) if local => TlvText::Text(format!("{sum:08x}")),
        TlvValue::Crc32c(sum) => TlvText::Text(format!("{sum:08x}, right")),
        TlvValue::Noop => TlvText::Text(format!("{} bytes of padding", tlv.value.len())),
        TlvValue::GcpConnectionId(id) => TlvText::Text(id.to_string()),
        TlvValue::AzureLinkId(id) => TlvText::Text(id.to_string()),
        TlvValue::Ssl(ssl) => TlvText::Tls(Box::new(tls(&ssl, offset))),
        _ if is_sub_text(tlv.kind) => plain(tlv.value),
        _ => TlvText::Text(hex(tlv.value)),
    }
}

/// Sub-TLVs of SSL that are text.
fn is_sub_text(kind: TlvType) -> bool {
    matches!(
        kind,
        TlvType::SSL_VERSION
            | TlvType::SSL_CN
            | TlvType::SSL_CIPHER
            | TlvType::SSL_SIG_ALG
            | TlvType::SSL_KEY_ALG
            | TlvType::SSL_GROUP
            | TlvType::SSL_SIG_SCHEME
    )
}

fn tls(ssl: &Ssl<'_>, offset: usize) -> TlsNote {
    // Type, length, client and verify.
    const BEFORE: usize = 3 + 1 + 4;
    TlsNote {
        tls: ssl.is_tls(),
        certificate: ssl.has_certificate(),
        verify: ssl.verify,
        verified: ssl.is_verified(),
        items: walk(ssl.sub_tlvs(), offset.saturating_add(BEFORE), false),
    }
}
