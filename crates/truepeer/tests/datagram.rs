//! Headers in front of datagrams: the client is known, nobody else's words are believed, and the payload is whole.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

#[path = "../examples/dns.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod dns;

use std::net::UdpSocket;
use std::time::Duration;

use truepeer::{
    Arrival, DatagramError, HeaderRules, IdentifyReason, OwnConnection, PeerAddress, Role, TrustPolicy,
    TrustedNetworks, UnixPeers, Unlisted, read_datagram,
};

const PROXY: &str = "192.0.2.10:5300";
const STRANGER: &str = "192.0.2.99:2000";

/// A version 2 header for 203.0.113.5:40000, sent to 198.51.100.2:53. `family`: `0x12` is UDP over IPv4.
fn v2(command: u8, family: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, family, 0, 12, 203, 0, 113, 5, 198, 51, 100, 2, 0x9C, 0x40, 0, 53]);
    header
}

fn read(peer: &str, datagram: &[u8]) -> Result<(Role, Vec<u8>), DatagramError> {
    let policy = TrustPolicy::from(TrustedNetworks::parse(["192.0.2.10"]).unwrap());
    let arrival =
        Arrival::new(PeerAddress::tcp(peer.parse().unwrap()), Some("192.0.2.1:53".parse().unwrap()));
    let (identity, payload) = read_datagram(&policy, &HeaderRules::new(), arrival, datagram)?;
    assert_eq!(identity.peer().to_string(), peer);
    Ok((identity.role(), payload.to_vec()))
}

fn client(text: &str) -> Role {
    Role::Client(text.parse::<std::net::SocketAddr>().unwrap().into())
}

#[test]
fn a_trusted_peers_datagram_is_its_clients() {
    let header = v2(0x21, 0x12);
    for payload in [&b"query"[..], b"", &header] {
        let told = read(PROXY, &[&header, payload].concat());
        // A second header is payload: it was the client's to write.
        assert_eq!(told, Ok((client("203.0.113.5:40000"), payload.to_vec())));
    }
}

#[test]
fn a_stranger_is_the_client_and_its_header_is_payload() {
    let forged = [&v2(0x21, 0x12)[..], b"query"].concat();
    assert_eq!(read(STRANGER, &forged), Ok((client(STRANGER), forged)));
    let closed = TrustPolicy::new(TrustedNetworks::nobody(), UnixPeers::Refuse, Unlisted::Refuse);
    let arrival = Arrival::new(PeerAddress::tcp(STRANGER.parse().unwrap()), None);
    let refused = read_datagram(&closed, &HeaderRules::new(), arrival, b"query").unwrap_err();
    assert_eq!(refused.to_string(), "192.0.2.99:2000 is in no trusted network, and only proxies are served");
    assert_eq!(std::io::Error::from(refused).kind(), std::io::ErrorKind::PermissionDenied);
}

#[test]
fn what_is_no_whole_header_is_dropped_at_once() {
    let header = v2(0x21, 0x12);
    for len in 1..header.len() {
        let Err(DatagramError::Header(error)) = read(PROXY, &header[..len]) else { panic!("{len}") };
        assert_eq!((error.reason().code(), error.at()), ("header_truncated", len), "{len}");
    }
    for (datagram, code) in [
        (&b""[..], "header_empty"),
        (b"query", "header_missing"),
        (b"PROXY TCP4 203.0.113.5 198.51.100.2 40000 53\r\nquery", "header_malformed"),
    ] {
        let Err(DatagramError::Header(error)) = read(PROXY, datagram) else { panic!("{code}") };
        assert_eq!(error.reason().code(), code, "{error}");
    }
}

#[test]
fn a_client_that_cannot_be_true_is_not_believed() {
    let mut header = v2(0x21, 0x12);
    header[16..20].copy_from_slice(&[127, 0, 0, 1]);
    let Err(DatagramError::Header(error)) = read(PROXY, &header) else { panic!("believed") };
    assert!(matches!(error.reason(), IdentifyReason::Implausible(_)), "{error}");
}

#[test]
fn what_is_for_no_client_is_the_proxys_own() {
    for (header, own) in [
        (v2(0x20, 0x12), OwnConnection::Local),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0".to_vec(), OwnConnection::Unspecified),
        (v2(0x21, 0x11), OwnConnection::Stream),
    ] {
        assert_eq!(read(PROXY, &header).unwrap().0, Role::ProxyOwn(own));
    }
}

/// A question for the A record of `a.`, with the id 0x1234.
const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";

#[test]
fn the_name_server_answers_with_the_clients_address() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let proxy = UdpSocket::bind("127.0.0.1:0").unwrap();
    proxy.connect(server.local_addr().unwrap()).unwrap();
    for socket in [&server, &proxy] {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    let policy = TrustPolicy::from(TrustedNetworks::parse(["127.0.0.1"]).unwrap());
    let ask = |datagram: &[u8]| {
        proxy.send(datagram).unwrap();
        dns::serve_one(&server, &policy).unwrap();
    };
    // None of these is answered, and none keeps the next one from being so.
    ask(QUERY);
    ask(&v2(0x20, 0x12));
    ask(&[&v2(0x21, 0x12), &QUERY[..9]].concat());
    ask(&[&v2(0x21, 0x12), QUERY].concat());
    let mut answer = [0; 512];
    let len = proxy.recv(&mut answer).unwrap();
    let answer = &answer[..len];
    assert_eq!((&answer[..2], &answer[6..8]), (&b"\x12\x34"[..], &[0, 1][..]));
    assert_eq!(answer[len - 4..], [203, 0, 113, 5]);
}
