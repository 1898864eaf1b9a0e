//! What is refused, with which outcome, and that the backend never hears of it.

#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::Write;
use std::net::{IpAddr, Shutdown};
use std::time::Duration;

use crate::support::{HeaderMailServer, House, Plan, Record, expect, read_to_end};
use truepeer::Unlisted;
use truepeer_gateway::facts::protocol::{OwnConnections, Protocol};
use truepeer_gateway::rooms::handoff::Handoff;

const PROXY: [u8; 4] = [127, 0, 0, 1];
const STRANGER: [u8; 4] = [127, 0, 0, 9];
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn sends(house: &House, from: impl Into<IpAddr>, bytes: &[u8]) -> (Vec<u8>, Record) {
    let mut client = house.connect_from(from.into());
    client.write_all(bytes).unwrap();
    let _ = client.shutdown(Shutdown::Write);
    let heard = read_to_end(&client);
    (heard, house.record())
}

#[test]
fn a_forged_header_from_an_unlisted_peer_is_not_believed_and_not_passed_on() {
    let backend = HeaderMailServer::start();
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    for header in [
        &b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\nEHLO x\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\xc6\x33\x64\x19\x12\x67\0\x19EHLO x\r\n",
    ] {
        let (_, record) = sends(&house, STRANGER, header);
        record.assert(&[("outcome", "untrusted_header"), ("bytes_in", "0"), ("source", "direct")]);
        let cause = record.get("cause").unwrap();
        assert!(cause.contains("127.0.0.9") && cause.contains("203.0.113.7:4711"), "{cause}");
        assert!(record.get("remedy").unwrap().contains("trusted-networks"), "{}", record.0);
    }
}

#[test]
fn a_header_that_names_its_own_sender_is_redundant() {
    let backend = HeaderMailServer::start();
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    let mut client = house.connect_from(STRANGER.into());
    let ours = client.local_addr().unwrap();
    write!(client, "PROXY TCP4 {} 127.0.0.1 {} 25\r\n", ours.ip(), ours.port()).unwrap();
    house.record().assert(&[("outcome", "header_redundant"), ("bytes_in", "0")]);
}

#[test]
fn a_second_header_behind_the_first_is_refused() {
    let backend = HeaderMailServer::start();
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    let twice = b"PROXY TCP4 203.0.113.7 198.51.100.25 1 25\r\nPROXY TCP4 203.0.113.8 198.51.100.25 2 25\r\n";
    let (_, record) = sends(&house, PROXY, twice);
    record.assert(&[("outcome", "header_repeated"), ("bytes_in", "0"), ("client", "203.0.113.7:1")]);
    assert!(!backend.was_reached(), "a backend heard of a client that forges");
}

#[test]
fn a_trusted_peer_that_sends_something_else_is_told_apart() {
    let backend = HeaderMailServer::start();
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    for (bytes, outcome, cause) in [
        (&b"\x16\x03\x01\x02\0\x01\0"[..], "header_missing", "a TLS ClientHello"),
        (b"GET / HTTP/1.1\r\n", "header_missing", "an HTTP request"),
        (b"EHLO client.example\r\n", "header_missing", "an SMTP command"),
        (b"PROXY TCP4 203.0.113.999 1.1.1.1 1 1\r\n", "header_malformed", "bad header"),
        (b"PROXY TCP4 203.0.1", "header_truncated", "closed inside its header"),
        (b"PROXY TCP4 224.0.0.1 198.51.100.25 1 25\r\n", "client_implausible", "multicast"),
        (b"PROXY TCP4 255.255.255.255 198.51.100.25 1 25\r\n", "client_implausible", "broadcast"),
        (b"PROXY TCP4 0.0.0.0 198.51.100.25 1 25\r\n", "client_implausible", "unspecified"),
    ] {
        let (heard, record) = sends(&house, PROXY, bytes);
        assert_eq!(heard, b"");
        record.assert(&[("outcome", outcome)]);
        let said = record.get("cause").unwrap();
        assert!(said.contains(cause), "{said}");
    }
    assert!(!backend.was_reached());
}

#[test]
fn a_silent_trusted_peer_ends_at_the_deadline_and_delays_nobody() {
    let backend = HeaderMailServer::start();
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    plan.header_timeout = Duration::from_millis(400);
    let house = plan.start();
    let silent: Vec<_> = (0..50).map(|_| house.connect()).collect();
    let mut good = house.connect();
    good.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\nQUIT\r\n").unwrap();
    expect(&good, b"220 backend ready\r\n221 bye\r\n");
    drop(good);
    for silent in &silent {
        assert_eq!(read_to_end(silent), b"");
    }
    // The first ten are written out, the others are summed up later.
    let mut timeouts = 0;
    while timeouts < 10 {
        let record = house.record();
        if record.get("outcome") == Some("header_timeout") {
            timeouts += 1;
            assert!(record.get("cause").unwrap().contains("sent nothing"), "{}", record.0);
            assert!(record.get("remedy").unwrap().contains("send-proxy-v2"), "{}", record.0);
        }
    }
}

#[test]
fn the_oldest_unfinished_header_makes_room() {
    let backend = HeaderMailServer::start();
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    plan.max_pending = 8;
    let house = plan.start();
    let silent: Vec<_> = (0..40).map(|_| house.connect()).collect();
    house.record().assert(&[("outcome", "header_evicted")]);
    let mut good = house.connect();
    good.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").unwrap();
    expect(&good, b"220 backend ready\r\n");
    drop(silent);
}

#[test]
fn an_unlisted_peer_is_refused_where_only_proxies_may_come() {
    let backend = HeaderMailServer::start();
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    plan.unlisted = Unlisted::Refuse;
    let house = plan.start();
    let (heard, record) = sends(&house, STRANGER, b"");
    assert_eq!(heard, b"");
    record.assert(&[("outcome", "unlisted_peer")]);
    assert!(!backend.was_reached());
}

#[test]
fn the_proxys_own_connections_are_answered_here_and_reach_no_backend() {
    let backend = HeaderMailServer::start();
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    for header in [V2_LOCAL, b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0"] {
        let mut check = house.connect();
        check.write_all(header).unwrap();
        expect(&check, b"220 ");
        check
            .write_all(b"EHLO proxy\r\nMAIL FROM:<a@b>\r\nRCPT TO:<x@elsewhere.example>\r\nQUIT\r\n")
            .unwrap();
        let heard = String::from_utf8(read_to_end(&check)).unwrap();
        // Not a permanent one: if a client is behind this, its mail must not bounce.
        assert!(heard.contains("\r\n451 4.7.1 "), "{heard}");
        assert!(heard.contains("\r\n221 "), "{heard}");
        assert!(!heard.contains("\r\n354 "), "{heard}");
    }
    assert!(!backend.was_reached());
}

#[test]
fn the_proxys_own_connections_are_forwarded_as_the_proxy_never_as_us() {
    let backend = HeaderMailServer::start();
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    plan.own = OwnConnections::Forward;
    let house = plan.start();
    let mut check = house.connect();
    let proxy = check.local_addr().unwrap();
    check.write_all(V2_LOCAL).unwrap();
    check.write_all(b"NOOP\r\nQUIT\r\n").unwrap();
    expect(&check, b"220 backend ready\r\n250 ok\r\n221 bye\r\n");
    let (told, _) = backend.heard();
    assert_eq!(told, format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}", proxy.port(), house.address().port()));
    drop(check);
    let record = house.record();
    record.assert(&[("outcome", "done"), ("own", "local")]);
    assert_eq!(record.get("client"), None, "{}", record.0);
}

#[test]
fn the_proxys_own_connections_may_be_refused() {
    let backend = HeaderMailServer::start();
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    plan.own = OwnConnections::Refuse;
    let house = plan.start();
    let (heard, record) = sends(&house, PROXY, V2_LOCAL);
    assert_eq!(heard, b"");
    record.assert(&[("outcome", "own_refused")]);
    assert!(!backend.was_reached());
}
