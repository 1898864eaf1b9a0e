//! `proxy.hop-networks`: headers behind headers, from proxies that are listed by their exact address.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::Write;
use std::net::Shutdown;

use crate::support::{HeaderMailServer, House, Plan, Record, expect, read_to_end};
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::handoff::Handoff;

const HOP: &str = "PROXY TCP4 192.0.2.20 192.0.2.1 40000 25\r\n";
const NEXT: &str = "PROXY TCP4 192.0.2.21 192.0.2.20 41000 25\r\n";
const CLIENT: &str = "PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";

fn house(backend: &HeaderMailServer) -> House {
    House::written(
        Protocol::Smtp,
        backend.address,
        "proxy.hop-networks = [\"192.0.2.20\", \"192.0.2.21\", \"127.0.0.3\"]\n",
    )
}

fn sends(house: &House, bytes: &[u8]) -> (Vec<u8>, Record) {
    let mut client = house.connect();
    client.write_all(bytes).unwrap();
    let _ = client.shutdown(Shutdown::Write);
    (read_to_end(&client), house.record())
}

#[test]
fn the_last_header_of_a_chain_names_the_client_and_the_record_the_proxies_on_the_way() {
    let backend = HeaderMailServer::start();
    let house = house(&backend);
    for (chain, hops) in [
        (format!("{HOP}{CLIENT}"), "192.0.2.20:40000"),
        (format!("{HOP}{NEXT}{CLIENT}"), "192.0.2.20:40000,192.0.2.21:41000"),
    ] {
        let (heard, record) = sends(&house, format!("{chain}QUIT\r\n").as_bytes());
        assert_eq!(heard, b"220 backend ready\r\n221 bye\r\n");
        assert_eq!(backend.heard(), (CLIENT.trim_end().to_owned(), b"QUIT\r\n".to_vec()));
        record.assert(&[
            ("outcome", "done"),
            ("client", "203.0.113.7:4711"),
            ("hops", hops),
            ("source", "v1"),
        ]);
        record.assert(&[("destination", "198.51.100.25:25"), ("bytes_in", "6")]);
        assert!(record.get("peer").unwrap().starts_with("127.0.0.1:"), "{}", record.0);
    }
}

#[test]
fn a_chain_is_read_whatever_pieces_it_comes_in_and_whatever_its_versions_are() {
    let backend = HeaderMailServer::start();
    let house = house(&backend);
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\xc6\x33\x64\x19\x12\x67\0\x19";
    let chain = [HOP.as_bytes(), v2, b"QUIT\r\n"].concat();
    for split in 1..chain.len() {
        let mut client = house.connect();
        client.set_nodelay(true).unwrap();
        client.write_all(&chain[..split]).unwrap();
        client.write_all(&chain[split..]).unwrap();
        expect(&client, b"220 backend ready\r\n221 bye\r\n");
        drop(client);
        let record = house.record();
        record.assert(&[("outcome", "done"), ("client", "203.0.113.7:4711"), ("source", "v2")]);
    }
}

#[test]
fn without_the_list_the_second_header_is_refused_as_ever() {
    let backend = HeaderMailServer::start();
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    let (_, record) = sends(&house, format!("{HOP}{CLIENT}").as_bytes());
    record.assert(&[("outcome", "header_repeated"), ("client", "192.0.2.20:40000"), ("bytes_in", "0")]);
    assert_eq!(record.get("hops"), None);
}

#[test]
fn one_header_more_than_the_list_allows_is_the_clients_own_and_is_refused() {
    let backend = HeaderMailServer::start();
    let house = house(&backend);
    let (_, record) = sends(&house, format!("{HOP}{CLIENT}{CLIENT}").as_bytes());
    record.assert(&[("outcome", "header_repeated"), ("client", "203.0.113.7:4711"), ("bytes_in", "0")]);
    // A header that names no listed proxy ends the chain, whoever is named behind it.
    let (_, record) = sends(&house, format!("{CLIENT}{HOP}").as_bytes());
    record.assert(&[("outcome", "header_repeated"), ("client", "203.0.113.7:4711")]);
}

#[test]
fn a_listed_proxy_without_its_own_header_is_named_with_what_to_change() {
    let backend = HeaderMailServer::start();
    let house = house(&backend);
    for (behind, outcome, cause) in [
        ("EHLO client.example\r\n", "header_missing", "192.0.2.20:40000 is trusted to send a header"),
        ("PROXY TCP4 203.0", "header_truncated", "192.0.2.20:40000 closed inside its header"),
        (
            "PROXY TCP4 203.0.113.999 1.1.1.1 1 1\r\n",
            "header_malformed",
            "192.0.2.20:40000 sent a bad header",
        ),
    ] {
        let (heard, record) = sends(&house, format!("{HOP}{behind}").as_bytes());
        assert_eq!(heard, b"");
        record.assert(&[("outcome", outcome), ("hops", "192.0.2.20:40000")]);
        assert!(record.get("cause").unwrap().contains(cause), "{}", record.0);
        assert!(record.get("remedy").unwrap().contains("192.0.2.20"), "{}", record.0);
    }
    assert!(!backend.was_reached());
}

#[test]
fn the_second_header_has_no_more_time_than_the_first() {
    let backend = HeaderMailServer::start();
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    plan.hops = vec!["192.0.2.20/32"];
    plan.header_timeout = std::time::Duration::from_millis(300);
    let house = plan.start();
    let mut client = house.connect();
    client.write_all(HOP.as_bytes()).unwrap();
    assert_eq!(read_to_end(&client), b"");
    let record = house.record();
    record.assert(&[("outcome", "header_timeout"), ("hops", "192.0.2.20:40000")]);
    assert!(record.get("remedy").unwrap().contains("hop-networks"), "{}", record.0);
}

#[test]
fn a_listed_proxys_own_check_is_nobodys_client() {
    let backend = HeaderMailServer::start();
    let house = house(&backend);
    for own in ["PROXY UNKNOWN\r\n", "PROXY TCP4 192.0.2.20 192.0.2.1 40000 25\r\n"] {
        let mut check = house.connect();
        check.write_all(format!("{HOP}{own}").as_bytes()).unwrap();
        expect(&check, b"220 mx.example ");
        drop(check);
    }
    assert!(!backend.was_reached());
}

#[test]
fn a_loop_of_listed_proxies_ends() {
    let backend = HeaderMailServer::start();
    let house = house(&backend);
    let (heard, record) = sends(&house, format!("{HOP}{NEXT}").repeat(6).as_bytes());
    assert_eq!(heard, b"");
    record.assert(&[("outcome", "header_repeated"), ("bytes_in", "0")]);
    assert!(record.get("cause").unwrap().contains("8 headers"), "{}", record.0);
    assert_eq!(record.get("hops").unwrap().split(',').count(), 8);
}

#[test]
fn loopback_is_believed_only_where_every_proxy_on_the_way_is() {
    let backend = HeaderMailServer::start();
    let house = house(&backend);
    let here = "PROXY TCP4 127.0.0.3 127.0.0.1 40000 25\r\n";
    let local = "PROXY TCP4 127.0.0.8 127.0.0.1 4711 25\r\n";
    let (_, record) = sends(&house, format!("{HOP}{local}").as_bytes());
    record.assert(&[("outcome", "client_implausible")]);
    assert!(record.get("cause").unwrap().contains("192.0.2.20:40000"), "{}", record.0);
    let (_, record) = sends(&house, format!("{here}{local}QUIT\r\n").as_bytes());
    record.assert(&[("outcome", "done"), ("client", "127.0.0.8:4711"), ("hops", "127.0.0.3:40000")]);
    // One of another machine in the middle, between two that are here.
    let (_, record) = sends(&house, format!("{HOP}{here}{local}").as_bytes());
    record.assert(&[("outcome", "client_implausible"), ("hops", "192.0.2.20:40000,127.0.0.3:40000")]);
}
