//! `truepeer top`: who is connected, who is refused and why, live, in a terminal.
//!
//! `model` (of `parts`) is what is known, `keys` (with `chosen` and `denial`) what a key does to it, `draw` (with `table`,
//! `lines` and `words`) how it looks: all pure. `asking` is the thread that asks the server, `terminal` the loop around them.

mod asking;
mod chosen;
mod denial;
mod draw;
mod keys;
mod lines;
mod model;
mod pace;
mod parts;
#[cfg(test)]
mod samples;
mod table;
mod terminal;
mod words;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::FAILED;
use super::reach::{Failure, Place, complain};
use crate::control::admin::Request;
use crate::control::admin::client::ask_once;

use asking::{Asking, Server};
use terminal::Screen;

/// Where the server is, and how often to look.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Seconds between two looks; where the server needs long to answer, they are longer
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
}

/// What stands below the options.
pub(super) const KEYS: &str = "\
Keys:
  1 2 3 4, Tab              connections, clients, refusals, backends
  Up Down j k, PgUp PgDn    move; Home goes to the beginning
  /                         search: text, an address, or a network
  s, r                      sort by the next column; the other end first
  f, Space                  freeze what is shown, and let it go on
  Enter, e                  explain: listener, peer, header, rule, limits, backend
  d                         deny the client for a while; asks first
  ?                         help
  q, Ctrl-C                 quit

Colours are left out where NO_COLOR is set, and on terminals that have none. Where TERM is dumb, pages come one below
the other, and there are no keys.";

/// Shows it until the operator has seen enough.
pub(super) fn top(arguments: &Arguments) -> ExitCode {
    match show(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { text, code }) => {
            complain(&text);
            ExitCode::from(code)
        }
    }
}

fn show(arguments: &Arguments) -> Result<(), Failure> {
    let failed = |text: String| Failure { text, code: FAILED };
    if !io::stdout().is_terminal() {
        return Err(failed(
            "error: standard output is no terminal, and `top` draws on one: programs ask `truepeer status --json` and `truepeer connections --json`"
                .to_owned(),
        ));
    }
    let socket = arguments.place.socket()?;
    // Whoever cannot be reached is told before the terminal is taken.
    ask_once(&socket, &Request::Status)?;
    let every = Duration::from_secs(arguments.every);
    let shown = match Screen::of_environment() {
        Screen::Paper => terminal::print(&Server(socket), every),
        Screen::Cells(look) => Asking::start(socket).and_then(|asking| terminal::show(&asking, look, every)),
    };
    shown.map_err(|error| failed(format!("error: the terminal cannot be used: {error}")))
}
