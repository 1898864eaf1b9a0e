//! The address of a common store: Redis or Valkey, one server, behind sentinels, or a cluster.
//!
//! The forms are those that its client libraries share; a password is never part of one here.

use core::fmt;

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreAddress {
    /// What stands at `hosts`.
    pub kind: StoreKind,
    /// Whether it is spoken to over TLS.
    pub tls: bool,
    /// At least one host and port.
    pub hosts: Vec<(String, u16)>,
    /// Who truepeer is there, if not the default user.
    pub user: Option<String>,
    /// Which database.
    pub database: u32,
}

/// What stands at the addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreKind {
    /// The server itself.
    Server,
    /// Sentinels, which know where the master of this name is.
    Sentinels(String),
    /// Some nodes of a cluster.
    Cluster,
}

/// The default port of the store, and that of sentinels.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

impl StoreAddress {
    /// Reads `redis://HOST`, `rediss://USER@HOST:PORT/DATABASE`, `redis-sentinel://HOST,HOST/MASTER` or
    /// `redis-cluster://HOST,HOST`; `valkey` may stand for `redis`.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence that says what to write.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) =
            text.split_once("://").ok_or("an address begins with `redis://`, or `rediss://` for TLS")?;
        let (scheme, kind) = scheme.split_once('-').map_or((scheme, None), |(of, kind)| (of, Some(kind)));
        let tls = match scheme {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err("the known beginnings are `redis://` and `valkey://`, with an `s` more for TLS"),
        };
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, place) = place.rsplit_once('@').map_or((None, place), |(user, place)| (Some(user), place));
        if user.is_some_and(|user| user.contains(':')) {
            return Err(
                "a password has no place in the configuration: write it into a file, and its path into `shared.password-file`",
            );
        }
        let user = user.filter(|user| !user.is_empty()).map(str::to_owned);
        let (kind, database, port) = match kind {
            None => (StoreKind::Server, path, PORT),
            Some("cluster") if path.is_empty() => (StoreKind::Cluster, "", PORT),
            Some("cluster") => return Err("a cluster has one database: write nothing behind its hosts"),
            Some("sentinel") => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(
                        "the master's name stands behind the sentinels: `redis-sentinel://HOST,HOST/mymaster`",
                    );
                }
                (StoreKind::Sentinels(master.to_owned()), database, SENTINEL_PORT)
            }
            Some(_) => return Err("behind the first `-` may stand `sentinel` or `cluster`"),
        };
        let database = match database {
            "" => 0,
            number => {
                number.parse().map_err(|_| "the part behind the last `/` is the number of a database")?
            }
        };
        let hosts: Vec<_> = place.split(',').map(|host| self::host(host, port)).collect::<Result<_, _>>()?;
        if hosts.len() > 1 && kind == StoreKind::Server {
            return Err(
                "several hosts are sentinels (`redis-sentinel://`) or a cluster (`redis-cluster://`)",
            );
        }
        if hosts.len() > MAX_HOSTS {
            return Err("that are too many hosts: a few are enough to find the others");
        }
        Ok(Self { kind, tls, hosts, user, database })
    }

    /// Whether every host is this machine, as written.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.hosts.iter().all(|(host, _)| {
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        })
    }
}

fn host(text: &str, default: u16) -> Result<(String, u16), &'static str> {
    const WRONG: &str =
        "each host is a name or an address, with `:PORT` where the port is another one; IPv6 in brackets";
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(WRONG)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| WRONG)?;
            (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some("")).ok_or(WRONG)?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    if host.is_empty() || host.len() > MAX_HOST || !host.bytes().all(plain) {
        return Err(WRONG);
    }
    let port = if port.is_empty() { default } else { port.parse().map_err(|_| WRONG)? };
    Ok((host.to_owned(), port))
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            if host.contains(':') {
                write!(f, "{comma}[{host}]:{port}")?;
            } else {
                write!(f, "{comma}{host}:{port}")?;
            }
        }
        match &self.kind {
            StoreKind::Sentinels(master) => write!(f, " (sentinels of {master})"),
            StoreKind::Cluster => f.write_str(" (cluster)"),
            StoreKind::Server => Ok(()),
        }
    }
}

const MAX_HOSTS: usize = 16;
const MAX_HOST: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_understood() {
        for (text, tls, shown, user, database) in [
            ("redis://10.0.0.5", false, "10.0.0.5:6379", None, 0),
            ("valkeys://store.example.org:6380/3", true, "store.example.org:6380", None, 3),
            ("rediss://truepeer@[2001:db8::5]:6400", true, "[2001:db8::5]:6400", Some("truepeer"), 0),
            ("redis-sentinel://a,b:1/mymaster", false, "a:26379,b:1 (sentinels of mymaster)", None, 0),
            ("rediss-sentinel://a/mymaster/2", true, "a:26379 (sentinels of mymaster)", None, 2),
            ("valkey-cluster://a,b,c:7000", false, "a:6379,b:6379,c:7000 (cluster)", None, 0),
        ] {
            let address = StoreAddress::parse(text).unwrap();
            assert_eq!((address.tls, address.to_string().as_str()), (tls, shown), "{text}");
            assert_eq!((address.user.as_deref(), address.database), (user, database), "{text}");
        }
        assert!(StoreAddress::parse("redis://127.0.0.1").unwrap().is_local());
        assert!(!StoreAddress::parse("redis-cluster://[::1],a").unwrap().is_local());
    }

    #[test]
    fn what_is_no_address_says_what_to_write() {
        for (text, holds) in [
            ("10.0.0.5:6379", "begins with `redis://`"),
            ("http://10.0.0.5", "the known beginnings"),
            ("redis-proxy://10.0.0.5", "`sentinel` or `cluster`"),
            ("redis://user:secret@10.0.0.5", "password-file"),
            ("redis://:secret@10.0.0.5", "password-file"),
            ("redis://a,b", "several hosts"),
            ("redis://", "each host"),
            ("redis://a:port", "each host"),
            ("redis://[10.0.0.5]", "each host"),
            ("redis://a b", "each host"),
            ("redis://a/zero", "number of a database"),
            ("redis-sentinel://a,b", "mymaster"),
            ("redis-cluster://a/1", "one database"),
        ] {
            let error = StoreAddress::parse(text).unwrap_err();
            assert!(error.contains(holds), "{text}: {error}");
        }
    }
}
