//! What every codec is given: five headers, and the facts they are made of.
use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use truepeer_proto::{Addresses, ClientFlags, Encoder, SslFacts, Tlv, TlvType};

pub const V1_TCP4: &[u8] = b"PROXY TCP4 192.168.100.123 203.0.113.77 56324 443\r\n";
pub const V1_TCP6: &[u8] = b"PROXY TCP6 2001:db8:85a3:8d3:1319:8a2e:370:7348 2001:db8::1 56324 443\r\n";

const S4: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 100, 123), 56324);
const D4: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 77), 443);
const S6: SocketAddrV6 = SocketAddrV6::new(
    Ipv6Addr::new(0x2001, 0xdb8, 0x85a3, 0x8d3, 0x1319, 0x8a2e, 0x370, 0x7348),
    56324,
    0,
    0,
);
const D6: SocketAddrV6 = SocketAddrV6::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 443, 0, 0);

/// Both ends, hidden from the optimiser.
pub fn pair4() -> (SocketAddrV4, SocketAddrV4) {
    black_box((S4, D4))
}
pub fn pair6() -> (SocketAddrV6, SocketAddrV6) {
    black_box((S6, D6))
}
pub fn any4() -> (SocketAddr, SocketAddr) {
    let (source, destination) = pair4();
    (source.into(), destination.into())
}
pub fn any6() -> (SocketAddr, SocketAddr) {
    let (source, destination) = pair6();
    (source.into(), destination.into())
}

pub const ALPN: &[u8] = b"h2";
pub const AUTHORITY: &str = "www.service.example.com";
pub const UNIQUE_ID: &[u8] = b"a3f0c8d1-5e2b-4c6f-9a77-0123456789ab";
pub const NETNS: &str = "customer-blue";
pub const AWS: &[u8] = b"\x01vpce-08d2bf15fac5001c9";
/// Flags and result of the SSL TLV, and its sub-TLVs.
pub const SSL_CLIENT: u8 = 7;
pub const SSL_VERIFY: u32 = 0;
pub const SSL: [(u8, &str); 5] = [
    (0x21, "TLSv1.3"),
    (0x22, "client.example.com"),
    (0x23, "TLS_AES_256_GCM_SHA384"),
    (0x24, "RSA-SHA256"),
    (0x25, "RSA2048"),
];

pub fn v2_tcp4() -> Vec<u8> {
    let (source, destination) = pair4();
    encoded(Encoder::v2(Addresses::Inet { source, destination }))
}

pub fn v2_tcp6() -> Vec<u8> {
    let (source, destination) = pair6();
    encoded(Encoder::v2(Addresses::Inet6 { source, destination }))
}

/// 234 bytes: every common TLV, the checksum last.
pub fn v2_full() -> Vec<u8> {
    let (source, destination) = pair4();
    let subs = SSL.map(|(kind, value)| Tlv { kind: TlvType(kind), value: value.as_bytes() });
    let ssl = SslFacts::new(ClientFlags(SSL_CLIENT), SSL_VERIFY, &subs);
    let tlvs = [
        Tlv { kind: TlvType::ALPN, value: ALPN },
        Tlv { kind: TlvType::AUTHORITY, value: AUTHORITY.as_bytes() },
        Tlv { kind: TlvType::UNIQUE_ID, value: UNIQUE_ID },
        Tlv { kind: TlvType::NETNS, value: NETNS.as_bytes() },
        Tlv { kind: TlvType::AWS, value: AWS },
    ];
    encoded(Encoder::v2(Addresses::Inet { source, destination }).tlvs(&tlvs).ssl(ssl).with_checksum())
}

fn encoded(header: Encoder<'_>) -> Vec<u8> {
    let mut out = [0; 512];
    let len = header.encode(&mut out).expect("fits");
    out[..len].to_vec()
}

/// The value of the SSL TLV, for peers that take it as bytes.
pub fn ssl_value() -> Vec<u8> {
    let mut value = Vec::with_capacity(128);
    value.push(SSL_CLIENT);
    value.extend(SSL_VERIFY.to_be_bytes());
    for (kind, text) in black_box(&SSL) {
        value.push(*kind);
        value.extend((text.len() as u16).to_be_bytes());
        value.extend_from_slice(text.as_bytes());
    }
    value
}
