//! What access lists cost: loading, memory and one lookup. Recorded in `bench/record/`.
//!
//! `cargo bench -p truepeer-gateway --bench access` prints times and memory.
//! `... --bench access -- --lookups ENTRIES COUNT` makes COUNT lookups: under `valgrind --tool=callgrind`, the
//! difference to COUNT 0, less the same difference for ENTRIES 0, gives the instructions of one lookup.
//! Without arguments (as `cargo test --benches` runs it) it makes a small pass, so that it cannot rot.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a program that prints numbers and stops at the first surprise"
)]

mod memory;

use std::hint::black_box;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use truepeer_gateway::rooms::access::{AccessDefault, AccessRules, AccessScope, ListFile};

use memory::memory;

#[derive(Clone, Copy)]
enum Family {
    V4,
    V6,
}

/// A seeded generator, so that every run reads the same list.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn address(&mut self, family: Family) -> IpAddr {
        match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(self.next() >> 32).unwrap())),
            Family::V6 => {
                let low = u128::from(self.next());
                IpAddr::V6(Ipv6Addr::from(
                    (0x2000_u128 << 112) | (u128::from(self.next()) << 52) | (low >> 12),
                ))
            }
        }
    }
}

fn write_list(path: &Path, family: Family, entries: usize) {
    let mut random = Random(SEED);
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    for index in 0..entries {
        // One entry in sixteen is a network around others, as in real feeds.
        match (family, index % 16) {
            (Family::V4, 0) => writeln!(file, "{}/24", random.address(family)).unwrap(),
            (Family::V6, 0) => writeln!(file, "{}/48", random.address(family)).unwrap(),
            _ => writeln!(file, "{}", random.address(family)).unwrap(),
        }
    }
    file.flush().unwrap();
}

fn rules(file: ListFile) -> AccessRules {
    let scope = AccessScope::new(Vec::new(), vec![file.into_list()]).unwrap();
    AccessRules::new(vec![Arc::new(scope)], AccessDefault::Allow)
}

fn look_up(rules: &AccessRules, family: Family, count: usize) -> usize {
    let mut random = Random(SEED ^ 0xff);
    (0..count)
        .filter(|_| {
            matches!(
                rules.decide(black_box(random.address(family))),
                truepeer_gateway::rooms::access::Decision::Deny(_)
            )
        })
        .count()
}

fn measure(family: Family, entries: usize, lookups: usize) {
    let path = std::env::temp_dir().join(format!("truepeer-bench-access-{}", std::process::id()));
    write_list(&path, family, entries);
    let (before, _) = memory();
    let start = Instant::now();
    let file = ListFile::read(&path).unwrap();
    let read = start.elapsed();
    let rules = rules(file);
    let loaded = start.elapsed();
    let (after, most) = memory();
    std::fs::remove_file(&path).unwrap();
    let start = Instant::now();
    let hits = look_up(&rules, family, lookups);
    let per_lookup = start.elapsed() / u32::try_from(lookups).unwrap();
    let name = if matches!(family, Family::V4) { "IPv4" } else { "IPv6" };
    println!(
        "{name} {entries} entries: read {read:?}, ready {loaded:?}; resident +{} KiB (most {} KiB); \
         lookup {per_lookup:?} ({hits} of {lookups} hit)",
        after.saturating_sub(before),
        most.saturating_sub(before),
    );
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let asked = std::env::args().any(|arg| arg == "--bench");
    match args.as_slice() {
        ["--lookups", entries, count] => {
            let path = std::env::temp_dir().join(format!("truepeer-bench-access-{}", std::process::id()));
            write_list(&path, Family::V4, entries.parse().unwrap());
            let rules = rules(ListFile::read(&path).unwrap());
            std::fs::remove_file(&path).unwrap();
            println!("{} hits", look_up(&rules, Family::V4, count.parse().unwrap()));
        }
        ["--v6"] => measure(Family::V6, MILLION, MILLION),
        _ if asked => measure(Family::V4, MILLION, MILLION),
        _ => {
            measure(Family::V4, 1_000, 1_000);
            measure(Family::V6, 1_000, 1_000);
        }
    }
}

const MILLION: usize = 1_000_000;
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
