//! `truepeer snippet postfix` and the like: the lines of a server that fit the backends of this configuration.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::{Printed, failed, load};
use crate::cli::reach::Failure;
use crate::config::Listener;
use crate::doctor::receivers::{BackendFacts, Receiver, ToldBy};
use crate::facts::protocol::{ClientTls, Protocol};
use crate::rooms::backend::{Backend, BackendAddress};
use crate::rooms::handoff::Handoff;

/// What is told below the options.
pub(super) const EXAMPLES: &str = "\
The lines are for the backends of that kind, for those of one listener, or for one backend. truepeer's address is the one \
from which this machine would connect, unless --from gives another. Problems are reported on standard error.

Exit codes: 0 the lines are on standard output; 1 the configuration is wrong, or the server needs no lines for what it \
asks for; 2 wrong arguments.

Examples:
  truepeer snippet postfix >> /etc/postfix/master.cf
  truepeer snippet dovecot --listener imaps
  truepeer snippet nginx --backend web --from 192.0.2.20";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// For the backend of this listener only
    #[arg(long, value_name = "ID")]
    listener: Option<String>,
    /// For this backend only, whatever its kind
    #[arg(long, value_name = "ID", conflicts_with = "listener")]
    backend: Option<String>,
    /// The address from which truepeer connects
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// Answer in JSON, one object (docs/json.md)
    #[arg(long)]
    pub(super) json: bool,
}

impl Arguments {
    /// For one backend: what `snippet nginx --backend` asks for.
    pub(super) fn of(config: Option<PathBuf>, backend: String, from: Option<IpAddr>) -> Self {
        Self { config, listener: None, backend: Some(backend), from, json: false }
    }
}

/// The lines, and what is to be said beside them.
pub(super) fn lines(receiver: Receiver, order: &Arguments) -> Result<Printed, Failure> {
    let config = load(order.config.as_deref())?;
    let title = receiver.product().title();
    if let Some(id) = &order.listener
        && !config.listeners.iter().any(|listener| **id == *listener.id)
    {
        return Err(failed(format!("there is no listener `{id}`")));
    }
    if let Some(id) = &order.backend
        && !config.backends.iter().any(|backend| **id == *backend.id)
    {
        return Err(failed(format!("there is no backend `{id}`")));
    }
    let of_kind = |backend: &Backend| receiver.kinds().contains(&backend.kind.facts().name);
    let wanted = |backend: &Arc<Backend>| match (&order.backend, &order.listener) {
        (Some(id), _) => **id == *backend.id,
        (None, Some(id)) => {
            config.listeners.iter().any(|listener| **id == *listener.id && hands_to(listener, backend))
        }
        (None, None) => of_kind(backend),
    };
    let mut notes = Vec::new();
    let mut behind = Vec::new();
    for backend in config.backends.iter().filter(|backend| wanted(backend)) {
        let listeners: Vec<_> =
            config.listeners.iter().filter(|listener| hands_to(listener, backend)).collect();
        let Some(first) = listeners.first() else {
            notes.push(format!("backend `{}`: no listener hands clients to it", backend.id));
            continue;
        };
        if listeners.iter().any(|other| other.tls != first.tls) {
            notes.push(format!(
                "backend `{}`: some of its listeners begin with TLS and some do not; one port cannot do both",
                backend.id
            ));
        }
        let spoken = Spoken { protocol: first.protocol, tls: first.tls };
        behind.extend(ports(backend, spoken, order.from).map_err(failed)?);
    }
    if behind.is_empty() {
        let kinds: Vec<_> = receiver.kinds().iter().map(|kind| format!("`kind = \"{kind}\"`")).collect();
        return Err(failed(format!(
            "no backend has {}: say with `--backend ID` which one {title} is",
            kinds.join(" or ")
        )));
    }
    Ok(Printed { text: receiver.lines(&behind).map_err(failed)?, notes })
}

fn hands_to(listener: &Listener, backend: &Backend) -> bool {
    std::iter::once(&listener.backend)
        .chain(&listener.backend_when_secure)
        .any(|other| *other.id == *backend.id)
}

#[derive(Debug, Clone, Copy)]
struct Spoken {
    protocol: Protocol,
    tls: ClientTls,
}

/// Each address of a backend.
fn ports(backend: &Backend, spoken: Spoken, from: Option<IpAddr>) -> Result<Vec<BackendFacts>, String> {
    let Spoken { protocol, tls } = spoken;
    let one = |at: Option<IpAddr>, port: u16, from: IpAddr| BackendFacts {
        id: backend.id.to_string(),
        kind: backend.kind.facts().name,
        at,
        port,
        from,
        protocol,
        tls,
        told: told(backend.handoff),
    };
    let mut found = Vec::new();
    for address in &backend.addresses {
        match address {
            BackendAddress::Socket(addr) => {
                found.push(one(Some(addr.ip()), addr.port(), from.or_else(|| source_for(*addr)).ok_or_else(
                    || {
                        format!(
                            "backend `{}`: this machine has no way to {addr}: say with `--from ADDRESS` from where \
                             truepeer connects",
                            backend.id
                        )
                    },
                )?));
            }
            BackendAddress::Host { name, port } => {
                let from = from.ok_or_else(|| {
                    format!(
                        "backend `{}` is at the name {name}: say with `--from ADDRESS` from where truepeer connects",
                        backend.id
                    )
                })?;
                found.push(one(None, *port, from));
            }
            BackendAddress::Unix(_) | BackendAddress::Program(_) => {
                return Err(format!("backend `{}` has no port", backend.id));
            }
        }
    }
    Ok(found)
}

fn told(handoff: Handoff) -> ToldBy {
    match handoff {
        Handoff::ProxyV1 | Handoff::ProxyV2 => ToldBy::Header,
        Handoff::Xclient => ToldBy::Xclient,
        Handoff::ImapId | Handoff::ImapIdUnconfirmed => ToldBy::ImapId,
        Handoff::Label | Handoff::Transparent | Handoff::Exec | Handoff::None => {
            ToldBy::Otherwise(handoff.name())
        }
    }
}

/// The address that this machine would connect from. Nothing is sent: the kernel looks up its routes.
pub(super) fn source_for(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { [0, 0, 0, 0].into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
