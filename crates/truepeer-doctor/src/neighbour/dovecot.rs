//! Dovecot 2.3 and 2.4: what `doveconf -n` prints, or files in its syntax.

use std::time::Duration;

use super::text::{entries, patience};
use super::{
    Address, Entry, Families, File, Host, Listen, ListenTls, Neighbour, Outsiders, Place, Protocol, Reads,
    Trust, Unread, Versions,
};
use crate::{Class, Confidence, Finding, Product, Side};

/// One setting, with the names of the sections around it.
#[derive(Debug, Clone)]
struct Setting {
    /// `service imap-login`, `inet_listener imaps`
    within: Vec<String>,
    key: String,
    value: String,
    place: Place,
}

/// A port that Dovecot opens unless it is told otherwise, for a protocol that is on.
struct Usual {
    protocol: &'static str,
    service: &'static str,
    listener: &'static str,
    port: u16,
    tls: ListenTls,
}

const fn usual(protocol: &'static str, service: &'static str, listener: &'static str, port: u16) -> Usual {
    let tls = if matches!(port, 993 | 995 | 465) { ListenTls::Implicit } else { ListenTls::None };
    Usual { protocol, service, listener, port, tls }
}

const USUAL: &[Usual] = &[
    usual("imap", "imap-login", "imap", 143),
    usual("imap", "imap-login", "imaps", 993),
    usual("pop3", "pop3-login", "pop3", 110),
    usual("pop3", "pop3-login", "pop3s", 995),
    usual("sieve", "managesieve-login", "sieve", 4190),
    usual("submission", "submission-login", "submission", 587),
    usual("submission", "submission-login", "submissions", 465),
];

/// Services that take clients, by the words of their protocols.
const SERVICES: &[(&str, Protocol)] = &[
    ("imap-login", Protocol::Imap),
    ("pop3-login", Protocol::Pop3),
    ("managesieve-login", Protocol::ManageSieve),
    ("submission-login", Protocol::Submission),
    ("lmtp", Protocol::Lmtp),
];

/// The listeners of one service that are read.
const MAX_LISTENERS: usize = 200;
/// How long a header is waited for unless `haproxy_timeout` says otherwise.
const WAITS: Duration = Duration::from_secs(3);

/// Reads the texts as one configuration; what comes later replaces what came before.
pub(super) fn read(files: &[File<'_>]) -> Vec<Neighbour> {
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    let mut out = Neighbour::new(Product::Dovecot, names.join(", "));
    let mut settings = Vec::new();
    for file in files {
        settings_of(file, &mut settings, &mut out);
    }
    let config = Config { settings, is_2_4: files.iter().any(is_2_4) };
    for (service, speaks) in SERVICES {
        config.listens(service, *speaks, &mut out);
    }
    out.findings.extend(config.misleading_log(&out.listens));
    vec![out]
}

/// Whether the text is of the line that has other settings than 2.3.
fn is_2_4(file: &File<'_>) -> bool {
    file.text
        .lines()
        .any(|line| line.starts_with("# 2.4") || line.trim_start().starts_with("dovecot_config_version"))
}

fn settings_of(file: &File<'_>, settings: &mut Vec<Setting>, out: &mut Neighbour) {
    let mut within: Vec<String> = Vec::new();
    for (index, raw) in file.text.lines().enumerate() {
        let line = raw.split(" #").next().unwrap_or_default().trim();
        let place = Place::new(file.name, index.saturating_add(1), raw);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with("!include") {
            let why =
                "the included files are not at hand; `doveconf -n` prints the whole configuration".to_owned();
            out.unread.push(Unread { place, why });
        } else if line == "}" {
            within.pop();
        } else if let Some(head) = line.strip_suffix('{') {
            within.push(head.split_whitespace().collect::<Vec<_>>().join(" "));
        } else if let Some((key, value)) = line.split_once('=') {
            let key = key.trim().to_owned();
            let value = value.trim().trim_matches('"').trim().to_owned();
            settings.push(Setting { within: within.clone(), key, value, place });
        } else if let Some((head, _)) = line.split_once('{') {
            // An empty section on one line.
            settings.push(Setting {
                within: within.clone(),
                key: head.trim().to_owned(),
                value: String::new(),
                place,
            });
        }
    }
}

struct Config {
    settings: Vec<Setting>,
    is_2_4: bool,
}

impl Config {
    fn global(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().rfind(|setting| setting.within.is_empty() && setting.key == key)
    }

    /// What is said in one `inet_listener` of a service.
    fn of<'c>(&'c self, service: &'c str, listener: &'c str, keys: &'c [&'c str]) -> Option<&'c Setting> {
        self.settings.iter().rfind(|setting| {
            let [of_service, of_listener] = setting.within.as_slice() else { return false };
            keys.contains(&setting.key.as_str())
                && of_service.strip_prefix("service ") == Some(service)
                && of_listener.strip_prefix("inet_listener ") == Some(listener)
        })
    }

    /// A list of networks: a line, or in 2.4 a block of `NETWORK = yes`.
    fn list(&self, key: &str) -> Option<Vec<Entry>> {
        let line = self.global(key).map(|setting| entries(&setting.value, &setting.place));
        let block = self.settings.iter().filter(|setting| setting.within == [key] && setting.value == "yes");
        let block: Vec<_> = block.flat_map(|setting| entries(&setting.key, &setting.place)).collect();
        line.or((!block.is_empty()).then_some(block))
    }

    fn listens(&self, service: &str, speaks: Protocol, out: &mut Neighbour) {
        let protocols = self.global("protocols").map(|setting| setting.value.clone());
        let is_on = |protocol: &str| match &protocols {
            Some(list) => list.split_whitespace().any(|each| each.eq_ignore_ascii_case(protocol)),
            None => matches!(protocol, "imap" | "pop3" | "lmtp"),
        };
        let usual: Vec<&Usual> =
            USUAL.iter().filter(|usual| usual.service == service && is_on(usual.protocol)).collect();
        let mut names: Vec<String> = usual.iter().map(|usual| usual.listener.to_owned()).collect();
        for setting in &self.settings {
            let name = match setting.within.as_slice() {
                [of, listener] if of.strip_prefix("service ") == Some(service) => {
                    listener.strip_prefix("inet_listener ")
                }
                _ => None,
            };
            if let Some(name) = name.filter(|name| !names.iter().any(|known| known == name)) {
                if names.len() >= MAX_LISTENERS {
                    let why = format!("more than {MAX_LISTENERS} listeners of {service} are not read");
                    out.unread.push(Unread { place: setting.place.clone(), why });
                    break;
                }
                names.push(name.to_owned());
            }
        }
        for name in names {
            let usual = usual.iter().find(|usual| usual.listener == name);
            out.listens.extend(self.listen(service, &name, usual.copied(), speaks));
        }
        for listen in out.listens.iter().filter(|listen| listen.protocol == Some(speaks)) {
            out.findings.extend(self.secured_by_any_header(listen));
        }
    }

    fn listen(&self, service: &str, name: &str, usual: Option<&Usual>, speaks: Protocol) -> Option<Listen> {
        let get = |keys| self.of(service, name, keys);
        let port = match get(&["port"]) {
            Some(setting) => setting.value.parse().unwrap_or(0),
            None => usual.map_or(0, |usual| usual.port),
        };
        if port == 0 {
            return None;
        }
        let place = get(&["port"])
            .or_else(|| get(&["haproxy", "ssl", "address", "listen"]))
            .map(|setting| setting.place.clone())
            .unwrap_or_else(|| {
                let text = format!(
                    "service {service} {{ inet_listener {name} {{ port = {port} }} }} (Dovecot's default)"
                );
                Place::new("doveconf", 0, &text)
            });
        let mut listen = Listen::new(name, place);
        let hosts = get(&["address", "listen"]).or_else(|| self.global("listen"));
        listen.addresses = hosts_of(hosts.map_or("*, ::", |setting| &setting.value), port);
        listen.protocol = Some(speaks);
        listen.tls = match get(&["ssl"]).map(|setting| setting.value.as_str()) {
            Some("yes") => ListenTls::Implicit,
            Some(_) => ListenTls::None,
            None => usual.map_or(ListenTls::None, |usual| usual.tls),
        };
        if let Some(switch) = get(&["haproxy"]).filter(|setting| setting.value == "yes") {
            listen.header = Reads::Required(Versions::BOTH);
            listen.header_place = switch.place.clone();
            listen.trust = self.list("haproxy_trusted_networks").map_or(Trust::Nobody, Trust::Listed);
            listen.outsiders = Outsiders::Refused;
            let told = self.global("haproxy_timeout");
            let told = told.and_then(|told| patience(&told.value, Duration::from_secs(1), &told.place));
            listen.wait(told, Some(WAITS));
        }
        listen.privileged = self.list("login_trusted_networks").unwrap_or_default();
        listen.wants_tls = self.wants_tls(speaks);
        Some(listen)
    }

    /// Where it is written that clear text is not enough to log in.
    fn wants_tls(&self, speaks: Protocol) -> Option<Place> {
        let ssl = self.global("ssl");
        if speaks == Protocol::Lmtp || ssl.is_some_and(|setting| setting.value == "no") {
            return None;
        }
        let (key, open) =
            if self.is_2_4 { ("auth_allow_cleartext", "yes") } else { ("disable_plaintext_auth", "no") };
        match self.global(key) {
            Some(setting) if setting.value == open => None,
            Some(setting) => Some(setting.place.clone()),
            None => Some(ssl.map_or_else(
                || Place::new("doveconf", 0, &format!("{key} (Dovecot's default)")),
                |setting| setting.place.clone(),
            )),
        }
    }

    /// Where a header brings the client, the address of the connection is the proxy's: a log that has only that one
    /// shows the proxy for every client, and whoever bans by it bans the proxy.
    fn misleading_log(&self, listens: &[Listen]) -> Option<Finding> {
        const CLIENT: [&str; 3] = ["%r", "%{rip}", "%{remote_ip}"];
        const PEER: [&str; 2] = ["%{real_rip}", "%{real_remote_ip}"];
        let listen = listens.iter().find(|listen| matches!(listen.header, Reads::Required(_)))?;
        let told = self.global("login_log_format_elements")?;
        let has = |names: &[&str]| names.iter().any(|name| told.value.contains(name));
        let right = if self.is_2_4 { "rip=%{remote_ip}" } else { "rip=%r" };
        (!has(&CLIENT)).then(|| Finding {
            class: Class::See,
            side: Side::Back,
            product: Some(Product::Dovecot),
            seen: format!("{}; {}", told.place, listen.header_place),
            cause: if has(&PEER) {
                "the log has only the address of the connection, which is the proxy's for every client: whoever bans by it bans the proxy"
            } else {
                "the log of logins names no client: nobody can be found or banned by it"
            }
            .into(),
            change: format!("in {}: write `{right}` among the elements", told.place.spot()).into(),
            confidence: Confidence::Certain,
        })
    }

    /// From 2.4 on, any header makes a connection secured unless TLS is required.
    fn secured_by_any_header(&self, listen: &Listen) -> Option<Finding> {
        let ssl = self.global("ssl");
        let told = ssl.map_or("yes", |setting| setting.value.as_str());
        let at_risk = self.is_2_4
            && matches!(listen.header, Reads::Required(_))
            && listen.tls == ListenTls::None
            && listen.wants_tls.is_some()
            && told == "yes";
        let place = ssl.map_or(&listen.header_place, |setting| &setting.place);
        at_risk.then(|| Finding {
            class: Class::Tls,
            side: Side::Back,
            product: Some(Product::Dovecot),
            seen: format!("{place}; {}", listen.header_place),
            cause: "with `ssl = yes` Dovecot 2.4 counts every connection that brings a header as secured, and takes passwords from clients without TLS"
                .into(),
            change: format!(
                "in {}: `ssl = required`, and let the proxy that ends TLS send the SSL TLV (HAProxy: `send-proxy-v2-ssl`)",
                place.spot()
            )
            .into(),
            confidence: Confidence::Likely,
        })
    }
}

fn hosts_of(list: &str, port: u16) -> Vec<Address> {
    let hosts = list.split([',', ' ']).filter(|host| !host.is_empty());
    let hosts = hosts.map(|host| match host {
        "*" => Host::Any(Families::V4),
        "::" | "[::]" => Host::Any(Families::V6),
        host => Host::parse(host),
    });
    hosts.map(|host| Address::tcp(host, port)).collect()
}
