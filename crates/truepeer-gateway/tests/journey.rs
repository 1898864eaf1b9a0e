//! The ordinary way through: the backend hears who the client is, and the record says so.

#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::Write;
use std::net::Shutdown;

use crate::support::{HeaderMailServer, Plan, expect, read_to_end};
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::handoff::Handoff;

#[test]
fn a_proxied_client_reaches_the_backend_as_itself() {
    let backend = HeaderMailServer::start();
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    for header in [
        &b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\xc6\x33\x64\x19\x12\x67\0\x19",
        b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:198.51.100.25 4711 25\r\n",
    ] {
        let mut client = house.connect();
        client.write_all(header).unwrap();
        expect(&client, b"220 backend ready\r\n");
        client.write_all(b"EHLO client.example\r\nQUIT\r\n").unwrap();
        expect(&client, b"250 ok\r\n221 bye\r\n");
        assert_eq!(read_to_end(&client), b"");
        let (told, heard) = backend.heard();
        assert_eq!(told, "PROXY TCP4 203.0.113.7 198.51.100.25 4711 25");
        assert_eq!(heard, b"EHLO client.example\r\nQUIT\r\n");
        drop(client);
        house.record().assert(&[
            ("outcome", "done"),
            ("client", "203.0.113.7:4711"),
            ("destination", "198.51.100.25:25"),
            ("backend", "b"),
            ("handoff", "proxy-v1"),
            ("bytes_in", "27"),
            ("bytes_out", "36"),
        ]);
    }
}

#[test]
fn a_client_behind_a_translator_is_its_ipv4_address_and_no_loopback_hides_there() {
    let backend = HeaderMailServer::start();
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    plan.nat64 = ["64:ff9b::/96".parse().unwrap()].into();
    let house = plan.start();
    let mut client = house.connect();
    client.write_all(b"PROXY TCP6 64:ff9b::203.0.113.7 2001:db8::25 4711 25\r\n").unwrap();
    expect(&client, b"220 backend ready\r\n");
    client.write_all(b"QUIT\r\n").unwrap();
    expect(&client, b"221 bye\r\n");
    let (told, _) = backend.heard();
    // Families are never mixed: the destination that was reached stands in for the IPv6 one.
    let reached = house.address();
    assert_eq!(told, format!("PROXY TCP4 203.0.113.7 {} 4711 25", reached.ip()));
    drop(client);
    house.record().assert(&[
        ("outcome", "done"),
        ("client", "203.0.113.7:4711"),
        ("substituted", "destination"),
    ]);
    for (hidden, outcome) in [("255.255.255.255", "client_implausible"), ("224.0.0.1", "client_implausible")]
    {
        let mut client = house.connect();
        client
            .write_all(format!("PROXY TCP6 64:ff9b::{hidden} 2001:db8::25 4711 25\r\n").as_bytes())
            .unwrap();
        read_to_end(&client);
        drop(client);
        house.record().assert(&[("outcome", outcome)]);
    }
}

#[test]
fn a_header_in_pieces_with_early_data_arrives_whole_and_in_order() {
    let backend = HeaderMailServer::start();
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    let mut client = house.connect();
    client.set_nodelay(true).unwrap();
    for byte in b"PROXY TCP4 203.0.113.8 198.51.100.25 4711 25\r\nEHLO a\r\nQUIT\r\n" {
        client.write_all(std::slice::from_ref(byte)).unwrap();
    }
    expect(&client, b"220 backend ready\r\n250 ok\r\n221 bye\r\n");
    let (told, heard) = backend.heard();
    assert_eq!(told, "PROXY TCP4 203.0.113.8 198.51.100.25 4711 25");
    assert_eq!(heard, b"EHLO a\r\nQUIT\r\n");
}

#[test]
fn a_direct_client_is_itself_on_the_same_port() {
    let backend = HeaderMailServer::start();
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    let mut client = house.connect_from([127, 0, 0, 9].into());
    let ours = client.local_addr().unwrap();
    expect(&client, b"220 backend ready\r\n");
    client.write_all(b"NOOP\r\nQUIT\r\n").unwrap();
    expect(&client, b"250 ok\r\n221 bye\r\n");
    let (told, _) = backend.heard();
    let reached = house.address();
    assert_eq!(told, format!("PROXY TCP4 127.0.0.9 127.0.0.1 {} {}", ours.port(), reached.port()));
    drop(client);
    house.record().assert(&[("outcome", "done"), ("source", "direct"), ("client", &ours.to_string())]);
}

#[test]
fn half_close_is_passed_on() {
    let backend = HeaderMailServer::start();
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    let mut client = house.connect();
    client.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\nNOOP\r\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&client), b"220 backend ready\r\n250 ok\r\n");
    house.record().assert(&[("outcome", "done")]);
}
