//! Varnish: the `-a` and `-b` of varnishd's command line, as a unit or a process has them, and the backends of its VCL.

use super::text::{patience, words};
use super::tokens::{Token, tokens, values};
use super::{
    Address, Check, CheckForm, Connect, File, Host, Listen, Neighbour, Place, Protocol, Reads, Sends, Trust,
    Unread, Versions,
};
use crate::Product;

use std::time::Duration;

/// Reads command lines and VCL, told apart by what they hold.
pub(super) fn read(files: &[File<'_>]) -> Vec<Neighbour> {
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    let mut out = Neighbour::new(Product::Varnish, names.join(", "));
    let (vcl, lines): (Vec<_>, Vec<_>) = files.iter().partition(|file| is_vcl(file.text));
    for file in lines {
        command_line(file, &mut out);
    }
    for file in vcl {
        let all = tokens(file.name, file.text);
        let probes = probes(&all);
        for begin in blocks(&all, "backend") {
            backend(&all, begin, &probes, &mut out);
        }
    }
    let fronts = out.listens.len();
    for connect in &mut out.connects {
        connect.serves = (0..fronts).collect();
    }
    vec![out]
}

fn is_vcl(text: &str) -> bool {
    text.lines().map(str::trim_start).any(|line| line.starts_with("vcl ") || line.starts_with("backend "))
}

/// Every `-a` and `-b`; lines that a backslash joins are one, and a process' words end in NUL.
fn command_line(file: &File<'_>, out: &mut Neighbour) {
    let of_process = file.text.contains('\0');
    let mut ends_in = "";
    for (index, raw) in file.text.lines().enumerate() {
        let text = raw.replace(['\0', '='], " ").replace("\"-", " -");
        let place = if of_process {
            Place::new("varnishd's own words", 0, &text)
        } else {
            Place::new(file.name, index.saturating_add(1), raw)
        };
        let words = words(text.trim_end().trim_end_matches('\\'));
        for (at, word) in words.iter().enumerate() {
            let next = words.get(at.saturating_add(1)).map(String::as_str);
            let value = match word.as_str() {
                "-a" | "-b" => next,
                // The switch ended the line before.
                _ if at == 0 && !ends_in.is_empty() => Some(word.as_str()),
                _ => word.strip_prefix("-a").or_else(|| word.strip_prefix("-b")).filter(|v| !v.is_empty()),
            };
            let switch = if at == 0 && !ends_in.is_empty() { ends_in } else { word.get(..2).unwrap_or("") };
            let Some(value) = value else { continue };
            match switch {
                "-a" => listen(value, &place, out),
                "-b" => direct(value, &place, out),
                _ => {}
            }
        }
        ends_in = match words.last().map(String::as_str) {
            Some("-a") => "-a",
            Some("-b") => "-b",
            _ => "",
        };
    }
}

/// `[name=]address[:port][,PROTO][,...]`; the `=` has become a blank, so that a name stands alone before it.
fn listen(value: &str, place: &Place, out: &mut Neighbour) {
    let mut parts = value.split(',');
    let at = parts.next().unwrap_or_default();
    // `-a http=:80` was cut at its `=`: the name is no address, and the rest is a word that nobody asked for.
    if !at.contains([':', '.', '/', '[']) && at.parse::<u16>().is_err() && !at.is_empty() {
        let rest = place.text.split_once(&format!("{at}=")).map(|(_, rest)| rest);
        let rest = rest.and_then(|rest| rest.split([' ', '"', '\\']).next()).unwrap_or_default();
        if !rest.is_empty() {
            listen(rest, place, out);
        }
        return;
    }
    let reads = parts.any(|part| part == "PROXY");
    let mut listen = Listen::new(at, place.clone());
    listen.protocol = Some(Protocol::Http);
    listen.addresses.extend(address(at));
    if reads {
        listen.header = Reads::Required(Versions::BOTH);
        listen.trust = Trust::Everybody;
    }
    out.listens.push(listen);
}

fn direct(value: &str, place: &Place, out: &mut Neighbour) {
    if let Some(to) = address(value) {
        let mut connect = Connect::new("default", place.clone(), to);
        connect.protocol = Some(Protocol::Http);
        out.connects.push(connect);
    }
}

/// An address with or without a port, which is then 80, or a path.
fn address(text: &str) -> Option<Address> {
    if text.starts_with('/') {
        return Some(Address::Unix(text.to_owned()));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (text, "80"),
    };
    Some(Address::tcp(Host::parse(host), port.parse().ok()?))
}

/// Where the blocks of `kind` begin that have a name: `backend NAME {`.
fn blocks(all: &[Token], kind: &str) -> Vec<usize> {
    let named = all
        .windows(3)
        .enumerate()
        .filter(|(_, window)| matches!(window, [key, _, open] if key.is(kind) && open.is("{")));
    named.map(|(index, _)| index).collect()
}

/// The names of probes, and whether they have a port of their own: none has, in VCL.
fn probes(all: &[Token]) -> Vec<&str> {
    blocks(all, "probe")
        .into_iter()
        .filter_map(|at| all.get(at.saturating_add(1)))
        .map(|name| name.text.as_str())
        .collect()
}

fn backend(all: &[Token], begin: usize, probes: &[&str], out: &mut Neighbour) {
    let Some(name) = all.get(begin.saturating_add(1)) else { return };
    let (found, _) = values(all, begin.saturating_add(3));
    let get = |key: &str| found.iter().find(|(known, _)| *known == key).map(|(_, token)| *token);
    let to = match (get(".host"), get(".path")) {
        (Some(host), _) => {
            let port = get(".port").map_or("80", |port| port.text.as_str());
            port.parse().ok().map(|port| Address::tcp(Host::parse(&host.text), port))
        }
        (None, Some(path)) => Some(Address::Unix(path.text.clone())),
        (None, None) => return,
    };
    let place = get(".port").or_else(|| get(".host")).or_else(|| get(".path")).unwrap_or(name).place.clone();
    let Some(to) = to else {
        let why = "the port is a name that only this machine's /etc/services knows".to_owned();
        out.unread.push(Unread { place, why });
        return;
    };
    let mut connect = Connect::new(name.text.clone(), place, to);
    connect.protocol = Some(Protocol::Http);
    if let Some(header) = get(".proxy_header") {
        connect.sends_place = header.place.clone();
        connect.sends = match header.text.as_str() {
            "1" => Sends::V1,
            "2" => Sends::V2,
            _ => Sends::Unknown,
        };
    }
    connect.patience =
        get(".connect_timeout").and_then(|token| patience(&token.text, Duration::from_secs(1), &token.place));
    // A probe has no setting for headers, and sends none, whatever the backend says.
    if let Some(probe) = get(".probe").filter(|probe| probes.contains(&probe.text.as_str())) {
        connect.check = Some(Check {
            place: probe.place.clone(),
            to: connect.to.clone(),
            sends: connect.sends,
            form: CheckForm::Speaks,
            patience: None,
        });
    }
    out.connects.push(connect);
}
