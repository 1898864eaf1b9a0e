//! `truepeer demo`: the whole journey with everything embedded, told room by room.
//!
//! Nothing is staged: a real front door listens on loopback, a real backend stands behind it, and what is printed is
//! what went over the sockets. The command plays the proxies and their clients.

mod journey;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::cli::{FAILED, NOT_STARTED};
use crate::config::{self};
use crate::facts::lines::LogFormat;
use crate::observe::log::{Log, RefusalLines};
use crate::server::Server;

use journey::{Journey, Proxy};

/// The forged header comes from here: an address of this machine that is in no trusted network.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

const PREFACE: &str = "\
A server behind a proxy sees the proxy's address instead of the client's. The PROXY protocol lets the proxy say who
the client is, in a header in front of the client's first byte. truepeer reads that header - from peers that you
trust, and from nobody else - and hands the connection to the backend together with the client's address.

Below, a front door and a backend run on loopback. 203.0.113.7 and 2001:db8::7 are clients somewhere on the internet.
";

/// Shows the journey; exits with 1 if the backend did not see the true client.
pub(super) fn demo() -> ExitCode {
    let mut out = std::io::stdout().lock();
    match show(&mut out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            // Standard output may be what is broken; there is nowhere else to say it.
            let _ = writeln!(out, "error: {error}");
            ExitCode::from(NOT_STARTED)
        }
    }
}

fn show(out: &mut impl Write) -> Result<bool, Box<dyn std::error::Error>> {
    let config = config::demonstration()?;
    let (lines, records) = record_channel();
    let (log, _writer) = Log::start(LogFormat::Text, RefusalLines::WriteAll, lines)?;
    let server = Server::start(&config, &log)?;

    writeln!(out, "{PREFACE}")?;
    for bound in server.listening() {
        writeln!(out, "  listener {:<6} {}", bound.listener, bound.address)?;
    }
    writeln!(out, "  trusted networks: 127.0.0.1 - peers from there are proxies and must send a header")?;
    writeln!(
        out,
        "  backend: whoami, built in - it answers who you are, through whom, and why it believes that"
    )?;

    let mut journey = Journey { out, server: &server, records: &records, good: true };
    journey.client(
        "A client sends mail through a proxy that speaks version 1 (nginx, HAProxy `send-proxy`)",
        &Proxy::v1("smtp", PROXY, "203.0.113.7:4711", "198.51.100.25:25"),
    )?;
    journey.client(
        "A client asks for a page through a proxy that speaks version 2 (HAProxy `send-proxy-v2`, Traefik, Envoy)",
        &Proxy::v2("http", PROXY, "[2001:db8::7]:4712", "[2001:db8::25]:80"),
    )?;
    journey.client(
        "A client comes over TLS, which ends at the proxy (HAProxy `send-proxy-v2-ssl`)",
        &Proxy::v2_tls("imap", PROXY, "203.0.113.7:4713", "198.51.100.25:993"),
    )?;
    journey.forger(
        "Somebody who is in no trusted network claims to be 203.0.113.7",
        &Proxy::v1("smtp", STRANGER, "203.0.113.7:4714", "198.51.100.25:25"),
    )?;
    let good = journey.good;
    if good {
        writeln!(out, "\nThe backend saw the true client three times, and the forger got nothing.")?;
        writeln!(out, "Next: README.md shows the ten lines that put truepeer between HAProxy and Postfix.")?;
    } else {
        writeln!(out, "\nFAILED: the backend did not see what it should have seen.")?;
    }
    Ok(good)
}

/// Where the front door's record lines go, and where the demonstration reads them.
fn record_channel() -> (Lines, Receiver<String>) {
    const MANY: usize = 64;
    let (lines, records) = sync_channel(MANY);
    (Lines { lines, partial: Vec::new() }, records)
}

struct Lines {
    lines: SyncSender<String>,
    partial: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for byte in bytes {
            if *byte == b'\n' {
                let line = String::from_utf8_lossy(&self.partial).into_owned();
                self.partial.clear();
                // The demonstration reads every record that it waits for; others may be lost.
                let _ = self.lines.try_send(line);
            } else {
                self.partial.push(*byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
