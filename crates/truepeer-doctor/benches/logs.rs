//! How fast logs are read: a million lines as a journal has them, without and with texts that mean something.
//!
//! `cargo bench -p truepeer-doctor --bench logs` prints MB for each second of CPU time, on one core.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a bench prints and may panic"
)]

use rustix::time::{ClockId, clock_gettime};
use truepeer_doctor::logs::LogReader;

/// Ordinary lines; numbers are put in for `#`.
const ORDINARY: &[&str] = &[
    "Nov 23 13:50:# mx1 postfix/smtpd[#]: connect from mail.example.org[198.51.100.#]",
    "Nov 23 13:50:# mx1 postfix/cleanup[#]: 4A1B2C3D#: message-id=<20261123135027.#@example.org>",
    "Nov 23 13:50:# mx1 dovecot[#]: imap-login: Info: Login: user=<u#@example.org>, method=PLAIN, rip=203.0.113.#, lip=192.0.2.1, mpid=#, TLS, session=<abc#>",
    "Nov 23 13:50:# lb1 haproxy[#]: 203.0.113.#:41366 [23/Nov/2026:13:50:27.984] imaps~ imap/s1 1/0/31415 # -- 2/2/0/0/0 0/0",
    "203.0.113.# - - [23/Nov/2026:13:50:27 +0000] \"GET /index.html?q=# HTTP/1.1\" 200 # \"https://example.org/\" \"Mozilla/5.0 (X11; Linux x86_64)\"",
    "2026/11/23 13:50:# [info] #: *# client 203.0.113.#:40000 connected to 0.0.0.0:443",
];
const MEANINGFUL: &[&str] = &[
    "Nov 23 13:50:# mx1 postfix/smtpd[#]: warning: haproxy read: timeout error",
    "2026/11/23 14:00:# [error] #: *# broken header: \"\" while reading PROXY protocol, client: 10.42.1.#, server: 0.0.0.0:443",
    "Nov 23 13:50:# mx1 dovecot[#]: imap-login: Warning: haproxy: Client not trusted (rip=10.0.0.#)",
];

fn journal(lines: usize, meaningful_every: usize) -> Vec<u8> {
    let mut journal = Vec::new();
    for number in 0..lines {
        let from = if number % meaningful_every == 0 { MEANINGFUL } else { ORDINARY };
        let line = from[number % from.len()];
        journal.extend_from_slice(line.replace('#', &(number % 60_000).to_string()).as_bytes());
        journal.push(b'\n');
    }
    journal
}

/// Seconds of CPU that this process has used.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn main() {
    for (name, every) in [("none", usize::MAX), ("1 in 100", 100), ("each", 1)] {
        let journal = journal(1_000_000, every);
        let begin = cpu();
        let mut reader = LogReader::new();
        journal.chunks(64 * 1024).for_each(|piece| reader.feed(piece));
        let report = reader.finish();
        let seconds = cpu() - begin;
        println!(
            "meaningful lines: {name}: {:.1} MB, {} lines, {} kinds of finding, {:.0} MB/s",
            journal.len() as f64 / 1e6,
            report.lines,
            report.findings.len(),
            journal.len() as f64 / 1e6 / seconds
        );
    }
}
