#![allow(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use truepeer_proto::{ClientFlags, Decode, Encoder, Tlv, decode};

use super::*;
use crate::{Caller, HeaderReader, HeaderRules, IpNet, Progress};

const PEER: &str = "192.0.2.10:1000";
const LOCAL: u8 = 0x20;

fn peer(text: &str) -> PeerAddress {
    PeerAddress::tcp(text.parse().unwrap())
}

fn inet(source: &str, destination: &str) -> Addresses<'static> {
    Addresses::Inet { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn usual() -> Addresses<'static> {
    inet("203.0.113.5:40000", "198.51.100.2:25")
}

/// The identity that these bytes give.
fn read(bytes: &[u8]) -> ClientIdentity {
    let Ok(Decode::Complete { header, .. }) = decode(bytes) else { panic!("{:?}", decode(bytes)) };
    ClientIdentity::from_header(&header, peer(PEER), Transport::Stream)
}

fn encode(encoder: &Encoder<'_>) -> Vec<u8> {
    let mut bytes = vec![0; encoder.encoded_len().unwrap()];
    encoder.encode(&mut bytes).unwrap();
    bytes
}

fn with_tlvs(tlvs: &[Tlv<'_>]) -> ClientIdentity {
    read(&encode(&Encoder::v2(usual()).tlvs(tlvs)))
}

/// An SSL TLV's value.
fn ssl(flags: u8, verify: u32) -> Vec<u8> {
    [
        &[flags][..],
        &verify.to_be_bytes(),
        &[0x21, 0, 7],
        b"TLSv1.3",
        &[0x22, 0, 5],
        b"alice",
        &[0x23, 0, 3],
        b"AES",
    ]
    .concat()
}

#[test]
fn small_enough_to_keep_for_every_connection() {
    let (identity, client) = (size_of::<ClientIdentity>(), size_of::<crate::Client>());
    assert!(identity <= 16 && client <= 32, "{identity} and {client}");
}

#[test]
fn both_addresses_are_kept_apart() {
    let identity = with_tlvs(&[]);
    assert_eq!(identity.client().unwrap().to_string(), "203.0.113.5:40000");
    assert_eq!(identity.peer().to_string(), PEER);
    assert_eq!(identity.destination().unwrap().to_string(), "198.51.100.2:25");
    assert_eq!((identity.source().code(), identity.is_secure()), ("v2", false));
}

#[test]
fn what_was_not_told_is_no_value() {
    let identity = read(&encode(&Encoder::v2(inet("203.0.113.5:0", "0.0.0.0:0"))));
    assert_eq!(identity.client().unwrap().port, None);
    assert_eq!(identity.client().unwrap().to_string(), "203.0.113.5");
    assert_eq!(identity.client().unwrap().to_socket_addr(7).port(), 7);
    assert_eq!(identity.destination(), None);
}

#[test]
fn mapped_clients_are_folded() {
    let identity = read(b"PROXY TCP6 ::ffff:203.0.113.5 ::ffff:198.51.100.2 40000 25\r\n");
    assert_eq!(identity.client().unwrap().to_string(), "203.0.113.5:40000");
    assert_eq!(identity.destination().unwrap().to_string(), "198.51.100.2:25");
}

/// `verify` and the certificate bits, each alone and together: only one row of them is a verified client.
#[test]
fn tls_facts_need_the_bits_not_the_tlv() {
    for (flags, verify, secure, verified) in [
        (0, 0, false, false),
        (ClientFlags::CERT_CONN.0, 0, false, false),
        (ClientFlags::SSL.0, 0, true, false),
        (ClientFlags::SSL.0, 1, true, false),
        (ClientFlags::SSL.0 | ClientFlags::CERT_CONN.0, 1, true, false),
        (ClientFlags::SSL.0 | ClientFlags::CERT_CONN.0, 0, true, true),
        (ClientFlags::SSL.0 | ClientFlags::CERT_SESS.0, 0, true, true),
        (ClientFlags::SSL.0 | ClientFlags::CERT_SESS.0, 0x0100_0000, true, false),
    ] {
        let value = ssl(flags, verify);
        let identity = with_tlvs(&[Tlv { kind: TlvType::SSL, value: &value }]);
        let context = format!("flags {flags:#04x}, verify {verify}");
        assert_eq!(identity.is_secure(), secure, "{context}");
        assert_eq!(identity.tls().is_some_and(|tls| tls.is_client_verified()), verified, "{context}");
        let name = identity.tls().and_then(|tls| tls.verified_common_name());
        assert_eq!(name, verified.then_some(&b"alice"[..]), "{context}");
        let facts = identity.tls().map(|tls| (tls.version(), tls.cipher()));
        assert_eq!(facts, secure.then_some((Some(&b"TLSv1.3"[..]), Some(&b"AES"[..]))), "{context}");
    }
}

#[test]
fn names_and_ids() {
    let identity = with_tlvs(&[
        Tlv { kind: TlvType::AUTHORITY, value: b"mx.example.org" },
        Tlv { kind: TlvType::ALPN, value: b"imap" },
        Tlv { kind: TlvType::UNIQUE_ID, value: b"\x01\xff" },
        Tlv { kind: TlvType::AWS, value: b"\x01vpce-08d2bf15fac5001c9" },
        Tlv { kind: TlvType::AZURE, value: &[1, 0x78, 0x56, 0x34, 0x12] },
        Tlv { kind: TlvType::GCP_PSC, value: &[0, 0, 0, 0, 0, 0, 1, 2] },
        Tlv { kind: TlvType::ALIBABA, value: b"\x01vpc-1" },
        Tlv { kind: TlvType::ALIBABA, value: b"\x02ep-2" },
        Tlv { kind: TlvType::ALIBABA, value: b"\x03epsrv-3" },
        Tlv { kind: TlvType::AUTHORITY, value: b"second.example" },
    ]);
    assert_eq!(identity.authority(), Some("mx.example.org"));
    assert_eq!(identity.alpn(), Some(&b"imap"[..]));
    assert_eq!(identity.unique_id(), Some(&b"\x01\xff"[..]));
    assert_eq!(identity.aws_vpc_endpoint_id(), Some("vpce-08d2bf15fac5001c9"));
    assert_eq!(identity.azure_link_id(), Some(0x1234_5678));
    assert_eq!(identity.gcp_connection_id(), Some(258));
    assert_eq!(identity.alibaba_vpc_id(), Some("vpc-1"));
    assert_eq!(identity.alibaba_endpoint_id(), Some("ep-2"));
    assert_eq!(identity.alibaba_service_id(), Some("epsrv-3"));
    assert_eq!(identity.tlvs().count(), 10);
}

#[test]
fn ids_that_do_not_fit_their_type_are_none() {
    let identity = with_tlvs(&[
        Tlv { kind: TlvType::AWS, value: b"\x02vpce" },
        Tlv { kind: TlvType::AZURE, value: &[1, 2, 3] },
        Tlv { kind: TlvType::GCP_PSC, value: &[1] },
        Tlv { kind: TlvType::ALIBABA, value: b"\x02\xff" },
        Tlv { kind: TlvType::AUTHORITY, value: b"\xff" },
    ]);
    assert_eq!(identity.aws_vpc_endpoint_id(), None);
    assert_eq!((identity.azure_link_id(), identity.gcp_connection_id()), (None, None));
    assert_eq!((identity.alibaba_endpoint_id(), identity.authority()), (None, None));
}

/// LOCAL with addresses and a TLV that shouts TLS: nothing of it is believed.
#[test]
fn the_proxys_own_connections_have_no_address_and_no_tls() {
    let tls = ssl(7, 0);
    let proxy = encode(&Encoder::v2(usual()).tlvs(&[Tlv { kind: TlvType::SSL, value: &tls }]));
    let mut local = proxy.clone();
    local[12] = LOCAL;
    let unspecified = b"\r\n\r\n\0\r\nQUIT\n\x21\x00\0\0".to_vec();
    let mut datagram = encode(&Encoder::v2(usual()));
    datagram[13] = 0x12;
    let unix = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8/tmp/a"[..], &[0; 210]].concat();
    for (bytes, why) in [
        (local, OwnConnection::Local),
        (b"PROXY UNKNOWN\r\n".to_vec(), OwnConnection::Unknown),
        (b"PROXY UNKNOWN 203.0.113.5 198.51.100.2 40000 25\r\n".to_vec(), OwnConnection::Unknown),
        (unspecified, OwnConnection::Unspecified),
        (datagram, OwnConnection::Datagram),
        (unix, OwnConnection::UnixClient),
    ] {
        let identity = read(&bytes);
        assert_eq!(identity.role(), Role::ProxyOwn(why));
        assert_eq!((identity.client(), identity.destination()), (None, None), "{why:?}");
        assert!(!identity.is_secure() && identity.tls().is_none(), "{why:?}");
        assert_eq!(identity.tlvs().count(), 0, "{why:?}");
        let Caller::ProxyOwn(own) = Caller::from(identity) else { panic!("{why:?} became a client") };
        assert_eq!((own.why(), own.peer()), (why, peer(PEER)));
    }
    assert!(read(&proxy).is_secure(), "the same bytes under PROXY are believed");
}

/// A version 1 check has no LOCAL: it names the connection's own ends. A port apart is a client on the proxy's host.
#[test]
fn a_header_that_names_its_own_peer_is_the_proxys_own_and_one_port_apart_is_a_client() {
    for (peer, line, own) in [
        ("10.0.0.1:4711", "PROXY TCP4 10.0.0.1 192.0.2.1 4711 25\r\n", true),
        ("10.0.0.1:4711", "PROXY TCP4 10.0.0.1 192.0.2.1 4712 25\r\n", false),
        ("10.0.0.1:4711", "PROXY TCP4 10.0.0.2 192.0.2.1 4711 25\r\n", false),
        ("[::ffff:10.0.0.1]:4711", "PROXY TCP4 10.0.0.1 192.0.2.1 4711 25\r\n", true),
        ("[2001:db8::1]:4711", "PROXY TCP6 2001:db8::1 2001:db8::2 4711 25\r\n", true),
    ] {
        let reader = HeaderReader::new(HeaderRules::default(), self::peer(peer), std::time::Instant::now());
        let Ok(Progress::Done { identity, .. }) = reader.advance(line.as_bytes()) else { panic!("{line}") };
        let expected = if own { Some(OwnConnection::OwnAddress) } else { None };
        let found = match identity.role() {
            Role::ProxyOwn(own) => Some(own),
            Role::Client(_) => None,
        };
        assert_eq!((found, identity.client().is_none()), (expected, own), "{peer} {line}");
    }
}

#[test]
fn a_direct_client_is_its_peer_and_a_unix_peer_is_nobody() {
    let identity =
        ClientIdentity::direct(peer("[::ffff:203.0.113.5]:7"), Some("198.51.100.2:25".parse().unwrap()));
    let identity = identity.unwrap();
    assert_eq!(identity.client().unwrap().to_string(), "203.0.113.5:7");
    assert_eq!(identity.source(), IdentitySource::Direct);
    assert!(identity.check_plausible(&NetworkSet::default()).is_ok());
    assert_eq!(ClientIdentity::direct(PeerAddress::Unix { uid: Some(0) }, None), None);
}

#[test]
fn clients_that_cannot_be_true() {
    let own: NetworkSet = ["198.51.100.2/32".parse::<IpNet>().unwrap()].into_iter().collect();
    for (client, from, because) in [
        ("203.0.113.5", PEER, None),
        ("10.0.0.1", PEER, None),
        ("0.0.0.0", PEER, Some("is the unspecified address")),
        ("224.0.0.1", PEER, Some("is a multicast address")),
        ("255.255.255.255", PEER, Some("is the broadcast address")),
        ("127.0.0.1", PEER, Some("is a loopback address, but the peer is on another machine")),
        ("127.0.0.1", "127.0.0.9:1", None),
        (
            "198.51.100.2",
            PEER,
            Some("is an address of this machine or of a backend, but the peer is on another machine"),
        ),
        ("198.51.100.2", "127.0.0.9:1", None),
    ] {
        let line = format!("PROXY TCP4 {client} 198.51.100.2 40000 25\r\n");
        let Ok(Decode::Complete { header, .. }) = decode(line.as_bytes()) else { panic!("{line}") };
        let identity = ClientIdentity::from_header(&header, peer(from), Transport::Stream);
        let judged = identity.check_plausible(&own).err().map(|implausible| implausible.because);
        assert_eq!(judged, because, "{client} from {from}");
    }
    // A peer that was not folded by its maker is where it is all the same.
    let mapped = PeerAddress::Tcp("[::ffff:127.0.0.9]:1".parse().unwrap());
    let Ok(Decode::Complete { header, .. }) = decode(b"PROXY TCP4 127.0.0.1 198.51.100.2 40000 25\r\n")
    else {
        panic!()
    };
    assert_eq!(ClientIdentity::from_header(&header, mapped, Transport::Stream).check_plausible(&own), Ok(()));
}
