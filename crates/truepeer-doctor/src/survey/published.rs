//! Container ports that are published by Docker's userland proxy, from its own command line.
//!
//! It matters because it connects anew: anyone who comes through it arrives in the container from the bridge's gateway.

use std::net::{IpAddr, SocketAddr};

/// A port of this machine that leads into a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Where it listens here.
    pub host: SocketAddr,
    /// Where it leads.
    pub container: SocketAddr,
}

/// What a process with these words publishes, if it is `docker-proxy` and carries TCP.
#[must_use]
pub fn published(args: &[String]) -> Option<Published> {
    let (program, words) = args.split_first()?;
    if program.rsplit('/').next() != Some("docker-proxy") {
        return None;
    }
    let value = |name: &str| {
        let at = words.iter().position(|word| word.trim_start_matches('-') == name)?;
        words.get(at.saturating_add(1)).map(String::as_str)
    };
    if value("proto").is_some_and(|proto| proto != "tcp") {
        return None;
    }
    let end = |ip: &str, port: &str| {
        let ip: IpAddr = value(ip)?.parse().ok()?;
        Some(SocketAddr::new(ip.to_canonical(), value(port)?.parse().ok()?))
    };
    Some(Published { host: end("host-ip", "host-port")?, container: end("container-ip", "container-port")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Option<(String, String)> {
        let args: Vec<_> = words.split(' ').map(str::to_owned).collect();
        published(&args).map(|found| (found.host.to_string(), found.container.to_string()))
    }

    #[test]
    fn the_userland_proxy_says_what_leads_where() {
        let words = "/usr/bin/docker-proxy -proto tcp -host-ip :: -host-port 25 -container-ip 172.18.0.2 \
                     -container-port 2525 -use-listen-fd";
        assert_eq!(read(words), Some(("[::]:25".to_owned(), "172.18.0.2:2525".to_owned())));
        assert_eq!(read(&words.replace("tcp", "udp")), None);
        assert_eq!(read(&words.replace("docker-proxy", "proxy")), None);
        assert_eq!(read(&words.replace("172.18.0.2", "x")), None);
        assert_eq!(read("docker-proxy -host-port"), None);
    }
}
