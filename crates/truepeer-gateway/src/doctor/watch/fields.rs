//! A decoded header as words: what it says, item by item.

use truepeer::proto::{Addresses, Command, Header, TlvValue, Version};

use crate::doctor::shown::shown;

/// A header's fields, fit to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// 1 or 2.
    pub version: u8,
    /// `PROXY`, `LOCAL` or `UNKNOWN`.
    pub command: &'static str,
    /// Client and destination, as they were sent.
    pub ends: Option<(String, String)>,
    /// Name and value of each item, in order.
    pub tlvs: Vec<(String, String)>,
    /// Its length in bytes.
    pub len: usize,
}

/// How much of a value is shown.
const MAX_VALUE: usize = 120;

impl Fields {
    /// The fields of a header of `len` bytes.
    pub(super) fn of(header: &Header<'_>, len: usize) -> Self {
        let version = if header.version() == Version::V1 { 1 } else { 2 };
        let command = match (header.command(), header.version(), header.addresses()) {
            (Command::Local, ..) => "LOCAL",
            (Command::Proxy, Version::V1, Addresses::Unspecified) => "UNKNOWN",
            (Command::Proxy, ..) => "PROXY",
        };
        let ends = match header.addresses() {
            Addresses::Unspecified => None,
            Addresses::Inet { source, destination } => Some((source.to_string(), destination.to_string())),
            Addresses::Inet6 { source, destination } => Some((source.to_string(), destination.to_string())),
            Addresses::Unix { source, destination } => {
                Some((format!("{source:?}"), format!("{destination:?}")))
            }
        };
        let mut tlvs = Vec::new();
        for tlv in header.tlvs() {
            let value = value(&tlv.to_value());
            tlvs.push((tlv.kind.to_string(), value));
        }
        Self { version, command, ends, tlvs, len }
    }
}

fn value(value: &TlvValue<'_>) -> String {
    match value {
        TlvValue::Alpn(text)
        | TlvValue::Authority(text)
        | TlvValue::Netns(text)
        | TlvValue::UniqueId(text) => shown(text, MAX_VALUE),
        TlvValue::Crc32c(sum) => format!("{sum:08x}, right"),
        TlvValue::Noop => "padding".to_owned(),
        TlvValue::Ssl(ssl) => {
            let mut words =
                vec![if ssl.is_tls() { "the client used TLS" } else { "the client used no TLS" }.to_owned()];
            words.extend(ssl.version().map(|text| shown(text, MAX_VALUE)));
            words.extend(ssl.cipher().map(|text| shown(text, MAX_VALUE)));
            words.push(match (ssl.is_verified(), ssl.has_certificate()) {
                (true, _) => "with a certificate that was verified".to_owned(),
                (false, true) => format!("with a certificate that was not verified ({})", ssl.verify),
                (false, false) => "no client certificate".to_owned(),
            });
            words.extend(ssl.common_name().map(|text| format!("CN {}", shown(text, MAX_VALUE))));
            words.join(", ")
        }
        TlvValue::GcpConnectionId(id) => format!("Google Cloud connection {id}"),
        TlvValue::AlibabaVpcId(id) => format!("Alibaba Cloud VPC {}", shown(id, MAX_VALUE)),
        TlvValue::AlibabaEndpointId(id) => format!("Alibaba Cloud endpoint {}", shown(id, MAX_VALUE)),
        TlvValue::AlibabaServiceId(id) => format!("Alibaba Cloud service {}", shown(id, MAX_VALUE)),
        TlvValue::AwsVpcEndpointId(id) => format!("AWS VPC endpoint {}", shown(id, MAX_VALUE)),
        TlvValue::AzureLinkId(id) => format!("Azure Private Link {id}"),
        TlvValue::Other(tlv) => shown(tlv.value, MAX_VALUE),
        _ => "a value that is not known here".to_owned(),
    }
}
