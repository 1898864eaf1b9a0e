//! A blocking server: real sockets, one thread for each side, and no runtime.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use truepeer::{
    ClientIdentity, HeaderReader, HeaderRules, NetworkSet, PeerAddress, ReadHeaderError, read_header,
};

const V1: &[u8] = b"PROXY TCP4 203.0.113.5 198.51.100.2 40000 25\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x05\xc6\x33\x64\x02\x9c\x40\0\x19";

/// Both ends of one connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    (client, listener.accept().unwrap().0)
}

fn identify(
    server: &TcpStream,
    rules: HeaderRules,
    time: Duration,
) -> Result<ClientIdentity, ReadHeaderError> {
    let peer = PeerAddress::tcp(server.peer_addr().unwrap());
    read_header(server, &HeaderReader::new(rules, peer, Instant::now() + time))
}

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_header_is_read_and_not_a_byte_of_the_client() {
    for header in [V1, V2] {
        for cut in [1, 5, header.len()] {
            let (client, mut server) = pair();
            server.set_read_timeout(Some(LONG)).unwrap();
            let mut sender = client.try_clone().unwrap();
            let identity = std::thread::scope(|scope| {
                scope.spawn(move || {
                    sender.write_all(&header[..cut]).unwrap();
                    sender.write_all(&header[cut..]).unwrap();
                    sender.write_all(b"EHLO client\r\n").unwrap();
                });
                identify(&server, HeaderRules::new(), LONG)
            });
            assert_eq!(identity.unwrap().client().unwrap().to_string(), "203.0.113.5:40000");
            assert_eq!(server.read_timeout().unwrap(), Some(LONG), "as it was");
            client.shutdown(Shutdown::Write).unwrap();
            let mut rest = String::new();
            server.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "EHLO client\r\n");
        }
    }
}

#[test]
fn one_deadline_covers_the_whole_header() {
    let (mut client, server) = pair();
    client.write_all(&V1[..9]).unwrap();
    let start = Instant::now();
    let error = identify(&server, HeaderRules::new(), Duration::from_millis(50)).unwrap_err();
    assert!((50..10_000).contains(&start.elapsed().as_millis()));
    let text = error.to_string();
    let ReadHeaderError::Identify(error) = error else { panic!("{text}") };
    assert_eq!((error.reason().code(), error.at()), ("header_timeout", 9));
    assert!(
        text.ends_with("did not finish its header before the deadline; so far \"PROXY TCP\" (byte 9)"),
        "{text}"
    );
    assert_eq!(server.read_timeout().unwrap(), None, "as it was, after a failure, too");
}

#[test]
fn what_is_no_good_header_is_told_apart() {
    let own: NetworkSet = ["203.0.113.0/24".parse().unwrap()].into_iter().collect();
    let implausible = b"PROXY TCP4 224.0.0.1 198.51.100.2 40000 25\r\n";
    for (sent, rules, code) in [
        (&b"GET / HTTP/1.1\r\n"[..], HeaderRules::new(), "header_missing"),
        (b"", HeaderRules::new(), "header_empty"),
        (&V2[..20], HeaderRules::new(), "header_truncated"),
        (implausible, HeaderRules::new(), "client_implausible"),
        // The peer is on loopback itself, which may speak for this machine.
        (V1, HeaderRules::new().own_addresses(own), ""),
    ] {
        let (mut client, server) = pair();
        client.write_all(sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        match identify(&server, rules, LONG) {
            Ok(identity) => assert!(code.is_empty() && identity.client().is_some()),
            Err(ReadHeaderError::Identify(error)) => assert_eq!(error.reason().code(), code),
            Err(error) => panic!("{error}"),
        }
    }
}
