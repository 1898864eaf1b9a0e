//! The matrix as a table: what was proved, cell by cell, and with which versions.

use core::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Cell, Receiver, Sender, every};
use crate::cases::bulk::SIZED;
use crate::servers::{ask, find, find_fetched, opensmtpd};
use crate::verdict::{During, Result, Verdict, failed};

/// Where the table is kept, seen from the project's directory.
const PAGE: &str = "docs/neighbours/README.md";
const BEGIN: &str = "<!-- generated: matrix -->\n";
const END: &str = "<!-- end: matrix -->";

/// The table of a run of every cell. `ended`: how the case of that name ended, if it ran.
pub(crate) fn table(ended: impl Fn(&str) -> Option<Result>) -> Result<String> {
    let mut text = "| |".to_owned();
    for sender in Sender::ALL {
        let (_, title) = sender.names();
        write!(text, " {title} |").during("write the matrix")?;
    }
    write!(text, "\n|---|{}\n", "---|".repeat(Sender::ALL.len())).during("write the matrix")?;
    let mut proved = 0_usize;
    for receiver in Receiver::ALL {
        let (_, title) = receiver.names();
        write!(text, "| {title} |").during("write the matrix")?;
        for sender in Sender::ALL {
            let of: Vec<Cell> = every()
                .into_iter()
                .filter(|cell| {
                    cell.sender == sender && cell.receiver == receiver && cell.impossible().is_none()
                })
                .collect();
            let ends: Vec<_> = of.iter().map(|cell| ended(&cell.to_string())).collect();
            let right = ends.iter().filter(|end| matches!(end, Some(Ok(())))).count();
            proved = proved.saturating_add(right);
            let cell = match (of.len(), right) {
                (0, _) => "–".to_owned(),
                (possible, right) if right == possible => format!("✓ {right}"),
                (possible, _) if ends.iter().any(|end| matches!(end, Some(Err(Verdict::Failed(_))))) => {
                    format!("✗ {right} of {possible}")
                }
                (possible, 0) => format!("not run, {possible}"),
                (possible, right) => format!("{right} of {possible} run"),
            };
            write!(text, " {cell} |").during("write the matrix")?;
        }
        text.push('\n');
    }
    writeln!(text, "\n{proved} connections, run on {} with {}.", today()?, versions().join(", "))
        .during("write the matrix")?;
    for name in SIZED {
        // They take longer than the cells; what an earlier run saw of them stays.
        let earlier = || {
            let written = std::fs::read_to_string(PAGE).unwrap_or_default();
            written.lines().find(|line| line.starts_with(&format!("`{name}` "))).map(str::to_owned)
        };
        let line = match ended(name) {
            Some(Ok(())) => format!("`{name}` held on {}, with the size of its name.", today()?),
            Some(Err(_)) => format!("`{name}` did not hold on {}.", today()?),
            None => earlier().unwrap_or_else(|| format!("`{name}` was not run.")),
        };
        writeln!(text, "{line}").during("write the matrix")?;
    }
    text.push_str("\nCells without a number cannot be, and so a full cell may have fewer than eight:\n\n");
    let mut reasons: Vec<&str> = every().into_iter().filter_map(Cell::impossible).collect();
    reasons.sort_unstable();
    reasons.dedup();
    for reason in reasons {
        writeln!(text, "- {reason}.").during("write the matrix")?;
    }
    Ok(text)
}

/// Puts the table into the page, if the run was started where that is.
pub(crate) fn keep(table: &str) -> Result<Option<PathBuf>> {
    let page = Path::new(PAGE);
    let Ok(written) = std::fs::read_to_string(page) else { return Ok(None) };
    let parts = written
        .split_once(BEGIN)
        .and_then(|(before, rest)| rest.split_once(END).map(|(_, after)| (before, after)));
    let Some((before, after)) = parts else { return failed(format!("{PAGE} has no place for the matrix")) };
    std::fs::write(page, format!("{before}{BEGIN}{table}{END}{after}")).during(&format!("write {PAGE}"))?;
    Ok(Some(page.to_owned()))
}

fn today() -> Result<String> {
    ask(&find("date")?, &["-u", "+%Y-%m-%d"])
}

/// What every program calls itself.
fn versions() -> Vec<String> {
    let ran = |name: &str, path: Result<PathBuf>, words: &[&str], number: fn(&str) -> Option<&str>| {
        let output = path.ok().and_then(|path| Command::new(path).args(words).output().ok());
        let said = output.map_or_else(String::new, |output| {
            let both = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&both).into_owned()
        });
        format!("{name} {}", said.lines().find_map(number).unwrap_or("(absent)"))
    };
    let exim = find_fetched("exim/usr/sbin/exim4").map(|_| PathBuf::from("sh"));
    let exim_words = "LD_LIBRARY_PATH=\"${INTEROP_DIR:-/usr/local/lib/truepeer-interop}/exim/libraries\" \
                      \"${INTEROP_DIR:-/usr/local/lib/truepeer-interop}/exim/usr/sbin/exim4\" -bV";
    vec![
        ran("HAProxy", find("haproxy"), &["-v"], |line| word_after(line, "HAProxy version ")),
        ran("NGINX", find("nginx"), &["-v"], |line| word_after(line, "nginx/")),
        ran("Traefik", find_fetched("bin/traefik"), &["version"], |line| word_after(line, "Version:")),
        ran("Envoy", find_fetched("envoy/_bin/envoy"), &["--version"], |line| {
            word_after(line, " version: ").and_then(|word| word.split('/').nth(1))
        }),
        ran("Caddy", find_fetched("bin/caddy"), &["version"], |line| word_after(line, "v")),
        ran("Postfix", find("postconf"), &["-d", "mail_version"], |line| word_after(line, "mail_version = ")),
        ran("Dovecot", find("dovecot"), &["--version"], |line| line.split(' ').next()),
        ran("Exim", exim, &["-c", exim_words], |line| word_after(line, "Exim version ")),
        format!("OpenSMTPD {}", opensmtpd::version().unwrap_or_else(|_| "(absent)".to_owned())),
    ]
}

fn word_after<'a>(line: &'a str, words: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(words)?;
    rest.split_whitespace().next().map(|word| word.trim_end_matches(','))
}
