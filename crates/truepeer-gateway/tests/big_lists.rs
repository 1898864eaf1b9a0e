//! A list of a million entries: what it costs in the program as it runs. Times are in `bench/record/`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::{BufWriter, Write};
use std::net::Ipv4Addr;

use crate::program::{Folder, Program};
use crate::support::{HeaderMailServer, read_to_end};

/// The most that a program with `entries` denied addresses ever had resident, in KiB.
fn most_resident(backend: &HeaderMailServer, entries: u32) -> u64 {
    let folder = Folder::new();
    let mut list = BufWriter::new(std::fs::File::create(folder.path("deny.txt")).unwrap());
    for number in 0..entries {
        // An odd factor: all different, in no order.
        writeln!(list, "{}", Ipv4Addr::from(number.wrapping_mul(2_654_435_761))).unwrap();
    }
    list.into_inner().unwrap();
    let program = Program::start_in(
        folder,
        &format!(
            "[server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
             proxy.trusted-networks = [\"127.0.0.1\"]\n\
             [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n[access]\ndeny-files = [\"deny.txt\"]\n",
            backend.address
        ),
    );
    // The last one of the file is kept out.
    let last = Ipv4Addr::from((entries - 1).wrapping_mul(2_654_435_761));
    let mut client = program.connect("door");
    write!(client, "PROXY TCP4 {last} 198.51.100.25 4711 25\r\n").unwrap();
    assert!(read_to_end(&client).starts_with(b"554 5.7.1 "));
    let status = std::fs::read_to_string(program.proc("status")).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    most.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[test]
fn a_million_entries_cost_less_than_64_mb() {
    let backend = HeaderMailServer::start();
    let (few, many) = (most_resident(&backend, 1_000), most_resident(&backend, 1_000_000));
    assert!(many - few < 64_000_000 / 1024, "{many} KiB with a million entries, {few} KiB with a thousand");
}
