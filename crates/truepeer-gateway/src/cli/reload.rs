//! `truepeer reload`: the running server reads its configuration again.

use std::process::ExitCode;

use super::reach::{Form, Reach, answer};
use super::status::show_advice;
use crate::control::admin::client::{ask_once, read};
use crate::control::admin::{Request, reply};

/// Orders it and says how it went.
pub(super) fn reload(reach: &Reach) -> ExitCode {
    answer(|out| {
        let said = ask_once(&reach.socket()?, &Request::Reload)?;
        if reach.form() == Form::Json {
            writeln!(out, "{said}")?;
            return Ok(0);
        }
        let reply::Reloaded { listening, advice, restart_for } = read(&said)?;
        writeln!(out, "The new configuration holds.")?;
        for reply::Bound { listener, address } in listening {
            writeln!(out, "  {listener} on {address}")?;
        }
        for key in restart_for {
            writeln!(out, "`{key}` has changed, but is read at start only: restart truepeer to apply that")?;
        }
        show_advice(out, &advice)?;
        Ok(0)
    })
}
