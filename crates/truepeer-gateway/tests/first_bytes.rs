//! The guard in front of a client's first bytes: no header of a client's own making ever reaches a backend.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::support::fake::{Fake, echo_behind_v1, listens};
use crate::support::{House, PATIENCE, Plan, expect, read_to_end};
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::handoff::Handoff;

const V1: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\xc6\x33\x64\x19\x12\x67\0\x19";
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const BANNER: &[u8] = b"220 hello\r\n";

fn greets_and_listens(mut stream: TcpStream) -> Vec<u8> {
    let _ = stream.write_all(BANNER);
    listens(stream)
}

fn start(handoff: Handoff, backend: &Fake, header_timeout: Duration) -> House {
    let mut plan = Plan::new(Protocol::Tcp, handoff, backend.address);
    plan.header_timeout = header_timeout;
    plan.start()
}

/// Strict prefixes of the signatures, at which nothing is decided yet.
fn prefixes() -> Vec<&'static [u8]> {
    let v1 = (1.."PROXY ".len()).map(|len| &V1[..len]);
    v1.chain((1..12).map(|len| &V2[..len])).collect()
}

/// A direct client. Each comes from an address of its own, since complaints about one are folded.
fn stranger(house: &House, number: usize) -> TcpStream {
    let stranger = house.connect_from([127, 0, 9, u8::try_from(number + 1).unwrap()].into());
    stranger.set_nodelay(true).unwrap();
    stranger
}

/// What a backend heard from clients, question at start aside.
fn heard(backend: Fake) -> Vec<Vec<u8>> {
    backend.finish().into_iter().filter(|heard| !heard.is_empty()).collect()
}

#[test]
fn without_our_header_a_prefix_is_never_passed_on_and_the_banner_flows_meanwhile() {
    let backend = Fake::start(greets_and_listens);
    let house = start(Handoff::None, &backend, Duration::from_millis(400));
    let clients: Vec<_> = (0..)
        .zip(prefixes())
        .map(|(number, prefix)| {
            let mut client = stranger(&house, number);
            client.write_all(prefix).unwrap();
            client
        })
        .collect();
    for client in &clients {
        expect(client, BANNER);
    }
    for client in &clients {
        assert_eq!(read_to_end(client), b"");
        let record = house.record();
        record.assert_outcome(Outcome::HeaderHeldBack);
        record.assert(&[("bytes_in", "0"), ("bytes_out", "11")]);
        // From accept on: not sooner, and the client had all this time to go on.
        let lasted: u64 = record.get("duration_ms").unwrap().parse().unwrap();
        assert!(lasted >= 400, "{}", record.0);
    }
    house.finish();
    assert_eq!(heard(backend), Vec::<Vec<u8>>::new());
}

#[test]
fn without_our_header_a_prefix_is_not_passed_on_at_the_end_of_the_stream_either() {
    let backend = Fake::start(listens);
    let house = start(Handoff::None, &backend, Duration::from_secs(600));
    for (number, prefix) in prefixes().into_iter().enumerate() {
        let mut client = stranger(&house, number);
        client.write_all(prefix).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&client), b"");
        let record = house.record();
        record.assert_outcome(Outcome::HeaderHeldBack);
        record.assert(&[("bytes_in", "0")]);
    }
    house.finish();
    assert_eq!(heard(backend), Vec::<Vec<u8>>::new());
}

#[test]
fn without_our_header_everything_that_is_no_prefix_passes_at_once() {
    let backend = Fake::start(listens);
    let house = start(Handoff::None, &backend, Duration::from_secs(600));
    let words = [&b"PROPFIND / HTTP/1.1\r\n"[..], b"PASS\r\n", b"\r\nGET / HTTP/1.1\r\n", b"PROXYING", b"x"];
    for (number, word) in words.into_iter().enumerate() {
        let mut client = stranger(&house, number);
        for byte in word {
            client.write_all(std::slice::from_ref(byte)).unwrap();
        }
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&client), b"");
        house.record().assert(&[("outcome", "done"), ("bytes_in", &word.len().to_string())]);
    }
    house.finish();
    assert_eq!(heard(backend), words);
}

#[test]
fn behind_our_header_a_prefix_is_released_after_a_while() {
    let backend = Fake::start(echo_behind_v1);
    let house = start(Handoff::ProxyV1, &backend, Duration::from_secs(600));
    let clients: Vec<_> = (0..)
        .zip(prefixes())
        .map(|(number, prefix)| {
            let mut client = stranger(&house, number);
            client.write_all(prefix).unwrap();
            (client, prefix)
        })
        .collect();
    for (client, prefix) in &clients {
        expect(client, prefix);
    }
    // What comes later is behind our header, too: only bytes to the backend.
    for (mut client, prefix) in clients {
        let signature = if prefix[0] == b'P' { V1 } else { V2 };
        client.write_all(&signature[prefix.len()..]).unwrap();
        expect(&client, &signature[prefix.len()..]);
        let ours = client.local_addr().unwrap().to_string();
        drop(client);
        house.record().assert(&[("outcome", "done"), ("client", &ours)]);
    }
    house.finish();
    for heard in heard(backend) {
        assert!(heard.starts_with(b"PROXY TCP4 127.0.9."), "{}", heard.escape_ascii());
    }
}

#[test]
fn behind_our_header_a_prefix_is_released_at_the_end_of_the_stream() {
    let backend = Fake::start(echo_behind_v1);
    let house = start(Handoff::ProxyV1, &backend, Duration::from_secs(600));
    for (number, prefix) in prefixes().into_iter().enumerate() {
        let mut client = stranger(&house, number);
        client.write_all(prefix).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&client), prefix);
        house.record().assert_outcome(Outcome::Done);
    }
}

#[test]
fn a_strangers_header_is_not_passed_on_wherever_it_is_split() {
    for handoff in [Handoff::ProxyV1, Handoff::None] {
        let backend = Fake::start(listens);
        let house = start(handoff, &backend, Duration::from_secs(600));
        let cases = [V1, V2].into_iter().flat_map(|header| (0..header.len()).map(move |at| (header, at)));
        for (number, (header, at)) in cases.enumerate() {
            let mut client = stranger(&house, number);
            let (first, second) = header.split_at(at);
            client.write_all(first).unwrap();
            client.write_all(second).unwrap();
            // What follows stays here as well; by now the connection may be over.
            let _ = client.write_all(b"EHLO x\r\n");
            assert_eq!(read_to_end(&client), b"");
            let record = house.record();
            record.assert(&[("outcome", "untrusted_header"), ("bytes_in", "0"), ("source", "direct")]);
            let cause = record.get("cause").unwrap();
            assert!(cause.contains("names 203.0.113.7:4711"), "split at {at}: {cause}");
        }
        house.finish();
        for heard in heard(backend) {
            let line = String::from_utf8(heard).unwrap();
            assert!(line.starts_with("PROXY TCP4 127.0.9.") && line.ends_with("\r\n"), "{line:?}");
            assert_eq!(line.matches("\r\n").count(), 1, "{line:?}");
        }
    }
}

#[test]
fn a_strangers_unfinished_header_ends_at_the_header_deadline() {
    let backend = Fake::start(greets_and_listens);
    let house = start(Handoff::ProxyV1, &backend, Duration::from_millis(400));
    for (number, header) in [&V1[..20], &V2[..20]].into_iter().enumerate() {
        let mut client = stranger(&house, number);
        client.write_all(header).unwrap();
        read_to_end(&client);
        let record = house.record();
        record.assert(&[("outcome", "untrusted_header"), ("bytes_in", "0")]);
        assert!(record.get("cause").unwrap().contains("names no client"), "{}", record.0);
    }
}

#[test]
fn a_second_header_is_refused_in_every_mix_of_versions() {
    let backend = Fake::start(greets_and_listens);
    for first in [V1, V2] {
        // One for each, since complaints about one peer are folded.
        let house = start(Handoff::ProxyV1, &backend, Duration::from_secs(600));
        for second in [V1, V2, V2_LOCAL, b"PROXY UNKNOWN\r\n"] {
            // In one piece, and after the banner.
            for wait_for_banner in [false, true] {
                let mut client = house.connect();
                if wait_for_banner {
                    client.write_all(first).unwrap();
                    expect(&client, BANNER);
                    client.write_all(second).unwrap();
                } else {
                    client.write_all(&[first, second].concat()).unwrap();
                }
                read_to_end(&client);
                let record = house.record();
                record.assert_outcome(Outcome::HeaderRepeated);
                record.assert(&[("bytes_in", "0"), ("client", "203.0.113.7:4711")]);
            }
        }
    }
    // The proxy's own connections are no way around it.
    let house = start(Handoff::ProxyV1, &backend, Duration::from_secs(600));
    let mut own = house.connect();
    own.write_all(&[V2_LOCAL, V1].concat()).unwrap();
    read_to_end(&own);
    let record = house.record();
    record.assert(&[("outcome", "header_repeated"), ("own", "local"), ("bytes_in", "0")]);
    assert_eq!(record.get("client"), None, "{}", record.0);
    house.finish();
    for heard in heard(backend) {
        let line = String::from_utf8(heard).unwrap();
        assert_eq!(line.matches("PROXY").count(), 1, "{line:?}");
    }
}

#[test]
fn a_silent_client_hears_the_banner_and_may_take_its_time() {
    let backend = Fake::start(greets_and_listens);
    // Far shorter than the client is silent: the deadline is for headers only.
    let house = start(Handoff::None, &backend, Duration::from_millis(1));
    let mut client = stranger(&house, 0);
    expect(&client, BANNER);
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut nothing = [0];
    assert!(std::io::Read::read(&mut client, &mut nothing).is_err());
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&client), b"");
    house.record().assert(&[("outcome", "done"), ("bytes_in", "5")]);
}
