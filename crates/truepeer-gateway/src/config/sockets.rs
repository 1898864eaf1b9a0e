//! The sockets that a configuration results in, for `check`: what will listen, for whom, and where its clients go.

use std::sync::Arc;

use super::{Config, Listener};
use crate::facts::bind::{Bind, Families};
use crate::rooms::access::InsecureClients;
use crate::rooms::backend::Backend;

/// One line for each socket, in the order of the file.
#[must_use]
pub fn sockets(config: &Config) -> Vec<String> {
    config
        .listeners
        .iter()
        .flat_map(|listener| {
            let health = |bind: &Bind| {
                format!("{}: health checks of {} ({})", socket(bind), listener.id, listener.protocol)
            };
            places(listener)
                .map(|place| line(listener, &place))
                .chain(listener.health_binds.iter().map(health))
        })
        .collect()
}

/// Every address that is listened on, with the key that says so: of listeners, and of `[admin]` and `[status]`.
#[must_use]
pub fn binds(config: &Config) -> Vec<(String, Bind)> {
    let of_listener = |listener: &Arc<Listener>| {
        let of = |key: &str, binds: &[Bind]| {
            let key = format!("server.listener.{}.{key}", listener.id);
            binds.iter().map(|bind| (key.clone(), bind.clone())).collect::<Vec<_>>()
        };
        of("bind", &listener.binds).into_iter().chain(of("health-bind", &listener.health_binds))
    };
    let admin = config.admin.bind().map(|bind| ("admin.socket".to_owned(), bind));
    let status = config.status.binds.iter().map(|bind| ("status.bind".to_owned(), bind.clone()));
    config.listeners.iter().flat_map(of_listener).chain(admin).chain(status).collect()
}

/// Where a listener listens, each range once.
fn places(listener: &Listener) -> impl Iterator<Item = String> {
    let range = |bind: &Bind| match bind {
        Bind::Tcp { addr, .. } => listener.range_of(*addr),
        Bind::Unix { .. } => None,
    };
    listener.binds.iter().filter_map(move |bind| match (range(bind), bind) {
        (None, _) => Some(socket(bind)),
        (Some(range), Bind::Tcp { addr, .. }) if range.first() != *addr => None,
        (Some(range), _) => Some(
            socket(bind).replacen(&range.first().to_string(), &range.to_string(), 1)
                + &format!(", {} ports", range.len()),
        ),
    })
}

fn socket(bind: &Bind) -> String {
    match bind {
        Bind::Tcp { addr, families: Families::Both } => format!("{addr} (IPv6 and IPv4)"),
        Bind::Tcp { addr, families: Families::Own } if addr.is_ipv6() => format!("{addr} (IPv6)"),
        Bind::Tcp { addr, families: Families::Own } => format!("{addr} (IPv4)"),
        Bind::Unix { path, mode } => format!("unix:{} (mode {mode:04o})", path.display()),
    }
}

fn line(listener: &Listener, socket: &str) -> String {
    let plain = match listener.insecure {
        InsecureClients::Admit => format!(" to {}", backend(&listener.backend)),
        InsecureClients::Refuse => String::new(),
    };
    let secure = match (&listener.backend_when_secure, listener.insecure) {
        (Some(elsewhere), _) => format!(", over TLS to {}", backend(elsewhere)),
        (None, InsecureClients::Refuse) => format!(", over TLS only to {}", backend(&listener.backend)),
        (None, InsecureClients::Admit) => String::new(),
    };
    format!("{socket}: {} ({}){plain}{secure}", listener.id, listener.protocol)
}

fn backend(backend: &Backend) -> String {
    if backend.handoff.tells() {
        format!("{} ({})", backend.id, backend.handoff.name())
    } else {
        format!("{} (not told who the client is)", backend.id)
    }
}
