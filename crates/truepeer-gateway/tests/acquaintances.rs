//! What a trusted peer did before tells what it is when it comes without a header, and when it is named as a client.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::Write;

use crate::program::Program;
use crate::support::{HeaderMailServer, House, Plan, Record, expect, read_to_end};
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::handoff::Handoff;

const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";

/// The record of a peer whose first bytes are `words`.
fn said(house: &House, words: &[u8]) -> Record {
    let mut peer = house.connect();
    peer.write_all(words).unwrap();
    read_to_end(&peer);
    let record = house.record();
    record.assert_outcome(Outcome::HeaderMissing);
    record
}

#[track_caller]
fn assert_says(record: &Record, cause: &str, remedy: &str) {
    let (is, does) = (record.get("cause").unwrap_or_default(), record.get("remedy").unwrap_or_default());
    assert!(is.contains(cause) && does.contains(remedy), "{cause:?} and {remedy:?} in {record:?}");
}

#[test]
fn a_peer_without_a_header_is_told_apart_by_what_it_did_before() {
    let backend = HeaderMailServer::start();
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    assert_says(&said(&house, b"EHLO a\r\n"), "no header of it came here before", "if it is no proxy");
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    expect(&client, b"220 backend ready\r\n");
    client.write_all(b"QUIT\r\n").unwrap();
    read_to_end(&client);
    drop(client);
    house.record().assert_outcome(Outcome::Done);
    // By any worker: they share what they know.
    for _ in 0..3 {
        assert_says(
            &said(&house, b"EHLO a\r\n"),
            "it has sent headers here before",
            "one way from this peer",
        );
    }
    let probe = b"GET /healthz HTTP/1.1\r\nHost: a\r\nUser-Agent: kube-probe/1.29\r\n\r\n";
    assert_says(&said(&house, probe), "it is a health check of Kubernetes", "health-bind");
}

#[test]
fn a_silent_peer_that_sends_headers_may_hold_them_back_until_its_client_speaks() {
    let backend = HeaderMailServer::start();
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    expect(&client, b"220 backend ready\r\n");
    let silent = house.connect();
    assert_eq!(read_to_end(&silent), b"");
    let record = house.record();
    record.assert_outcome(Outcome::HeaderTimeout);
    assert_says(&record, "it has sent headers here before", "waits for its client's first bytes");
    assert_says(&record, "", "health-bind");
}

#[test]
fn a_client_that_is_a_trusted_proxy_itself_is_said_once() {
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&format!(
        "[server]\nproxy.trusted-networks = [\"127.0.0.1\", \"192.0.2.20\", \"198.51.100.0/24\"]\n\
         [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n",
        backend.address
    ));
    // The second is a proxy by its address, the third by a network around it only, the first by nothing.
    for named in ["203.0.113.7", "192.0.2.20", "198.51.100.7", "192.0.2.20"] {
        let mut client = program.connect("door");
        client.write_all(format!("PROXY TCP4 {named} 198.51.100.25 4711 25\r\n").as_bytes()).unwrap();
        expect(&client, b"220 backend ready\r\n");
        client.write_all(b"QUIT\r\n").unwrap();
        read_to_end(&client);
        drop(client);
        program.wait_for("event=connection ");
    }
    assert_eq!(program.count("event=chain_not_told"), 1, "{:#?}", program.seen);
    let line = program.seen.iter().find(|line| line.contains("event=chain_not_told")).unwrap();
    for part in ["level=info", "listener=door", "client=192.0.2.20", "proxy.hop-networks"] {
        assert!(line.contains(part), "{part} in {line}");
    }
}
