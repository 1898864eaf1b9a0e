//! Addresses as people write them: where to listen, where a backend is.
//!
//! Pure parsing; nothing is looked up or opened.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::facts::ports::PortRange;
use crate::rooms::backend::BackendAddress;

/// Where to listen, before it is known which families a wildcard serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// An address and port.
    Tcp(SocketAddr),
    /// An address and several ports in a row.
    Range(PortRange),
    /// A UNIX socket.
    Unix(PathBuf),
}

impl Place {
    /// Its ports; one of them for an address, none for a UNIX socket and where the system chooses.
    pub(super) fn ports(&self) -> Option<PortRange> {
        match self {
            Self::Tcp(addr) => PortRange::new(*addr, addr.port()),
            Self::Range(range) => Some(*range),
            Self::Unix(_) => None,
        }
    }

    /// Whether both have one address in common.
    pub(super) fn meets(&self, other: &Self) -> bool {
        match (self.ports(), other.ports()) {
            (Some(one), Some(other)) => one.first().ip() == other.first().ip() && one.meets(&other),
            (None, None) => self == other && matches!(self, Self::Unix(_)),
            _ => false,
        }
    }
}

/// Parses one `bind`; the error is what to write instead.
pub(super) fn parse_bind(text: &str) -> Result<Place, String> {
    if let Some(path) = unix_path(text) {
        return path.map(|path| Place::Unix(path.to_owned()));
    }
    if let Some(range) = range(text) {
        let Range { host, first, last } = range?;
        return match parse_bind(&format!("{host}:{first}")) {
            Ok(Place::Tcp(addr)) if last > first => {
                Ok(PortRange::new(addr, last).map_or(Place::Tcp(addr), Place::Range))
            }
            Ok(place) => Ok(place),
            Err(help) => Err(with_range(&help, first, last)),
        };
    }
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Ok(Place::Tcp(fold(addr)));
    }
    let (host, port) = split(text);
    if text.parse::<IpAddr>().is_ok() {
        return Err(missing_port(text, "25"));
    }
    let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) else {
        return Err(match text.parse::<u16>() {
            Ok(port) => every_address(port),
            Err(_) => "write it as `\"192.0.2.1:25\"`, `\"[::]:25\"` or `\"unix:/run/truepeer/smtp.sock\"`"
                .to_owned(),
        });
    };
    Err(match host {
        "" | "*" => every_address(port),
        host if host.parse::<IpAddr>().is_ok() => brackets(host, &port.to_string()),
        _ => "names are not looked up here: write an address of this machine, or `[::]` for all of them"
            .to_owned(),
    })
}

/// Parses one backend `address`, with the number of its ports; the error is what to write instead.
pub(super) fn parse_backend(text: &str) -> Result<(BackendAddress, u16), String> {
    if unix_path(text).is_none()
        && let Some(range) = range(text)
    {
        let Range { host, first, last } = range?;
        let ports = last.saturating_sub(first).saturating_add(1);
        return match parse_one_backend(&format!("{host}:{first}")) {
            Ok(address) => Ok((address, ports)),
            Err(help) => Err(with_range(&help, first, last)),
        };
    }
    parse_one_backend(text).map(|address| (address, 1))
}

fn parse_one_backend(text: &str) -> Result<BackendAddress, String> {
    if let Some(path) = unix_path(text) {
        return path.map(|path| BackendAddress::Unix(path.to_owned()));
    }
    if let Ok(addr) = text.parse::<SocketAddr>() {
        let addr = fold(addr);
        if addr.ip().is_unspecified() {
            return Err(format!(
                "`{}` is no address to connect to: for this machine write `127.0.0.1`",
                addr.ip()
            ));
        }
        return if addr.port() == 0 {
            Err("port 0 is no port to connect to".to_owned())
        } else {
            Ok(BackendAddress::Socket(addr))
        };
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(missing_port(text, "10025"));
    }
    let (host, port) = split(text);
    let Some(port) = port.and_then(|port| port.parse::<u16>().ok()).filter(|port| *port != 0) else {
        return Err(
            "write the port after it, as in `\"127.0.0.1:10025\"` or `\"mail.example.org:10025\"`".to_owned()
        );
    };
    if host.parse::<IpAddr>().is_ok() {
        return Err(brackets(host, &port.to_string()));
    }
    // What looks like an IPv4 address and is none would be asked of the name server.
    if !is_host_name(host) || host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(
            "write it as `\"127.0.0.1:10025\"`, `\"mail.example.org:10025\"` or `\"unix:/path\"`".to_owned()
        );
    }
    Ok(BackendAddress::Host { name: host.to_owned(), port })
}

/// Whether the text can stand in a greeting and be looked up.
pub(super) fn is_host_name(text: &str) -> bool {
    const LONGEST: usize = 253;
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= LONGEST && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

/// `host:first-last`
struct Range<'t> {
    host: &'t str,
    first: u16,
    last: u16,
}

/// The range of ports that `text` ends with, if it looks like one; the error is what to write instead.
fn range(text: &str) -> Option<Result<Range<'_>, String>> {
    let (host, ports) = text.rsplit_once(':')?;
    let (first, last) = ports.split_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(first) || !is_number(last) {
        return None;
    }
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
        return Some(Err(format!("a port is a number from 1 to {}", u16::MAX)));
    };
    Some(if first == 0 {
        Err("a range begins with a port of its own, not with 0".to_owned())
    } else if last < first {
        Err(format!("this range ends before it begins: write `{last}-{first}`"))
    } else if last.saturating_sub(first) >= PortRange::MOST {
        Err(format!(
            "this range has {} ports, and at most {} are served: each is a listening socket for each worker; narrow the range here and at the server (for FTP its range of passive ports)",
            u32::from(last.saturating_sub(first)).saturating_add(1),
            PortRange::MOST
        ))
    } else {
        Ok(Range { host, first, last })
    })
}

/// What to write instead of an address with the first port of a range, said of the range.
fn with_range(help: &str, first: u16, last: u16) -> String {
    help.replace(&format!(":{first}`"), &format!(":{first}-{last}`"))
        .replace(&format!(":{first}\"`"), &format!(":{first}-{last}\"`"))
}

/// What a `unix:` address names: an absolute path that fits into a socket address.
fn unix_path(text: &str) -> Option<Result<&Path, String>> {
    // sun_path holds 108 bytes, the last of them a zero.
    const LONGEST: usize = 107;
    let path = match text.strip_prefix("unix:") {
        Some(path) => path,
        None if text.starts_with('/') => {
            return Some(Err(format!("a UNIX socket is written `\"unix:{text}\"`")));
        }
        None => return None,
    };
    Some(if !path.starts_with('/') {
        Err("the path of a UNIX socket begins with `/`".to_owned())
    } else if path.len() > LONGEST || path.contains('\0') {
        Err(format!("the path of a UNIX socket has at most {LONGEST} bytes"))
    } else {
        Ok(Path::new(path))
    })
}

/// A v4-mapped IPv6 address is IPv4.
fn fold(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, addr.port()),
        IpAddr::V6(_) => addr,
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
}

/// What to write instead of an address without a port; `2001:db8::1:25` probably has one, but without brackets.
fn missing_port(addr: &str, port: &str) -> String {
    match split(addr) {
        (host, Some(port)) if host.parse::<IpAddr>().is_ok() && port.parse::<u16>().is_ok() => {
            brackets(host, port)
        }
        (_, Some(_)) => format!("write the port after it, as in `\"[{addr}]:{port}\"`"),
        (_, None) => format!("write the port after it, as in `\"{addr}:{port}\"`"),
    }
}

fn brackets(host: &str, port: &str) -> String {
    format!("an IPv6 address stands in brackets, its port behind them: `\"[{host}]:{port}\"`")
}

fn every_address(port: u16) -> String {
    format!("for every address of this machine write `\"[::]:{port}\"`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_to_listen() {
        let at = |text: &str| text.parse().unwrap();
        for (text, place) in [
            ("127.0.0.1:0", Place::Tcp("127.0.0.1:0".parse().unwrap())),
            ("[::]:25", Place::Tcp("[::]:25".parse().unwrap())),
            ("[::ffff:192.0.2.1]:25", Place::Tcp("192.0.2.1:25".parse().unwrap())),
            ("unix:/run/a.sock", Place::Unix("/run/a.sock".into())),
            ("unix:/run/a:1-2", Place::Unix("/run/a:1-2".into())),
            ("192.0.2.1:50000-50001", Place::Range(PortRange::new(at("192.0.2.1:50000"), 50_001).unwrap())),
            ("[::]:50000-51023", Place::Range(PortRange::new(at("[::]:50000"), 51_023).unwrap())),
        ] {
            assert_eq!(parse_bind(text), Ok(place), "{text}");
        }
    }

    #[test]
    fn no_place_to_listen_says_what_to_write() {
        for (text, help) in [
            ("25", "[::]:25"),
            (":25", "[::]:25"),
            ("*:25", "[::]:25"),
            ("::1", "[::1]:25"),
            ("192.0.2.1", "192.0.2.1:25"),
            ("::1:25", "[::1]:25"),
            ("1:2:3:4:5:6:7:8:25", "[1:2:3:4:5:6:7:8]:25"),
            ("localhost:25", "not looked up"),
            ("", "write it as"),
            ("192.0.2.1:smtp", "write it as"),
            ("unix:run/a", "begins with `/`"),
            ("/run/a.sock", "unix:/run/a.sock"),
            ("*:50000-50100", "`\"[::]:50000-50100\"`"),
            ("::1:50000-50100", "`\"[::1]:50000-50100\"`"),
            ("192.0.2.1:50100-50000", "write `50000-50100`"),
            ("192.0.2.1:50000-51024", "has 1025 ports, and at most 1024"),
            ("192.0.2.1:0-10", "not with 0"),
            ("192.0.2.1:65535-65536", "a number from 1 to 65535"),
            ("192.0.2.1:50000-", "write it as"),
            ("ftp.example:50000-50100", "not looked up"),
        ] {
            let error = parse_bind(text).unwrap_err();
            assert!(error.contains(help), "{text}: {error}");
        }
        assert!(parse_bind(&format!("unix:/{}", "x".repeat(107))).is_err());
    }

    #[test]
    fn places_of_backends() {
        let host = |name: &str| BackendAddress::Host { name: name.to_owned(), port: 25 };
        for (text, place) in [
            ("127.0.0.1:25", BackendAddress::Socket("127.0.0.1:25".parse().unwrap())),
            ("[::1]:25", BackendAddress::Socket("[::1]:25".parse().unwrap())),
            ("mail.example.org:25", host("mail.example.org")),
            ("smtp_in:25", host("smtp_in")),
            ("unix:/run/lmtp", BackendAddress::Unix("/run/lmtp".into())),
        ] {
            assert_eq!(parse_backend(text), Ok((place, 1)), "{text}");
        }
        let (first, ports) = parse_backend("ftp-1.example.org:50000-50100").unwrap();
        assert_eq!(
            (first, ports),
            (BackendAddress::Host { name: "ftp-1.example.org".to_owned(), port: 50_000 }, 101)
        );
        for (text, help) in [
            ("0.0.0.0:50000-50100", "no address to connect to"),
            ("10.0.0.5:50100-50000", "write `50000-50100`"),
            ("10.0.0.5:1-2000", "has 2000 ports"),
            ("fd00::5:50000-50100", "`\"[fd00::5]:50000-50100\"`"),
        ] {
            let error = parse_backend(text).unwrap_err();
            assert!(error.contains(help), "{text}: {error}");
        }
        for text in [
            "127.0.0.1",
            "mail",
            "mail:0",
            "127.0.0.1:0",
            "0.0.0.0:25",
            "[::]:25",
            "::1",
            "1.2.3:25",
            ":25",
            "a b:25",
        ] {
            assert!(parse_backend(text).is_err(), "{text}");
        }
    }
}
