//! Ports of containers that Docker's userland proxy publishes here: it connects on from itself, so that a server behind it
//! sees the proxy, whatever this end of the connection shows.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Socket, Type};
use truepeer_doctor::survey::{Published, published};

/// Where docker-proxy leads whoever connects to `address`, if it listens there and can be seen.
#[must_use]
pub fn container_behind(address: SocketAddr) -> Option<SocketAddr> {
    let ip = address.ip().to_canonical();
    let leads = |found: &Published| {
        found.host.port() == address.port() && (found.host.ip() == ip || found.host.ip().is_unspecified())
    };
    // Every process is read, which is for nothing where the address is another machine's.
    let found = if is_own(ip) { processes().find(leads) } else { None };
    found.map(|found| found.container)
}

/// Whether this host has `ip`.
#[must_use]
pub fn is_own(ip: IpAddr) -> bool {
    let at = SocketAddr::new(ip, 0);
    Socket::new(Domain::for_address(at), Type::DGRAM, None)
        .is_ok_and(|socket| socket.bind(&at.into()).is_ok())
}

fn processes() -> impl Iterator<Item = Published> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let is_process = entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit);
        let words = fs::read(is_process.then(|| entry.path().join("cmdline"))?).ok()?;
        let words = words.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        published(&words.collect::<Vec<_>>())
    })
}
