//! Stalwart: `config.toml` up to 0.15, JSON objects since 0.16, read as Stalwart reads them.

use super::text::entry;
use super::{
    Entry, File, Listen, ListenTls, Neighbour, Outsiders, Place, Protocol, Reads, Trust, Unread, Versions,
};
use crate::stalwart::lists::{self, Made};
use crate::stalwart::{self, Syntax};
use crate::{Class, Confidence, Finding, Product, Side};

use super::{Address, Families, Host};

const LISTENER: &str = "server.listener.";
const TRUSTED: &str = "server.proxy.trusted-networks";

/// Reads the texts one after the other.
pub(super) fn read(files: &[File<'_>]) -> Vec<Neighbour> {
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    let mut out = Neighbour::new(Product::Stalwart, names.join(", "));
    for file in files {
        match stalwart::read(file.text) {
            Ok((_, entries)) => {
                let mut reader =
                    Reader { file, lines: file.text.lines().collect(), entries: &entries, out: &mut out };
                reader.listeners();
                reader.clients();
            }
            Err(error) => out.unread.push(Unread {
                place: Place::new(file.name, error.line.unwrap_or(0), ""),
                why: error.reason,
            }),
        }
    }
    vec![out]
}

struct Reader<'r, 't> {
    file: &'r File<'t>,
    lines: Vec<&'t str>,
    entries: &'r [stalwart::Assignment],
    out: &'r mut Neighbour,
}

impl Reader<'_, '_> {
    fn place(&self, place: &stalwart::Position) -> Place {
        match place {
            stalwart::Position::Line(line) => {
                let text = line.checked_sub(1).and_then(|at| self.lines.get(at)).unwrap_or(&"");
                Place::new(self.file.name, *line, text)
            }
            stalwart::Position::Object(name) => Place::new(self.file.name, 0, name),
        }
    }

    fn get(&self, key: &str) -> Option<&stalwart::Assignment> {
        self.entries.iter().find(|entry| entry.key == key && entry.form != Syntax::Empty)
    }

    fn listeners(&mut self) {
        let everywhere = self.trust(TRUSTED);
        let ids: Vec<String> = self
            .entries
            .iter()
            .filter_map(|entry| {
                entry.key.strip_prefix(LISTENER)?.strip_suffix(".protocol").map(str::to_owned)
            })
            .collect();
        for id in ids {
            let key = |name: &str| format!("{LISTENER}{id}.{name}");
            let Some(protocol) = self.get(&key("protocol")) else { continue };
            let (word, place) = (protocol.value.to_ascii_lowercase(), self.place(&protocol.place));
            let binds = lists::written(self.entries, &key("bind"));
            let place = binds.items.first().map_or(place, |item| self.place(item.place));
            let mut listen = Listen::new(id.clone(), place);
            for item in &binds.items {
                match address(item.text) {
                    Some(at) => listen.addresses.push(at),
                    None => self.out.unread.push(Unread {
                        place: self.place(item.place),
                        why: format!("`{}` is no address with a port", item.text),
                    }),
                }
            }
            let port = listen.addresses.iter().find_map(Address::port);
            listen.protocol = Some(match word.as_str() {
                "smtp" if port == Some(25) => Protocol::Smtp,
                "smtp" => Protocol::Submission,
                "lmtp" => Protocol::Lmtp,
                "imap" => Protocol::Imap,
                "pop3" => Protocol::Pop3,
                "managesieve" => Protocol::ManageSieve,
                _ => Protocol::Http,
            });
            let on = |name: &str, default: bool| {
                self.get(&key(name)).map_or(default, |entry| entry.value == "true")
            };
            if on("tls.implicit", false) && on("tls.enable", true) {
                listen.tls = ListenTls::Implicit;
            }
            listen.wants_tls = self.wants_tls(listen.protocol);
            let own = self.trust(&key("proxy.trusted-networks"));
            let empty = lists::written(self.entries, &key("proxy.trusted-networks")).empty;
            if let (None, Some(_), Some(place)) = (&own, &everywhere, empty) {
                let place = self.place(place);
                let why = "an empty list does not switch the PROXY protocol off for a listener: the server-wide list holds".to_owned();
                self.out.findings.push(finding(&place, why, Confidence::Certain));
            }
            listen.outsiders = Outsiders::Clients;
            if let Some((trust, place)) = own.or_else(|| everywhere.clone()) {
                let believes = matches!(&trust, Trust::Listed(entries) if !entries.is_empty());
                if believes {
                    (listen.header, listen.header_place) = (Reads::Required(Versions::BOTH), place);
                }
                listen.trust = trust;
            } else {
                listen.trust = Trust::Nobody;
            }
            self.out.listens.push(listen);
        }
    }

    /// The lists of clients: sets, unlike the lists of proxies beside them, and only under their own keys.
    fn clients(&mut self) {
        for (key, right) in [
            ("server.allowed-ip", true),
            ("server.blocked-ip", true),
            ("server.security.allowed-ip", false),
            ("server.security.blocked-ip", false),
        ] {
            let list = lists::written(self.entries, key);
            let wrong = list.items.iter().find(|item| !right || !item.spelled.is_set());
            let Some(item) = wrong else { continue };
            let (place, name) = (self.place(item.place), key.rsplit('.').next().unwrap_or(key));
            self.out.findings.push(Finding {
                class: Class::Syn,
                side: Side::Back,
                product: Some(Product::Stalwart),
                seen: place.to_string(),
                cause: if right {
                    format!("Stalwart reads `{key}` as a set, and nothing of a list: this one does not hold")
                } else {
                    format!("Stalwart reads no key `{key}`: this list does not hold")
                }
                .into(),
                change: format!(
                    "in {}: `{name} = {{ \"{}\" }}` in [server], or a table: `[server.{name}]` and `\"{}\" = \"\"`",
                    place.spot(),
                    item.text.escape_debug(),
                    item.text.escape_debug()
                )
                .into(),
                confidence: Confidence::Certain,
            });
        }
    }

    /// The list of that key; none if it is not set, or empty, which is the same to Stalwart.
    fn trust(&mut self, key: &str) -> Option<(Trust, Place)> {
        let list = lists::written(self.entries, key);
        let first = self.place(list.items.first()?.place);
        let mut networks: Vec<Entry> = Vec::new();
        for item in &list.items {
            let place = self.place(item.place);
            match lists::made_of(item.text) {
                Made::Network(network, _) => {
                    networks.push(Entry { network: Some(network), ..entry(item.text, &place) });
                }
                Made::Nothing(why) => self.out.findings.push(finding(
                    &place,
                    format!("`{}`: {why}", item.text),
                    Confidence::Certain,
                )),
            }
            if item.spelled.is_set() && key.contains("trusted") {
                let why = "networks as a set were read by 0.5.3 to 0.6 only; later versions say `Invalid IP address \"\"` and trust nobody".to_owned();
                self.out.findings.push(finding(&place, why, Confidence::Likely));
            }
        }
        Some((Trust::Listed(networks), first))
    }

    fn wants_tls(&self, protocol: Option<Protocol>) -> Option<Place> {
        if !matches!(
            protocol,
            Some(Protocol::Imap | Protocol::Pop3 | Protocol::Submission | Protocol::ManageSieve)
        ) {
            return None;
        }
        match self.get("imap.auth.allow-plain-text") {
            Some(entry) if entry.value == "true" => None,
            Some(entry) => Some(self.place(&entry.place)),
            None => Some(Place::new(self.file.name, 0, "logins without TLS are off (Stalwart's default)")),
        }
    }
}

fn finding(place: &Place, cause: String, confidence: Confidence) -> Finding {
    Finding {
        class: Class::Syn,
        side: Side::Back,
        product: Some(Product::Stalwart),
        seen: place.to_string(),
        cause: cause.into(),
        change: format!(
            "in {}: write a list of the proxies' addresses, such as [\"192.0.2.10\"]",
            place.spot()
        )
        .into(),
        confidence,
    }
}

fn address(text: &str) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host {
        "[::]" => Host::Any(Families::Both),
        host => Host::parse(host),
    };
    Some(Address::tcp(host, port.parse().ok()?))
}
