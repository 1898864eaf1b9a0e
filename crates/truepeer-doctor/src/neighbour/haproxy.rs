//! HAProxy: `bind` and `server` lines, and what joins them.

mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::words::{Options, bind_address, condition, host_of, moved, server_address};
use super::text::{Line, duration, lines, patience};
use super::{
    Address, Check, CheckForm, Connect, ConnectTls, File, Host, Listen, ListenTls, MAX_PORTS, Neighbour,
    Outsiders, Patience, Place, Protocol, Reads, Sends, Trust, Unread, Versions,
};
use crate::Product;

/// One section, with what its defaults add.
#[derive(Debug, Clone, Default)]
struct Section<'t> {
    kind: String,
    name: String,
    lines: Vec<Line<'t>>,
    defaults: Option<usize>,
}

/// Reads one or several files as HAProxy does: one after the other, as if they were one.
pub(super) fn read(files: &[File<'_>]) -> Vec<Neighbour> {
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    let mut reader = Reader {
        sections: sections(files),
        out: Neighbour::new(Product::Haproxy, names.join(", ")),
        fronts: BTreeMap::new(),
    };
    reader.fronts();
    reader.servers();
    vec![reader.out]
}

fn sections<'t>(files: &[File<'t>]) -> Vec<Section<'t>> {
    let mut found: Vec<Section<'t>> = Vec::new();
    let mut defaults: Option<usize> = None;
    for line in files.iter().flat_map(lines) {
        let begins = !line.raw.starts_with([' ', '\t']) || KINDS.contains(&line.word(0));
        if begins && (KINDS.contains(&line.word(0)) || OTHERS.contains(&line.word(0))) {
            let named = line.behind("from").and_then(|from| {
                found.iter().position(|section| section.kind == "defaults" && section.name == from)
            });
            found.push(Section {
                kind: line.word(0).to_owned(),
                name: line.word(1).to_owned(),
                defaults: named.or(defaults),
                lines: Vec::new(),
            });
            if line.word(0) == "defaults" {
                defaults = found.len().checked_sub(1);
            }
        } else if let Some(section) = found.last_mut() {
            section.lines.push(line);
        }
    }
    found
}

/// The sections that matter here, and those that only end them.
const KINDS: &[&str] = &["defaults", "frontend", "backend", "listen"];
const OTHERS: &[&str] = &[
    "global",
    "peers",
    "resolvers",
    "userlist",
    "mailers",
    "program",
    "ring",
    "cache",
    "log-forward",
    "http-errors",
    "fcgi-app",
    "crt-store",
    "traces",
    "acme",
    "log-profile",
];

/// Checks that wait for an answer.
const SPEAKING: &[&str] = &[
    "smtpchk",
    "httpchk",
    "tcp-check",
    "mysql-check",
    "pgsql-check",
    "redis-check",
    "ldap-check",
    "ssl-hello-chk",
    "spop-check",
];

/// What a bare number means in a `timeout` or an `inter`.
const MS: Duration = Duration::from_millis(1);
/// How long a check takes at most where nothing is said.
const CHECK: Duration = Duration::from_secs(2);
/// The words of `default-server` lines that are kept.
const MAX_GIVEN: usize = 200;
/// The ports that are kept for one backend.
const MAX_FRONTS: usize = 64;

struct Reader<'t> {
    sections: Vec<Section<'t>>,
    out: Neighbour,
    /// Which listens feed a backend, by its name.
    fronts: BTreeMap<String, BTreeSet<usize>>,
}

impl<'t> Reader<'t> {
    /// The lines of a section that begin with `keyword`, those of its defaults first.
    fn said<'s>(
        &'s self,
        section: &'s Section<'t>,
        keyword: &'s str,
    ) -> impl DoubleEndedIterator<Item = &'s Line<'t>> {
        let defaults = section.defaults.and_then(|index| self.sections.get(index));
        let lines = defaults.into_iter().flat_map(|defaults| &defaults.lines).chain(&section.lines);
        lines.filter(move |line| line.word(0) == keyword)
    }

    fn mode(&self, section: &Section<'t>) -> Option<Protocol> {
        let mode = self.said(section, "mode").next_back()?;
        (mode.word(1) == "http").then_some(Protocol::Http)
    }

    /// The last `timeout NAME` that holds in a section.
    fn timeout(&self, section: &Section<'t>, name: &str) -> Option<Patience> {
        let line = self.said(section, "timeout").rfind(|line| line.word(1) == name)?;
        patience(line.word(2), MS, &line.place)
    }

    fn fronts(&mut self) {
        for section in self.sections.clone() {
            if !matches!(section.kind.as_str(), "frontend" | "listen") {
                continue;
            }
            let expects = section.lines.iter().find(|line| {
                line.word(0) == "tcp-request"
                    && line.word(2) == "expect-proxy"
                    && line.word(1) == "connection"
            });
            let protocol = self.mode(&section);
            let mut indexes = BTreeSet::new();
            for line in section.lines.iter().filter(|line| line.word(0) == "bind") {
                if self.out.listens.len() > MAX_PORTS {
                    break;
                }
                let listen = self.bind(&section, line, expects, protocol);
                indexes.insert(self.out.listens.len());
                self.out.listens.push(listen);
            }
            let mut backends: Vec<String> = Vec::new();
            let default = self.said(&section, "default_backend").next_back();
            backends.extend(default.map(|line| line.word(1).to_owned()));
            for line in section.lines.iter().filter(|line| line.word(0) == "use_backend") {
                if line.word(1).contains('%') {
                    self.unread(&line.place, "the backend's name is only known when a connection is there");
                } else {
                    backends.push(line.word(1).to_owned());
                }
            }
            if section.kind == "listen" {
                backends.push(section.name.clone());
            }
            for backend in backends {
                self.fronts.entry(backend).or_default().extend(&indexes);
            }
        }
    }

    fn bind(
        &mut self,
        section: &Section<'t>,
        line: &Line<'t>,
        expects: Option<&Line<'t>>,
        protocol: Option<Protocol>,
    ) -> Listen {
        let mut listen = Listen::new(section.name.clone(), line.place.clone());
        for text in line.word(1).split(',') {
            match bind_address(text, line) {
                Some(addresses) => listen.addresses.extend(addresses),
                None => self.unread(&line.place, "where it listens is not told in this file"),
            }
        }
        listen.protocol =
            protocol.or_else(|| listen.addresses.iter().find_map(Address::port).and_then(Protocol::of_port));
        if line.has("ssl") {
            listen.tls = ListenTls::Implicit;
        }
        if line.has("accept-proxy") {
            listen.header = Reads::Required(Versions::BOTH);
        } else if let Some(expects) = expects {
            listen.header = Reads::Required(Versions::BOTH);
            listen.header_place = expects.place.clone();
            listen.outsiders = Outsiders::Clients;
            listen.trust = condition(expects);
            if listen.trust == Trust::Unknown {
                self.unread(
                    &expects.place,
                    "who has to send a header is decided by a condition that is not understood here",
                );
            }
        }
        if listen.header != Reads::No {
            // The handshakes have a time of their own from 3.0 on; before, and without it, it is the client's.
            let told = self.timeout(section, "client-hs").or_else(|| self.timeout(section, "client"));
            listen.wait(told, None);
        }
        listen
    }

    fn servers(&mut self) {
        for section in self.sections.clone() {
            if !matches!(section.kind.as_str(), "backend" | "listen") {
                continue;
            }
            let defaults = self.said(&section, "default-server");
            let words = defaults.flat_map(|line| line.words.iter().skip(1).map(move |word| (word, line)));
            let given: Vec<(String, Place)> =
                words.take(MAX_GIVEN).map(|(word, line)| (word.clone(), line.place.clone())).collect();
            let essence = self.essence(&section);
            let servers: Vec<Line<'t>> = section
                .lines
                .iter()
                .filter(|line| matches!(line.word(0), "server" | "server-template"))
                .cloned()
                .collect();
            for line in servers {
                self.server(&essence, &line, &given);
            }
        }
    }

    /// What a section says of all its servers, in few lines, however many it has.
    fn essence(&self, section: &Section<'t>) -> Section<'t> {
        let checks = ["tcp-check", "http-check"];
        let connect = checks
            .into_iter()
            .find_map(|keyword| self.said(section, keyword).find(|line| line.word(1) == "connect"));
        let lines = [
            self.said(section, "mode").next_back(),
            self.said(section, "source").next_back(),
            self.said(section, "option").find(|line| SPEAKING.contains(&line.word(1))),
            connect,
            self.said(section, "timeout").rfind(|line| line.word(1) == "connect"),
            self.said(section, "timeout").rfind(|line| line.word(1) == "check"),
        ];
        Section { lines: lines.into_iter().flatten().cloned().collect(), defaults: None, ..section.clone() }
    }

    fn server(&mut self, section: &Section<'t>, line: &Line<'t>, defaults: &[(String, Place)]) {
        if self.out.connects.len() > MAX_PORTS {
            return;
        }
        // `server-template PREFIX NUMBER ADDRESS`
        let skip: usize = if line.word(0) == "server-template" { 3 } else { 2 };
        let own =
            line.words.iter().skip(skip.saturating_add(1)).map(|word| (word.clone(), line.place.clone()));
        let words: Vec<(String, Place)> = defaults.iter().cloned().chain(own).collect();
        let options = Options(&words);
        let serves: Vec<usize> =
            self.fronts.get(&section.name).into_iter().flatten().copied().take(MAX_FRONTS).collect();
        let ports: Vec<u16> = serves
            .iter()
            .filter_map(|index| self.out.listens.get(*index))
            .flat_map(|listen| listen.addresses.iter().filter_map(Address::port))
            .collect();
        let Some(targets) = server_address(line.word(skip), &ports) else {
            self.unread(&line.place, "where it connects to is not told in this file");
            return;
        };
        for to in targets {
            let mut connect =
                Connect::new(format!("{}/{}", section.name, line.word(1)), line.place.clone(), to);
            (connect.sends, connect.sends_place) = options.sends(&line.place);
            if options.on("ssl") {
                connect.tls = ConnectTls::AfterHeader;
            }
            let source = options
                .value("source")
                .or_else(|| self.said(section, "source").next_back().map(|line| line.word(1)));
            connect.from.extend(source.and_then(host_of).and_then(|host| match host {
                Host::Ip(ip) => Some(ip),
                Host::Any(_) | Host::Name(_) => None,
            }));
            connect.protocol = self.mode(section).or_else(|| {
                let fed = serves.iter().find_map(|index| self.out.listens.get(*index)?.protocol);
                fed.or_else(|| connect.to.port().and_then(Protocol::of_port))
            });
            if options.on("check") {
                connect.check = self.check(section, &connect, &options);
            }
            connect.patience = self.timeout(section, "connect");
            connect.serves = serves.clone();
            self.out.connects.push(connect);
        }
    }

    fn check(&self, section: &Section<'t>, connect: &Connect, options: &Options<'_>) -> Option<Check> {
        let mut to = connect.to.clone();
        let elsewhere = options.value("port").is_some() || options.value("addr").is_some();
        let (port, host) = (options.value("port").and_then(|port| port.parse().ok()), options.value("addr"));
        to = moved(to, port, host);
        let mut sends =
            if elsewhere && !options.on("check-send-proxy") { Sends::Nothing } else { connect.sends };
        if options.on("check-send-proxy") && !sends.is_header() {
            sends = Sends::V1;
        }
        // A rule of its own for the check's connection replaces all of that.
        let rules = ["tcp-check", "http-check"]
            .into_iter()
            .find_map(|keyword| self.said(section, keyword).find(|line| line.word(1) == "connect"));
        let mut place =
            options.place("port").or_else(|| options.place("check")).unwrap_or(&connect.place).clone();
        if let Some(rule) = rules {
            place = rule.place.clone();
            if !rule.has("default") {
                sends = if rule.has("send-proxy") { Sends::V1 } else { Sends::Nothing };
            }
            to = moved(to, rule.behind("port").and_then(|port| port.parse().ok()), rule.behind("addr"));
        }
        let speaks = self.said(section, "option").any(|line| SPEAKING.contains(&line.word(1)))
            || options.on("check-ssl");
        let form = if speaks { CheckForm::Speaks } else { CheckForm::Connects };
        let inter = options.value("inter").and_then(|inter| duration(inter, MS));
        let patience = self.timeout(section, "check").unwrap_or_else(|| Patience {
            time: inter.unwrap_or(CHECK),
            place: options.place("inter").unwrap_or(&place).clone(),
        });
        Some(Check { place, to, sends, form, patience: Some(patience) })
    }

    fn unread(&mut self, place: &Place, why: &str) {
        self.out.unread.push(Unread { place: place.clone(), why: why.to_owned() });
    }
}
