//! A backend that takes clients of one address family only is found out by the first client of the other one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use crate::support;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::fake::{Fake, answer_lines};
use crate::support::{House, Plan, eventually, expect, read_to_end};
use truepeer_gateway::facts::address::Family;
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::backend::Readiness;
use truepeer_gateway::rooms::handoff::Handoff;

const IPV4: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
const IPV6: &[u8] = b"PROXY TCP6 2001:db8::7 2001:db8::25 4711 25\r\n";

/// A Postfix whose `inet_protocols` leaves IPv6 out, as far as it shows: `of_ipv6` is what it does with such clients.
fn backend(of_ipv6: fn(TcpStream) -> Vec<u8>) -> Fake {
    Fake::start(move |mut stream: TcpStream| {
        let mut header = Vec::new();
        // One byte at a time, so that what follows stays in the socket.
        while !header.ends_with(b"\n") {
            let mut byte = [0];
            if std::io::Read::read(&mut stream, &mut byte).unwrap_or(0) == 0 {
                return header;
            }
            header.push(byte[0]);
        }
        if header.starts_with(b"PROXY TCP6 ") {
            return of_ipv6(stream);
        }
        let _ = stream.write_all(b"220 mx.example\r\n");
        answer_lines(stream, |line| if line == b"QUIT" { "221 bye\r\n" } else { "250 ok\r\n" })
    })
}

fn client(house: &House, header: &[u8]) -> TcpStream {
    let mut client = house.connect();
    client.write_all(header).unwrap();
    client
}

#[test]
fn a_backend_that_turns_everybody_away_for_a_while_loses_no_family_by_it() {
    let is_full = Arc::new(AtomicBool::new(false));
    let (tell, turned_away) = std::sync::mpsc::sync_channel(16);
    let full = Arc::clone(&is_full);
    let backend = Fake::start(move |mut stream: TcpStream| {
        let (mut header, mut lines) = (Vec::new(), BufReader::new(stream.try_clone().unwrap()));
        let _ = lines.read_until(b'\n', &mut header);
        if header.is_empty() {
            return header;
        }
        if full.load(Ordering::Relaxed) {
            // Told first: who hears the refusal comes again at once, on another thread.
            let _ = tell.try_send(header.starts_with(b"PROXY TCP4 "));
            let _ = stream.write_all(b"421 4.7.0 too many connections\r\n");
            return header;
        }
        let _ = stream.write_all(b"220 mx.example\r\n");
        answer_lines(stream, |line| if line == b"QUIT" { "221 bye\r\n" } else { "250 ok\r\n" })
    });
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    assert_eq!(*house.readiness(), Readiness::Proved);
    is_full.store(true, Ordering::Relaxed);
    assert_eq!(read_to_end(&client(&house, IPV6)), b"421 4.7.0 too many connections\r\n");
    // The client, the question about its family, and the one about our own.
    for is_ours in [false, false, true] {
        assert_eq!(turned_away.recv_timeout(support::PATIENCE).unwrap(), is_ours);
    }
    is_full.store(false, Ordering::Relaxed);
    let mut good = client(&house, IPV6);
    expect(&good, b"220 mx.example\r\n");
    good.write_all(b"QUIT\r\n").unwrap();
    assert_eq!(*house.readiness(), Readiness::Proved);
}

#[test]
fn a_family_that_a_backend_turns_away_is_asked_about_once_and_then_told_here_with_the_cause() {
    let backend = backend(|mut stream| {
        let _ = stream.write_all(b"421 4.3.0 Server configuration error\r\n");
        Vec::new()
    });
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    assert_eq!(*house.readiness(), Readiness::Proved, "by IPv4, the family of our own connection");

    assert_eq!(read_to_end(&client(&house, IPV6)), b"421 4.3.0 Server configuration error\r\n");
    house.record().assert(&[("client", "[2001:db8::7]:4711")]);
    let in_part = || matches!(&*house.readiness(), Readiness::InPart { .. });
    assert!(eventually(in_part));
    let found = house.readiness();
    let Readiness::InPart { refuses, saw } = &*found else { panic!("{found:?}") };
    assert_eq!(*refuses, Family::Ipv6);
    assert!(saw.contains("421 4.3.0 Server conf"), "{saw}");

    let mut good = client(&house, IPV4);
    expect(&good, b"220 mx.example\r\n");
    good.write_all(b"QUIT\r\n").unwrap();
    assert_eq!(read_to_end(&good), b"221 bye\r\n");
    drop(good);
    house.record().assert_outcome(Outcome::Done);

    let heard = read_to_end(&client(&house, IPV6));
    assert!(heard.starts_with(b"421 4.3.2 mx.example "), "{}", heard.escape_ascii());
    let record = house.record();
    record.assert_outcome(Outcome::BackendUnready);
    let cause = record.get("cause").unwrap();
    assert!(cause.contains("turns IPv6 clients away") && cause.contains("421 4.3.0"), "{cause}");
    assert!(record.get("remedy").unwrap().contains("inet_protocols"), "{}", record.0);
}

#[test]
fn a_client_that_leaves_by_itself_says_nothing_against_its_family() {
    let backend = backend(|mut stream| {
        let _ = stream.write_all(b"220 mx.example\r\n");
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let mut heard = Vec::new();
        let _ = lines.read_until(b'\n', &mut heard);
        let _ = stream.write_all(b"221 bye\r\n");
        heard
    });
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    let leaves = client(&house, IPV6);
    expect(&leaves, b"220 mx.example\r\n");
    leaves.shutdown(std::net::Shutdown::Both).unwrap();
    house.record().assert(&[("client", "[2001:db8::7]:4711")]);
    // It was asked, and takes them.
    let mut stays = client(&house, IPV6);
    expect(&stays, b"220 mx.example\r\n");
    stays.write_all(b"QUIT\r\n").unwrap();
    assert_eq!(read_to_end(&stays), b"221 bye\r\n");
    assert_eq!(*house.readiness(), Readiness::Proved);
}

#[test]
fn an_unproven_backend_that_has_no_byte_for_a_client_is_said_to_perhaps_not_read_our_header() {
    let backend = Fake::start(|stream| {
        let mut header = Vec::new();
        let _ = BufReader::new(&stream).read_until(b'\n', &mut header);
        header
    });
    let house = Plan::new(Protocol::Tcp, Handoff::ProxyV1, backend.address).start();
    assert_eq!(*house.readiness(), Readiness::Unproven);
    assert_eq!(read_to_end(&client(&house, IPV4)), b"");
    let record = house.record();
    let (cause, remedy) = (record.get("cause").unwrap(), record.get("remedy").unwrap());
    assert!(cause.contains("is not proved") && remedy.contains("handoff"), "{}", record.0);
}
