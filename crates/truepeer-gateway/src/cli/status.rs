//! `truepeer status`: what runs, what is unproven, who is pending, which advice is open.

use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;

use super::FAILED;
use super::reach::{Failure, Form, Reach, age, answer, flag, list, number, text};
use crate::control::admin::Request;
use crate::control::admin::client::ask_once;

/// Says it; fails if some clients would not be served now.
pub(super) fn status(reach: &Reach) -> ExitCode {
    answer(|out| {
        let status = ask_once(&reach.socket()?, &Request::Status)?;
        match reach.form() {
            Form::Json => writeln!(out, "{status}")?,
            Form::Text => show(out, &status)?,
        }
        Ok(if flag(&status, "ready") { 0 } else { FAILED })
    })
}

fn show(out: &mut dyn Write, status: &Value) -> Result<(), Failure> {
    let state = match (flag(status, "draining"), flag(status, "ready")) {
        (true, _) => "draining: no new connections",
        (false, true) => "ready",
        (false, false) => "not ready: some listener cannot serve its clients",
    };
    writeln!(
        out,
        "truepeer {}, pid {}, up for {}: {state}",
        text(status, "version"),
        number(status, "pid"),
        age(number(status, "duration_ms"))
    )?;
    writeln!(
        out,
        "{} of {} connections open, {} of {} headers unfinished",
        number(status, "open"),
        number(status, "max_connections"),
        number(status, "pending_headers"),
        number(status, "max_pending_headers")
    )?;
    writeln!(out, "\nlisteners")?;
    for listener in list(status, "listeners") {
        let ready = match (flag(listener, "closed"), flag(listener, "ready")) {
            (true, _) => "CLOSED until a backend can be reached",
            (false, true) => "ready",
            (false, false) => "NOT READY",
        };
        let secure = match text(listener, "backend_when_secure") {
            "-" => String::new(),
            backend => format!(", over TLS to {backend}"),
        };
        writeln!(
            out,
            "  {} ({}) on {}, to {}{secure}: {ready}",
            text(listener, "listener"),
            text(listener, "protocol"),
            text(listener, "address"),
            text(listener, "backend")
        )?;
    }
    for health in list(status, "health") {
        let closed = if flag(health, "closed") { ": CLOSED until a backend can be reached" } else { "" };
        let (listener, address) = (text(health, "listener"), text(health, "address"));
        writeln!(out, "  health checks of {listener} on {address}{closed}")?;
    }
    writeln!(out, "\nbackends")?;
    for backend in list(status, "backends") {
        let (id, protocol) = (text(backend, "backend"), text(backend, "protocol"));
        let handoff = text(backend, "handoff");
        if list(backend, "addresses").is_empty() {
            writeln!(out, "  {id} ({protocol}, {handoff}): no address is known yet")?;
        }
        for address in list(backend, "addresses") {
            let (at, readiness) = (text(address, "address"), text(address, "readiness"));
            write!(out, "  {id} ({protocol}, {handoff}) at {at}: {readiness}")?;
            match address.get("why").and_then(Value::as_str) {
                Some(why) => writeln!(out, ": {why}")?,
                None => writeln!(out)?,
            }
        }
    }
    show_names(out, status)?;
    if !list(status, "pending").is_empty() {
        writeln!(out, "\npeers with unfinished headers")?;
    }
    for peer in list(status, "pending") {
        writeln!(
            out,
            "  {} at {}: {}, the oldest for {}",
            text(peer, "peer"),
            text(peer, "listener"),
            number(peer, "headers"),
            age(number(peer, "oldest_ms"))
        )?;
    }
    show_habits(out, status)?;
    show_advice(out, status)
}

/// What peers do again and again.
fn show_habits(out: &mut dyn Write, status: &Value) -> Result<(), Failure> {
    if !list(status, "habits").is_empty() {
        writeln!(out, "\npeers to look at")?;
    }
    for habit in list(status, "habits") {
        writeln!(out, "  {}", text(habit, "cause"))?;
        writeln!(out, "    advice: {}", text(habit, "remedy"))?;
    }
    Ok(())
}

/// What each trusted name means now, and since when.
fn show_names(out: &mut dyn Write, status: &Value) -> Result<(), Failure> {
    if !list(status, "trusted_names").is_empty() {
        writeln!(out, "\ntrusted names")?;
    }
    for name in list(status, "trusted_names") {
        let addresses: Vec<_> = list(name, "addresses").iter().filter_map(Value::as_str).collect();
        write!(out, "  {}: ", text(name, "name"))?;
        match addresses.as_slice() {
            [] => write!(out, "NOBODY: no look-up has been answered yet")?,
            some => write!(out, "{}, for {}", some.join(", "), age(number(name, "changed_ms")))?,
        }
        if let Some(why) = name.get("failing").and_then(Value::as_str) {
            write!(out, "; look-ups FAIL: {why}")?;
        }
        writeln!(out)?;
        for advice in list(name, "advice").iter().filter_map(Value::as_str) {
            writeln!(out, "    advice: {advice}")?;
        }
    }
    Ok(())
}

/// The advice in a report, each under its key.
pub(super) fn show_advice(out: &mut dyn Write, report: &Value) -> Result<(), Failure> {
    if !list(report, "advice").is_empty() {
        writeln!(out, "\nadvice")?;
    }
    for advice in list(report, "advice") {
        let line = match advice.get("line").and_then(Value::as_u64) {
            Some(line) => format!(" (line {line})"),
            None => String::new(),
        };
        writeln!(out, "  {}{line}: {}", text(advice, "key"), text(advice, "text"))?;
    }
    Ok(())
}
