//! `truepeer import`: our configuration from another program's.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::FAILED;
use super::reach::{Failure, answer};
use crate::doctor::import::{self, Behind, Imported, Ports, Section, Unreadable};

/// What is imported.
#[derive(Debug, Subcommand)]
pub(super) enum From {
    /// From a Stalwart mail server: its listeners, trusted networks, blocked and allowed addresses.
    ///
    /// Reads a config.toml of any version up to 0.15 in every spelling that its documentation has had, and the objects
    /// of 0.16 and later in JSON: a plan for `stalwart-cli apply`, calls or answers of its API. Prints a configuration
    /// for the same ports, with Stalwart behind on others. Comments say where a meaning changes, what Stalwart itself
    /// has made of a line that does not mean what it looks like, what has to change in Stalwart, and what is not known.
    ///
    /// What is printed passes `truepeer check`. Nothing is changed or started.
    #[command(after_help = EXAMPLES)]
    Stalwart(Arguments),
}

const EXAMPLES: &str = "\
Exit codes: 0 the configuration is on standard output, 1 the file cannot be read or nothing comes of it (the reason, \
with its line, is on standard error, and nothing on standard output), 2 wrong arguments.

Examples:
  truepeer import stalwart /opt/stalwart/etc/config.toml > truepeer.toml
  truepeer check --config truepeer.toml
  truepeer import stalwart config.toml --behind 172.20.0.5 --keep-ports   # Stalwart in a container
  stalwart-cli snapshot | truepeer import stalwart -
  truepeer import stalwart config.toml --json | jq -r '.notes[] | select(.kind == \"meaning\").text'";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file; `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The address at which Stalwart will listen, as truepeer reaches it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    behind: IpAddr,
    /// Stalwart keeps its ports, for that address is another machine's or a container's
    #[arg(long)]
    keep_ports: bool,
    /// Answer in JSON: one object with `config`, `notes` and `stalwart`
    #[arg(long)]
    json: bool,
}

/// Imports and prints.
pub(super) fn import(from: From) -> ExitCode {
    let From::Stalwart(Arguments { file, behind, keep_ports, json }) = from;
    let ports = if keep_ports { Ports::Kept } else { Ports::Moved };
    answer(|out| {
        let name = if file.as_os_str() == "-" { "standard input".into() } else { file.to_string_lossy() };
        let refused = |error: Unreadable| {
            let text: String = format!("{name}: {error}").chars().flat_map(shown).collect();
            Failure { text: format!("error: {text}"), code: FAILED }
        };
        let text = import::read_file(&file).map_err(refused)?;
        let done = import::import(&text, &name, Behind { addr: behind, ports }).map_err(refused)?;
        if json {
            writeln!(out, "{}", to_json(&done))?;
        } else {
            out.write_all(done.config.as_bytes())?;
        }
        Ok(0)
    })
}

/// A file's name may hold anything.
fn shown(c: char) -> Vec<char> {
    if c.is_control() { c.escape_debug().collect() } else { vec![c] }
}

fn to_json(done: &Imported) -> Value {
    let notes: Vec<Value> = done
        .notes
        .iter()
        .map(|note| {
            let listener = match &note.section {
                Section::Listener(id) => Value::from(id.as_str()),
                _ => Value::Null,
            };
            json!({
                "line": note.line(),
                "object": note.object(),
                "listener": listener,
                "key": note.key,
                "kind": note.kind.word(),
                "text": note.text,
            })
        })
        .collect();
    json!({ "config": done.config, "notes": notes, "stalwart": done.stalwart })
}
