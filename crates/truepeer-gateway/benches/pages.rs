//! What 1,000 open status pages cost the program in CPU time beside good clients. Recorded in `bench/record/`.
//!
//! `cargo bench -p truepeer-gateway --bench pages` lets clients come for so many seconds, without pages and with them,
//! in turn, and prints the CPU time for each connection and the part of it that the control thread took, which alone
//! serves pages. Without arguments (as `cargo test --benches` runs it) it makes a small pass.
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

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use program::Program;
use support::HeaderMailServer;
use support::exchange::session;
use truepeer_gateway::facts::machine::{max_pages, raise_descriptor_limit};

const THREADS: usize = 4;

/// CPU time so far of all threads, and of the one that serves pages; the scheduler counts nanoseconds.
fn cpu_time(program: &Program) -> [f64; 2] {
    let mut sums = [0.0, 0.0];
    for thread in std::fs::read_dir(program.proc("task")).unwrap() {
        let read = |name: &str| std::fs::read_to_string(thread.as_ref().unwrap().path().join(name));
        let (Ok(name), Ok(times)) = (read("comm"), read("schedstat")) else { continue };
        let nanos: f64 = times.split(' ').next().unwrap().parse().unwrap();
        sums[0] += nanos;
        sums[1] += if name.trim() == "control" { nanos } else { 0.0 };
    }
    sums
}

/// Microseconds of CPU time for each connection, how many of a thousand were the control thread's, and how many
/// milliseconds of each second that are, which does not depend on how many connections come.
fn measure(program: &Program, backend: &HeaderMailServer, time: Duration) -> [f64; 3] {
    let address = program.address("door");
    let (before, began, count) = (cpu_time(program), Instant::now(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while began.elapsed() < time {
                    session(address);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // It keeps what it heard until somebody asks, and waits when that is too much.
        while began.elapsed() < time {
            let _ = backend.was_reached();
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
    let after = cpu_time(program);
    let (all, control) = (after[0] - before[0], after[1] - before[1]);
    let seconds = began.elapsed().as_secs_f64();
    [all / 1e3 / count.into_inner() as f64, control * 1e3 / all, control / 1e6 / seconds]
}

/// Pages that are open and read on, with a thread for each hundred of them.
fn open(program: &Program, pages: usize) -> Vec<TcpStream> {
    let open: Vec<TcpStream> = (0..pages)
        .map(|_| {
            let mut page = program.connect("status");
            page.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            page.read_exact(&mut [0; 12]).unwrap();
            page
        })
        .collect();
    for page in &open {
        let mut page = page.try_clone().unwrap();
        std::thread::spawn(move || while matches!(page.read(&mut [0; 16 * 1024]), Ok(1..)) {});
    }
    open
}

fn main() {
    let is_bench = std::env::args().any(|arg| arg == "--bench");
    let (rounds, pages, seconds) = if is_bench { (5, 1_000, 21) } else { (1, 20, 1) };
    let pages = pages.min(max_pages(raise_descriptor_limit()));
    let backend = HeaderMailServer::start();
    let program = Program::start(&format!(
        "[server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         proxy.trusted-networks = [\"127.0.0.1\"]\nlimits.connections-per-client = \"off\"\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n[status]\nbind = \"127.0.0.1:0\"\n",
        backend.address
    ));
    let time = Duration::from_secs(seconds);
    measure(&program, &backend, Duration::from_secs(1));
    let mut shares = Vec::new();
    for round in 0..rounds {
        let without = measure(&program, &backend, time);
        let open = open(&program, pages);
        let with = measure(&program, &backend, time);
        open.iter().for_each(|page| drop(page.shutdown(std::net::Shutdown::Both)));
        shares.push(with[1]);
        println!(
            "round {round}: {:.1} us a connection, {:.1} with {pages} pages; of these {:.1} of a thousand were the control thread's ({:.1} without), {:.2} ms a second",
            without[0], with[0], with[1], without[1], with[2]
        );
    }
    shares.sort_by(f64::total_cmp);
    println!("median of {rounds} rounds: {pages} pages take {:.1} of a thousand", shares[shares.len() / 2]);
}
