//! What the table of limits holds after ten million distinct clients. Recorded in `bench/record/`.
//!
//! `cargo bench -p truepeer-gateway --bench limits` prints memory and the time of one connection. Without arguments
//! (as `cargo test --benches` runs it) it makes a small pass.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a program that prints numbers and stops at the first surprise"
)]

mod memory;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::limits::{LimitDecision, Limits, Policy, Rate};

use memory::memory;

/// Connections that are open at any time.
const OPEN: usize = 8_000;

fn main() {
    let asked = std::env::args().any(|arg| arg == "--bench");
    let (clients, bound) = if asked { (10_000_000_u32, Limits::DEFAULT_CLIENTS) } else { (10_000, 1_000) };
    let rate = Rate::new(NonZeroU32::new(60).unwrap(), Duration::from_secs(3600));
    let policy = Policy { rate_per_client: rate, ..Policy::default_for(Protocol::Smtp) };
    let mut open = VecDeque::with_capacity(OPEN + 1);
    let start = Instant::now();
    let (before, _) = memory();
    let limits = Limits::new(bound, start);
    let gate = limits.gate(&"smtp".into(), policy);
    let (mut admitted, mut refused) = (0_u64, 0_u64);
    let step = (clients / 10).max(1);
    for number in 0..clients {
        // An odd factor: all different. 5,000 a second.
        let client = IpAddr::V4(number.wrapping_mul(2_654_435_761_u32).into());
        match gate.enter(client, start + Duration::from_micros(u64::from(number) * 200)) {
            LimitDecision::Admit(permit) => {
                admitted += 1;
                open.push_back(permit);
            }
            LimitDecision::Refuse(_) | LimitDecision::WouldRefuse(..) => refused += 1,
        }
        if open.len() > OPEN {
            open.pop_front();
        }
        if (number + 1) % step == 0 {
            let status = limits.status();
            assert!(status.clients <= status.max_clients, "{status:?}");
            let (now, _) = memory();
            println!(
                "{:>8} clients: {} of {} in the table, resident +{} KiB",
                number + 1,
                status.clients,
                status.max_clients,
                now.saturating_sub(before)
            );
        }
    }
    let took = start.elapsed();
    let (_, most) = memory();
    let grown = most.saturating_sub(before) * 1024;
    println!(
        "{admitted} admitted, {refused} refused, {} shared one count; most +{} KiB, {} bytes for each of {bound} \
         (promise: {}); {:?} for each connection",
        limits.status().shared,
        grown / 1024,
        grown / bound as u64,
        Limits::BYTES_PER_CLIENT,
        took / clients
    );
    if asked {
        // Permits that are held are not the table's.
        let permits = (OPEN as u64 + 1) * 40;
        assert!(grown <= (bound * Limits::BYTES_PER_CLIENT) as u64 + permits, "more than is documented");
    }
}
