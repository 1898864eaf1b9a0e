//! What a server pays for the library: the same server twice, once with `ProxyListener` (or `read_header`), once with a
//! header reader written by hand, for tokio, for axum and for blocking sockets.
//!
//! Each server is this program once more, as a child, so that its CPU time and its instructions are its own. Rounds are
//! interleaved and compared in pairs: whatever else the machine does, it does to both.

mod byhand;
mod client;
mod servers;

use client::Server;

/// The servers that are compared.
const KINDS: [&str; 3] = ["tokio", "axum", "blocking"];
/// Of one round, one after the other: with several at a time it would be chance how many a server finds per wake-up.
const CONNECTIONS: u32 = 300;
/// Pairs that are counted, behind one that warms up: many short ones, so that what else the machine does hits few.
const PAIRS: usize = 51;
/// What the library may cost at most.
const BAR: f64 = 1.03;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", kind, whose] => servers::serve(kind, *whose == "library"),
        [] => {
            time();
            counts();
        }
        ["time"] => time(),
        ["counts"] => counts(),
        _ => {
            eprintln!("`time`, `counts` or nothing, not {args:?}");
            std::process::exit(2);
        }
    }
}

/// CPU time for each connection: user and system, of the whole process.
fn time() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of this machine before: {}\n", load.trim());
    println!(
        "| server | by hand, us | library, us | ratio, median of {PAIRS} pairs | quarter and three quarters |"
    );
    println!("|---|---|---|---|---|");
    for kind in KINDS {
        let (mut byhand, mut library) = (Server::start(kind, "byhand"), Server::start(kind, "library"));
        let mut pairs = Vec::new();
        for round in 0..=PAIRS {
            // Whoever goes first in one pair goes second in the next.
            let (hand, ours) = if round % 2 == 0 {
                let hand = byhand.cpu_per_connection(CONNECTIONS);
                (hand, library.cpu_per_connection(CONNECTIONS))
            } else {
                let ours = library.cpu_per_connection(CONNECTIONS);
                (byhand.cpu_per_connection(CONNECTIONS), ours)
            };
            if round > 0 {
                pairs.push((hand, ours, ours / hand));
            }
        }
        let hand = median(pairs.iter().map(|pair| pair.0));
        let ours = median(pairs.iter().map(|pair| pair.1));
        let ratio = median(pairs.iter().map(|pair| pair.2));
        let mut ratios: Vec<f64> = pairs.iter().map(|pair| pair.2).collect();
        ratios.sort_by(f64::total_cmp);
        let (quarter, most) = (ratios[PAIRS / 4], ratios[PAIRS * 3 / 4]);
        let verdict = if ratio <= BAR { "" } else { " (above the bar)" };
        println!("| {kind} | {hand:.1} | {ours:.1} | {ratio:.3}{verdict} | {quarter:.3} {most:.3} |");
    }
    println!("\nThe bar is {BAR}.");
}

/// Instructions for each connection in the program itself, without the kernel's: exact where nothing depends on time.
fn counts() {
    const FEW: u32 = 200;
    const MANY: u32 = 1_200;
    println!("\n| server | by hand, instructions | library, instructions | difference | ratio |");
    println!("|---|---|---|---|---|");
    for kind in KINDS {
        let [hand, ours] = ["byhand", "library"].map(|whose| {
            let [few, many] = [FEW, MANY].map(|connections| client::instructions(kind, whose, connections));
            many.saturating_sub(few) as f64 / f64::from(MANY - FEW)
        });
        println!("| {kind} | {hand:.0} | {ours:.0} | {:+.0} | {:.3} |", ours - hand, ours / hand);
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
