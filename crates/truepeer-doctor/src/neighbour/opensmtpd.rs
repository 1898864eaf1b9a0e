//! OpenSMTPD: the `listen on` lines of smtpd.conf, and whom its `match` lines let relay.

use std::collections::BTreeMap;

use super::text::{MAX_ENTRIES, entry, words};
use super::{
    Address, Entry, File, Host, Listen, ListenTls, Neighbour, Place, Protocol, Reads, Trust, Unread, Versions,
};
use crate::Product;

/// Reads the texts as one configuration.
pub(super) fn read(files: &[File<'_>]) -> Vec<Neighbour> {
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    let mut out = Neighbour::new(Product::Opensmtpd, names.join(", "));
    let lines: Vec<Line> = files.iter().flat_map(joined).collect();
    let mut macros: BTreeMap<String, String> = BTreeMap::new();
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in &lines {
        match line.words.as_slice() {
            [name, mark, value] if mark == "=" => {
                macros.insert(format!("${name}"), value.clone());
            }
            [word, name, list @ ..] if word == "table" => {
                tables.insert(name.clone(), list.to_vec());
            }
            _ => {}
        }
    }
    let relays: Vec<Entry> = lines.iter().flat_map(|line| relays(line, &tables)).take(MAX_ENTRIES).collect();
    for line in &lines {
        let filled: Vec<String> =
            line.words.iter().map(|word| macros.get(word).unwrap_or(word).clone()).collect();
        match filled.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["listen", "on", "socket", ..] => {}
            ["listen", "on", host, options @ ..] => listen(host, options, line, &relays, &mut out),
            ["include", file, ..] => out.unread.push(Unread {
                place: line.place.clone(),
                why: format!("what `{file}` says is not among the files that were read"),
            }),
            _ => {}
        }
    }
    vec![out]
}

struct Line {
    place: Place,
    words: Vec<String>,
}

/// The lines; a backslash at the end joins the next one. Marks of lists are words of their own.
fn joined(file: &File<'_>) -> Vec<Line> {
    let mut found: Vec<Line> = Vec::new();
    let mut open = false;
    for (index, raw) in file.text.lines().enumerate() {
        let text = raw.trim_end();
        let (text, joins) = text.strip_suffix('\\').map_or((text, false), |text| (text, true));
        let spaced = ["{", "}", "=", ","]
            .iter()
            .fold(text.to_owned(), |text, mark| text.replace(mark, &format!(" {mark} ")));
        let words = words(&spaced);
        match found.last_mut() {
            Some(last) if open => last.words.extend(words),
            _ if words.is_empty() => {}
            _ => found.push(Line { place: Place::new(file.name, index.saturating_add(1), raw), words }),
        }
        open = joins && !found.is_empty();
    }
    found
}

fn listen(host: &str, options: &[&str], line: &Line, relays: &[Entry], out: &mut Neighbour) {
    let behind = |key: &str| {
        let at = options.iter().position(|word| *word == key)?;
        options.get(at.saturating_add(1)).copied()
    };
    let has = |key: &str| options.contains(&key);
    let named = |port: &str| match port {
        "smtp" => Some(25),
        "smtps" | "submissions" => Some(465),
        "submission" => Some(587),
        number => number.parse().ok(),
    };
    let port = match behind("port") {
        Some(port) => named(port),
        None if has("smtps") => Some(465),
        None => Some(25),
    };
    let mut listen = Listen::new(format!("listen on {host}"), line.place.clone());
    match port {
        // An interface has addresses that only the machine knows.
        Some(port) => listen.addresses.extend(hosts(host).into_iter().map(|host| Address::tcp(host, port))),
        None => out.unread.push(Unread {
            place: line.place.clone(),
            why: "the port is a name that only this machine's /etc/services knows".to_owned(),
        }),
    }
    listen.protocol =
        port.and_then(Protocol::of_port).filter(|protocol| protocol.is_mail()).or(Some(Protocol::Smtp));
    if has("smtps") {
        listen.tls = ListenTls::Implicit;
    } else if has("auth") || has("tls-require") {
        listen.wants_tls = Some(line.place.clone());
    }
    if has("proxy-v2") {
        listen.header = Reads::Required(Versions::V2);
        listen.trust = Trust::Everybody;
    }
    listen.privileged = relays.to_vec();
    out.listens.push(listen);
}

fn hosts(host: &str) -> Vec<Host> {
    match host {
        "lo" | "lo0" | "localhost" => vec![Host::parse("127.0.0.1"), Host::parse("::1")],
        "any" | "all" | "egress" => vec![Host::parse("*")],
        _ => vec![Host::parse(host)],
    }
}

/// Whose mail for anywhere a `match` line takes because of the address that it comes from.
fn relays(line: &Line, tables: &BTreeMap<String, Vec<String>>) -> Vec<Entry> {
    let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
    let after = |key: &str| {
        words.iter().position(|word| *word == key).and_then(|at| words.get(at.saturating_add(1)..))
    };
    let is_relay = words.first() == Some(&"match")
        && after("for").is_some_and(|rest| rest.first() == Some(&"any"))
        && !words.contains(&"auth")
        && !words.contains(&"reject");
    if !is_relay {
        return Vec::new();
    }
    let made = |text: &str| entry(text, &line.place);
    match after("from") {
        Some(["src", "{", rest @ ..]) => rest
            .iter()
            .take_while(|word| **word != "}")
            .filter(|word| **word != ",")
            .map(|word| made(word))
            .collect(),
        Some(["src", one, ..]) => match one.strip_prefix('<').and_then(|name| name.strip_suffix('>')) {
            Some(name) => {
                let list = tables.get(name).map(Vec::as_slice).unwrap_or_default();
                list.iter()
                    .filter(|word| !matches!(word.as_str(), "{" | "}" | ","))
                    .map(|word| made(word))
                    .collect()
            }
            None => vec![made(one)],
        },
        // Without `from`, only those of the machine itself.
        Some(["local", ..]) | None => ["127.0.0.0/8", "::1"].into_iter().map(made).collect(),
        _ => Vec::new(),
    }
}
