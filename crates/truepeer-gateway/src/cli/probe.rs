//! `truepeer probe`: what does this server make of a header, and who may forge one?

use std::io::Write;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use truepeer_doctor::Product;

use super::reach::{Failure, answer, complain};
use super::send::protocol;
use super::watch::findings;
use super::{FAILED, INCONCLUSIVE, NOT_REACHED};
use crate::doctor::dial::{self, HostPort, Unreached};
use crate::doctor::probe::verdict::{Expects, Forgeable, Verdict, first_line};
use crate::doctor::probe::{self, Asked, Inquiry, ProbeOutcome, Question, Tls};
use crate::facts::protocol::Protocol;

/// What is told below the options.
pub(super) const EXAMPLES: &str = "\
Sends eleven connections at most, one after the other but for the first; --dry-run lists them. Every header names a \
client with an address for documentation (192.0.2.1, 2001:db8::1). Some servers count such connections as attacks; \
where they ban, probe from an address that may be banned.

Exit codes: 0 it is known whether the server expects a header (with --expect-closed: no header was believed from here); \
1 something is wrong (with --expect-closed: one was); 2 wrong arguments; 3 the server could not be reached; 4 what the \
server showed proves nothing.

Examples:
  truepeer probe mx.example.org:25
  truepeer probe 127.0.0.1:10993 --protocol imap --tls
  truepeer probe 127.0.0.1:10025 --protocol smtp --source 127.0.0.9
  truepeer probe mx.example.org:10025 --protocol smtp --expect-closed   # on a machine that is no proxy
  truepeer probe mx.example.org:25 --dry-run
  truepeer probe mx.example.org:25 --json | jq -r 'select(.sentences) | .sentences[]'";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The server: a name or an address, and a port
    #[arg(value_name = "HOST:PORT")]
    target: HostPort,
    /// Its protocol, if the port does not show it
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol)]
    protocol: Option<Protocol>,
    /// It speaks TLS from the first byte behind the header, as on 465, 993 and 995
    #[arg(long)]
    tls: bool,
    /// Ask from this address of this machine
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
    /// This address should not be trusted: fail if a header is believed from it
    #[arg(long)]
    expect_closed: bool,
    /// List what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// How long each answer may take
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// How long to listen on the connection without a header
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Answer in JSON, one object for each question, and one for what they prove
    #[arg(long)]
    json: bool,
}

/// Asks, and says what the answers prove.
pub(super) fn probe(order: &Arguments) -> ExitCode {
    answer(|out| {
        let guessed = probe::guess(order.target.port);
        let protocol = order.protocol.or(guessed.map(|(protocol, _)| protocol));
        let wrong = |text: &str| Failure { text: format!("error: {text}"), code: 2 };
        let protocol = protocol.ok_or_else(|| {
            wrong("what the server speaks is not to be guessed from this port: say it with `--protocol`")
        })?;
        if protocol == Protocol::Tcp {
            return Err(wrong("`tcp` has no answers to judge by: say what it speaks"));
        }
        // Who says the protocol says whether there is TLS.
        let tls = match (order.tls, order.protocol, guessed) {
            (true, ..) => Tls::Implicit,
            (false, None, Some((_, tls))) => tls,
            (false, ..) => Tls::None,
        };
        if order.dry_run {
            return list(order, protocol, tls, out);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure { text: format!("error: no runtime: {error}"), code: FAILED })?;
        let code = runtime.block_on(run(order, protocol, tls, out));
        runtime.shutdown_background();
        code
    })
}

/// What would be asked.
fn list(order: &Arguments, protocol: Protocol, tls: Tls, out: &mut dyn Write) -> Result<u8, Failure> {
    let inside = if tls == Tls::Implicit { " inside TLS" } else { "" };
    if !order.json {
        let count = Question::ALL.len();
        writeln!(
            out,
            "{count} connections to {}, speaking {protocol}{inside} behind the header:",
            order.target
        )?;
    }
    // Only the length counts, which is the same for every address of a family.
    let family = order.target.host.parse::<IpAddr>().unwrap_or(IpAddr::from([192, 0, 2, 2]));
    for question in Question::ALL {
        let len = question.header((family, order.target.port).into()).len();
        if order.json {
            writeln!(out, "{}", json!({ "question": question.name(), "header_bytes": len }))?;
        } else {
            writeln!(out, "  {:<28} {len} bytes", question.title())?;
        }
    }
    Ok(0)
}

async fn run(order: &Arguments, protocol: Protocol, tls: Tls, out: &mut dyn Write) -> Result<u8, Failure> {
    let addrs = match dial::resolve(&order.target, order.source, order.timeout).await {
        Ok(addrs) => addrs,
        Err(Unreached(why)) => return Err(Failure { text: format!("error: {why}"), code: NOT_REACHED }),
    };
    let inquiry = Inquiry {
        addrs,
        host: order.target.host.clone(),
        source: order.source,
        protocol,
        tls,
        patience: order.timeout,
        wait: order.wait,
    };
    let mut failure = None;
    if !order.json {
        let inside = if tls == Tls::Implicit { " inside TLS" } else { "" };
        complain(&format!(
            "asking {} in {protocol}{inside}; at most {} connections",
            order.target,
            Question::ALL.len()
        ));
    }
    let tell = |asked: &Asked| {
        let written =
            if order.json { writeln!(out, "{}", to_json(asked)) } else { writeln!(out, "  {}", line(asked)) };
        match written.and_then(|()| out.flush()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    let answers = probe::probe(&inquiry, tell).await;
    if let Some(error) = failure {
        return Err(error.into());
    }
    conclude(order, &answers, Verdict::of(&answers, &inquiry), out)
}

fn conclude(
    order: &Arguments,
    answers: &[Asked],
    mut verdict: Verdict,
    out: &mut dyn Write,
) -> Result<u8, Failure> {
    let unreached = answers.iter().find_map(|asked| match &asked.outcome {
        ProbeOutcome::Unreached(why) => Some(why.clone()),
        _ => None,
    });
    let nobody = answers.iter().all(|asked| matches!(asked.outcome, ProbeOutcome::Unreached(_)));
    let code = if order.expect_closed {
        let from = answers
            .iter()
            .find_map(|asked| asked.from)
            .map_or_else(|| "here".to_owned(), |from| from.ip().to_canonical().to_string());
        verdict.findings.clear();
        verdict.findings.extend(verdict.open(&from));
        match verdict.forgeable {
            Forgeable::FromHere => FAILED,
            Forgeable::NotFromHere => {
                verdict.sentences.push(format!("It is closed to {from}: no header was believed."));
                0
            }
            Forgeable::Inconclusive if nobody => {
                verdict.sentences.push("It is closed to this host: there was no connection.".to_owned());
                0
            }
            Forgeable::Inconclusive => INCONCLUSIVE,
        }
    } else if nobody {
        NOT_REACHED
    } else if !verdict.findings.is_empty() {
        FAILED
    } else if verdict.expects == Expects::Inconclusive {
        INCONCLUSIVE
    } else {
        0
    };
    if order.json {
        writeln!(out, "{}", concluded(&verdict))?;
    } else {
        for sentence in &verdict.sentences {
            writeln!(out, "{sentence}")?;
        }
        for what in &verdict.inconclusive {
            writeln!(out, "Inconclusive: {what}.")?;
        }
        for finding in &verdict.findings {
            writeln!(out, "{finding}")?;
        }
    }
    match unreached {
        Some(why) if code == NOT_REACHED => Err(Failure { text: format!("error: {why}"), code }),
        _ => Ok(code),
    }
}

fn line(asked: &Asked) -> String {
    let said = match &asked.outcome {
        ProbeOutcome::Unreached(why) => why.clone(),
        _ if asked.said.is_empty() => String::new(),
        _ => format!("\"{}\"", first_line(&asked.said)),
    };
    let after = asked.after.as_secs_f64();
    let line = format!("{:<28} {:<9} {after:>5.1} s  {said}", asked.question.title(), asked.outcome.word());
    line.trim_end().to_owned()
}

fn to_json(asked: &Asked) -> Value {
    let why = match &asked.outcome {
        ProbeOutcome::Unreached(why) => Some(why.as_str()),
        _ => None,
    };
    json!({
        "question": asked.question.name(),
        "header_bytes": asked.sent,
        "from": asked.from.map(|from| from.to_string()),
        "address": asked.reached.map(|reached| reached.to_string()),
        "outcome": asked.outcome.word(),
        "why": why,
        "said": first_line(&asked.said),
        "after_ms": u64::try_from(asked.after.as_millis()).unwrap_or(u64::MAX),
        "starttls": asked.abilities.as_ref().map(|offered| offered.starttls),
        "auth": asked.abilities.as_ref().map(|offered| offered.auth.clone()),
    })
}

fn concluded(verdict: &Verdict) -> Value {
    let waits = verdict.waits.map(|waits| u64::try_from(waits.as_millis()).unwrap_or(u64::MAX));
    json!({
        "expects_header": verdict.expects.word(),
        "versions": verdict.versions,
        "forgeable": verdict.forgeable.word(),
        "waits_ms": waits,
        "largest_served": verdict.largest.0,
        "smallest_refused": verdict.largest.1,
        "product": verdict.product.map(Product::name),
        "sentences": verdict.sentences,
        "inconclusive": verdict.inconclusive,
        "findings": findings(&verdict.findings),
    })
}
