//! `proxy.own`: each way to say "this connection is nobody's" with each answer to it, in each protocol.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use crate::program;
use crate::support;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use crate::support::fake::{Fake, echo_behind_v1, greets_behind_v1, listens};
use crate::support::{House, Plan, expect, read_to_end};
use truepeer::UnixPeers;
use truepeer_gateway::facts::bind::Bind;
use truepeer_gateway::facts::protocol::{OwnConnections, Protocol};
use truepeer_gateway::rooms::handoff::Handoff;

/// Headers that name no client, as they stand on the wire, and the word for them in records. Whatever addresses they
/// carry are nobody's.
fn headers() -> Vec<(Vec<u8>, &'static str)> {
    let v2 = |rest: &[u8]| [b"\r\n\r\n\0\r\nQUIT\n", rest].concat();
    let named = b"\xcb\0\x71\x07\xc6\x33\x64\x19\x12\x67\0\x19";
    vec![
        (v2(b"\x20\0\0\0"), "local"),
        (v2(&[b"\x20\x11\0\x0c", &named[..]].concat()), "local"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "unknown"),
        (b"PROXY UNKNOWN ffff:f::1 ffff:f::2 65535 65535\r\n".to_vec(), "unknown"),
        (v2(b"\x21\0\0\0"), "unspecified"),
        (OWN_ADDRESS.to_vec(), "own_address"),
    ]
}

/// Stands for a version 1 header with the addresses of the very connection that it is sent on.
const OWN_ADDRESS: &[u8] = b"own address";

/// `header` as it is to be sent on `check`.
fn for_connection(header: &[u8], check: &TcpStream) -> Vec<u8> {
    if header != OWN_ADDRESS {
        return header.to_vec();
    }
    let (ours, theirs) = (check.local_addr().unwrap(), check.peer_addr().unwrap());
    format!("PROXY TCP4 {} {} {} {}\r\n", ours.ip(), theirs.ip(), ours.port(), theirs.port()).into_bytes()
}

/// A backend that is proved in this protocol, and what it says first.
fn backend(protocol: Protocol) -> (Fake, &'static str) {
    match protocol {
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => {
            (Fake::start(greets_behind_v1("220 b\r\n", "221 b\r\n")), "220 b\r\n")
        }
        Protocol::Imap => (Fake::start(greets_behind_v1("* OK b\r\n", "* BYE b\r\n")), "* OK b\r\n"),
        Protocol::Pop3 => (Fake::start(greets_behind_v1("+OK b\r\n", "+OK b\r\n")), "+OK b\r\n"),
        Protocol::ManageSieve => {
            (Fake::start(greets_behind_v1("OK \"b\"\r\n", "OK \"b\"\r\n")), "OK \"b\"\r\n")
        }
        Protocol::Http | Protocol::Tcp => (Fake::start(echo_behind_v1), ""),
    }
}

fn house(protocol: Protocol, backend: &Fake, own: &str) -> House {
    House::written(protocol, backend.address, &format!("proxy.own = \"{own}\"\n"))
}

/// What the backend heard of connections that are not the front door's own questions, which end with a goodbye or say
/// nothing.
fn reached(backend: Fake) -> Vec<String> {
    let heard = backend.finish().into_iter().map(|heard| String::from_utf8(heard).unwrap());
    heard.filter(|heard| heard.ends_with("mine\r\n")).collect()
}

#[test]
fn forwarded_they_reach_the_backend_under_the_proxys_own_address() {
    for protocol in Protocol::ALL {
        let (backend, greeting) = backend(protocol);
        let house = house(protocol, &backend, "forward");
        let mut expected = Vec::new();
        for (header, word) in headers() {
            let mut check = house.connect();
            let (ours, theirs) = (check.local_addr().unwrap().port(), house.address().port());
            check.write_all(&[&for_connection(&header, &check), &b"mine\r\n"[..]].concat()).unwrap();
            expect(&check, greeting.as_bytes());
            check.shutdown(Shutdown::Write).unwrap();
            read_to_end(&check);
            drop(check);
            let record = house.record();
            record.assert(&[("outcome", "done"), ("own", word), ("backend", "b")]);
            assert_eq!(record.get("client"), None, "{}", record.0);
            expected.push(format!("PROXY TCP4 127.0.0.1 127.0.0.1 {ours} {theirs}\r\nmine\r\n"));
        }
        house.finish();
        assert_eq!(reached(backend), expected, "{protocol}");
    }
}

#[test]
fn forwarded_in_version_2_they_are_an_ordinary_header_too() {
    let backend = Fake::start(listens);
    let mut plan = Plan::new(Protocol::Tcp, Handoff::ProxyV2, backend.address);
    plan.own = OwnConnections::Forward;
    let house = plan.start();
    let (header, _) = headers().remove(0);
    let mut check = house.connect();
    let (ours, theirs) = (check.local_addr().unwrap().port(), house.address().port());
    check.write_all(&[&header, &b"mine"[..]].concat()).unwrap();
    check.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&check), b"");
    drop(check);
    house.record().assert(&[("outcome", "done"), ("own", "local")]);
    house.finish();
    let heard: Vec<_> = backend.finish().into_iter().filter(|heard| !heard.is_empty()).collect();
    let ports = [ours.to_be_bytes(), theirs.to_be_bytes()].concat();
    let pair = [b"\x7f\0\0\x01\x7f\0\0\x01", ports.as_slice()].concat();
    let [heard] = &heard[..] else { panic!("{heard:?}") };
    assert!(heard.starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21\x11"), "{}", heard.escape_ascii());
    assert_eq!(heard[16..28], pair, "{}", heard.escape_ascii());
    assert!(heard.ends_with(b"mine"));
}

#[test]
fn answered_they_hear_the_greeting_and_reach_no_backend() {
    for protocol in Protocol::ALL.into_iter().filter(|protocol| protocol.is_mail()) {
        let (backend, _) = backend(protocol);
        let house = house(protocol, &backend, "answer");
        let greeting: &[u8] = match protocol {
            Protocol::Imap => b"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] mx.example ",
            Protocol::Pop3 => b"+OK mx.example ",
            Protocol::ManageSieve => b"\"IMPLEMENTATION\" \"truepeer\"\r\n",
            Protocol::Lmtp => b"220 mx.example LMTP ",
            _ => b"220 mx.example ESMTP ",
        };
        for (header, _) in headers() {
            let mut check = house.connect();
            check.write_all(&[&for_connection(&header, &check), &b"mine\r\n"[..]].concat()).unwrap();
            expect(&check, greeting);
        }
        house.finish();
        assert_eq!(reached(backend), [""; 0], "{protocol}");
    }
}

#[test]
fn refused_they_are_closed_without_a_byte_and_reach_no_backend() {
    for protocol in Protocol::ALL {
        let (backend, _) = backend(protocol);
        let house = house(protocol, &backend, "refuse");
        for (header, word) in headers() {
            let mut check = house.connect();
            check.write_all(&for_connection(&header, &check)).unwrap();
            assert_eq!(read_to_end(&check), b"", "{protocol}");
            drop(check);
            house.record().assert(&[("outcome", "own_refused"), ("own", word)]);
        }
        house.finish();
        assert_eq!(reached(backend), [""; 0], "{protocol}");
    }
}

#[test]
fn mail_or_a_login_over_them_is_put_off_and_said_with_its_cause() {
    for (protocol, say, no) in [
        (Protocol::Smtp, "EHLO x\r\nMAIL FROM:<a@b>\r\nQUIT\r\n", "\r\n451 4.7.1 "),
        (Protocol::Submission, "AUTH PLAIN AGEAYg==\r\nQUIT\r\n", "\r\n454 4.7.0 "),
        (Protocol::Lmtp, "LHLO x\r\nRCPT TO:<a@b>\r\nQUIT\r\n", "\r\n451 4.7.1 "),
        (Protocol::Imap, "a LOGIN u p\r\nb LOGOUT\r\n", "\r\na NO [UNAVAILABLE] "),
        (Protocol::Pop3, "USER u\r\nQUIT\r\n", "\r\n-ERR [SYS/TEMP] "),
        (Protocol::ManageSieve, "AUTHENTICATE \"PLAIN\"\r\nLOGOUT\r\n", "\r\nNO (TRYLATER) "),
    ] {
        let (backend, _) = backend(protocol);
        let house = house(protocol, &backend, "answer");
        for (header, word) in headers() {
            let mut client = house.connect();
            client.write_all(&[&for_connection(&header, &client), say.as_bytes()].concat()).unwrap();
            let heard = String::from_utf8(read_to_end(&client)).unwrap();
            assert!(heard.contains(no), "{heard}");
            drop(client);
            let record = house.record();
            record.assert(&[("outcome", "own_no_check"), ("level", "info"), ("own", word)]);
            let cause = record.get("cause").unwrap();
            assert!(cause.contains("mail") && record.get("remedy").is_some(), "{}", record.0);
        }
        house.finish();
        assert_eq!(reached(backend), [""; 0], "{protocol}");
    }
}

#[test]
fn over_a_unix_socket_nothing_is_forwarded_since_there_is_no_address() {
    let folder = program::Folder::new();
    for (protocol, ask, answer, outcome) in [
        (Protocol::Http, &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &b"HTTP/1.1 200 OK\r\n"[..], None),
        (Protocol::Tcp, b"", b"", Some("own_refused")),
    ] {
        let path = folder.path(protocol.name());
        let (backend, _) = backend(protocol);
        let mut plan = Plan::new(protocol, Handoff::ProxyV1, backend.address);
        plan.binds = vec![Bind::Unix { path: path.clone(), mode: 0o600 }];
        plan.unix = UnixPeers::Trusted;
        let house = plan.start();
        let mut check = UnixStream::connect(&path).unwrap();
        check.set_read_timeout(Some(support::PATIENCE)).unwrap();
        check.write_all(&[b"PROXY UNKNOWN\r\n", ask].concat()).unwrap();
        let mut heard = Vec::new();
        check.read_to_end(&mut heard).unwrap();
        assert!(heard.starts_with(answer), "{}", heard.escape_ascii());
        if let Some(outcome) = outcome {
            let record = house.record();
            record.assert(&[("outcome", outcome)]);
            assert!(record.get("remedy").unwrap().contains("health-bind"), "{}", record.0);
        }
        house.finish();
        assert!(backend.finish().iter().all(|heard| !heard.windows(4).any(|piece| piece == b"GET ")));
    }
}
