//! What good clients cost the program in CPU time while trusted peers hold 10,000 half headers. Recorded in
//! `bench/record/`.
//!
//! `cargo bench -p truepeer-gateway --bench slow_headers` alternates rounds with and without them and prints the
//! ratio of each pair. Without arguments (as `cargo test --benches` runs it) it makes a small pass.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a program that prints numbers and stops at the first surprise"
)]

#[path = "../tests/program/mod.rs"]
mod program;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use program::Program;
use support::exchange::session;
use support::{HeaderMailServer, eventually};
use truepeer_gateway::facts::machine::raise_descriptor_limit;

struct Size {
    rounds: usize,
    slow: usize,
    good: usize,
}

const THREADS: usize = 4;

/// CPU time of all threads so far; the scheduler counts nanoseconds.
fn cpu_time(program: &Program) -> Duration {
    let of = |thread: std::fs::DirEntry| -> Option<u64> {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    let threads = std::fs::read_dir(program.proc("task")).unwrap();
    Duration::from_nanos(threads.filter_map(|thread| of(thread.unwrap())).sum())
}

/// Microseconds of CPU time for each good client.
fn measure(program: &Program, backend: &HeaderMailServer, good: usize) -> f64 {
    // It keeps what it heard until somebody asks, and waits when that is too much: more than one round's.
    let _ = backend.was_reached();
    let address = program.address("door");
    let before = cpu_time(program);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..good / THREADS).for_each(|_| session(address)));
        }
    });
    (cpu_time(program) - before).as_secs_f64() * 1e6 / (good / THREADS * THREADS) as f64
}

fn wait_for_pending(program: &Program, headers: usize) {
    let pending = || program.command(&["status", "--json"]).json().remove(0)["pending_headers"].as_u64();
    assert!(eventually(|| pending() == Some(headers as u64)));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let size = if std::env::args().any(|arg| arg == "--bench") {
        Size { rounds: 11, slow: 10_000, good: 4_000 }
    } else {
        Size { rounds: 1, slow: 100, good: 40 }
    };
    // A connection counts twice and an unfinished header once. Where the hard limit allows fewer than 10,000, as many
    // as it does.
    let fits = usize::try_from(raise_descriptor_limit().saturating_sub(1_000) / 3).unwrap_or(usize::MAX);
    let size = Size { slow: size.slow.min(fits), ..size };
    let backend = HeaderMailServer::start();
    let (slow, connections) = (size.slow, size.slow + 200);
    let program = Program::start(&format!(
        "[server]\nmax-connections = {connections}\nproxy.max-pending = {connections}\n\
         proxy.header-timeout = \"10m\"\n\
         [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         proxy.trusted-networks = [\"127.0.0.1\"]\nlimits.connections-per-client = \"off\"\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n[admin]\nsocket = \"ADMIN\"\n",
        backend.address
    ));
    measure(&program, &backend, size.good);
    let (mut alone, mut behind, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..size.rounds {
        let without = |alone: &mut Vec<f64>| alone.push(measure(&program, &backend, size.good));
        let with = |behind: &mut Vec<f64>| {
            let headers: Vec<TcpStream> = (0..slow)
                .map(|_| {
                    let mut slow = program.connect("door");
                    slow.write_all(b"PROXY TCP4 203.0.113.9").unwrap();
                    slow
                })
                .collect();
            wait_for_pending(&program, slow);
            behind.push(measure(&program, &backend, size.good));
            wait_for_pending(&program, slow);
            drop(headers);
            wait_for_pending(&program, 0);
        };
        // Whichever comes second meets a warmer machine: the order alternates.
        if round % 2 == 0 {
            without(&mut alone);
            with(&mut behind);
        } else {
            with(&mut behind);
            without(&mut alone);
        }
        ratios.push(behind[round] / alone[round]);
        println!(
            "round {round}: {:.1} us alone, {:.1} us behind {slow}: {:.3}",
            alone[round], behind[round], ratios[round]
        );
    }
    println!(
        "median of {} rounds: {:.1} us alone, {:.1} us behind {slow} slow headers; ratio of pairs {:.3}",
        size.rounds,
        median(alone),
        median(behind),
        median(ratios)
    );
}
