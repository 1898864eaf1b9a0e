//! `truepeer upgrade`: a new program takes the place of the running one.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::reach::{Failure, Form, Reach, age, answer};
use crate::cli::FAILED;
use crate::control::admin::client::{ask_once, read};
use crate::control::admin::{Request, Upgrade, reply};

/// Which program, and how long it may take.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The program; it must belong to root or to whom the running one belongs
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// How many seconds it may take until it is ready
    #[arg(long, value_name = "SECONDS", default_value_t = Upgrade::WAIT.as_secs(), value_parser = clap::value_parser!(u64).range(1..=Upgrade::LONGEST.as_secs()))]
    wait: u64,
}

/// Orders it and says how it went.
pub(super) fn upgrade(reach: &Reach, order: Arguments) -> ExitCode {
    answer(|out| {
        // The running process may stand in another folder.
        let whole = |path: PathBuf| std::path::absolute(path);
        let program = order
            .program
            .map(whole)
            .transpose()
            .map_err(|error| Failure { text: format!("error: --program: {error}"), code: FAILED })?;
        let request = Request::Upgrade(Upgrade { program, wait: Duration::from_secs(order.wait) });
        let said = ask_once(&reach.socket()?, &request)?;
        if reach.form() == Form::Json {
            writeln!(out, "{said}")?;
            return Ok(0);
        }
        let reply::Upgraded { version, pid, version_before, pid_before, open_before, drain_ms } =
            read(&said)?;
        writeln!(out, "truepeer {version}, pid {pid}, serves from now on.")?;
        writeln!(
            out,
            "truepeer {version_before}, pid {pid_before}, accepts no more and ends with the last of its {open_before} connections, at the latest in {}.",
            age(drain_ms)
        )?;
        Ok(0)
    })
}
