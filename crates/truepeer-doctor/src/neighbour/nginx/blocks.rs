//! What nginx' `stream`, `http` and `mail` blocks say about headers.

use super::super::text::{entry, patience};
use super::super::{
    Address, Connect, ConnectTls, Families, Host, Listen, ListenTls, MAX_PORTS, Neighbour, Outsiders,
    Patience, Place, Protocol, Reads, Sends, Trust, Unread, Versions,
};
use super::tree::Directive;
use crate::{Class, Confidence, Finding, Product, Side};

use std::time::Duration;

/// A range of ports is taken apart up to so many.
const MAX_RANGE: u16 = 64;

/// A module of nginx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Module {
    Stream,
    Http,
    Mail,
}

/// What a block inherits: the directives around it, the outermost first.
type Around<'d> = Vec<&'d [Directive]>;

pub(super) fn read(all: &[Directive], out: &mut Neighbour) {
    for directive in all {
        let module = match directive.word(0) {
            "stream" => Module::Stream,
            "http" => Module::Http,
            "mail" => Module::Mail,
            _ => continue,
        };
        block(module, &directive.block, out);
    }
    // A file of a directory that `http` or `stream` includes, read alone.
    if all.iter().any(|directive| directive.word(0) == "server") {
        block(guess(all), all, out);
    }
    share_sockets(out);
}

/// Which module a lone file belongs to.
fn guess(all: &[Directive]) -> Module {
    let servers = all.iter().filter(|directive| directive.word(0) == "server");
    let mut within = servers.flat_map(|server| &server.block);
    if within.any(|directive| directive.word(0) == "proxy_pass" && !directive.word(1).contains("://")) {
        Module::Stream
    } else {
        Module::Http
    }
}

fn block(module: Module, directives: &[Directive], out: &mut Neighbour) {
    let is_server = |directive: &&Directive| directive.word(0) == "server" && !directive.block.is_empty();
    // What all servers inherit: each of them looks here, and not at the others.
    let outside: Vec<Directive> =
        directives.iter().filter(|directive| !is_server(directive)).cloned().collect();
    for server in directives.iter().filter(is_server).take(MAX_PORTS.saturating_add(1)) {
        let around: Around<'_> = vec![&outside, &server.block];
        let first = out.listens.len();
        for listen in server.block.iter().filter(|directive| directive.word(0) == "listen") {
            let listen = read_listen(module, listen, &around, out);
            out.listens.push(listen);
        }
        let serves: Vec<usize> = (first..out.listens.len()).collect();
        let misleads = misleading_log(&around, listens(out, &serves));
        out.findings.extend(misleads);
        match module {
            Module::Stream => stream(&around, &serves, &outside, out),
            Module::Http => http(&around, &serves, &outside, out),
            Module::Mail => mail(&around, out),
        }
    }
}

/// The innermost directive of that name.
fn last<'d>(around: &Around<'d>, name: &str) -> Option<&'d Directive> {
    around.iter().rev().find_map(|block| block.iter().rev().find(|directive| directive.word(0) == name))
}

/// Every directive of that name in the innermost block that has any, as nginx inherits lists.
fn list<'d>(around: &Around<'d>, name: &str) -> Vec<&'d Directive> {
    let in_block = |block: &&'d [Directive]| {
        block.iter().filter(|directive| directive.word(0) == name).collect::<Vec<_>>()
    };
    around.iter().rev().map(in_block).find(|found| !found.is_empty()).unwrap_or_default()
}

fn is_on(around: &Around<'_>, name: &str) -> bool {
    last(around, name).is_some_and(|directive| directive.word(1) == "on")
}

/// The time that a directive names.
fn time(around: &Around<'_>, name: &str) -> Option<Patience> {
    let directive = last(around, name)?;
    patience(directive.word(1), Duration::from_secs(1), &directive.place)
}

fn read_listen(module: Module, directive: &Directive, around: &Around<'_>, out: &mut Neighbour) -> Listen {
    let mut listen = Listen::new(directive.word(1), directive.place.clone());
    match address(directive.word(1), directive) {
        Some(addresses) => listen.addresses = addresses,
        None => unread(out, &directive.place, "where it listens is not told in this file"),
    }
    let port = listen.addresses.iter().find_map(Address::port);
    listen.protocol = match module {
        Module::Http => Some(Protocol::Http),
        Module::Mail => match last(around, "protocol").map_or("", |directive| directive.word(1)) {
            "imap" => Some(Protocol::Imap),
            "pop3" => Some(Protocol::Pop3),
            "smtp" => Some(Protocol::Submission),
            _ => port.and_then(Protocol::of_port),
        },
        Module::Stream => port.and_then(Protocol::of_port),
    };
    if directive.has("ssl") || module != Module::Stream && is_on(around, "ssl") {
        listen.tls = ListenTls::Implicit;
    }
    if directive.has("proxy_protocol") {
        listen.header = Reads::Required(Versions::BOTH);
        believed(module, around, &mut listen, out);
        let (name, usual) = match module {
            Module::Stream => ("proxy_protocol_timeout", 30),
            Module::Http => ("client_header_timeout", 60),
            Module::Mail => ("timeout", 60),
        };
        listen.wait(time(around, name), Some(Duration::from_secs(usual)));
    }
    listen
}

/// Whose header counts: everybody's is read, and only those of `set_real_ip_from` change the client's address.
fn believed(module: Module, around: &Around<'_>, listen: &mut Listen, out: &mut Neighbour) {
    let from = list(around, "set_real_ip_from");
    let entries = from.iter().map(|directive| entry(directive.word(1), &directive.place));
    listen.outsiders = Outsiders::Disbelieved;
    listen.trust = if !from.is_empty() {
        Trust::Listed(entries.filter(|entry| entry.text != "unix:").collect())
    } else if uses_variable(around) {
        Trust::Everybody
    } else {
        Trust::Nobody
    };
    // The other header is the default, and then the list is for that one.
    let header = last(around, "real_ip_header");
    let other = header.is_none_or(|directive| directive.word(1) != "proxy_protocol");
    if module == Module::Http && other && !from.is_empty() && !uses_variable(around) {
        let place =
            header.or_else(|| from.first().copied()).map_or(&listen.place, |directive| &directive.place);
        out.findings.push(Finding {
            class: Class::Xff,
            side: Side::Back,
            product: Some(Product::Nginx),
            seen: place.to_string(),
            cause: "`set_real_ip_from` trusts these peers for an HTTP header, not for the PROXY protocol that the listen line reads"
                .into(),
            // A second one in the same block is an error to nginx.
            change: format!(
                "{} {}: `real_ip_header proxy_protocol;`",
                if header.is_some() { "in" } else { "beside" },
                place.spot()
            )
            .into(),
            confidence: Confidence::Certain,
        });
    }
}

/// A log that has only the address of the connection, which is the proxy's for every client that a header brings.
fn misleading_log<'l>(around: &Around<'_>, mut listens: impl Iterator<Item = &'l Listen>) -> Option<Finding> {
    let listen = listens.find(|listen| listen.header != Reads::No && listen.trust != Trust::Nobody)?;
    let formats: Vec<&Directive> =
        around.iter().flat_map(|block| block.iter()).filter(|each| each.word(0) == "log_format").collect();
    let of_log = |log: &&Directive| formats.iter().find(|each| each.word(1) == log.word(2)).copied();
    // One log that has the client is enough, and of a format that is not in sight nothing is known.
    let logs: Option<Vec<&Directive>> = list(around, "access_log").iter().map(of_log).collect();
    let logs = logs?;
    let has = |format: &Directive, name: &str| {
        let text = format.words.get(2..).unwrap_or_default().join(" ");
        text.contains(&format!("${name}")) || text.contains(&format!("${{{name}}}"))
    };
    let names_client = |format: &&Directive| {
        ["remote_addr", "binary_remote_addr", "proxy_protocol_addr"].into_iter().any(|name| has(format, name))
    };
    if logs.iter().any(names_client) {
        return None;
    }
    let format = logs.into_iter().find(|format| has(format, "realip_remote_addr"))?;
    // Without a list of proxies the connection's address stays in the one, and the client is in the other.
    let right = if listen.trust == Trust::Everybody { "$proxy_protocol_addr" } else { "$remote_addr" };
    Some(Finding {
        class: Class::See,
        side: Side::Back,
        product: Some(Product::Nginx),
        seen: format!("{}; {}", format.place, listen.header_place),
        cause: "the log has only the address of the connection, which is the proxy's for every client: whoever bans by it bans the proxy"
            .into(),
        change: format!("in {}: write `{right}` instead of `$realip_remote_addr`", format.place.spot()).into(),
        confidence: Confidence::Certain,
    })
}

/// Whether the header's address is used by its own name.
fn uses_variable(around: &Around<'_>) -> bool {
    fn within(block: &[Directive]) -> bool {
        block.iter().any(|directive| {
            directive
                .words
                .iter()
                .any(|word| word.contains("$proxy_protocol_addr") || word.contains("${proxy_protocol_addr"))
                || within(&directive.block)
        })
    }
    // The blocks around hold the server itself, and its siblings: what is said there says nothing about this one.
    let server = around.last().is_some_and(|block| within(block));
    let outside = around.first().is_some_and(|block| {
        block.iter().any(|directive| {
            directive.word(0) != "server"
                && directive.words.iter().any(|word| word.contains("$proxy_protocol_addr"))
        })
    });
    server || outside
}

fn stream(around: &Around<'_>, serves: &[usize], siblings: &[Directive], out: &mut Neighbour) {
    let Some(pass) = last(around, "proxy_pass") else { return };
    let switch = last(around, "proxy_protocol");
    let on = switch.is_some_and(|directive| directive.word(1) == "on");
    // From 1.31.4 on; with the TLS facts of its own listener.
    let second = last(around, "proxy_protocol_version").is_some_and(|directive| directive.word(1) == "2");
    let sends = match (on, second) {
        (false, _) => Sends::Nothing,
        (true, false) => Sends::V1,
        (true, true) => Sends::V2Ssl,
    };
    let sends_place = switch.map_or(&pass.place, |directive| &directive.place).clone();
    let bind: Option<std::net::IpAddr> =
        last(around, "proxy_bind").and_then(|directive| directive.word(1).parse().ok());
    let ports: Vec<u16> =
        listens(out, serves).flat_map(|listen| listen.addresses.iter().filter_map(Address::port)).collect();
    for (to, place) in targets(pass, siblings, &ports, out) {
        let mut connect = Connect::new(pass.word(1), place, to);
        connect.sends = sends;
        connect.sends_place = sends_place.clone();
        connect.from.extend(bind);
        connect.patience = time(around, "proxy_connect_timeout");
        if is_on(around, "proxy_ssl") {
            connect.tls = ConnectTls::AfterHeader;
        }
        connect.serves = serves.to_vec();
        connect.protocol = ports.iter().copied().chain(connect.to.port()).find_map(Protocol::of_port);
        out.connects.push(connect);
    }
    let chained =
        listens(out, serves).find(|listen| listen.trust == Trust::Nobody && listen.header != Reads::No);
    if let Some(listen) = chained.filter(|_| sends.is_header()) {
        let (seen, place) = (format!("{} -> {sends_place}", listen.place), listen.place.spot());
        out.findings.push(Finding {
            class: Class::Hop,
            side: Side::Back,
            product: Some(Product::Nginx),
            seen,
            cause: "without `set_real_ip_from` nginx reads the header and tells the next server the proxy's address, not the client's"
                .into(),
            change: format!("in the server block of {place}: `set_real_ip_from ADDRESS;` with the address of the proxy in front").into(),
            confidence: Confidence::Certain,
        });
    }
}

fn http(around: &Around<'_>, serves: &[usize], siblings: &[Directive], out: &mut Neighbour) {
    let mut passes = Vec::new();
    for block in around.iter().skip(1) {
        gather(block, "proxy_pass", &mut passes);
    }
    for pass in passes {
        let (scheme, rest) = pass.word(1).split_once("://").unwrap_or(("http", pass.word(1)));
        let default = if scheme == "https" { 443 } else { 80 };
        let rest = rest.strip_prefix("unix:").map_or_else(
            || rest.split(['/', '?']).next().unwrap_or_default().to_owned(),
            |path| format!("unix:{}", path.split(':').next().unwrap_or_default()),
        );
        let pass = Directive { words: vec![pass.word(0).to_owned(), rest], ..pass.clone() };
        for (to, place) in targets(&pass, siblings, &[default], out) {
            let mut connect = Connect::new(pass.word(1), place, to);
            if scheme == "https" {
                connect.tls = ConnectTls::AfterHeader;
            }
            connect.serves = serves.to_vec();
            connect.protocol = Some(Protocol::Http);
            out.connects.push(connect);
        }
    }
}

fn mail(around: &Around<'_>, out: &mut Neighbour) {
    if let Some(auth) = last(around, "auth_http") {
        unread(out, &auth.place, "where the mail module connects is told by that service, not in this file");
    }
}

fn gather<'d>(block: &'d [Directive], name: &str, found: &mut Vec<&'d Directive>) {
    for directive in block {
        if directive.word(0) == name {
            found.push(directive);
        }
        gather(&directive.block, name, found);
    }
}

/// Where a `proxy_pass` leads: an address, a group's servers, or whatever a map may choose.
fn targets(
    pass: &Directive,
    siblings: &[Directive],
    ports: &[u16],
    out: &mut Neighbour,
) -> Vec<(Address, Place)> {
    let target = pass.word(1);
    let names: Vec<(String, Place)> = match target.strip_prefix('$') {
        None => vec![(target.to_owned(), pass.place.clone())],
        Some(_) => {
            let map = siblings.iter().find(|map| map.word(0) == "map" && map.word(2) == target);
            let values = map.into_iter().flat_map(|map| &map.block);
            values
                .filter(|value| value.words.len() > 1)
                .map(|value| (value.word(1).to_owned(), value.place.clone()))
                .collect()
        }
    };
    if names.is_empty() {
        unread(out, &pass.place, "where it connects to is only known when a connection is there");
    }
    let mut found = Vec::new();
    for (name, place) in names {
        let group = siblings.iter().find(|each| each.word(0) == "upstream" && each.word(1) == name);
        let servers: Vec<(String, Place)> = match group {
            Some(group) => {
                let servers = group.block.iter().filter(|each| each.word(0) == "server" && !each.has("down"));
                servers.map(|server| (server.word(1).to_owned(), server.place.clone())).collect()
            }
            None => vec![(name, place)],
        };
        for (server, place) in servers {
            match target_address(&server, ports) {
                Some(to) => found.push((to, place)),
                None => unread(out, &place, "where it connects to is not told in this file"),
            }
        }
    }
    found
}

/// A server's address; `ports` holds what is taken where it has no port.
fn target_address(text: &str, ports: &[u16]) -> Option<Address> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Some(Address::Unix(path.to_owned()));
    }
    // The one variable that is known here.
    let own = text.strip_suffix(":$server_port").map(|host| (host, ports.first().copied()));
    let (host, port) = match own {
        Some(own) => own,
        None if text.contains('$') => return None,
        None => match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
            _ => (text, ports.first().copied()),
        },
    };
    Some(Address::tcp(Host::parse(host), port?))
}

/// Where a `listen` line listens; nothing if that is not told.
fn address(text: &str, directive: &Directive) -> Option<Vec<Address>> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Some(vec![Address::Unix(path.to_owned())]);
    }
    if text.contains('$') {
        return None;
    }
    let all_digits =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let (host, ports) = match text.rsplit_once(':') {
        Some((host, port)) if all_digits(port) => (host, port),
        _ if all_digits(text) => ("0.0.0.0", text),
        _ => (text, "80"),
    };
    let host = match (host, directive.has("ipv6only=off")) {
        ("*", _) => Host::Any(Families::V4),
        ("[::]", false) => Host::Any(Families::V6),
        (other, _) => Host::parse(other),
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (last.checked_sub(first)? < MAX_RANGE)
        .then(|| (first..=last).map(|port| Address::tcp(host.clone(), port)).collect())
}

/// Servers of one block share the socket of one address, and with it what a single `listen` line says of it.
fn share_sockets(out: &mut Neighbour) {
    let told: Vec<Listen> = out.listens.iter().filter(|listen| listen.header != Reads::No).cloned().collect();
    for listen in out.listens.iter_mut().filter(|listen| listen.header == Reads::No) {
        let shared = told.iter().find(|other| {
            other.protocol == listen.protocol
                && !other.addresses.is_empty()
                && other.addresses == listen.addresses
        });
        if let Some(other) = shared {
            listen.header = other.header;
            listen.header_place = other.header_place.clone();
            listen.trust = other.trust.clone();
            listen.outsiders = other.outsiders;
            listen.waits = other.waits;
            listen.waits_place = other.waits_place.clone();
        }
    }
}

fn listens<'o>(out: &'o Neighbour, serves: &'o [usize]) -> impl Iterator<Item = &'o Listen> {
    serves.iter().filter_map(|index| out.listens.get(*index))
}

fn unread(out: &mut Neighbour, place: &Place, why: &str) {
    out.unread.push(Unread { place: place.clone(), why: why.to_owned() });
}
