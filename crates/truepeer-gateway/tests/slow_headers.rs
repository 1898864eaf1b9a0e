//! Trusted peers that send half a header and wait: good clients are served as if they were not there.
//!
//! Here it is counted, on a small scale; what it costs behind 10,000 of them is measured by `benches/slow_headers.rs`
//! and recorded in `bench/record/`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::Write;
use std::net::TcpStream;

use crate::program::Program;
use crate::support::{HeaderMailServer, eventually, expect, read_to_end};
use truepeer_gateway::facts::machine::raise_descriptor_limit;

const SLOW: usize = 1_000;
const GOOD: u32 = 200;

/// A good client's whole session.
fn session(program: &Program) {
    let mut client = program.connect("door");
    client.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").unwrap();
    expect(&client, b"220 backend ready\r\n");
    client.write_all(b"QUIT\r\n").unwrap();
    assert_eq!(read_to_end(&client), b"221 bye\r\n");
}

/// How often the program's threads had to wait for something, over so many good clients.
fn waits(program: &Program) -> u64 {
    let now = || -> u64 {
        let threads = std::fs::read_dir(program.proc("task")).unwrap();
        let of = |thread: std::fs::DirEntry| -> Option<u64> {
            let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            line.trim().parse().ok()
        };
        threads.filter_map(|thread| of(thread.unwrap())).sum()
    };
    let before = now();
    for _ in 0..GOOD {
        session(program);
    }
    now() - before
}

fn pending(program: &Program) -> usize {
    let status = program.command(&["status", "--json"]).json().remove(0);
    usize::try_from(status["pending_headers"].as_u64().unwrap()).unwrap()
}

#[test]
fn good_clients_are_served_behind_slow_headers_and_cost_no_more_wakeups() {
    assert!(raise_descriptor_limit() >= 4096, "this test holds a thousand connections");
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&format!(
        "[server]\nmax-connections = 1200\nproxy.max-pending = 1100\nproxy.header-timeout = \"10m\"\n\
         [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         proxy.trusted-networks = [\"127.0.0.1\"]\nlimits.connections-per-client = \"off\"\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n[admin]\nsocket = \"ADMIN\"\n",
        backend.address
    ));
    session(&program);
    let alone = waits(&program);
    let slow: Vec<TcpStream> = (0..SLOW)
        .map(|_| {
            let mut slow = program.connect("door");
            slow.write_all(b"PROXY TCP4 203.0.113.9").unwrap();
            slow
        })
        .collect();
    assert!(eventually(|| pending(&program) == SLOW));
    let behind = waits(&program);
    assert_eq!(pending(&program), SLOW, "none of them made room");
    // How many events one wakeup takes in differs from run to run; each of the slow ones would add thousands.
    assert!(behind <= alone + alone / 2, "{behind} waits for {GOOD} clients, {alone} without the slow ones");
    drop(slow);
    assert!(eventually(|| pending(&program) == 0));
    assert_eq!(program.count("outcome=header_evicted"), 0);
}
