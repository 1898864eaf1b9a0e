//! `[admin]` and `[status]`: where a running server can be reached by its operator, and by monitoring.
//!
//! Two sections, because they are two audiences: neither reaches the other's functions.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;

use super::addresses::{Place, parse_bind};
use super::problem::Problem;
use super::read::Reader;
use super::settings::{
    ADMIN_SOCKET, ADMIN_STATE, SOCKET_MODE_DEFAULT, STATUS_ADDRESSES, STATUS_BIND, STATUS_PAGE,
};
use super::tree::Owner;
use crate::facts::bind::{Bind, Families};

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admin {
    /// The UNIX socket on which commands arrive; without one, none do.
    pub socket: Option<PathBuf>,
    /// Where denials are kept; without it, they end with the process.
    pub state: Option<PathBuf>,
}

impl Admin {
    /// The socket as something to listen on: for this user and root only.
    #[must_use]
    pub fn bind(&self) -> Option<Bind> {
        self.socket.clone().map(|path| Bind::Unix { path, mode: SOCKET_MODE_DEFAULT })
    }
}

/// `[status]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Where HTTP is served; empty for nowhere.
    pub binds: Vec<Bind>,
    /// Whether there is a page for people, and what it tells.
    pub page: StatusPage,
}

/// `status.page` and `status.addresses`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatusPage {
    /// There is none.
    #[default]
    None,
    /// It counts, and names nobody.
    WithoutAddresses,
    /// It names clients and peers.
    WithAddresses,
}

pub(super) fn read_admin(reader: &mut Reader<'_>) -> Admin {
    // sun_path holds 108 bytes, the last of them a zero.
    const LONGEST: usize = 107;
    let found = reader.get(&ADMIN_SOCKET, Owner::Global);
    let socket = reader.path(found);
    if let (Some(found), Some(path)) = (found, &socket)
        && path.as_os_str().len() > LONGEST
    {
        reader.problem(
            Problem::new(format!("`{}`: the path of a UNIX socket has at most {LONGEST} bytes", found.key))
                .at(found.value.span(), format!("{} bytes", path.as_os_str().len())),
        );
    }
    let state = reader.path(reader.get(&ADMIN_STATE, Owner::Global));
    Admin { socket, state }
}

/// What `[status] bind` names, each with its place in the file.
pub(super) fn read_status(reader: &mut Reader<'_>) -> Vec<(Bind, Range<usize>)> {
    let Some(found) = reader.get(&STATUS_BIND, Owner::Global) else { return Vec::new() };
    let mut binds = Vec::new();
    for text in reader.list(found).unwrap_or_default() {
        match parse_bind(text.text) {
            Ok(Place::Unix(path)) => binds.push((Bind::Unix { path, mode: SOCKET_MODE_DEFAULT }, text.at)),
            Ok(Place::Tcp(addr)) => {
                if !addr.ip().is_loopback() {
                    reader.advise(
                        &found.key,
                        &text.at,
                        format!(
                            "anyone who reaches {addr} can read how much is going on here (no addresses): let a firewall \
                             keep it to your monitoring, or bind to loopback"
                        ),
                    );
                }
                binds.push((Bind::Tcp { addr, families: families(addr) }, text.at));
            }
            Ok(Place::Range(range)) => reader.problem(
                Problem::new(format!("`{}` is one port", found.key))
                    .at(text.at, "this is a range of them")
                    .help(format!("write its first port only: `\"{}\"`", range.first())),
            ),
            Err(help) => reader.problem(
                Problem::new(format!("`{}`: {:?} is no address to listen on", found.key, text.text))
                    .at(text.at, "an address and port are needed here")
                    .help(help),
            ),
        }
    }
    binds
}

/// Whether there is a page at `binds`, and what it tells.
pub(super) fn read_page(reader: &mut Reader<'_>, binds: &[(Bind, Range<usize>)]) -> StatusPage {
    let wide =
        binds.iter().find(|(bind, _)| matches!(bind, Bind::Tcp { addr, .. } if !addr.ip().is_loopback()));
    let wanted = reader.flag(reader.get(&STATUS_PAGE, Owner::Global));
    let found = reader.get(&STATUS_ADDRESSES, Owner::Global);
    let addresses = reader.flag(found).unwrap_or(false);
    if let (Some(found), true, Some((_, at))) = (found, addresses, wide) {
        reader.problem(
            Problem::new("`status.addresses` would show clients' addresses to more than this machine")
                .at(found.value.span(), "true here ...")
                .also(at.clone(), "... and reachable from elsewhere")
                .help("bind to loopback or `unix:/PATH` and look through ssh (`ssh -L 9470:127.0.0.1:9470 HOST`), or leave `addresses` away"),
        );
    }
    match (wanted.unwrap_or(wide.is_none()) && !binds.is_empty(), addresses) {
        (false, _) => StatusPage::None,
        (true, false) => StatusPage::WithoutAddresses,
        (true, true) => StatusPage::WithAddresses,
    }
}

/// As for listeners: the IPv6 wildcard serves IPv4, too.
fn families(addr: SocketAddr) -> Families {
    if addr.is_ipv6() && addr.ip().is_unspecified() { Families::Both } else { Families::Own }
}
