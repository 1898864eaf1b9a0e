//! What was learnt of a client, passed on: what is sent is what came, but for what was about the header itself.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::time::Instant;

use truepeer::proto::{Addresses, EncodeError, Encoder, Tlv, TlvType, Version};
use truepeer::{
    Client, ClientIdentity, ClientPair, HeaderReader, HeaderRules, OutgoingHeader, OutgoingTlv, PeerAddress,
    Progress,
};

fn learn(header: &[u8]) -> ClientIdentity {
    let peer = PeerAddress::tcp("192.0.2.10:1000".parse().unwrap());
    match HeaderReader::new(HeaderRules::default(), peer, Instant::now()).advance(header) {
        Ok(Progress::Done { identity, .. }) => identity,
        other => panic!("{other:?}"),
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn addresses() -> Addresses<'static> {
    ClientPair::from((addr("203.0.113.5:40000"), addr("198.51.100.2:25"))).addresses()
}

/// Every vendor's TLV, an SSL TLV, an id; a checksum and padding. What HAProxy and the clouds send.
#[test]
fn everything_about_the_client_is_passed_on_and_the_checksum_is_new() {
    let ssl = [&[1, 0, 0, 0, 0, 0x21, 0, 7][..], b"TLSv1.3"].concat();
    let value = |kind, value| Tlv { kind, value };
    let about_the_client = [
        value(TlvType::AUTHORITY, b"mx.example.org"),
        value(TlvType::UNIQUE_ID, b"7f3a"),
        value(TlvType::SSL, &ssl),
        value(TlvType::GCP_PSC, &[0, 0, 0, 0, 0, 0, 0, 9]),
        value(TlvType::ALIBABA, b"\x01vpc-1"),
        value(TlvType::AWS, b"\x01vpce-08d2bf15fac5001c9"),
        value(TlvType::AZURE, &[1, 5, 0, 0, 0]),
        value(TlvType(0xF0), b"experiment"),
    ];
    let padding = value(TlvType::NOOP, &[0; 9]);
    let came = [&about_the_client[..2], &[padding], &about_the_client[2..]].concat();
    let came = OutgoingHeader::encode(&Encoder::v2(addresses()).tlvs(&came).with_checksum()).unwrap();
    let expected = Encoder::v2(addresses()).tlvs(&about_the_client).with_checksum();
    let sent = OutgoingHeader::for_identity(Version::V2, &learn(came.as_bytes())).unwrap();
    assert_eq!(sent, OutgoingHeader::encode(&expected).unwrap());
    let identity = learn(sent.as_ref());
    assert_eq!(identity.aws_vpc_endpoint_id(), Some("vpce-08d2bf15fac5001c9"));
    assert_eq!(identity.azure_link_id(), Some(5));
    assert_eq!(identity.tls().unwrap().version(), Some(&b"TLSv1.3"[..]));
    // A line of text says who, and no more.
    let line = OutgoingHeader::for_identity(Version::V1, &identity).unwrap();
    assert_eq!(line.as_ref(), b"PROXY TCP4 203.0.113.5 198.51.100.2 40000 25\r\n");
}

#[test]
fn without_a_checksum_none_is_added() {
    let came =
        OutgoingHeader::for_client(Version::V2, (addr("[2001:db8::5]:1"), addr("[2001:db8::2]:25"))).unwrap();
    assert_eq!(OutgoingHeader::for_identity(Version::V2, &learn(came.as_bytes())).unwrap(), came);
}

#[test]
fn what_was_not_told_is_not_made_up() {
    for (client, line) in [
        ("203.0.113.5:40000", "PROXY TCP4 203.0.113.5 0.0.0.0 40000 0\r\n"),
        ("[2001:db8::5]:0", "PROXY TCP6 2001:db8::5 :: 0 0\r\n"),
    ] {
        let client = Client::from_direct(addr(client));
        let header = OutgoingHeader::for_identity(Version::V1, client.identity()).unwrap();
        assert_eq!(header.as_bytes(), line.as_bytes());
        assert!(learn(header.as_bytes()).destination().is_none());
    }
}

#[test]
fn a_proxys_own_connection_stays_one() {
    for came in [&b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..], b"PROXY UNKNOWN\r\n"] {
        let identity = learn(came);
        let v2 = OutgoingHeader::for_identity(Version::V2, &identity).unwrap();
        assert_eq!(v2, OutgoingHeader::local().unwrap());
        let v1 = OutgoingHeader::for_identity(Version::V1, &identity).unwrap();
        assert_eq!(v1.as_ref(), b"PROXY UNKNOWN\r\n");
    }
}

/// Each vendor's id, written and read back as the reader knows it.
#[test]
fn more_may_be_said_than_came() {
    let client = Client::from_direct(addr("203.0.113.5:40000"));
    let more = [
        OutgoingTlv::authority("mx.example.org"),
        OutgoingTlv::alpn("h2"),
        OutgoingTlv::unique_id("7f3a"),
        OutgoingTlv::aws_vpc_endpoint_id("vpce-1"),
        OutgoingTlv::azure_link_id(5),
        OutgoingTlv::gcp_connection_id(1 << 40),
        OutgoingTlv::alibaba_vpc_id("vpc-1"),
        OutgoingTlv::alibaba_endpoint_id("ep-1"),
        OutgoingTlv::new(TlvType(0xE5), "ours"),
    ];
    let header = OutgoingHeader::for_identity_with(Version::V2, client.identity(), &more).unwrap();
    let identity = learn(header.as_ref());
    assert_eq!(identity.authority(), Some("mx.example.org"));
    assert_eq!((identity.alpn(), identity.unique_id()), (Some(&b"h2"[..]), Some(&b"7f3a"[..])));
    assert_eq!((identity.aws_vpc_endpoint_id(), identity.azure_link_id()), (Some("vpce-1"), Some(5)));
    assert_eq!(identity.gcp_connection_id(), Some(1 << 40));
    assert_eq!((identity.alibaba_vpc_id(), identity.alibaba_endpoint_id()), (Some("vpc-1"), Some("ep-1")));
    assert_eq!(identity.tlvs().find(TlvType(0xE5)), Some(&b"ours"[..]));
    // Said anew, it takes the place of what came.
    let again = [OutgoingTlv::unique_id("b2")];
    let header = OutgoingHeader::for_identity_with(Version::V2, &identity, &again).unwrap();
    let ids = learn(header.as_ref());
    assert_eq!(ids.tlvs().filter(|tlv| tlv.kind == TlvType::UNIQUE_ID).count(), 1);
    assert_eq!(ids.unique_id(), Some(&b"b2"[..]));
    let error = OutgoingHeader::for_identity_with(Version::V1, &identity, &again).unwrap_err();
    assert_eq!(error, EncodeError::NotInV1);
    let checksum = [OutgoingTlv::new(TlvType::CRC32C, [0; 4])];
    let error = OutgoingHeader::for_identity_with(Version::V2, &identity, &checksum).unwrap_err();
    assert_eq!(error, EncodeError::ReservedType);
}
