use std::path::Path;
use std::time::Instant;

use truepeer::proto::{Decode, Header as Decoded, Ssl, Tlv, TlvType, decode};
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

const NAMES: Names<'static> = Names { id: "id-1", listener: "door" };

fn made(kind: Kind, handoff: Handoff, received: &[u8]) -> Header {
    told(kind, handoff, TlvChoice::Kind, received)
}

fn told(kind: Kind, handoff: Handoff, tlvs: TlvChoice, received: &[u8]) -> Header {
    let (own_tlvs, label) = (OwnTlvs::default(), LabelSettings::default());
    let telling = Telling { kind, handoff, tlvs, own_tlvs, label: &label };
    header(telling, &identity(received), Some(REACHED.parse().unwrap()), NAMES).unwrap()
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
    assert!(header.substituted.has(Substituted::DESTINATION));
}

#[test]
fn a_destination_not_told_is_the_address_that_the_proxy_reached() {
    let header = made(Kind::Postfix, Handoff::ProxyV1, b"PROXY TCP4 203.0.113.7 0.0.0.0 4711 0\r\n");
    assert_eq!(header.bytes, b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 25\r\n");
    assert_eq!(header.substituted, Substituted::DESTINATION);
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
        assert_eq!(header.substituted.has(Substituted::CLIENT_PORT), substituted, "{kind} {handoff:?}");
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
    let label = LabelSettings::default();
    let telling = Telling {
        kind: Kind::Other,
        handoff: Handoff::ProxyV2,
        tlvs: TlvChoice::Kind,
        own_tlvs: OwnTlvs::default(),
        label: &label,
    };
    assert_eq!(header(telling, &identity, None, Names::default()), Err(Untellable::NoAddress));
}

#[test]
fn none_means_no_byte() {
    let header = made(Kind::Other, Handoff::None, CLIENT_V4);
    assert_eq!(header, Header::default());
}

/// A header with every item that a proxy may send: two of a type, one of no type that anybody knows, padding.
fn with_everything(flags: u8, verify: u32) -> Vec<u8> {
    let ssl = ssl(
        flags,
        verify,
        &[
            (0x22, b"alice"),
            (0x21, b"TLSv1.3"),
            (0x23, b"TLS_AES_128_GCM_SHA256"),
            (0x24, b"SHA256"),
            (0x28, b"certificate"),
            (0x2f, b"new"),
        ],
    );
    let tlv = |kind: u8, value| Tlv { kind: TlvType(kind), value };
    client_with(&[
        tlv(0x04, b"padding"),
        tlv(0xE7, b"unknown"),
        tlv(0x01, b"imap"),
        tlv(0x01, b"pop3"),
        tlv(0x02, b"mail.example"),
        tlv(0x05, b"proxy-id"),
        tlv(0x30, b"blue"),
        tlv(0x20, &ssl),
        tlv(0xEA, b"\x01vpce-08d2bf15fac5001c9"),
        tlv(0xEE, b"\x01\x01\x00\x00\x00"),
        tlv(0xE0, b"\x00\x00\x00\x00\x00\x00\x00\x07"),
        tlv(0xE1, b"\x01vpc-1"),
        tlv(0xE1, b"\x02ep-1"),
    ])
}

fn kinds(header: &Header) -> Vec<u8> {
    decoded(header).tlvs().map(|tlv| tlv.kind.0).collect()
}

#[test]
fn each_kind_gets_what_it_reads_whole_and_within_its_budget() {
    let received = with_everything(0x07, 0);
    for (kind, expected) in [
        (Kind::Postfix, &[][..]),
        (Kind::Postscreen, &[]),
        (Kind::Dovecot, &[0x20]),
        (Kind::Exim, &[]),
        (Kind::Opensmtpd, &[]),
        (Kind::Stalwart, &[0x20]),
        (Kind::Nginx, &[]),
        (Kind::Haproxy, &[0x20, 0x05, 0x02, 0x01, 0x03]),
        (Kind::Varnish, &[0x20, 0x02, 0x01, 0x03]),
        (Kind::Mariadb, &[]),
        (Kind::Other, &[0x20, 0x05, 0x02, 0x01, 0x03]),
    ] {
        let header = made(kind, Handoff::ProxyV2, &received);
        assert_eq!(kinds(&header), expected, "{kind}");
        assert_eq!(header.dropped_tlvs, 0, "{kind}");
        assert!(header.bytes.len() <= kind.facts().header_budget, "{kind}");
        let Addresses::Inet { source, destination } = decoded(&header).addresses() else {
            panic!("not IPv4: {kind}")
        };
        assert_eq!(
            (source.to_string(), destination.to_string()),
            ("203.0.113.7:4711".to_owned(), "198.51.100.25:993".to_owned())
        );
    }
}

#[test]
fn no_kind_ever_gets_a_longer_header_than_it_takes() {
    let long = [b'x'; 3000];
    let received = client_with(&[
        Tlv { kind: TlvType::AUTHORITY, value: &long },
        Tlv { kind: TlvType::ALPN, value: b"imap" },
        Tlv { kind: TlvType(0xE7), value: b"unknown" },
    ]);
    for kind in Kind::ALL {
        for tlvs in [TlvChoice::All, TlvChoice::Only(FactSet::of(&Fact::ALL)), TlvChoice::Kind] {
            let header = told(kind, Handoff::ProxyV2, tlvs, &received);
            assert!(header.bytes.len() <= kind.facts().header_budget, "{kind} {tlvs:?}");
            assert!(matches!(decoded(&header).addresses(), Addresses::Inet { .. }), "{kind} {tlvs:?}");
        }
    }
}

#[test]
fn version_1_carries_no_tlv_whatever_is_chosen() {
    let header = told(Kind::Other, Handoff::ProxyV1, TlvChoice::All, &with_everything(0x07, 0));
    assert_eq!(header.bytes, b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 993\r\n");
}

#[test]
fn what_is_chosen_by_name_travels_and_nothing_else() {
    let received = with_everything(0x07, 0);
    for fact in Fact::ALL {
        let header = told(Kind::Haproxy, Handoff::ProxyV2, TlvChoice::Only(FactSet::of(&[fact])), &received);
        let expected: &[u8] = match fact {
            Fact::Ssl => &[0x20],
            Fact::UniqueId => &[0x05],
            Fact::Authority => &[0x02],
            // Of two of one type the first counts.
            Fact::Alpn => &[0x01],
            Fact::AwsVpcEndpointId => &[0xEA],
            Fact::AzureLinkId => &[0xEE],
            Fact::GcpConnectionId => &[0xE0],
            Fact::AlibabaIds => &[0xE1, 0xE1],
            Fact::Netns => &[0x30],
            Fact::Crc32c => &[0x03],
        };
        assert_eq!(kinds(&header), expected, "{fact:?}");
    }
    let none = told(Kind::Haproxy, Handoff::ProxyV2, TlvChoice::Only(FactSet::NONE), &received);
    assert_eq!(none.bytes.len(), 28);
}

#[test]
fn unknown_types_travel_with_all_only_and_never_what_breaks_the_kind() {
    let received = with_everything(0x07, 0);
    let all = told(Kind::Other, Handoff::ProxyV2, TlvChoice::All, &received);
    // Of two of one type the first counts, and padding is about the received header.
    assert_eq!(kinds(&all), [0x20, 0x05, 0x02, 0x01, 0xEA, 0xEE, 0xE0, 0xE1, 0xE1, 0x30, 0xE7, 0x03]);
    assert_eq!(decoded(&all).tlvs().find(TlvType(0xE7)), Some(&b"unknown"[..]));
    let dovecot = told(Kind::Dovecot, Handoff::ProxyV2, TlvChoice::All, &received);
    assert!(!kinds(&dovecot).contains(&0x01) && !kinds(&dovecot).contains(&0x02), "{:?}", kinds(&dovecot));
    let named = TlvChoice::Only(FactSet::of(&[Fact::Alpn]));
    assert_eq!(kinds(&told(Kind::Dovecot, Handoff::ProxyV2, named, &received)), [0x01]);
}

#[test]
fn a_name_or_certificate_travels_only_if_it_was_verified() {
    for (flags, verify, travels) in [
        (0x07, 0, true),
        (0x03, 0, true),
        (0x05, 0, true),
        (0x01, 0, false),
        (0x07, 1, false),
        (0x06, 0, false),
        (0x00, 0, false),
    ] {
        for tlvs in [TlvChoice::Kind, TlvChoice::All] {
            let header = told(Kind::Haproxy, Handoff::ProxyV2, tlvs, &with_everything(flags, verify));
            let sent = decoded(&header).ssl().unwrap();
            assert_eq!((sent.client.0, sent.verify), (flags, verify));
            assert_eq!(sent.common_name().is_some(), travels, "{flags:#x} {verify}");
            let all = tlvs == TlvChoice::All;
            assert_eq!(sent.client_certificate().is_some(), travels && all, "{flags:#x} {verify}");
            assert_eq!(sent.signature_algorithm().is_some(), all);
            assert_eq!(sent.sub_tlvs().find(TlvType(0x2f)).is_some(), all);
        }
    }
}

#[test]
fn the_proxys_id_goes_on_and_ours_only_where_it_has_none() {
    let id = |received: &[u8]| {
        let header = made(Kind::Haproxy, Handoff::ProxyV2, received);
        decoded(&header).tlvs().find(TlvType::UNIQUE_ID).map(<[u8]>::to_vec)
    };
    assert_eq!(id(&with_everything(1, 0)), Some(b"proxy-id".to_vec()));
    assert_eq!(id(CLIENT_V4), Some(b"id-1".to_vec()));
}

#[test]
fn what_goes_first_when_there_is_no_room_is_what_helps_least() {
    let wide = [b'n'; 60];
    let received = client_with(&[
        Tlv { kind: TlvType(0xE7), value: &wide },
        Tlv { kind: TlvType::NETNS, value: &wide },
        Tlv { kind: TlvType::AUTHORITY, value: &wide },
        Tlv { kind: TlvType::UNIQUE_ID, value: &wide },
        Tlv { kind: TlvType::SSL, value: &ssl(1, 0, &[(0x21, b"TLSv1.3")]) },
    ]);
    // 28 bytes of addresses, 18 of TLS facts, 63 for each of the others, 7 of checksum.
    for (kind, expected, dropped) in [
        (Kind::Haproxy, &[0x20, 0x05, 0x02, 0x30, 0xE7, 0x03][..], 0),
        (Kind::Exim, &[0x20, 0x05, 0x02, 0x03], 2),
        (Kind::Nginx, &[0x20, 0x03], 4),
    ] {
        let header = told(kind, Handoff::ProxyV2, TlvChoice::All, &received);
        assert_eq!(kinds(&header), expected, "{kind}");
        assert_eq!(header.dropped_tlvs, dropped, "{kind}");
    }
}

#[test]
fn the_documented_table_is_that_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/handoff.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- generated: handoffs -->\n", "<!-- end: handoffs -->");
    let (before, rest) = written.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let mut table = "| `handoff` | for | needs | limits |\n|---|---|---|---|\n".to_owned();
    for facts in Handoff::ALL.map(Handoff::facts) {
        let row = [facts.suits, facts.needs, facts.limits].join(" | ");
        table.push_str(&format!("| `\"{}\"` | {row} |\n", facts.name));
    }
    let current = format!("{before}{begin}{table}{end}{after}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &current).unwrap();
    } else {
        assert!(written == current, "docs/handoff.md is stale: run the tests with UPDATE=1");
    }
}
