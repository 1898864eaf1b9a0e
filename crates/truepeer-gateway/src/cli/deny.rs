//! `truepeer deny` and `undeny`: keep a client out for a while, without a reload.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use ipnet::IpNet;
use serde_json::Value;

use super::feed;
use super::reach::{Failure, Form, Reach, answer, number, text};
use crate::control::admin::client::{Line, ask, ask_once};
use crate::control::admin::{OpenConnections, Request};
use crate::facts::network::{NetworkError, parse_network};
use crate::rooms::bans::{BanDuration, BanOrder, BanReason};

/// Whom, how long and why.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The client or network of clients to keep out
    #[arg(value_name = "ADDR|NETWORK", value_parser = network, required_unless_present_any = ["list", "feed"])]
    network: Option<IpNet>,
    /// How long: 90s, 10m, 1h, 7d, 1h30m; at most 365d
    #[arg(long = "for", value_name = "TIME", required_unless_present_any = ["list", "feed"])]
    lasts: Option<BanDuration>,
    /// Why, for the log and the list
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Let the client's open connections go on
    #[arg(long)]
    keep: bool,
    /// List who is denied instead
    #[arg(long, conflicts_with_all = ["network", "lasts", "reason", "keep"])]
    list: bool,
    /// Take orders from standard input instead, one a line: `+ADDR|NETWORK TIME [REASON]` denies,
    /// `-ADDR|NETWORK` lets in again, `#` begins a comment
    #[arg(long, conflicts_with_all = ["network", "lasts", "reason", "list"])]
    feed: bool,
}

/// As it may be written on a command line.
pub(super) fn network(text: &str) -> Result<IpNet, NetworkError> {
    parse_network(text)
}

/// Denies, or lists who is denied.
pub(super) fn deny(reach: &Reach, arguments: Arguments) -> ExitCode {
    let Arguments { network, lasts, reason, keep, feed, list: _ } = arguments;
    let open = if keep { OpenConnections::Keep } else { OpenConnections::Cut };
    if feed {
        return feed::feed(reach, open);
    }
    let (Some(network), Some(lasts)) = (network, lasts) else { return list(reach) };
    let order = BanOrder { network, lasts, reason: BanReason::new(&reason) };
    answer(|out| {
        let said = ask_once(&reach.socket()?, &Request::Deny(order, open))?;
        if reach.form() == Form::Json {
            writeln!(out, "{said}")?;
            return Ok(0);
        }
        let (network, until) = (text(&said, "network"), text(&said, "until"));
        writeln!(out, "{network} is kept out until {until}; connections cut: {}", number(&said, "cut"))?;
        warn(out, &said)?;
        Ok(0)
    })
}

/// Lets a network in again.
pub(super) fn undeny(reach: &Reach, network: IpNet) -> ExitCode {
    answer(|out| {
        let said = ask_once(&reach.socket()?, &Request::Undeny(network))?;
        if reach.form() == Form::Json {
            writeln!(out, "{said}")?;
            return Ok(0);
        }
        match said.get("still").filter(|still| !still.is_null()) {
            Some(wider) => writeln!(
                out,
                "{} is not denied any more, but {} is, and holds it",
                text(&said, "network"),
                text(wider, "network")
            )?,
            None => writeln!(out, "{} may enter again", text(&said, "network"))?,
        }
        warn(out, &said)?;
        Ok(0)
    })
}

fn list(reach: &Reach) -> ExitCode {
    answer(|out| {
        let mut lines = ask(&reach.socket()?, &Request::Denied)?;
        loop {
            match lines.next_line()? {
                Line::Item(ban) if reach.form() == Form::Json => writeln!(out, "{ban}")?,
                Line::Item(ban) => {
                    let (network, until) = (text(&ban, "network"), text(&ban, "until"));
                    writeln!(out, "{network:<20} until {until} {}", text(&ban, "reason"))?;
                }
                Line::Done(end) => {
                    if reach.form() == Form::Text && number(&end, "denied") == 0 {
                        writeln!(out, "nobody is denied")?;
                    }
                    return Ok(0);
                }
            }
        }
    })
}

fn warn(out: &mut dyn Write, said: &Value) -> Result<(), Failure> {
    if let Some(warning) = said.get("warning").and_then(Value::as_str) {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}
