//! `[limits]` end to end: the client that is over a limit hears it, its neighbours and its proxy do not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::Write;
use std::net::TcpStream;

use crate::support::{HeaderMailServer, House, expect, read_to_end, written};
use truepeer_gateway::facts::protocol::Protocol;

const GREETING: &[u8] = b"220 backend ready\r\n";

/// Connects as the trusted proxy and speaks for `client`.
fn behind_proxy(house: &House, client: &str) -> TcpStream {
    let mut stream = house.connect();
    let (family, server) =
        if client.contains(':') { ("TCP6", "2001:db8::25") } else { ("TCP4", "198.51.100.25") };
    write!(stream, "PROXY {family} {client} {server} 4711 25\r\n").unwrap();
    stream
}

/// Stays open until it is dropped.
fn served(house: &House, client: &str) -> TcpStream {
    let stream = behind_proxy(house, client);
    expect(&stream, GREETING);
    stream
}

fn refused(house: &House, client: &str) -> String {
    let mut stream = behind_proxy(house, client);
    // What is sent before the refusal was read must not turn it into a reset.
    let _ = stream.write_all(b"EHLO client.example\r\n");
    String::from_utf8(read_to_end(&stream)).unwrap()
}

fn limited(client: &str) -> String {
    format!("421 4.7.0 mx.example too many connections from {client}, try again later\r\n")
}

#[test]
fn one_client_is_limited_its_neighbour_behind_the_same_proxy_and_the_proxy_are_not() {
    let backend = HeaderMailServer::start();
    let house = House::written(Protocol::Smtp, backend.address, "limits.connections-per-client = 2\n");
    let held = [served(&house, "203.0.113.7"), served(&house, "203.0.113.7")];
    assert_eq!(refused(&house, "203.0.113.7"), limited("203.0.113.7"));
    let record = house.record();
    record.assert(&[
        ("outcome", "limit_reached"),
        ("rule", "connections_per_client"),
        ("cause", "2 connections of 203.0.113.7 are open, 2 are allowed"),
        ("bytes_in", "0"),
    ]);
    assert_eq!((record.get("remedy"), record.get("backend")), (None, None), "{}", record.0);

    // The proxy brings as many clients as it likes.
    let others: Vec<_> = (1..=60).map(|last| served(&house, &format!("198.51.100.{last}"))).collect();
    assert_eq!(others.len(), 60);

    // A permit is given back when its connection ends, and not before.
    drop(held);
    for _ in 0..2 {
        house.record().assert(&[("outcome", "done"), ("client", "203.0.113.7:4711")]);
    }
    let _again = served(&house, "203.0.113.7");
}

#[test]
fn a_proxys_address_named_as_the_client_is_a_client() {
    let backend = HeaderMailServer::start();
    let house = House::written(
        Protocol::Smtp,
        backend.address,
        "proxy.trusted-networks = [\"127.0.0.1\", \"192.0.2.10\"]\nlimits.connections-per-client = 1\n",
    );
    let _held = served(&house, "192.0.2.10");
    assert_eq!(refused(&house, "192.0.2.10"), limited("192.0.2.10"));
}

#[test]
fn the_proxys_own_connections_use_up_nothing_and_are_not_limited() {
    const OWN: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let backend = HeaderMailServer::start();
    let house = House::written(
        Protocol::Smtp,
        backend.address,
        "limits.connections-per-client = 1\nlimits.rate-per-client = \"1/1h\"\nlimits.max-connections = 1\n",
    );
    let _client = served(&house, "203.0.113.7");
    for _ in 0..5 {
        let mut check = house.connect();
        check.write_all(OWN).unwrap();
        expect(&check, b"220 ");
    }
    assert_eq!(house.server.limits().open(), 1);
}

#[test]
fn a_direct_client_with_a_private_address_draws_the_hint_that_it_may_be_a_proxy() {
    let backend = HeaderMailServer::start();
    let house = House::written(
        Protocol::Smtp,
        backend.address,
        "proxy.trusted-networks = \"off\"\nlimits.connections-per-client = 1\n",
    );
    let held = house.connect();
    expect(&held, GREETING);
    assert_eq!(read_to_end(&house.connect()), limited("127.0.0.1").as_bytes());
    let record = house.record();
    record.assert(&[("outcome", "limit_reached"), ("source", "direct")]);
    let remedy = record.get("remedy").unwrap();
    assert!(remedy.contains("server.listener.door.proxy.trusted-networks"), "{remedy}");
}

#[test]
fn a_rate_refuses_what_comes_too_fast_and_counts_nobody_else() {
    let backend = HeaderMailServer::start();
    let house = House::written(Protocol::Smtp, backend.address, "limits.rate-per-client = \"3/1h\"\n");
    for _ in 0..3 {
        drop(served(&house, "203.0.113.7"));
        house.record().assert(&[("outcome", "done")]);
    }
    assert_eq!(refused(&house, "203.0.113.7"), limited("203.0.113.7"));
    let record = house.record();
    record.assert(&[("outcome", "limit_reached"), ("rule", "rate_per_client")]);
    assert!(
        record.get("cause").unwrap().starts_with("203.0.113.7 opened 3 connections of late, 3 in "),
        "{}",
        record.0
    );
    let _neighbour = served(&house, "203.0.113.8");
}

#[test]
fn observing_refuses_nobody_and_says_who_would_have_been() {
    let backend = HeaderMailServer::start();
    let house = House::written(
        Protocol::Smtp,
        backend.address,
        "limits.connections-per-client = 1\nlimits.mode = \"observe\"\n",
    );
    let held = served(&house, "203.0.113.7");
    let second = served(&house, "203.0.113.7");
    drop(second);
    house.record().assert(&[
        ("outcome", "done"),
        ("would_refuse", "connections_per_client"),
        ("cause", "1 connections of 203.0.113.7 are open, 1 are allowed"),
    ]);
    drop(held);
    let first = house.record();
    assert_eq!((first.get("outcome"), first.get("would_refuse")), (Some("done"), None), "{}", first.0);
}

#[test]
fn clients_are_counted_by_prefix_and_exempt_ones_not_at_all() {
    let backend = HeaderMailServer::start();
    let house = House::written(
        Protocol::Smtp,
        backend.address,
        "limits.connections-per-client = 1\nlimits.ipv4-prefix = 24\nlimits.exempt = [\"192.0.2.53\"]\n",
    );
    let _v6 = served(&house, "2001:db8:0:1::7");
    assert_eq!(refused(&house, "2001:db8:0:1::8"), limited("2001:db8:0:1::8"));
    house.record().assert(&[("cause", "1 connections of 2001:db8:0:1::/64 are open, 1 are allowed")]);
    let _other_customer = served(&house, "2001:db8:0:2::7");
    let _v4 = served(&house, "203.0.113.7");
    assert_eq!(refused(&house, "203.0.113.8"), limited("203.0.113.8"));
    let _exempt = [served(&house, "192.0.2.53"), served(&house, "192.0.2.53"), served(&house, "192.0.2.53")];
}

#[test]
fn a_listener_and_the_server_have_maxima_for_all_clients_together() {
    for (more, rule) in [
        ("limits.max-connections = 2\n", "listener_connections"),
        ("[limits]\nmax-connections = 2\n", "server_connections"),
    ] {
        let backend = HeaderMailServer::start();
        let house = House::written(Protocol::Smtp, backend.address, more);
        let held = [served(&house, "203.0.113.7"), served(&house, "203.0.113.8")];
        assert_eq!(refused(&house, "203.0.113.9"), limited("203.0.113.9"));
        house.record().assert(&[("outcome", "limit_reached"), ("rule", rule)]);
        drop(held);
    }
}

#[test]
fn a_limit_speaks_the_listeners_language_and_is_silent_into_tls() {
    for (protocol, more, said) in [
        (
            Protocol::Submission,
            "",
            "421 4.7.0 mx.example too many connections from 203.0.113.7, try again later\r\n",
        ),
        (
            Protocol::Imap,
            "",
            "* BYE [UNAVAILABLE] too many connections from 203.0.113.7, try again later\r\n",
        ),
        (Protocol::Pop3, "", "-ERR [SYS/TEMP] too many connections from 203.0.113.7, try again later\r\n"),
        (
            Protocol::ManageSieve,
            "",
            "BYE (TRYLATER) \"too many connections from 203.0.113.7, try again later\"\r\n",
        ),
        (Protocol::Imap, "tls.implicit = true\n", ""),
        (Protocol::Tcp, "", ""),
    ] {
        let backend = HeaderMailServer::start();
        // Two open connections are none: the first one of this client uses the rate up.
        let more = format!("{more}limits.rate-per-client = \"1/1h\"\n");
        let house = House::written(protocol, backend.address, &more);
        let first = behind_proxy(&house, "203.0.113.7");
        drop(first);
        assert_ne!(house.record().get("outcome"), Some("limit_reached"), "{protocol}");
        assert_eq!(refused(&house, "203.0.113.7"), said, "{protocol}");
        house.record().assert(&[("outcome", "limit_reached")]);
    }
}

#[test]
fn counts_survive_a_reload_and_the_new_limit_holds() {
    let backend = HeaderMailServer::start();
    let written = |more: &str| written(Protocol::Smtp, backend.address, more);
    let mut house = House::start(&written("limits.connections-per-client = 3\n"));
    let _held = [served(&house, "203.0.113.7"), served(&house, "203.0.113.7")];
    house.server.take(&written("limits.connections-per-client = 2\n")).unwrap();
    assert_eq!(refused(&house, "203.0.113.7"), limited("203.0.113.7"));
    house.server.take(&written("limits.connections-per-client = 4\n")).unwrap();
    let _more = [served(&house, "203.0.113.7"), served(&house, "203.0.113.7")];
    assert_eq!(refused(&house, "203.0.113.7"), limited("203.0.113.7"));
}

#[test]
fn where_nothing_is_said_smtp_has_fifty_at_once_and_users_protocols_have_no_limit() {
    let config = |protocol, more: &str| written(protocol, ([127, 0, 0, 1], 9).into(), more);
    for protocol in Protocol::ALL {
        let limits = &config(protocol, "").listeners[0].limits;
        let at_once = limits.connections_per_client.map(std::num::NonZeroU32::get);
        assert_eq!(at_once, (protocol == Protocol::Smtp).then_some(50), "{protocol}");
        assert_eq!(limits.rate_per_client, None, "{protocol}");
    }
    let off = config(Protocol::Smtp, "limits.connections-per-client = \"off\"\n");
    assert_eq!(off.listeners[0].limits.connections_per_client, None);
}
