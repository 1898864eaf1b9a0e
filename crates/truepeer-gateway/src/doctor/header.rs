//! Any header that one may want to send, put together from words.
//!
//! The codec writes it, so that it is right; a broken one is given as bytes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use truepeer::proto::{
    Addresses, ClientFlags, EncodeError, Encoder, SslFacts, Tlv, TlvType, Transport, V2_MAX_LEN,
};
use truepeer::{ClientPair, OutgoingHeader};

/// What kind of header is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// None at all.
    None,
    /// These bytes, whatever they are.
    Raw(Vec<u8>),
    /// A version 1 line.
    V1(ClientPair),
    /// `PROXY UNKNOWN`.
    V1Unknown,
    /// A version 2 header.
    V2(ClientPair, Transport, Extras),
    /// A version 2 header of the proxy's own.
    V2Local(Extras),
}

/// What a version 2 header says beside addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extras {
    /// In this order, an SSL TLV behind all others.
    pub tlvs: Vec<OwnedTlv>,
    /// Whether a CRC32C ends them.
    pub checksum: Checksum,
}

/// Whether a CRC32C TLV ends the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksum {
    /// It does not.
    #[default]
    None,
    /// The right one.
    Right,
}

impl Wanted {
    /// The bytes to send; none for no header.
    ///
    /// # Errors
    /// What cannot be said in this version or is too long, in words.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let encode = |encoder: &Encoder<'_>| OutgoingHeader::encode(encoder).map(OutgoingHeader::into_bytes);
        match self {
            Self::None => Ok(Vec::new()),
            Self::Raw(bytes) => Ok(bytes.clone()),
            Self::V1(pair) => encode(&Encoder::v1(pair.addresses())),
            Self::V1Unknown => encode(&Encoder::v1(Addresses::Unspecified)),
            Self::V2(pair, transport, extras) => {
                return extras.encode(Encoder::v2(pair.addresses()).transport(*transport));
            }
            Self::V2Local(extras) => return extras.encode(Encoder::local()),
        }
        .map_err(|error| wrong(&error))
    }
}

fn wrong(error: &EncodeError) -> String {
    format!("no such header can be made: {error}")
}

impl Extras {
    fn encode(&self, encoder: Encoder<'_>) -> Result<Vec<u8>, String> {
        let borrow = |tlv: &'_ OwnedTlv| match tlv {
            OwnedTlv::Plain(kind, value) => Some((*kind, value.clone())),
            OwnedTlv::Ssl(_) => None,
        };
        let plain: Vec<(TlvType, Vec<u8>)> = self.tlvs.iter().filter_map(borrow).collect();
        let plain: Vec<Tlv<'_>> = plain.iter().map(|(kind, value)| Tlv { kind: *kind, value }).collect();
        let facts = self.tlvs.iter().find_map(|tlv| match tlv {
            OwnedTlv::Ssl(facts) => Some(facts),
            OwnedTlv::Plain(..) => None,
        });
        let subs: Vec<Tlv<'_>> = facts
            .into_iter()
            .flat_map(|facts| &facts.subs)
            .map(|(kind, value)| Tlv { kind: *kind, value })
            .collect();
        let mut encoder = encoder.tlvs(&plain);
        if let Some(facts) = facts {
            encoder = encoder.ssl(SslFacts::new(facts.client, facts.verify, &subs));
        }
        if self.checksum == Checksum::Right {
            encoder = encoder.with_checksum();
        }
        OutgoingHeader::encode(&encoder).map(OutgoingHeader::into_bytes).map_err(|error| wrong(&error))
    }
}

/// A TLV as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnedTlv {
    /// Type and value.
    Plain(TlvType, Vec<u8>),
    /// Facts about the client's TLS.
    Ssl(OwnedSsl),
}

/// What an SSL TLV says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedSsl {
    client: ClientFlags,
    verify: u32,
    subs: Vec<(TlvType, Vec<u8>)>,
}

/// The names that [`OwnedTlv`] is parsed from, and what their values are.
pub const TLV_NAMES: &str = "alpn=NAME, authority=HOST, unique-id=TEXT, netns=NAME, noop=LENGTH, \
    ssl=VERSION[,cipher=NAME][,cn=NAME][,verify=NUMBER][,sig-alg=..][,key-alg=..][,group=..][,sig-scheme=..] \
    (ssl=none: the client used no TLS), aws=ENDPOINT-ID, azure=NUMBER, gcp=NUMBER, alibaba-vpc=ID, \
    alibaba-endpoint=ID, alibaba-service=ID, 0xNN=VALUE; a VALUE is text, or bytes as hex:0102";

impl FromStr for OwnedTlv {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) =
            text.split_once('=').ok_or_else(|| format!("a TLV is NAME=VALUE; the names: {TLV_NAMES}"))?;
        let plain = |kind| Ok(Self::Plain(kind, value_of(value)?));
        // Text behind a vendor's sub-type.
        let vendor = |kind, sub: u8| {
            let mut bytes = vec![sub];
            bytes.extend(value_of(value)?);
            Ok(Self::Plain(kind, bytes))
        };
        match name.to_ascii_lowercase().as_str() {
            "alpn" => plain(TlvType::ALPN),
            "authority" => plain(TlvType::AUTHORITY),
            "unique-id" => plain(TlvType::UNIQUE_ID),
            "netns" => plain(TlvType::NETNS),
            "noop" => {
                let len = number::<usize>(value).filter(|len| *len <= V2_MAX_LEN);
                let len = len.ok_or_else(|| format!("noop is a length up to {V2_MAX_LEN}"))?;
                Ok(Self::Plain(TlvType::NOOP, vec![0; len]))
            }
            "aws" => vendor(TlvType::AWS, 1),
            "alibaba-vpc" => vendor(TlvType::ALIBABA, 1),
            "alibaba-endpoint" => vendor(TlvType::ALIBABA, 2),
            "alibaba-service" => vendor(TlvType::ALIBABA, 3),
            "azure" => {
                let id = number::<u32>(value).ok_or_else(|| format!("azure={value}: not a link id"))?;
                let mut bytes = vec![1];
                bytes.extend(id.to_le_bytes());
                Ok(Self::Plain(TlvType::AZURE, bytes))
            }
            "gcp" => {
                let id = number::<u64>(value).ok_or_else(|| format!("gcp={value}: not a connection id"))?;
                Ok(Self::Plain(TlvType::GCP_PSC, id.to_be_bytes().to_vec()))
            }
            "ssl" => OwnedSsl::parse(value).map(Self::Ssl),
            "crc32c" => Err("the checksum is computed: ask for it with `--crc`".to_owned()),
            other => {
                let kind = other.strip_prefix("0x").and_then(|hex| u8::from_str_radix(hex, 16).ok());
                let kind = kind.ok_or_else(|| {
                    format!(
                        "{:?} is no TLV that is known here; the names: {TLV_NAMES}",
                        name.escape_debug().to_string()
                    )
                })?;
                Ok(Self::Plain(TlvType(kind), value_of(value)?))
            }
        }
    }
}

impl OwnedSsl {
    /// `TLSv1.3,cipher=..,cn=..,verify=..`
    fn parse(text: &str) -> Result<Self, String> {
        let mut ssl = Self { client: ClientFlags::SSL, verify: 0, subs: Vec::new() };
        for (number_of, word) in text.split(',').enumerate() {
            let Some((name, value)) = word.split_once('=') else {
                if number_of > 0 {
                    return Err(format!("ssl: {:?} is no NAME=VALUE", word.escape_debug().to_string()));
                }
                match word {
                    "none" => ssl.client = ClientFlags(0),
                    "" => {}
                    version => ssl.subs.push((TlvType::SSL_VERSION, value_of(version)?)),
                }
                continue;
            };
            let kind = match name {
                "cipher" => TlvType::SSL_CIPHER,
                "sig-alg" => TlvType::SSL_SIG_ALG,
                "key-alg" => TlvType::SSL_KEY_ALG,
                "group" => TlvType::SSL_GROUP,
                "sig-scheme" => TlvType::SSL_SIG_SCHEME,
                "cn" => {
                    // A name is that of a certificate, shown on this connection.
                    let shown = ClientFlags::CERT_CONN.0 | ClientFlags::CERT_SESS.0;
                    ssl.client = ClientFlags(ssl.client.0 | shown);
                    TlvType::SSL_CN
                }
                "verify" => {
                    ssl.verify = number(value).ok_or_else(|| format!("ssl: verify={value}: not a number"))?;
                    continue;
                }
                other => {
                    return Err(format!("ssl: {:?} is not known here", other.escape_debug().to_string()));
                }
            };
            ssl.subs.push((kind, value_of(value)?));
        }
        Ok(ssl)
    }
}

fn number<N: FromStr>(text: &str) -> Option<N> {
    text.parse().ok()
}

/// Text, or bytes behind `hex:`.
fn value_of(text: &str) -> Result<Vec<u8>, String> {
    match text.strip_prefix("hex:") {
        Some(hex) => parse_hex(hex),
        None => Ok(text.as_bytes().to_vec()),
    }
}

/// Bytes as pairs of digits; blanks and colons between them are allowed.
///
/// # Errors
/// If there is anything else, or half a byte, or more than a header can have.
pub fn parse_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_ascii_whitespace() && *c != ':')
        .map(|c| c.to_digit(16).ok_or_else(|| format!("{c:?} is no hexadecimal digit")))
        .collect::<Result<_, _>>()?;
    if digits.len().div_ceil(2) > V2_MAX_LEN {
        return Err(format!("more than {V2_MAX_LEN} bytes are no header"));
    }
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err("the last byte has one digit only".to_owned());
    }
    let byte = |pair: &[u32]| match pair {
        [high, low] => u8::try_from(high << 4 | low).unwrap_or_default(),
        _ => 0,
    };
    Ok(pairs.map(byte).collect())
}

/// The client that is made up where none was said, from the documentation ranges.
#[must_use]
pub fn nobodys(family_of: SocketAddr) -> SocketAddr {
    const PORT: u16 = 40_000;
    let ip: IpAddr = match family_of.ip().to_canonical() {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    SocketAddr::new(ip, PORT)
}

/// Header bytes as they are shown: text for version 1, else hexadecimal.
#[derive(Debug, Clone, Copy)]
pub struct ShownBytes<'b>(pub &'b [u8]);

impl fmt::Display for ShownBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.starts_with(b"PROXY ") {
            return self.0.escape_ascii().fmt(f);
        }
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_as_people_paste_it() {
        assert_eq!(parse_hex("0d0A 0d:0a\n00"), Ok(vec![13, 10, 13, 10, 0]));
        assert_eq!(parse_hex(""), Ok(Vec::new()));
        assert_eq!(parse_hex("0d0"), Err("the last byte has one digit only".to_owned()));
        assert_eq!(parse_hex("0x"), Err("'x' is no hexadecimal digit".to_owned()));
        assert_eq!(parse_hex(&"0".repeat(200_000)), Err("more than 65551 bytes are no header".to_owned()));
    }

    #[test]
    fn what_is_no_tlv_says_which_there_are() {
        for (text, says) in [
            ("alpn", "a TLV is NAME=VALUE; the names: alpn=NAME"),
            ("colour=red", "\"colour\" is no TLV that is known here; the names:"),
            ("noop=-1", "noop is a length up to 65551"),
            ("azure=x", "azure=x: not a link id"),
            ("ssl=TLSv1.3,what", "ssl: \"what\" is no NAME=VALUE"),
            ("ssl=TLSv1.3,size=4", "ssl: \"size\" is not known here"),
            ("crc32c=1", "the checksum is computed"),
            ("0xe0=hex:0", "the last byte has one digit only"),
        ] {
            let error = text.parse::<OwnedTlv>().unwrap_err();
            assert!(error.starts_with(says), "{text}: {error}");
        }
    }
}
