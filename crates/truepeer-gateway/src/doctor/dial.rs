//! Connections to where the operator said, and nowhere else.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

/// A host and a port, as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write it as `mail.example.org:25`, `192.0.2.1:25` or `[2001:db8::1]:25`";
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return Ok(Self { host: addr.ip().to_string(), port: addr.port() });
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("the port is missing: {FORM}"))?;
        let port = port.parse().map_err(|_| format!("the port is no number up to 65535: {FORM}"))?;
        if host.is_empty() || host.contains([':', '[', ']', '/', '@', ' ']) {
            return Err(format!("this is no host: {FORM}"));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached(pub String);

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The addresses of `target`; at most [`MAX_ADDRESSES`], those of `source`'s family if it is given.
///
/// # Errors
/// If it has none, or none in time.
///
/// # Cancel safety
/// Nothing is lost.
pub async fn resolve(
    target: &HostPort,
    source: Option<IpAddr>,
    patience: Duration,
) -> Result<Vec<SocketAddr>, Unreached> {
    let failed = |why: String| Unreached(format!("{target}: {why}"));
    let found = timeout_at(later(patience), lookup_host((target.host.as_str(), target.port)))
        .await
        .map_err(|_| failed("its name was not looked up in time".to_owned()))?
        .map_err(|error| failed(format!("its name cannot be looked up: {error}")))?;
    let fits = |addr: &SocketAddr| source.is_none_or(|source| source.is_ipv4() == addr.is_ipv4());
    let addrs: Vec<_> = found.filter(fits).take(MAX_ADDRESSES).collect();
    match (addrs.is_empty(), source) {
        (false, _) => Ok(addrs),
        (true, Some(source)) => Err(failed(format!("it has no address of the family of {source}"))),
        (true, None) => Err(failed("it has no address".to_owned())),
    }
}

/// How many addresses of a name are tried.
pub const MAX_ADDRESSES: usize = 8;

/// Connects to the first of `addrs` that takes the connection.
///
/// # Errors
/// What the last one said, if none did.
///
/// # Cancel safety
/// The connection is closed.
pub async fn connect(
    addrs: &[SocketAddr],
    source: Option<IpAddr>,
    patience: Duration,
) -> Result<TcpStream, Unreached> {
    let mut last = Unreached("there is no address".to_owned());
    for addr in addrs {
        match timeout_at(later(patience), connect_one(*addr, source)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Unreached(format!("{addr}: {error}")),
            Err(_) => {
                last = Unreached(format!("{addr}: no answer in {}", humantime::format_duration(patience)));
            }
        }
    }
    Err(last)
}

async fn connect_one(addr: SocketAddr, source: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    // Pieces travel as they are written.
    socket.set_nodelay(true)?;
    socket.connect(addr).await
}

/// The instant after which nobody is waited for any more.
pub(super) fn later(patience: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(patience).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_as_people_write_them() {
        for (text, host, port, shown) in [
            ("mail.example.org:25", "mail.example.org", 25, "mail.example.org:25"),
            ("192.0.2.1:25", "192.0.2.1", 25, "192.0.2.1:25"),
            ("[2001:db8::1]:993", "2001:db8::1", 993, "[2001:db8::1]:993"),
        ] {
            let target: HostPort = text.parse().unwrap();
            assert_eq!((target.host.as_str(), target.port), (host, port));
            assert_eq!(target.to_string(), shown);
        }
        for text in [
            "mail.example.org",
            "mail.example.org:",
            ":25",
            "2001:db8::1:25",
            "http://a:25",
            "a b:25",
            "a:65536",
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }
}
