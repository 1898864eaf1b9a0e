//! Explanations as text for a person.

use std::io::{self, Write};

use truepeer_doctor::header::{BrokenHeader, Explained, Field, HeaderNote, TlvNote, TlvText};
use truepeer_doctor::logs::{LogReader, LogReport};

use crate::doctor::capture::Start;

/// A header, or what is wrong with it.
pub(super) fn explained(explained: &Explained, out: &mut dyn Write) -> io::Result<()> {
    match explained {
        Explained::Header(note) => header(note, out),
        Explained::Broken(wrong) => broken(wrong, out),
    }
}

fn header(note: &HeaderNote, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", headline(note))?;
    fields(&note.fields, out)?;
    if !note.tlvs.is_empty() {
        writeln!(out, "\nTLVs")?;
        tlvs(&note.tlvs, "", out)?;
    }
    writeln!(out, "\nwho takes it")?;
    receivers(&note.receivers, out)?;
    for finding in &note.findings {
        writeln!(out, "\n{finding}")?;
    }
    if !note.notes.is_empty() {
        writeln!(out, "\nto note")?;
        for note in &note.notes {
            writeln!(out, "  - {note}")?;
        }
    }
    if let Some(behind) = note.behind {
        writeln!(out, "\nbehind the header: {behind}")?;
    }
    Ok(())
}

/// A header in a line.
pub(in crate::cli) fn headline(note: &HeaderNote) -> String {
    let who = match (&note.source, &note.destination, note.own) {
        (Some(source), Some(destination), None) => {
            format!("the client is {source}, it connected to {destination}")
        }
        (Some(source), _, Some(own)) => format!("no client ({own}), it names {source}"),
        (_, _, own) => format!("no client ({}), the proxy speaks for itself", own.unwrap_or("own")),
    };
    format!("version {}, {}, {} bytes: {}; {who}", note.version, note.command, note.length, note.verdict)
}

fn broken(wrong: &BrokenHeader, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}: {}", wrong.verdict, wrong.message)?;
    writeln!(out, "  seen:     {}", wrong.seen)?;
    writeln!(out, "  this is:  {}", wrong.opening)?;
    writeln!(out, "  expected: {}", wrong.expected)?;
    fields(&wrong.fields, out)?;
    if !wrong.receivers.is_empty() {
        writeln!(out, "\nwho takes it nevertheless")?;
        receivers(&wrong.receivers, out)?;
    }
    if let Some(finding) = &wrong.finding {
        writeln!(out, "\nwhere a header was due, this means\n{finding}")?;
    }
    Ok(())
}

fn fields(fields: &[Field], out: &mut dyn Write) -> io::Result<()> {
    if fields.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n  byte  field                  value")?;
    for field in fields {
        writeln!(out, "{:>6}  {:<21}  {}  [{}]", field.offset, field.name, field.value, field.clause)?;
    }
    Ok(())
}

/// TLVs, a line each.
pub(in crate::cli) fn tlvs(tlvs: &[TlvNote], indent: &str, out: &mut dyn Write) -> io::Result<()> {
    for tlv in tlvs {
        let TlvNote { offset, kind, name, clause, .. } = tlv;
        match &tlv.value {
            TlvText::Text(text) => writeln!(out, "{offset:>6}  {indent}{name} ({kind})  {text}  [{clause}]")?,
            TlvText::Tls(tls) => {
                let yes = |holds| if holds { "yes" } else { "no" };
                writeln!(
                    out,
                    "{offset:>6}  {indent}{name} ({kind})  TLS: {}, certificate: {}, verify {}, verified: {}  [{clause}]",
                    yes(tls.tls),
                    yes(tls.certificate),
                    tls.verify,
                    yes(tls.verified)
                )?;
                self::tlvs(&tls.items, "  ", out)?;
            }
        }
    }
    Ok(())
}

fn receivers(receivers: &[truepeer_doctor::header::Reception], out: &mut dyn Write) -> io::Result<()> {
    for reception in receivers {
        writeln!(out, "  {reception}")?;
    }
    Ok(())
}

/// One stream of a capture, in a line or a few.
pub(super) fn stream(start: &Start, explained: &Explained, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{} -> {}: ", start.from, start.to)?;
    match explained {
        Explained::Header(note) => {
            writeln!(out, "{}", headline(note))?;
            for note in &note.notes {
                writeln!(out, "  - {note}")?;
            }
        }
        Explained::Broken(wrong) if wrong.is_header() => {
            writeln!(out, "{}: {}\n  seen:   {}", wrong.verdict, wrong.message, wrong.seen)?;
            if let Some(finding) = &wrong.finding {
                writeln!(out, "  cause:  {}\n  change: {}", finding.cause, finding.change)?;
            }
        }
        Explained::Broken(wrong) => writeln!(out, "no header: {}", wrong.opening)?,
    }
    Ok(())
}

/// What a log says.
pub(super) fn report(report: &LogReport, out: &mut dyn Write) -> io::Result<()> {
    if report.findings.is_empty() {
        writeln!(out, "{}", unknown(report))?;
    }
    for noted in &report.findings {
        writeln!(out, "{}", noted.finding)?;
        if noted.count > 1 {
            writeln!(
                out,
                "  where:  {} times, lines {} to {}",
                noted.count, noted.first_line, noted.last_line
            )?;
        } else if report.lines > 1 {
            writeln!(out, "  where:  line {}", noted.first_line)?;
        }
        writeln!(out)?;
    }
    if report.cut_lines > 0 {
        writeln!(
            out,
            "{} of {} lines were longer than {} bytes and were read up to there",
            report.cut_lines,
            report.lines,
            LogReader::LINE_MAX
        )?;
    }
    Ok(())
}

/// That nothing was found.
pub(super) fn unknown(report: &LogReport) -> String {
    match report.lines {
        0 => "unknown: there is nothing to read".to_owned(),
        1 => "unknown: this text says nothing about the PROXY protocol that truepeer knows".to_owned(),
        lines => format!("unknown: {lines} lines say nothing about the PROXY protocol that truepeer knows"),
    }
}
