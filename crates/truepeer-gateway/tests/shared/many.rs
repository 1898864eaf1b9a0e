//! Very many bans: a new front door that reads them from the store needs no more memory than one that has them from a
//! file. How fast it is, is measured by `bench/scale/run measure`.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::fleet::{config, heard};
use crate::program::{Folder, Program};
use crate::support::store::{Store, is_there};
use crate::support::{HeaderMailServer, eventually};

const BANS: u32 = 100_000;

/// What sharing itself needs: a thread, a connection, and a page of entries on its way.
const FOR_SHARING: u64 = 6 * 1024;

/// Scattered, each once.
fn network(number: u32) -> String {
    format!("{}/32", std::net::Ipv4Addr::from(0x0b00_0000 + number.wrapping_mul(2_654_435_761) % 0x4000_0000))
}

/// Memory of its own, in KiB.
fn memory(door: &Program) -> u64 {
    let status = std::fs::read_to_string(door.proc("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn bans_of_the_store_need_no_more_memory_than_those_of_a_file() {
    if !is_there() {
        return;
    }
    let folder = Folder::new();
    let store = Store::start(folder.0.clone(), &[]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let entry = |number| {
        let (at, until) = (now.as_millis(), now.as_millis() + 36_000_000);
        (network(number), format!("{at}\t{until}\t36000\tmx1\tcrowdsec crowdsecurity/ssh-bf"))
    };
    store.fill("{truepeer}:bans", (0..BANS).map(entry));

    let backend = HeaderMailServer::start();
    let url = format!("redis://127.0.0.1:{}", store.port());
    let mut reading = Program::start(&config(&backend, &url, "mx0", ""));
    let said = heard(&mut reading, "event=shared_read");
    assert!(said.contains(&format!("denied={BANS} ")), "{said}");
    // It writes them into its state file as well, beside everything else.
    let kept = || reading.folder.read("denied").lines().count() > BANS as usize;
    assert!(eventually(kept));

    let alone = config(&backend, "URL", "mx9", "").split("[shared]").next().unwrap().to_owned();
    let copy = Folder::new();
    std::fs::copy(reading.folder.path("denied"), copy.path("denied")).unwrap();
    let from_file = Program::start_in(copy, &alone);
    let number = |door: &Program| door.command(&["status", "--json"]).ok().json()[0]["denied"].clone();
    assert_eq!((number(&reading), number(&from_file)), (BANS.into(), BANS.into()));
    // What writing has needed goes back to the system in its own time.
    let (mut shared, file) = (memory(&reading), memory(&from_file));
    let is_no_more = || {
        shared = memory(&reading);
        shared <= file + FOR_SHARING
    };
    assert!(eventually(is_no_more), "{shared} KiB from the store, {file} KiB from a file");
}
