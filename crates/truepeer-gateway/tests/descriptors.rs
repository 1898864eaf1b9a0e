//! Descriptors run out: nobody who is inside notices, nobody is lost, nothing spins, and the log says it once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::program::Program;
use crate::support::{HeaderMailServer, PATIENCE, Record, eventually, expect, read_to_end};
use rustix::process::{Resource, Rlimit, Signal, prlimit};

const GREETING: &[u8] = b"220 backend ready\r\n";
const REFUSAL: &[u8] = b"421 4.3.2 mx.example no server is ready for you now, try again later\r\n";

fn start(backend: &HeaderMailServer) -> Program {
    Program::start(&format!(
        "[server]\nhostname = \"mx.example\"\n\
         [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         proxy.trusted-networks = [\"127.0.0.1\"]\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n\
         [status]\nbind = \"127.0.0.1:0\"\n",
        backend.address
    ))
}

fn descriptors(program: &Program) -> BTreeSet<u64> {
    let entries = std::fs::read_dir(program.proc("fd")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

/// Lowers the limit under the running program, so that it can open exactly `free` more.
fn leave(program: &Program, free: u64) {
    let open = descriptors(program);
    let mut limit = 0;
    let mut left = free;
    while left > 0 || open.contains(&limit) {
        left -= u64::from(!open.contains(&limit));
        limit += 1;
    }
    set_limit(program, limit);
}

fn set_limit(program: &Program, limit: u64) {
    let maximum = Some(4096);
    prlimit(Some(program.process()), Resource::Nofile, Rlimit { current: Some(limit), maximum }).unwrap();
}

fn client(program: &Program) -> TcpStream {
    let mut client = program.connect("door");
    client.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").unwrap();
    client
}

fn greeted(program: &Program) -> TcpStream {
    let client = client(program);
    expect(&client, GREETING);
    client
}

fn accept_failures(program: &Program) -> u64 {
    let mut page = program.connect("status");
    page.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let text = String::from_utf8(read_to_end(&page)).unwrap();
    let name = "truepeer_accept_failures_total{listener=\"door\"} ";
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

#[test]
fn without_a_descriptor_accepting_waits_those_inside_go_on_and_the_log_says_it_once_each_way() {
    let backend = HeaderMailServer::start();
    let mut program = start(&backend);
    let mut held: Vec<_> = (0..4).map(|_| greeted(&program)).collect();
    let with_four = descriptors(&program).len();
    leave(&program, 0);

    let waiting = client(&program);
    let line = program.wait_for("event=accept_failed");
    assert!(line.contains("level=warn") && line.contains("Too many open files"), "{line}");
    // Longer than the shortest pauses: whoever does not back off fails thousands of times meanwhile.
    let until = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < until {
        for client in &mut held {
            client.write_all(b"NOOP\r\n").unwrap();
            expect(client, b"250 ok\r\n");
        }
    }
    // A reload needs a descriptor as well: it changes nothing and says why.
    program.signal(Signal::HUP);
    let line = program.wait_for("event=reload_failed");
    assert!(line.contains("Too many open files"), "{line}");

    // Two who leave make room, and who waited was not lost.
    held.truncate(2);
    expect(&waiting, GREETING);
    set_limit(&program, 4096);
    let until = Instant::now() + PATIENCE;
    while program.count("event=accept_recovered") == 0 {
        assert!(Instant::now() < until, "accepting works, and the log does not say so");
        greeted(&program);
    }
    let failures = accept_failures(&program);
    assert!((1..=60).contains(&failures), "accept was tried {failures} times in vain");
    // The same trouble again, at every worker: it was said a moment ago. Three are inside now.
    assert!(eventually(|| descriptors(&program).len() == with_four - 2));
    leave(&program, 0);
    let others: Vec<_> = (0..6).map(|_| client(&program)).collect();
    for client in &mut held {
        client.write_all(b"NOOP\r\n").unwrap();
        expect(client, b"250 ok\r\n");
    }
    set_limit(&program, 4096);
    for client in &others {
        expect(client, GREETING);
    }
    for client in held.iter().chain([&waiting]).chain(&others) {
        (&*client).write_all(b"QUIT\r\n").unwrap();
        expect(client, b"221 bye\r\n");
    }
    drop((held, waiting, others));
    program.signal(Signal::TERM);
    program.wait();
    assert_eq!(program.count("event=accept_failed"), 1);
    assert_eq!(program.count("event=accept_recovered"), 1);
    assert_eq!(program.count("descriptors_exhausted"), 0);
}

#[test]
fn whoever_is_queued_when_a_drain_begins_without_a_descriptor_is_served_once_there_is_one() {
    let backend = HeaderMailServer::start();
    let mut program = start(&backend);
    let held = greeted(&program);
    leave(&program, 0);
    let queued: Vec<_> = (0..4).map(|_| client(&program)).collect();
    program.wait_for("event=accept_failed");
    program.signal(Signal::TERM);
    program.wait_for("event=draining");
    // Nobody who waits there was told anything, and nobody was reset.
    for client in &queued {
        client.set_nonblocking(true).unwrap();
        let error = (&*client).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        client.set_nonblocking(false).unwrap();
    }
    set_limit(&program, 4096);
    for client in &queued {
        expect(client, GREETING);
    }
    for client in queued.iter().chain([&held]) {
        (&*client).write_all(b"QUIT\r\n").unwrap();
        expect(client, b"221 bye\r\n");
    }
    drop((held, queued));
    program.wait();
    assert_eq!(program.count("event=listener_failed"), 0);
}

#[test]
fn without_a_descriptor_for_the_backend_clients_hear_a_temporary_no_and_the_backend_is_not_blamed() {
    let backend = HeaderMailServer::start();
    let mut program = start(&backend);
    let held = greeted(&program);
    let before = descriptors(&program);
    leave(&program, 1);
    for _ in 0..3 {
        let refused = client(&program);
        assert_eq!(read_to_end(&refused), REFUSAL);
        drop(refused);
        let record = Record(program.wait_for("event=connection "));
        record.assert(&[("outcome", "descriptors_exhausted"), ("level", "warn")]);
        assert!(record.get("cause").unwrap().contains("Too many open files"), "{}", record.0);
        assert!(record.get("remedy").unwrap().contains("LimitNOFILE="), "{}", record.0);
        assert_eq!(record.get("backend"), None, "{}", record.0);
        assert!(eventually(|| descriptors(&program) == before));
    }
    // A reload asks the backend again, which takes two: what was known of it stays.
    program.signal(Signal::HUP);
    program.wait_for("event=reloaded");
    set_limit(&program, 4096);
    greeted(&program);
    (&held).write_all(b"QUIT\r\n").unwrap();
    expect(&held, b"221 bye\r\n");
    drop(held);
    program.signal(Signal::TERM);
    program.wait();
    for text in ["backend_unreachable", "backend_not_asked"] {
        assert_eq!(program.count(text), 0, "{text}: {:#?}", program.seen);
    }
}
