//! Our own configuration as a neighbour among others, so that both sides are judged by the same rules.

use std::path::Path;

use ipnet::IpNet;
use truepeer_doctor::Product;
use truepeer_doctor::neighbour::{
    Address, Connect, Entry, Families, Host, Listen, ListenTls, Neighbour, Outsiders, Patience, Place,
    Protocol, Reads, Sends, Trust, Versions,
};

use crate::config::{Config, Listener};
use crate::facts::bind::{self, Bind};
use crate::facts::protocol::{self, ClientTls};
use crate::rooms::backend::{Backend, BackendAddress};
use crate::rooms::handoff::Handoff;
use crate::rooms::identify::MissingHeader;

/// The configuration at `path` as a neighbour.
pub(in crate::cli) fn ours(config: &Config, path: &Path) -> Neighbour {
    let name = path.display().to_string();
    // Only for the numbers of lines: what it means was settled when it was read.
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = Lines { name: &name, lines: text.lines().collect() };
    let mut out = Neighbour::new(Product::Truepeer, name.clone());
    for listener in &config.listeners {
        let index = out.listens.len();
        out.listens.push(listen(listener, &lines));
        for health in &listener.health_binds {
            let place = lines.find("server.listener", &listener.id, "health-bind");
            let mut listen = Listen::new(format!("health of {}", listener.id), place);
            listen.addresses.push(address(health));
            listen.outsiders = Outsiders::Clients;
            out.listens.push(listen);
        }
        let backends = std::iter::once(&listener.backend).chain(&listener.backend_when_secure);
        for backend in backends {
            out.connects.extend(connects(backend, listener, index, &lines));
        }
    }
    out
}

fn listen(listener: &Listener, lines: &Lines<'_>) -> Listen {
    let mut listen = Listen::new(&*listener.id, lines.find("server.listener", &listener.id, "bind"));
    listen.addresses = listener.binds.iter().map(address).collect();
    listen.protocol = Some(spoken(listener.protocol));
    listen.tls = match listener.tls {
        ClientTls::Implicit => ListenTls::Passes,
        // TLS may have ended at the proxy, or may not be there: the listener does not say.
        ClientTls::None => ListenTls::Unknown,
    };
    listen.outsiders = Outsiders::Clients;
    let trusted = listener.trusted_lines.iter().map(|trusted| Entry {
        text: shown(trusted.network),
        place: lines.at(trusted.line),
        network: Some(trusted.network),
    });
    let named = listener.trusted_names.iter().map(|named| Entry {
        text: named.name.to_string(),
        place: lines.find("server.listener", &listener.id, "proxy.trusted-names"),
        // Its addresses are known only while it is looked up.
        network: None,
    });
    let entries: Vec<Entry> = trusted.chain(named).collect();
    let (waits, key) = match listener.missing {
        MissingHeader::Refuse => (listener.header_timeout, "header-timeout"),
        MissingHeader::UnsafeClientIsPeer { wait } => (wait, "missing-header-wait"),
    };
    listen.waits = Some(waits);
    listen.waits_place = lines
        .written(&format!("server.listener.{}.proxy.{key}", listener.id))
        .or_else(|| lines.written(&format!("server.proxy.{key}")));
    let takes = |header: &[u8]| listener.header.decoder.decode(header).is_ok();
    let versions = Versions { v1: takes(b"PROXY UNKNOWN\r\n"), v2: takes(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0") };
    if let Some(first) = entries.first() {
        listen.header_place = first.place.clone();
        listen.header = match listener.missing {
            MissingHeader::Refuse => Reads::Required(versions),
            MissingHeader::UnsafeClientIsPeer { .. } => Reads::Optional(versions),
        };
        listen.trust = Trust::Listed(entries);
    } else {
        listen.trust = Trust::Nobody;
    }
    listen
}

fn connects<'b>(
    backend: &'b Backend,
    listener: &'b Listener,
    index: usize,
    lines: &'b Lines<'b>,
) -> impl Iterator<Item = Connect> + 'b {
    let sends = match backend.handoff {
        Handoff::ProxyV1 => Sends::V1,
        // TLS facts travel to the kinds that read them.
        Handoff::ProxyV2 => Sends::V2Ssl,
        Handoff::None => Sends::Nothing,
        Handoff::Xclient
        | Handoff::ImapId
        | Handoff::ImapIdUnconfirmed
        | Handoff::Label
        | Handoff::Transparent
        | Handoff::Exec => Sends::OtherWay,
    };
    backend.addresses.iter().filter_map(move |to| {
        let to = match to {
            BackendAddress::Socket(addr) => Address::tcp(Host::Ip(addr.ip().to_canonical()), addr.port()),
            BackendAddress::Host { name, port } => Address::tcp(Host::parse(name), *port),
            BackendAddress::Unix(path) => Address::Unix(path.display().to_string()),
            // Nothing is connected to.
            BackendAddress::Program(_) => return None,
        };
        let mut connect = Connect::new(&*backend.id, lines.find("backend", &backend.id, "address"), to);
        connect.sends = sends;
        connect.sends_place = lines.find("backend", &backend.id, "handoff");
        connect.protocol = Some(spoken(listener.protocol));
        connect.patience = lines
            .written(&format!("backend.{}.connect-timeout", backend.id))
            .map(|place| Patience { time: backend.connect_timeout, place });
        connect.serves = vec![index];
        Some(connect)
    })
}

/// A single address without its prefix.
fn shown(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

fn address(bind: &Bind) -> Address {
    match bind {
        Bind::Unix { path, .. } => Address::Unix(path.display().to_string()),
        Bind::Tcp { addr, families } => {
            let host = match (addr.ip().is_unspecified(), families) {
                (false, _) => Host::Ip(addr.ip().to_canonical()),
                (true, bind::Families::Both) => Host::Any(Families::Both),
                (true, bind::Families::Own) if addr.is_ipv4() => Host::Any(Families::V4),
                (true, bind::Families::Own) => Host::Any(Families::V6),
            };
            Address::tcp(host, addr.port())
        }
    }
}

fn spoken(protocol: protocol::Protocol) -> Protocol {
    match protocol {
        protocol::Protocol::Smtp => Protocol::Smtp,
        protocol::Protocol::Submission => Protocol::Submission,
        protocol::Protocol::Lmtp => Protocol::Lmtp,
        protocol::Protocol::Imap => Protocol::Imap,
        protocol::Protocol::Pop3 => Protocol::Pop3,
        protocol::Protocol::ManageSieve => Protocol::ManageSieve,
        protocol::Protocol::Http => Protocol::Http,
        protocol::Protocol::Tcp => Protocol::Tcp,
    }
}

/// The lines of the file, to say where something stands.
struct Lines<'l> {
    name: &'l str,
    lines: Vec<&'l str>,
}

impl Lines<'_> {
    fn at(&self, line: usize) -> Place {
        Place::new(self.name, line, line.checked_sub(1).and_then(|at| self.lines.get(at)).unwrap_or(&""))
    }

    /// Where `key` of a named section stands: in the section, or with the whole name; else where the section begins.
    fn find(&self, table: &str, id: &str, key: &str) -> Place {
        let section = format!("{table}.{id}");
        self.written(&format!("{section}.{key}")).unwrap_or_else(|| {
            let begins = self.lines.iter().position(|line| begun(&bare(line)) == Some(section.as_str()));
            match begins {
                Some(index) => self.at(index.saturating_add(1)),
                None => Place::new(self.name, 0, &format!("[{section}]")),
            }
        })
    }

    /// Where that key is written, by its whole name or by the end of it in a section; nothing if nowhere.
    fn written(&self, whole: &str) -> Option<Place> {
        let (mut within, mut found) = (String::new(), None);
        for (index, line) in self.lines.iter().enumerate() {
            let plain = bare(line);
            if let Some(name) = begun(&plain) {
                name.clone_into(&mut within);
                continue;
            }
            let Some((name, _)) = plain.split_once('=') else { continue };
            let is_it = match whole.strip_suffix(name) {
                Some("") => within.is_empty(),
                Some(before) => before.strip_suffix('.') == Some(within.as_str()),
                None => false,
            };
            if is_it {
                found = Some(index.saturating_add(1));
            }
        }
        found.map(|line| self.at(line))
    }
}

/// Without quotes and blanks.
fn bare(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '"' | '\'' | ' ' | '\t')).collect()
}

/// The section that a line begins.
fn begun(plain: &str) -> Option<&str> {
    plain.strip_prefix('[').and_then(|rest| rest.split(']').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_its_section_or_by_its_whole_name() {
        let text = "[server.listener.smtp]\nbind = \"[::]:25\"\n[backend.\"a\"]\nkind = \"postfix\"\n";
        let lines = Lines { name: "t.toml", lines: text.lines().collect() };
        assert_eq!(lines.find("server.listener", "smtp", "bind").spot(), "t.toml:2");
        assert_eq!(lines.find("backend", "a", "handoff").spot(), "t.toml:3");
        let text = "[server]\nlistener.smtp.bind = \"[::]:25\"\n";
        let lines = Lines { name: "t.toml", lines: text.lines().collect() };
        assert_eq!(lines.find("server.listener", "smtp", "bind").spot(), "t.toml:2");
        assert_eq!(lines.find("backend", "x", "address").to_string(), "t.toml: [backend.x]");
        assert_eq!(lines.written("server.listener.smtp.proxy.header-timeout"), None);
        let text = "[server.listener.smtp]\nproxy.header-timeout = \"4s\"\n[server]\nproxy.header-timeout = \"5s\"\n";
        let lines = Lines { name: "t.toml", lines: text.lines().collect() };
        let spot = |key: &str| lines.written(key).map(|place| place.spot());
        assert_eq!(spot("server.listener.smtp.proxy.header-timeout").as_deref(), Some("t.toml:2"));
        assert_eq!(spot("server.proxy.header-timeout").as_deref(), Some("t.toml:4"));
        assert_eq!(spot("proxy.header-timeout"), None);
    }
}
