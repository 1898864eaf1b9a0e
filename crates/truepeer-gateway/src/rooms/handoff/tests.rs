use std::time::Instant;

use truepeer::proto::{Decode, Header as Decoded, Ssl, decode};
use truepeer::{HeaderReader, HeaderRules, Progress};

use super::*;
use crate::rooms::handoff::kind::Kind;

const PROXY: &str = "192.0.2.10:50000";
const REACHED: &str = "192.0.2.1:25";

fn identity(header: &[u8]) -> ClientIdentity {
    let peer = PeerAddress::tcp(PROXY.parse().unwrap());
    let reader = HeaderReader::new(HeaderRules::default(), peer, Instant::now());
    match reader.advance(header).unwrap() {
        Progress::Done { identity, .. } => identity,
        Progress::NeedMore { at_least } => panic!("{at_least} bytes are missing"),
    }
}

fn made(kind: Kind, handoff: Handoff, received: &[u8]) -> Header {
    header(Telling { kind, handoff }, &identity(received), Some(REACHED.parse().unwrap()), "id-1").unwrap()
}

fn decoded(header: &Header) -> Decoded<'_> {
    match decode(&header.bytes).unwrap() {
        Decode::Complete { header: decoded, len } => {
            assert_eq!(len, header.bytes.len());
            decoded
        }
        Decode::Incomplete { at_least } => panic!("{at_least} bytes are missing"),
    }
}

fn v2(addresses: Addresses<'_>, tlvs: &[Tlv<'_>]) -> Vec<u8> {
    encode(&Encoder::v2(addresses).tlvs(tlvs)).unwrap()
}

const CLIENT_V4: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";

#[test]
fn v1_line_is_written_anew_from_what_was_understood() {
    let header = made(Kind::Postfix, Handoff::ProxyV1, CLIENT_V4);
    assert_eq!(header.bytes, CLIENT_V4);
    assert_eq!(header.substituted, Substituted::default());
}

#[test]
fn mapped_addresses_leave_as_ipv4() {
    let received = b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:198.51.100.25 4711 25\r\n";
    assert_eq!(made(Kind::Postfix, Handoff::ProxyV1, received).bytes, CLIENT_V4);
}

#[test]
fn families_are_never_mixed() {
    let received = b"PROXY TCP6 2001:db8::7 ::ffff:198.51.100.25 4711 25\r\n";
    let header = made(Kind::Postfix, Handoff::ProxyV1, received);
    assert_eq!(header.bytes, b"PROXY TCP6 2001:db8::7 :: 4711 25\r\n");
    assert!(header.substituted.destination);
}

#[test]
fn a_destination_not_told_is_the_address_that_the_proxy_reached() {
    let header = made(Kind::Postfix, Handoff::ProxyV1, b"PROXY TCP4 203.0.113.7 0.0.0.0 4711 0\r\n");
    assert_eq!(header.bytes, b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 25\r\n");
    assert!(header.substituted.destination && !header.substituted.client_port);
}

#[test]
fn a_client_port_not_told_is_what_the_kind_takes() {
    let received = b"PROXY TCP4 203.0.113.7 198.51.100.25 0 25\r\n";
    for (kind, handoff, port, substituted) in [
        (Kind::Postfix, Handoff::ProxyV1, 0, false),
        (Kind::Dovecot, Handoff::ProxyV1, 1, true),
        (Kind::Dovecot, Handoff::ProxyV2, 0, false),
    ] {
        let header = made(kind, handoff, received);
        let Addresses::Inet { source, .. } = decoded(&header).addresses() else { panic!("not IPv4") };
        assert_eq!(source.port(), port, "{kind} {handoff:?}");
        assert_eq!(header.substituted.client_port, substituted, "{kind} {handoff:?}");
    }
}

fn ssl(client: u8, verify: u32, subs: &[(u8, &[u8])]) -> Vec<u8> {
    let mut value = vec![client];
    value.extend_from_slice(&verify.to_be_bytes());
    for (kind, sub) in subs {
        value.push(*kind);
        value.extend_from_slice(&u16::try_from(sub.len()).unwrap().to_be_bytes());
        value.extend_from_slice(sub);
    }
    value
}

fn client_with(tlvs: &[Tlv<'_>]) -> Vec<u8> {
    let source = "203.0.113.7:4711".parse().unwrap();
    let destination = "198.51.100.25:993".parse().unwrap();
    v2(Addresses::Inet { source, destination }, tlvs)
}

#[test]
fn postfix_gets_no_tlv() {
    let ssl = ssl(1, 0, &[(0x21, b"TLSv1.3")]);
    let received = client_with(&[Tlv { kind: TlvType::SSL, value: &ssl }]);
    let header = made(Kind::Postfix, Handoff::ProxyV2, &received);
    assert_eq!(header.bytes.len(), 28);
}

#[test]
fn dovecot_gets_tls_facts_and_nothing_that_hurts_it() {
    let ssl = ssl(1, 0, &[(0x21, b"TLSv1.3"), (0x23, b"TLS_AES_128_GCM_SHA256"), (0x22, b"mallory")]);
    let received = client_with(&[
        Tlv { kind: TlvType::ALPN, value: b"imap" },
        Tlv { kind: TlvType::AUTHORITY, value: b"mail.example" },
        Tlv { kind: TlvType::SSL, value: &ssl },
        Tlv { kind: TlvType(0xE7), value: b"unknown" },
    ]);
    let header = made(Kind::Dovecot, Handoff::ProxyV2, &received);
    let decoded = decoded(&header);
    assert_eq!(decoded.tlvs().map(|tlv| tlv.kind).collect::<Vec<_>>(), [TlvType::SSL]);
    let sent: Ssl<'_> = decoded.ssl().unwrap();
    assert!(sent.is_tls());
    assert_eq!(sent.version(), Some(&b"TLSv1.3"[..]));
    assert_eq!(sent.cipher(), Some(&b"TLS_AES_128_GCM_SHA256"[..]));
    // verify = 0 without a certificate bit proves nothing, so that the name does not go on.
    assert_eq!(sent.common_name(), None);
}

#[test]
fn a_clear_text_client_stays_one() {
    let ssl = ssl(0, 0, &[]);
    let received = client_with(&[Tlv { kind: TlvType::SSL, value: &ssl }]);
    let header = made(Kind::Dovecot, Handoff::ProxyV2, &received);
    assert!(!decoded(&header).ssl().unwrap().is_tls());
}

#[test]
fn a_verified_name_goes_on() {
    let ssl = ssl(0x07, 0, &[(0x22, b"alice")]);
    let received = client_with(&[Tlv { kind: TlvType::SSL, value: &ssl }]);
    let header = made(Kind::Dovecot, Handoff::ProxyV2, &received);
    assert_eq!(decoded(&header).ssl().unwrap().common_name(), Some(&b"alice"[..]));
}

#[test]
fn over_budget_optional_tlvs_go_and_the_address_never() {
    let name = [b'n'; 600];
    let received = client_with(&[
        Tlv { kind: TlvType::AUTHORITY, value: &name },
        Tlv { kind: TlvType::ALPN, value: b"imap" },
    ]);
    let header = made(Kind::Other, Handoff::ProxyV2, &received);
    assert!(header.bytes.len() <= 536);
    assert_eq!(header.dropped_tlvs, 2);
    let kinds: Vec<_> = decoded(&header).tlvs().map(|tlv| tlv.kind).collect();
    assert_eq!(kinds, [TlvType::UNIQUE_ID, TlvType::CRC32C]);
}

#[test]
fn our_id_travels_and_the_checksum_is_right() {
    let header = made(Kind::Other, Handoff::ProxyV2, CLIENT_V4);
    let decoded = decoded(&header);
    assert_eq!(decoded.tlvs().find(TlvType::UNIQUE_ID), Some(&b"id-1"[..]));
    assert!(decoded.tlvs().find(TlvType::CRC32C).is_some());
}

#[test]
fn the_proxys_own_connection_is_the_real_pair_never_ours() {
    for received in
        [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0"]
    {
        let header = made(Kind::Other, Handoff::ProxyV1, received);
        assert_eq!(header.bytes, b"PROXY TCP4 192.0.2.10 192.0.2.1 50000 25\r\n", "{received:?}");
    }
}

#[test]
fn a_unix_proxys_own_connection_cannot_be_told() {
    let reader =
        HeaderReader::new(HeaderRules::default(), PeerAddress::Unix { uid: Some(0) }, Instant::now());
    let Progress::Done { identity, .. } = reader.advance(b"PROXY UNKNOWN\r\n").unwrap() else {
        panic!("incomplete")
    };
    let telling = Telling { kind: Kind::Other, handoff: Handoff::ProxyV2 };
    assert_eq!(header(telling, &identity, None, ""), Err(Untellable::NoAddress));
}

#[test]
fn none_means_no_byte() {
    let header = made(Kind::Other, Handoff::None, CLIENT_V4);
    assert_eq!(header, Header::default());
}
