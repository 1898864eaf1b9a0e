//! `truepeer status`: what runs, what is unproven, who is pending, which advice is open.

use std::io::Write;
use std::process::ExitCode;

use super::FAILED;
use super::reach::{Failure, Form, Reach, age, answer};
use crate::control::admin::client::{ask_once, read};
use crate::control::admin::{Request, reply};

/// Says it; fails if some clients would not be served now.
pub(super) fn status(reach: &Reach) -> ExitCode {
    answer(|out| {
        let said = ask_once(&reach.socket()?, &Request::Status)?;
        let status: reply::Status = read(&said)?;
        match reach.form() {
            Form::Json => writeln!(out, "{said}")?,
            Form::Text => show(out, &status)?,
        }
        Ok(if status.ready { 0 } else { FAILED })
    })
}

fn show(out: &mut dyn Write, status: &reply::Status) -> Result<(), Failure> {
    let state = match (status.draining, status.ready) {
        (true, _) => "draining: no new connections",
        (false, true) => "ready",
        (false, false) if status.shared.as_ref().is_some_and(|shared| shared.awaited) => {
            "not ready: what other front doors share is not known yet"
        }
        (false, false) => "not ready: some listener cannot serve its clients",
    };
    let up = age(status.duration_ms);
    writeln!(out, "truepeer {}, pid {}, up for {up}: {state}", status.version, status.pid)?;
    writeln!(
        out,
        "{} of {} connections open, {} of {} headers unfinished",
        status.open, status.max_connections, status.pending_headers, status.max_pending_headers
    )?;
    if let Some(shared) = &status.shared {
        show_shared(out, shared)?;
    }
    for reply::Before { pid, version, open } in &status.before {
        writeln!(
            out,
            "{open} connections more in truepeer {version}, pid {pid}, which an upgrade has replaced"
        )?;
    }
    writeln!(out, "\nlisteners")?;
    for reply::Listener { listener, address, protocol, backend, backend_when_secure, closed, ready } in
        &status.listeners
    {
        let ready = match (closed, ready) {
            (true, _) => "CLOSED until a backend can be reached",
            (false, true) => "ready",
            (false, false) => "NOT READY",
        };
        let secure = match backend_when_secure {
            None => String::new(),
            Some(backend) => format!(", over TLS to {backend}"),
        };
        writeln!(out, "  {listener} ({protocol}) on {address}, to {backend}{secure}: {ready}")?;
    }
    for reply::HealthPort { listener, address, closed } in &status.health {
        let closed = if *closed { ": CLOSED until a backend can be reached" } else { "" };
        writeln!(out, "  health checks of {listener} on {address}{closed}")?;
    }
    writeln!(out, "\nbackends")?;
    for reply::Backend { backend, protocol, handoff, addresses, ready: _ } in &status.backends {
        if addresses.is_empty() {
            writeln!(out, "  {backend} ({protocol}, {handoff}): no address is known yet")?;
        }
        for reply::BackendAddress { address, readiness, why } in addresses {
            let why = why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            writeln!(out, "  {backend} ({protocol}, {handoff}) at {address}: {readiness}{why}")?;
        }
    }
    show_names(out, &status.trusted_names)?;
    if !status.pending.is_empty() {
        writeln!(out, "\npeers with unfinished headers")?;
    }
    for reply::PendingPeer { peer, listener, headers, oldest_ms } in &status.pending {
        writeln!(out, "  {peer} at {listener}: {headers}, the oldest for {}", age(*oldest_ms))?;
    }
    show_habits(out, &status.habits)?;
    show_advice(out, &status.advice)
}

/// How sharing with other front doors goes.
fn show_shared(out: &mut dyn Write, shared: &reply::Shared) -> Result<(), Failure> {
    let silent = age(shared.silent_ms);
    match (&shared.trouble, shared.connected) {
        (Some(trouble), false) => write!(out, "shared store: AWAY ({trouble}), silent for {silent}")?,
        (None, false) => write!(out, "shared store: not reached yet")?,
        (Some(trouble), true) => write!(out, "shared store: takes no orders ({trouble})")?,
        (None, true) => write!(out, "shared store: connected")?,
    }
    write!(
        out,
        ", {} entries, {} orders to be sent, {} refused",
        shared.entries, shared.pending, shared.refused
    )?;
    match (shared.read, shared.awaited) {
        (true, _) => writeln!(out)?,
        (false, true) => writeln!(out, "; NOT READY before it was read")?,
        (false, false) => writeln!(out, "; what others have banned is NOT KNOWN yet")?,
    }
    if let Some(remedy) = &shared.remedy {
        writeln!(out, "  advice: {remedy}")?;
    }
    Ok(())
}

/// What peers do again and again.
fn show_habits(out: &mut dyn Write, habits: &[reply::Habit]) -> Result<(), Failure> {
    if !habits.is_empty() {
        writeln!(out, "\npeers to look at")?;
    }
    for reply::Habit { cause, remedy, .. } in habits {
        writeln!(out, "  {cause}")?;
        writeln!(out, "    advice: {remedy}")?;
    }
    Ok(())
}

/// What each trusted name means now, and since when.
fn show_names(out: &mut dyn Write, names: &[reply::TrustedName]) -> Result<(), Failure> {
    if !names.is_empty() {
        writeln!(out, "\ntrusted names")?;
    }
    for name in names {
        write!(out, "  {}: ", name.name)?;
        match name.addresses.as_slice() {
            [] => write!(out, "NOBODY: no look-up has been answered yet")?,
            some => write!(out, "{}, for {}", some.join(", "), age(name.changed_ms.unwrap_or_default()))?,
        }
        if let Some(why) = &name.failing {
            write!(out, "; look-ups FAIL: {why}")?;
        }
        writeln!(out)?;
        for advice in &name.advice {
            writeln!(out, "    advice: {advice}")?;
        }
    }
    Ok(())
}

/// Advice, each under its key.
pub(super) fn show_advice(out: &mut dyn Write, all: &[reply::Advice]) -> Result<(), Failure> {
    if !all.is_empty() {
        writeln!(out, "\nadvice")?;
    }
    for reply::Advice { key, line, text } in all {
        let line = line.map_or_else(String::new, |line| format!(" (line {line})"));
        writeln!(out, "  {key}{line}: {text}")?;
    }
    Ok(())
}
