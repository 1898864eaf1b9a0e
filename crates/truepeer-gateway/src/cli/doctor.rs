//! `truepeer doctor`: what is wrong between the proxies and servers of this machine, and what line to change?

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use truepeer_doctor::neighbour::Neighbour;

use super::FAILED;
use super::check::ours::ours;
use super::reach::{Failure, answer, complain};
use crate::config;
use crate::doctor::shown::for_terminal;
use crate::doctor::survey::{NotSeen, Root, Survey, SurveyScope, survey};

/// What is told below the options.
pub(super) const EXAMPLES: &str = "\
Reads what HAProxy, NGINX, Postfix, Dovecot, Exim and others on this machine say of their configurations (`postconf -n`, \
`doveconf -n`, `nginx -T`, files), who listens and who is connected, and the last hour of their logs. Asks the servers \
on loopback that a proxy here connects to. Changes nothing, starts and stops no service, and sends nothing to any other \
machine.

An ordinary user sees less than root; what was not seen is listed last, with the command that shows it.

Exit codes: 0 nothing is wrong as far as was seen; 1 something is; 2 wrong arguments.

Examples:
  truepeer doctor
  sudo truepeer doctor --since 1d
  truepeer doctor --no-probe
  truepeer doctor --json | jq -r '.change'";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Ask no server anything; configurations and logs are read all the same
    #[arg(long)]
    no_probe: bool,
    /// How far back logs are read; `0s` reads none
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    since: Duration,
    /// Answer in JSON, one finding a line (docs/json.md); what was not seen goes to standard error
    #[arg(long)]
    json: bool,
    /// Look at a folder that was recorded from a machine
    #[arg(long, value_name = "FOLDER", hide = true)]
    root: Option<PathBuf>,
}

/// Looks and prints.
pub(super) fn doctor(arguments: &Arguments) -> ExitCode {
    answer(|out| {
        let root = arguments.root.as_deref().map_or_else(Root::here, Root::recorded);
        let order = SurveyScope { root, since: arguments.since, probe: !arguments.no_probe, read_ours };
        let found =
            survey(&order).map_err(|error| Failure { text: format!("error: {error}"), code: FAILED })?;
        if arguments.json {
            for finding in &found.findings {
                writeln!(out, "{}", serde_json::to_string(finding).unwrap_or_default())?;
            }
            out.flush()?;
            if found.findings.is_empty() {
                complain(&verdict(&found));
            }
            for unseen in &found.unseen {
                complain(&format!("not seen: {}", line(unseen)));
            }
        } else {
            show(&found, out)?;
        }
        Ok(if found.findings.is_empty() { 0 } else { FAILED })
    })
}

/// Our own configuration as a neighbour.
fn read_ours(path: &Path) -> Result<Neighbour, String> {
    let loaded = config::load(Some(path)).map_err(|_| "it has mistakes".to_owned())?;
    Ok(ours(&loaded.config, path))
}

fn show(found: &Survey, out: &mut dyn Write) -> io::Result<()> {
    for finding in &found.findings {
        writeln!(out, "{}\n", safe(&finding.to_string()))?;
    }
    writeln!(out, "{}", verdict(found))?;
    if !found.seen.is_empty() {
        writeln!(out, "\nLooked at")?;
    }
    for seen in &found.seen {
        writeln!(out, "  {}", safe(seen))?;
    }
    if !found.unseen.is_empty() {
        writeln!(out, "\nNot seen")?;
    }
    for unseen in &found.unseen {
        writeln!(out, "  {}", line(unseen))?;
    }
    Ok(())
}

/// The result in a sentence.
fn verdict(found: &Survey) -> String {
    match (found.findings.len(), found.seen.is_empty()) {
        (0, true) => "There is no proxy or server here whose configuration can be read.".to_owned(),
        (0, false) => "Nothing is wrong, as far as was seen.".to_owned(),
        (1, _) => "One thing is wrong.".to_owned(),
        (count, _) => format!("{count} things are wrong."),
    }
}

/// In one line, and nothing in it that a terminal obeys.
fn line(unseen: &NotSeen) -> String {
    let what = safe(&unseen.what).replace('\n', " ");
    match &unseen.command {
        Some(command) => format!("{what}: `{}`", safe(command).replace('\n', "\\n")),
        None => what,
    }
}

fn safe(text: &str) -> String {
    for_terminal(text.as_bytes(), &mut Vec::new())
}
