//! What a connection holds while it only lasts, exactly where it can be counted.
//!
//! What it costs to serve one is measured by `bench/gateway`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::Write;
use std::net::TcpStream;

use crate::program::Program;
use crate::support::expect;
use crate::support::fake::{Fake, echo_behind_v1};
use truepeer_gateway::facts::machine::raise_descriptor_limit;

const IDLE: usize = 400;
/// Bytes for each, its share of every table included. Most of it is the future of its walk, which a test of its own
/// holds.
const BYTES_EACH: u64 = 3 * 1024;

fn descriptors(program: &Program) -> usize {
    std::fs::read_dir(program.proc("fd")).unwrap().count()
}

fn memory(program: &Program) -> u64 {
    let status = std::fs::read_to_string(program.proc("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// Clients whose first bytes went to the backend and came back.
fn idle(program: &Program, count: usize) -> Vec<TcpStream> {
    let client = |_| {
        let mut client = program.connect("door");
        client.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\nhello").unwrap();
        expect(&client, b"hello");
        client
    };
    (0..count).map(client).collect()
}

#[test]
fn an_idle_client_holds_two_descriptors_and_little_memory() {
    assert!(raise_descriptor_limit() >= 4096, "this test holds all ends of some hundred connections");
    let backend = Fake::start(echo_behind_v1);
    let program = Program::start(&format!(
        "[server]\nmax-connections = 600\nproxy.max-pending = 100\n\
         [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nbackend = \"echo\"\n\
         proxy.trusted-networks = [\"127.0.0.1\"]\nlimits.connections-per-client = \"off\"\n\
         [backend.echo]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n",
        backend.address
    ));
    // What is made once is there by then.
    let first = idle(&program, 50);
    let (descriptors_before, memory_before) = (descriptors(&program), memory(&program));
    let held = idle(&program, IDLE);
    assert_eq!(descriptors(&program) - descriptors_before, 2 * IDLE);
    let each = memory(&program).saturating_sub(memory_before) / IDLE as u64;
    assert!(each <= BYTES_EACH, "{each} bytes each");
    drop((first, held));
}
