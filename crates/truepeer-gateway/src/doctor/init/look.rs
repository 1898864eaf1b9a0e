//! What is on this machine: which servers and proxies are installed, and who listens. Reads files, runs nothing.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use truepeer_doctor::survey::{State, sockets};

use crate::doctor::survey::Root;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Postfix, by its `main.cf`.
    pub postfix: bool,
    /// Exim, by the configuration of Debian's package or its own.
    pub exim: bool,
    /// Dovecot, and how its configuration is written.
    pub dovecot: Option<Dovecot>,
    /// HAProxy, by its `haproxy.cfg`.
    pub haproxy: bool,
    /// NGINX, by its `nginx.conf`.
    pub nginx: bool,
    /// truepeer's unit.
    pub unit: bool,
    /// TCP ports that somebody listens at, at any address.
    pub listening: BTreeSet<u16>,
}

/// How Dovecot's configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dovecot {
    /// Up to 2.3.
    V2_3,
    /// From 2.4 on.
    V2_4,
}

/// As much of a file as is looked at, in bytes; the table of sockets is the longest.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Looks at the machine whose root is `root`.
#[must_use]
pub fn look(root: &Root) -> Found {
    let is_there = |paths: &[&str]| paths.iter().any(|path| root.place(path).exists());
    let dovecot = "/etc/dovecot/dovecot.conf";
    let text =
        |path: &str| String::from_utf8_lossy(&root.read(path, MAX_FILE).unwrap_or_default()).into_owned();
    let version = |text: String| match text.lines().any(|line| line.starts_with("dovecot_config_version")) {
        true => Dovecot::V2_4,
        false => Dovecot::V2_3,
    };
    Found {
        postfix: is_there(&["/etc/postfix/main.cf"]),
        exim: is_there(&["/etc/exim4/exim4.conf.template", "/etc/exim4/exim4.conf", "/etc/exim/exim.conf"]),
        dovecot: is_there(&[dovecot]).then(|| version(text(dovecot))),
        haproxy: is_there(&["/etc/haproxy/haproxy.cfg"]),
        nginx: is_there(&["/etc/nginx/nginx.conf"]),
        unit: is_there(&[
            "/lib/systemd/system/truepeer.service",
            "/usr/lib/systemd/system/truepeer.service",
            "/etc/systemd/system/truepeer.service",
        ]),
        listening: ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .flat_map(|table| sockets(&text(table)))
            .filter(|socket| socket.state == State::Listening)
            .map(|socket| socket.local.port())
            .collect(),
    }
}

/// The address of this machine that a host at `peer` reaches it by, as the routes have it. Nothing is sent.
#[must_use]
pub fn own_address_towards(peer: IpAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // The port does not matter: a datagram socket that is connected only has its route looked up.
    socket.connect(SocketAddr::new(peer, 9)).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip())
}
