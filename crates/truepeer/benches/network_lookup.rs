//! What a look-up costs in a small and in a large set of networks, in instructions.
//!
//! `cargo bench -p truepeer --bench network_lookup` builds and counts under callgrind when valgrind is there, and fails
//! if 100,000 networks cost more than twice what 1,000 cost. The record is in `bench/record/` of the repository. With arguments (`SIZE LOOKUPS`) it is the program that is counted.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a bench prints, and fails by panicking"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

use truepeer::{IpNet, TrustedNetworks};

const SIZES: [u32; 3] = [10, 1_000, 100_000];
const LOOKUPS: u32 = 10_000;

fn main() {
    let args: Vec<u32> = std::env::args().skip(2).filter_map(|arg| arg.parse().ok()).collect();
    match (std::env::args().nth(1).as_deref(), args.as_slice()) {
        (Some("v4"), [size, lookups]) => look_up(v4, *size, *lookups),
        (Some("v6"), [size, lookups]) => look_up(v6, *size, *lookups),
        _ => count_all(),
    }
}

/// Network number `n` of `size`, scattered evenly, never touching the next, and an address for a probe.
fn v4(n: u32, size: u32, offset: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(((u32::MAX / size * n) & !0xFF) + offset))
}

fn v6(n: u32, size: u32, offset: u32) -> IpAddr {
    let step = u128::MAX / u128::from(size);
    IpAddr::V6(Ipv6Addr::from_bits(((step * u128::from(n)) & !0xFF) + u128::from(offset)))
}

fn look_up(address: fn(u32, u32, u32) -> IpAddr, size: u32, lookups: u32) {
    let prefix = if matches!(address(0, 1, 0), IpAddr::V4(_)) { 24 } else { 120 };
    let networks = (0..size).map(|n| IpNet::new_assert(address(n, size, 0), prefix));
    let trusted: TrustedNetworks = networks.collect();
    let mut hits = 0_u32;
    for n in 0..lookups {
        // Half of them inside a network, half right behind one.
        let probe = address(n * 7_919 % size, size, 255 + n % 2);
        hits += u32::from(trusted.contains(black_box(probe)));
    }
    assert!(lookups == 0 || hits == lookups / 2, "{hits} of {lookups}");
}

fn count_all() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("valgrind is not installed: nothing was counted");
        return;
    }
    for family in ["v4", "v6"] {
        let [_, thousand, hundred_thousand] = SIZES.map(|size| {
            let count = instructions(family, size, LOOKUPS) - instructions(family, size, 0);
            let each = count / u64::from(LOOKUPS);
            println!("{family} {size:>7} networks: {each:>4} instructions per look-up");
            each
        });
        assert!(hundred_thousand <= 2 * thousand, "{hundred_thousand} is more than twice {thousand}");
    }
}

/// Instructions of a whole run, loop and probe included.
fn instructions(family: &str, size: u32, lookups: u32) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args([family, &size.to_string(), &lookups.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let line = text.lines().find(|line| line.contains("Collected")).unwrap_or_else(|| panic!("{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
