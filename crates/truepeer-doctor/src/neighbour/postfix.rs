//! Postfix: `main.cf` and `master.cf`, or what `postconf -n` and `postconf -Mf` print, in any order.

use std::collections::BTreeMap;
use std::time::Duration;

use super::text::{entries, patience, words};
use super::{
    Address, Entry, Families, File, Host, Listen, ListenTls, MAX_PORTS, Neighbour, Place, Protocol, Reads,
    Trust, Unread, Versions,
};
use crate::{Class, Confidence, Finding, Product, Side};

/// How long a header is waited for unless a setting says otherwise.
const WAITS: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);
/// Names in one another are followed so far.
const MAX_DEPTH: usize = 8;

/// A setting's value and where it stands.
type Settings = BTreeMap<String, (String, Place)>;

/// Reads both files.
pub(super) fn read(files: &[File<'_>]) -> Vec<Neighbour> {
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    let mut out = Neighbour::new(Product::Postfix, names.join(", "));
    let (mut main, mut services) = (Settings::new(), Vec::<Service>::new());
    // What `postconf -P` prints or takes: `service/type/name = value`.
    let mut overrides: Vec<(String, String, Place)> = Vec::new();
    for file in files {
        for logical in logical_lines(file) {
            let Some((first, more)) = logical.split_first() else { continue };
            let columns = words(&first.text);
            let kind = columns.get(1).map_or("", String::as_str);
            if matches!(kind, "inet" | "unix" | "fifo" | "pass" | "unix-dgram") {
                services.push(Service::read(columns, first.clone(), more));
            } else if let Some((name, value)) = first.text.split_once('=') {
                let more = more.iter().map(|place| place.text.trim());
                let value = std::iter::once(value.trim()).chain(more).collect::<Vec<_>>().join(" ");
                let name = name.trim().to_owned();
                match name.contains('/') {
                    true => overrides.push((name, value, first.clone())),
                    false => drop(main.insert(name, (value, first.clone()))),
                }
            }
        }
    }
    services.truncate(MAX_PORTS.saturating_add(1));
    for (name, value, place) in overrides {
        if services.len() > MAX_PORTS {
            break;
        }
        let parts: Vec<&str> = name.split('/').collect();
        let [service, kind, setting] = parts.as_slice() else { continue };
        let known = services.iter().position(|each| each.name == *service && each.kind == *kind);
        let at = known.unwrap_or(services.len());
        if known.is_none() {
            services.push(Service::guessed(service, kind, setting, &place));
        }
        if let Some(service) = services.get_mut(at) {
            service.settings.insert((*setting).to_owned(), (value, place));
        }
    }
    if services.is_empty() {
        out.unread.push(Unread {
            place: Place::new(out.origin.clone(), 0, ""),
            why: "there is no service in it: Postfix' ports are in master.cf (`postconf -Mf`)".to_owned(),
        });
    }
    for service in &services {
        listen(service, &main, &mut out);
    }
    vec![out]
}

/// Lines, each with those that go on with it; their texts are whole, not cut.
fn logical_lines(file: &File<'_>) -> Vec<Vec<Place>> {
    let mut found: Vec<Vec<Place>> = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let place =
            Place { file: file.name.to_owned(), line: index.saturating_add(1), text: line.to_owned() };
        match found.last_mut() {
            Some(logical) if line.starts_with([' ', '\t']) => logical.push(place),
            _ => found.push(vec![place]),
        }
    }
    found
}

/// One service of `master.cf`.
#[derive(Debug)]
struct Service {
    place: Place,
    name: String,
    kind: String,
    command: String,
    settings: Settings,
}

impl Service {
    fn read(columns: Vec<String>, place: Place, more: &[Place]) -> Self {
        let column = |index: usize| columns.get(index).cloned().unwrap_or_default();
        let mut service = Self {
            name: column(0),
            kind: column(1),
            command: column(7),
            settings: Settings::new(),
            place: shown(&place),
        };
        service.options(columns.get(8..).unwrap_or_default(), &place);
        for place in more {
            service.options(&words(&place.text), place);
        }
        service
    }

    /// One whose line is elsewhere: its settings tell which program it is.
    fn guessed(name: &str, kind: &str, setting: &str, place: &Place) -> Self {
        let command = if setting.starts_with("postscreen_") { "postscreen" } else { "smtpd" };
        Self {
            place: shown(place),
            name: name.to_owned(),
            kind: kind.to_owned(),
            command: command.to_owned(),
            settings: Settings::new(),
        }
    }

    /// `-o name=value`, `-oname=value` and `-o { name = value }`.
    fn options(&mut self, words: &[String], place: &Place) {
        let mut words = words.iter().map(String::as_str).peekable();
        while let Some(word) = words.next() {
            let Some(joined) = word.strip_prefix("-o") else { continue };
            let mut option =
                if joined.is_empty() { words.next().unwrap_or_default() } else { joined }.to_owned();
            if option.starts_with('{') {
                while !option.ends_with('}') {
                    let Some(next) = words.next() else { break };
                    option = format!("{option} {next}");
                }
                option = option.trim_matches(['{', '}']).trim().to_owned();
            }
            if let Some((name, value)) = option.split_once('=') {
                self.settings.insert(name.trim().to_owned(), (value.trim().to_owned(), shown(place)));
            }
        }
    }

    /// The setting that holds here, with what it names filled in, and where it is written.
    fn get(&self, main: &Settings, name: &str) -> Option<(String, Place)> {
        let (value, place) = self.settings.get(name).or_else(|| main.get(name))?;
        Some((self.filled(main, value, MAX_DEPTH), shown(place)))
    }

    /// `$name`, `${name}` and `$(name)` replaced.
    fn filled(&self, main: &Settings, value: &str, depth: usize) -> String {
        let Some((before, behind)) = value.split_once('$').filter(|_| depth > 0) else {
            return value.to_owned();
        };
        let (name, rest) = match behind.chars().next() {
            Some('{') => behind.get(1..).and_then(|rest| rest.split_once('}')).unwrap_or((behind, "")),
            Some('(') => behind.get(1..).and_then(|rest| rest.split_once(')')).unwrap_or((behind, "")),
            _ => behind
                .split_at(behind.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(behind.len())),
        };
        let next = depth.saturating_sub(1);
        let named = self.settings.get(name).or_else(|| main.get(name)).map(|(value, _)| value.as_str());
        let named = self.filled(main, named.unwrap_or_default(), next);
        format!("{before}{named}{}", self.filled(main, rest, next))
    }
}

fn shown(place: &Place) -> Place {
    Place::new(place.file.clone(), place.line, &place.text)
}

fn listen(service: &Service, main: &Settings, out: &mut Neighbour) {
    let (switch, timeout) = match service.command.as_str() {
        "smtpd" => ("smtpd_upstream_proxy_protocol", "smtpd_upstream_proxy_timeout"),
        "postscreen" => ("postscreen_upstream_proxy_protocol", "postscreen_upstream_proxy_timeout"),
        _ => return,
    };
    // What postscreen passes on has its client already.
    if service.kind != "inet" {
        return;
    }
    // The options of the two programs have similar names, and each ignores the other's.
    let other = if switch.starts_with("smtpd") { "postscreen" } else { "smtpd" };
    let lost = service.settings.get(&format!("{other}_upstream_proxy_protocol"));
    if let Some((_, place)) = lost.filter(|(value, _)| !value.is_empty()) {
        out.findings.push(Finding {
            class: Class::Syn,
            side: Side::Back,
            product: Some(Product::Postfix),
            seen: place.to_string(),
            cause: format!("`{other}_upstream_proxy_protocol` says nothing to {}", service.command).into(),
            change: format!("in {}: `  -o {switch}=haproxy`", place.spot()).into(),
            confidence: Confidence::Certain,
        });
    }
    let get = |name: &str| service.get(main, name);
    let is = |name: &str, word: &str| get(name).is_some_and(|(value, _)| value.eq_ignore_ascii_case(word));
    let mut listen = Listen::new(service.name.clone(), service.place.clone());
    match addresses(service, main) {
        Some(addresses) => listen.addresses = addresses,
        None => out.unread.push(Unread {
            place: service.place.clone(),
            why: "the port is a name that only this machine's /etc/services knows".to_owned(),
        }),
    }
    match get(switch) {
        Some((value, place)) if value == "haproxy" => {
            (listen.header, listen.header_place) = (Reads::Required(Versions::BOTH), place);
        }
        Some((value, place)) if !value.is_empty() => {
            listen.header = Reads::Unknown;
            out.unread.push(Unread { place, why: format!("`{value}` is no protocol that is known here") });
        }
        _ => {}
    }
    listen.trust = Trust::Everybody;
    let told = get(timeout).and_then(|(value, place)| patience(&value, SECOND, &place));
    listen.wait(told, Some(WAITS));
    if is("smtpd_tls_wrappermode", "yes") {
        listen.tls = ListenTls::Implicit;
    }
    let port = listen.addresses.iter().find_map(Address::port);
    let authenticates = is("smtpd_sasl_auth_enable", "yes");
    listen.protocol = Some(match port.and_then(Protocol::of_port) {
        Some(protocol) if protocol.is_mail() => protocol,
        _ if authenticates && service.command == "smtpd" && listen.tls == ListenTls::Implicit => {
            Protocol::Submission
        }
        _ => Protocol::Smtp,
    });
    let only_tls = || {
        let (value, place) = get("smtpd_tls_auth_only").filter(|_| authenticates)?;
        (value == "yes").then_some(place)
    };
    let always_tls = || {
        let (value, place) = get("smtpd_tls_security_level")?;
        (value == "encrypt").then_some(place)
    };
    listen.wants_tls = always_tls().or_else(only_tls);
    listen.privileged = privileged(service, main);
    out.listens.push(listen);
}

/// Whose mail is relayed because of the address that it comes from.
fn privileged(service: &Service, main: &Settings) -> Vec<Entry> {
    const RESTRICTIONS: [&str; 2] = ["smtpd_relay_restrictions", "smtpd_recipient_restrictions"];
    let relay = RESTRICTIONS.iter().any(|name| match service.get(main, name) {
        Some((value, _)) => value.contains("permit_mynetworks"),
        // The first one's default has it.
        None => *name == "smtpd_relay_restrictions",
    });
    if !relay {
        return Vec::new();
    }
    match service.get(main, "mynetworks") {
        Some((value, place)) => entries(&value, &place),
        // `mynetworks_style = host`: the machine's own addresses.
        None => entries("127.0.0.1 ::1", &Place::new("Postfix' default for mynetworks", 0, "")),
    }
}

/// Where a service listens: its own host, or those of `inet_interfaces`.
fn addresses(service: &Service, main: &Settings) -> Option<Vec<Address>> {
    let (host, port) = match service.name.rsplit_once(':') {
        Some((host, port)) => (Some(host), port),
        None => (None, service.name.as_str()),
    };
    let port = port.parse().ok().or(match port {
        "smtp" => Some(25),
        "submission" => Some(587),
        "smtps" | "submissions" => Some(465),
        _ => None,
    })?;
    let families = match service.get(main, "inet_protocols").map(|(value, _)| value).as_deref() {
        Some("ipv4") => &[Families::V4][..],
        Some("ipv6") => &[Families::V6],
        _ => &[Families::V4, Families::V6],
    };
    let every = || families.iter().map(|family| Host::Any(*family)).collect::<Vec<_>>();
    let hosts = match host {
        Some("0.0.0.0") => vec![Host::Any(Families::V4)],
        Some("[::]") => vec![Host::Any(Families::V6)],
        Some(host) => vec![Host::parse(host)],
        None => {
            let interfaces = service.get(main, "inet_interfaces").map(|(value, _)| value).unwrap_or_default();
            let listed = interfaces.split([',', ' ', '\t']).filter(|word| !word.is_empty());
            let hosts = listed.flat_map(|word| match word {
                "all" => every(),
                "loopback-only" => vec![Host::parse("127.0.0.1"), Host::parse("::1")],
                word => vec![Host::parse(word)],
            });
            let hosts: Vec<_> = hosts.collect();
            if hosts.is_empty() { every() } else { hosts }
        }
    };
    Some(hosts.into_iter().map(|host| Address::tcp(host, port)).collect())
}
