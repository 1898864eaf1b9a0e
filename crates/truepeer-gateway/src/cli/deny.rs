//! `truepeer deny` and `undeny`: keep a client out for a while, without a reload.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use ipnet::IpNet;

use super::feed;
use super::reach::{Failure, Form, Reach, answer};
use crate::control::admin::client::{ReplyLine, ask, ask_once, read};
use crate::control::admin::{OpenConnections, Request, reply};
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
        let reply::Denied { ban: reply::Ban { network, until, .. }, cut, kept, .. } = read(&said)?;
        let cut = cut.unwrap_or_default();
        writeln!(out, "{network} is kept out until {until}; connections cut: {cut}")?;
        warn(out, kept)?;
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
        let reply::Undenied { network, still, kept, lifted: _ } = read(&said)?;
        match still {
            Some(wider) => {
                writeln!(out, "{network} is not denied any more, but {} is, and holds it", wider.network)?;
            }
            None => writeln!(out, "{network} may enter again")?,
        }
        warn(out, kept)?;
        Ok(0)
    })
}

fn list(reach: &Reach) -> ExitCode {
    answer(|out| {
        let mut lines = ask(&reach.socket()?, &Request::Denied)?;
        loop {
            match lines.next_line()? {
                ReplyLine::Item(ban) if reach.form() == Form::Json => writeln!(out, "{ban}")?,
                ReplyLine::Item(ban) => {
                    let reply::Ban { network, until, reason, node, .. } = read(&ban)?;
                    let by = node.map_or_else(String::new, |node| format!(" (by {node})"));
                    writeln!(out, "{network:<20} until {until} {reason}{by}")?;
                }
                ReplyLine::Done(end) => {
                    if reach.form() == Form::Text && read::<reply::Bans>(&end)?.denied == 0 {
                        writeln!(out, "nobody is denied")?;
                    }
                    return Ok(0);
                }
            }
        }
    })
}

fn warn(out: &mut dyn Write, kept: Option<reply::Kept>) -> Result<(), Failure> {
    if let Some(warning) = kept.and_then(|kept| kept.warning) {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}
