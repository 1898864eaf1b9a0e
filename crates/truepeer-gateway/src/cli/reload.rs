//! `truepeer reload`: the running server reads its configuration again.

use std::process::ExitCode;

use super::reach::{Form, Reach, answer, list, text};
use super::status::show_advice;
use crate::control::admin::Request;
use crate::control::admin::client::ask_once;

/// Orders it and says how it went.
pub(super) fn reload(reach: &Reach) -> ExitCode {
    answer(|out| {
        let report = ask_once(&reach.socket()?, &Request::Reload)?;
        if reach.form() == Form::Json {
            writeln!(out, "{report}")?;
            return Ok(0);
        }
        writeln!(out, "The new configuration holds.")?;
        for bound in list(&report, "listening") {
            writeln!(out, "  {} on {}", text(bound, "listener"), text(bound, "address"))?;
        }
        for key in list(&report, "restart_for").iter().filter_map(serde_json::Value::as_str) {
            writeln!(out, "`{key}` has changed, but is read at start only: restart truepeer to apply that")?;
        }
        show_advice(out, &report)?;
        Ok(0)
    })
}
