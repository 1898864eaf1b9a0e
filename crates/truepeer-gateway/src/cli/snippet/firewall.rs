//! `truepeer snippet firewall`: rules by which nobody but truepeer reaches the backends of this configuration.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use super::receiver::source_for;
use super::{Printed, failed, load};
use crate::cli::check::machine;
use crate::cli::reach::Failure;
use crate::doctor::firewall::GuardedBackends;
use crate::rooms::backend::{Backend, BackendAddress};

/// What is told below the options.
pub(super) const EXAMPLES: &str = "\
The rules are a table of nftables of its own, which `nft -f` can load again and again; `nft delete table inet \
truepeer_backends` takes it away. For backends on this machine they go by the user that truepeer runs as, and for others \
by truepeer's address; these are comments, to be loaded on those machines, unless all backends are on one.

Exit codes: 0 the rules are on standard output; 1 the configuration is wrong, or there is nothing to guard; 2 wrong \
arguments.

Examples:
  truepeer snippet firewall | nft -f -
  truepeer snippet firewall --backend mail --from 192.0.2.20 > truepeer.nft
  truepeer snippet firewall --user _truepeer";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// For this backend only
    #[arg(long, value_name = "ID")]
    backend: Option<String>,
    /// The user that truepeer runs as
    #[arg(long, value_name = "NAME", default_value = "truepeer", value_parser = user)]
    user: String,
    /// The address from which truepeer connects to other machines
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// Answer in JSON, one object (docs/json.md)
    #[arg(long)]
    pub(super) json: bool,
}

/// A name that cannot end the word that it stands in.
fn user(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
    if !text.is_empty() && text.len() <= 64 && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err("a user is a name or a number, of letters, digits, `_`, `-`, `.` and `$`".to_owned())
}

/// The rules, and what is to be said beside them.
pub(super) fn lines(order: &Arguments) -> Result<Printed, Failure> {
    let config = load(order.config.as_deref())?;
    if let Some(id) = &order.backend
        && !config.backends.iter().any(|backend| **id == *backend.id)
    {
        return Err(failed(format!("there is no backend `{id}`")));
    }
    let wanted =
        |backend: &&std::sync::Arc<Backend>| order.backend.as_ref().is_none_or(|id| **id == *backend.id);
    let here = machine().addresses;
    let (mut guarded, mut notes) = (GuardedBackends::default(), Vec::new());
    for backend in config.backends.iter().filter(wanted) {
        for address in &backend.addresses {
            match address {
                BackendAddress::Socket(addr) if addr.ip().is_loopback() || here.contains(&addr.ip()) => {
                    guarded.here.entry(addr.ip()).or_default().push(ports(backend, addr.port()));
                }
                BackendAddress::Socket(addr) => {
                    let elsewhere = guarded.there.entry(addr.ip().to_string()).or_default();
                    elsewhere.ports.push(ports(backend, addr.port()));
                    match order.from.or_else(|| source_for(*addr)) {
                        Some(from) => elsewhere.from.push(from),
                        None => notes.push(format!(
                            "backend `{}`: this machine has no way to {addr}; say with `--from ADDRESS` from where \
                             truepeer connects",
                            backend.id
                        )),
                    }
                }
                BackendAddress::Host { name, port } => {
                    let elsewhere = guarded.there.entry(name.clone()).or_default();
                    elsewhere.ports.push(ports(backend, *port));
                    match order.from {
                        Some(from) => elsewhere.from.push(from),
                        None => notes.push(format!(
                            "backend `{}` is at the name {name}: say with `--from ADDRESS` from where truepeer connects",
                            backend.id
                        )),
                    }
                }
                // A file's own rights guard it.
                BackendAddress::Unix(_) | BackendAddress::Program(_) => {}
            }
        }
    }
    if guarded == GuardedBackends::default() {
        return Err(failed("no backend has a port of its own: there is nothing to guard".to_owned()));
    }
    if !notes.is_empty() && guarded.there.values().any(|elsewhere| elsewhere.from.is_empty()) {
        return Err(failed(notes.join("\nerror: ")));
    }
    Ok(Printed { text: guarded.rules(&order.user), notes })
}

/// One port, or the whole range.
fn ports(backend: &Backend, first: u16) -> String {
    match backend.ports {
        0 | 1 => first.to_string(),
        many => format!("{first}-{}", first.saturating_add(many.saturating_sub(1))),
    }
}
