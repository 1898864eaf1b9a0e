//! The words of `bind` and `server` lines: options, addresses, conditions.

use super::super::text::{Line, entry};
use super::super::{Address, Entry, Families, Host, Place, Sends, Trust};

/// A range of ports is taken apart up to so many.
const MAX_RANGE: u16 = 64;

/// The words behind a server, those of `default-server` before its own; the last one holds.
pub(super) struct Options<'w>(pub(super) &'w [(String, Place)]);

impl Options<'_> {
    pub(super) fn on(&self, keyword: &str) -> bool {
        let no = format!("no-{keyword}");
        self.0
            .iter()
            .rev()
            .find(|(word, _)| *word == keyword || *word == no)
            .is_some_and(|(word, _)| word == keyword)
    }

    pub(super) fn place(&self, keyword: &str) -> Option<&Place> {
        self.0.iter().rev().find(|(word, _)| word == keyword).map(|(_, place)| place)
    }

    pub(super) fn value(&self, keyword: &str) -> Option<&str> {
        let at = self.0.iter().rposition(|(word, _)| word == keyword)?;
        self.0.get(at.saturating_add(1)).map(|(word, _)| word.as_str())
    }

    pub(super) fn sends(&self, place: &Place) -> (Sends, Place) {
        const WORDS: &[(&str, Sends)] = &[
            ("send-proxy-v2-ssl-cn", Sends::V2Ssl),
            ("send-proxy-v2-ssl", Sends::V2Ssl),
            ("send-proxy-v2", Sends::V2),
            ("send-proxy", Sends::V1),
        ];
        let Some((word, sends)) = WORDS.iter().find(|(word, _)| self.on(word)) else {
            return (Sends::Nothing, place.clone());
        };
        // Each of these brings the TLV along.
        const SSL: &[&str] = &["ssl", "cert-cn", "ssl-cipher", "cert-sig", "cert-key"];
        let chosen = self.value("proxy-v2-options").unwrap_or_default();
        let with_ssl = chosen.split(',').any(|option| SSL.contains(&option));
        let sends = if *sends == Sends::V2 && with_ssl { Sends::V2Ssl } else { *sends };
        (sends, self.place(word).unwrap_or(place).clone())
    }
}

pub(super) fn moved(to: Address, port: Option<u16>, host: Option<&str>) -> Address {
    match to {
        Address::Tcp { host: old, port: old_port } => {
            Address::Tcp { host: host.and_then(host_of).unwrap_or(old), port: port.unwrap_or(old_port) }
        }
        unix @ Address::Unix(_) => unix,
    }
}

/// `{ src 10.0.0.0/8 192.0.2.1 }` behind `if`.
pub(super) fn condition(line: &Line<'_>) -> Trust {
    let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
    let Some(at) = words.iter().position(|word| *word == "if") else {
        return if words.contains(&"unless") { Trust::Unknown } else { Trust::Everybody };
    };
    match words.get(at.saturating_add(1)..).unwrap_or_default() {
        ["{", "src", networks @ .., "}"] => {
            let entries: Vec<Entry> = networks.iter().map(|text| entry(text, &line.place)).collect();
            if entries.iter().all(|entry| entry.network.is_some()) {
                Trust::Listed(entries)
            } else {
                Trust::Unknown
            }
        }
        _ => Trust::Unknown,
    }
}

/// Without the words for a family or a transport.
fn bare(text: &str) -> &str {
    const PREFIXES: [&str; 6] = ["ipv4@", "ipv6@", "tcp4@", "tcp6@", "ipv@", "tcp@"];
    PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text)
}

fn unix_path(text: &str) -> Option<&str> {
    text.strip_prefix("unix@").or_else(|| text.starts_with('/').then_some(text))
}

/// Where a `bind` line listens; nothing if that is not told.
pub(super) fn bind_address(text: &str, line: &Line<'_>) -> Option<Vec<Address>> {
    if let Some(path) = unix_path(text) {
        return Some(vec![Address::Unix(path.to_owned())]);
    }
    let text = bare(text);
    if text.contains(['@', '$']) {
        return None;
    }
    let (host, ports) = text.rsplit_once(':')?;
    let host = match host {
        "" | "*" => Host::Any(Families::V4),
        "::" | "[::]" if line.has("v6only") => Host::Any(Families::V6),
        other => Host::parse(other),
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (last.checked_sub(first)? < MAX_RANGE)
        .then(|| (first..=last).map(|port| Address::tcp(host.clone(), port)).collect())
}

pub(super) fn host_of(text: &str) -> Option<Host> {
    let text = bare(text);
    let ip = text.parse().ok().or_else(|| {
        let (host, port) = text.rsplit_once(':')?;
        port.parse::<u16>().ok()?;
        host.trim_matches(['[', ']']).parse().ok()
    });
    ip.map(Host::Ip).or_else(|| (!text.contains(['$', '@', ':'])).then(|| Host::parse(text)))
}

/// Where a server is; `ports` are those of its clients, for servers without one of their own.
pub(super) fn server_address(text: &str, ports: &[u16]) -> Option<Vec<Address>> {
    if let Some(path) = unix_path(text) {
        return Some(vec![Address::Unix(path.to_owned())]);
    }
    let text = bare(text);
    if text.contains(['@', '$', '%']) {
        return None;
    }
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address without a port would be cut in its middle.
        Some((host, port))
            if !host.contains(':') || host.starts_with('[') || text.parse::<std::net::IpAddr>().is_err() =>
        {
            (host, port)
        }
        _ => (text, ""),
    };
    let host = Host::parse(host);
    let at = |port| Address::tcp(host.clone(), port);
    if let (Ok(port), false) = (port.parse::<u16>(), port.starts_with('+')) {
        return Some(vec![at(port)]);
    }
    // `:+100`, or nothing: the client's port, moved by so many.
    let offset: i32 = if port.is_empty() { 0 } else { port.parse().ok()? };
    let moved = ports.iter().filter_map(|port| u16::try_from(i32::from(*port).checked_add(offset)?).ok());
    let found: Vec<_> = moved.map(at).collect();
    (!found.is_empty()).then_some(found)
}
