//! `truepeer watch`: shows what a proxy really sends, and what is wrong with it.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::{Value, json};
use truepeer::{PeerAddress, TrustDecision};
use truepeer_doctor::header::Explained;
use truepeer_doctor::{Finding, Product};

use super::explain::show;
use super::reach::{Failure, answer, complain};
use super::send::protocol;
use super::{FAILED, INCONCLUSIVE, NOT_STARTED};
use crate::config::{self, Colour, Config};
use crate::doctor::watch::report::{Report, Trusted};
use crate::doctor::watch::{self, ArrivalEnd, Reply, Talk, WatchLimits, Watched};
use crate::facts::protocol::Protocol;
use crate::rooms::own::{Answer, Asker, BackendState, Then};

/// What is told below the options.
pub(super) const EXAMPLES: &str = "\
Let the proxy connect here instead of to the server, and read what arrives. No backend is connected to. With --as, \
watch greets in that protocol once a header is there, or after a silence, so that clients and checks go on.

Exit codes: 0 connections came and nothing is wrong with them; 1 something is (see what it says to change); 2 wrong \
arguments; 3 the address cannot be listened on; 4 no connection came.

Examples:
  truepeer watch --listen '[::]:2525' --as smtp
  truepeer watch --listen 127.0.0.1:10143 --as imap --count 1
  truepeer watch --listen '[::]:443' --config /etc/truepeer/truepeer.toml --listener https --for 10m
  truepeer watch --json --for 1m | jq 'select(.findings != [])'";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:2525")]
    listen: SocketAddr,
    /// Greet and answer as a server of this protocol does
    #[arg(long = "as", value_name = "PROTOCOL", value_parser = protocol)]
    talk_as: Option<Protocol>,
    /// Say for each peer whether this configuration would read its header
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// At this listener of it only
    #[arg(long, value_name = "ID", requires = "config")]
    listener: Option<String>,
    /// End after so many connections
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    /// End after so long
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    time: Option<Duration>,
    /// After how much silence to greet or give up
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Answer in JSON, one object for each connection
    #[arg(long)]
    json: bool,
}

/// Pieces whose times are shown.
const MAX_PIECES: usize = 8;

/// Listens and tells.
pub(super) fn watch(order: &Arguments) -> ExitCode {
    answer(|out| {
        let config = match &order.config {
            None => None,
            Some(path) => Some(
                config::load(Some(path))
                    .map_err(|errors| Failure { text: errors.render(Colour::for_stderr()), code: FAILED })?,
            ),
        };
        let config = config.map(|loaded| loaded.config);
        if let (Some(config), Some(id)) = (&config, &order.listener)
            && !config.listeners.iter().any(|listener| *listener.id == **id)
        {
            return Err(Failure { text: format!("error: there is no listener `{id}` in it"), code: FAILED });
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure { text: format!("error: no runtime: {error}"), code: NOT_STARTED })?;
        runtime.block_on(run(order, config.as_ref(), out))
    })
}

async fn run(order: &Arguments, config: Option<&Config>, out: &mut dyn Write) -> Result<u8, Failure> {
    let failed = |error| Failure {
        text: format!("error: cannot listen on {}: {error}", order.listen),
        code: NOT_STARTED,
    };
    let listener = tokio::net::TcpListener::bind(order.listen).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    complain(&format!("watching {local}; Ctrl-C ends it"));
    let limits = WatchLimits { count: order.count, time: order.time, wait: order.wait };
    let (mut seen, mut found) = (0_u64, false);
    let mut failure = None;
    let tell = |arrival: Watched| {
        seen = seen.saturating_add(1);
        let trusted = config.map_or_else(Vec::new, |config| trusted(config, order, arrival.peer.ip()));
        let report = Report::of(&arrival, &trusted);
        found |= !report.findings.is_empty();
        let written = if order.json {
            writeln!(out, "{}", to_json(&arrival, &report, &trusted)).and_then(|()| out.flush())
        } else {
            show(out, seen, &arrival, &report, &trusted).and_then(|()| out.flush())
        };
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    let talk = || order.talk_as.map(|protocol| Box::new(Checked::new(protocol)) as Box<dyn Talk>);
    watch::watch(&listener, limits, talk, tell).await;
    if let Some(error) = failure {
        return Err(error.into());
    }
    Ok(match (seen, found) {
        (0, _) => INCONCLUSIVE,
        (_, true) => FAILED,
        (_, false) => 0,
    })
}

/// As the front door answers checks.
struct Checked(Answer);

impl Checked {
    fn new(protocol: Protocol) -> Self {
        Self(Answer::new(protocol, "watch", BackendState::Reachable, Asker::Check))
    }
}

impl Talk for Checked {
    fn greeting(&self) -> Vec<u8> {
        self.0.greeting().unwrap_or_default()
    }

    fn reply(&mut self, heard: &[u8]) -> Reply {
        let reply = self.0.receive(heard);
        match reply.then {
            Then::GoOn => ControlFlow::Continue(reply.bytes),
            Then::Close => ControlFlow::Break(reply.bytes),
        }
    }
}

/// What each listener would make of the peer.
fn trusted(config: &Config, order: &Arguments, peer: IpAddr) -> Vec<Trusted> {
    let peer = peer.to_canonical();
    let asked = config
        .listeners
        .iter()
        .filter(|listener| order.listener.as_ref().is_none_or(|id| **id == *listener.id));
    asked
        .map(|listener| {
            let decision = listener.trust.decide(PeerAddress::tcp(SocketAddr::new(peer, 0)));
            let line =
                listener.trusted_lines.iter().find(|said| said.network.contains(&peer)).map(|said| said.line);
            Trusted {
                listener: listener.id.to_string(),
                expected: matches!(decision, TrustDecision::ExpectHeader),
                line,
            }
        })
        .collect()
}

fn show(
    out: &mut dyn Write,
    number: u64,
    arrival: &Watched,
    report: &Report,
    trusted: &[Trusted],
) -> std::io::Result<()> {
    let now = humantime::format_rfc3339_seconds(SystemTime::now());
    writeln!(out, "#{number} {now} {} -> {}: {}", arrival.peer, arrival.local, began(report))?;
    if let Some(Explained::Header(note)) = &report.header {
        show::tlvs(&note.tlvs, "  ", out)?;
    }
    if let Some(then) = &report.then {
        let behind = report.header.as_ref().is_some_and(Explained::is_header);
        writeln!(out, "  {}{then}", if behind { "then " } else { "" })?;
    }
    writeln!(out, "  {}", arrived(arrival))?;
    if let Some(product) = report.product {
        writeln!(out, "  looks like {}", product.title())?;
    }
    for Trusted { listener, expected, line } in trusted {
        let line = line.map_or_else(String::new, |line| format!(" (line {line})"));
        let what = if *expected { "expects a header of this peer" } else { "reads no header of this peer" };
        writeln!(out, "  listener `{listener}` {what}{line}")?;
    }
    for note in &report.notes {
        writeln!(out, "  {note}")?;
    }
    for finding in &report.findings {
        writeln!(out, "  {}", finding.to_string().replace('\n', "\n  "))?;
    }
    Ok(())
}

fn began(report: &Report) -> String {
    match &report.header {
        Some(Explained::Header(note)) => show::headline(note),
        Some(Explained::Broken(broken)) if broken.is_header() => {
            format!("{}: {}", broken.verdict, broken.message)
        }
        Some(Explained::Broken(_)) | None => "no header".to_owned(),
    }
}

/// How it came, and how it ended.
fn arrived(arrival: &Watched) -> String {
    let mut words: Vec<String> = arrival
        .pieces
        .iter()
        .take(MAX_PIECES)
        .map(|piece| format!("{} bytes after {} ms", piece.len, piece.after.as_millis()))
        .collect();
    let left = arrival.pieces.len().saturating_sub(words.len());
    if left > 0 {
        words.push(format!("{left} more pieces"));
    }
    if words.is_empty() {
        words.push("nothing arrived".to_owned());
    }
    if let Some(behind) = arrival.greeted {
        words.push(format!("greeted behind {behind} bytes"));
    }
    words.push(end(&arrival.end));
    words.join(", ")
}

fn end(end: &ArrivalEnd) -> String {
    match end {
        ArrivalEnd::Closed => "closed by the peer".to_owned(),
        ArrivalEnd::Broken(why) => format!("broken ({why})"),
        ArrivalEnd::Silent => "then silence".to_owned(),
        ArrivalEnd::Ours => "closed here".to_owned(),
        ArrivalEnd::Full => "more than is kept".to_owned(),
    }
}

fn to_json(arrival: &Watched, report: &Report, trusted: &[Trusted]) -> Value {
    let pieces: Vec<_> = arrival
        .pieces
        .iter()
        .take(MAX_PIECES)
        .map(|piece| json!({ "bytes": piece.len, "after_ms": u64::try_from(piece.after.as_millis()).unwrap_or(u64::MAX) }))
        .collect();
    let trusted: Vec<_> = trusted
        .iter()
        .map(|said| json!({ "listener": said.listener, "expects_header": said.expected, "line": said.line }))
        .collect();
    json!({
        "peer": arrival.peer.to_string(),
        "local": arrival.local.to_string(),
        "header": report.header,
        "header_pieces": report.pieces,
        "then": report.then,
        "pieces": pieces,
        "end": end(&arrival.end),
        "product": report.product.map(Product::name),
        "trusted": trusted,
        "notes": report.notes,
        "findings": findings(&report.findings),
    })
}

/// Findings as they are everywhere.
pub(super) fn findings(found: &[Finding]) -> Vec<Value> {
    // A finding has nothing that JSON cannot say.
    found.iter().map(|found| serde_json::to_value(found).unwrap_or_default()).collect()
}
