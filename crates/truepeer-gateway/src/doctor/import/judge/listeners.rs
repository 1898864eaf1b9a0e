//! Listeners: one of ours for each port of one of theirs, for Stalwart's policies tell ports apart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::super::note::{NoteKind, Section};
use super::super::plan::{Listener, Tls, Trust};
use super::super::{Form, Ports};
use super::{Judge, TRUSTED, is_true};
use truepeer_doctor::stalwart::Assignment;
use truepeer_doctor::stalwart::lists;

const LISTENER: &str = "server.listener.";
/// How much higher Stalwart's ports are behind us.
const MOVED: u16 = 10_000;
/// Where ports are looked for that cannot be moved so far.
const ELSEWHERE: u16 = 20_000;

/// Names are looked for up to so many dots.
const MAX_DOTS: usize = 16;

/// Every listener that there is, in the order of the file: those with a protocol, and in objects all of them.
pub(super) fn ids(entries: &[Assignment], form: Form) -> Vec<String> {
    let (mut ids, mut seen) = (Vec::new(), BTreeSet::new());
    for entry in entries {
        let Some(rest) = entry.key.strip_prefix(LISTENER) else { continue };
        let id = rest.strip_suffix(".protocol").or_else(|| match form {
            Form::Text => None,
            Form::Objects => rest.split_once(".bind").map(|(id, _)| id),
        });
        if let Some(id) = id.filter(|id| !id.is_empty() && seen.insert(*id)) {
            ids.push(id.to_owned());
        }
    }
    ids
}

impl Judge<'_> {
    pub(super) fn listeners(&mut self) {
        let mut taken: BTreeSet<u16> = BTreeSet::new();
        for id in self.ids.clone() {
            // What is bound stays bound by us.
            let bound = self.binds(&id, &mut |_, _| {});
            taken.extend(bound.iter().map(SocketAddr::port));
        }
        for id in self.ids.clone() {
            self.listener(&id, &mut taken);
        }
        let without: Vec<Assignment> = self
            .entries
            .iter()
            .filter(|entry| entry.key.starts_with(LISTENER) && self.owner(&entry.key).is_none())
            .cloned()
            .collect();
        for Assignment { key, place, .. } in without {
            let text = "without a `protocol` Stalwart makes no listener of it";
            self.plan.note(Section::Listener(String::new()), Some(&place), key, NoteKind::Left, text);
        }
    }

    /// Whose a key under `server.listener.` is: the longest name that fits.
    pub(super) fn owner(&self, key: &str) -> Option<String> {
        let rest = key.strip_prefix(LISTENER)?;
        let dots = rest.bytes().enumerate().filter(|(_, byte)| *byte == b'.').map(|(at, _)| at);
        let names = dots.take(MAX_DOTS).filter_map(|at| rest.get(..at));
        names.filter(|name| self.known.contains(*name)).last().map(str::to_owned)
    }

    fn of(&self, id: &str, key: &str) -> Option<&Assignment> {
        self.get(&format!("{LISTENER}{id}.{key}"))
    }

    /// The addresses of a listener that Stalwart takes; the others are told.
    fn binds(&self, id: &str, tell: &mut dyn FnMut(&lists::Item<'_>, String)) -> Vec<SocketAddr> {
        let mut binds = Vec::new();
        let list = lists::written(self.entries, &format!("{LISTENER}{id}.bind"));
        for item in &list.items {
            let text = item.text.escape_debug();
            match item.text.parse::<SocketAddr>() {
                Ok(addr) if addr.port() == 0 => {
                    tell(
                        item,
                        format!("\"{text}\": the system chooses the port, so there is none to take over"),
                    );
                }
                Ok(addr) => {
                    if !binds.contains(&addr) {
                        binds.push(addr);
                    }
                }
                Err(_) if item.text.contains("%{") => {
                    tell(
                        item,
                        format!("\"{text}\": the value comes from elsewhere (a macro) and is not known here"),
                    );
                }
                Err(_) => tell(
                    item,
                    format!(
                        "\"{text}\" is no address with a port: Stalwart does not listen there, and runs on"
                    ),
                ),
            }
        }
        binds
    }

    fn listener(&mut self, id: &str, taken: &mut BTreeSet<u16>) {
        let name: String = id
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
            .collect();
        let section = Section::Listener(name.clone());
        if name != id {
            let text =
                format!("named {name:?} here, for names are made of letters, digits, `-`, `_` and `.`");
            self.plan.note(section.clone(), None, format!("{LISTENER}{id}"), NoteKind::Meaning, text);
        }
        let mut told = Vec::new();
        let binds = self.binds(id, &mut |item, text| told.push((item.place.clone(), text)));
        for (place, text) in told {
            self.plan.note(
                section.clone(),
                Some(&place),
                format!("{LISTENER}{id}.bind"),
                NoteKind::Left,
                text,
            );
        }
        let protocol = self.of(id, "protocol").cloned();
        let word = protocol.as_ref().map_or("smtp", |entry| entry.value.as_str()).to_ascii_lowercase();
        let key = format!("{LISTENER}{id}.protocol");
        let place = protocol.map(|entry| entry.place);
        let language = match word.as_str() {
            "smtp" | "lmtp" | "imap" | "pop3" | "managesieve" => word.as_str(),
            "http" | "https" => "http",
            "jmap" => {
                let text = "a word of the first versions, later `http`";
                self.plan.note(section.clone(), place.as_ref(), &key, NoteKind::Stalwart, text);
                "http"
            }
            other => {
                let other = other.escape_debug();
                let text = format!(
                    "\"{other}\" is no protocol of Stalwart's: it makes no listener of it, and runs on"
                );
                self.plan.note(section, place.as_ref(), key, NoteKind::Left, text);
                return;
            }
        };
        if binds.is_empty() {
            let text = "there is no address to listen on: Stalwart makes no listener of it, and runs on";
            self.plan.note(section, place.as_ref(), format!("{LISTENER}{id}.bind"), NoteKind::Left, text);
            return;
        }
        let tls = self.tls(id, &section);
        let trusted = self.trusted_by(id, &section);
        let mut ports: BTreeMap<u16, Vec<SocketAddr>> = BTreeMap::new();
        for bind in binds {
            ports.entry(bind.port()).or_default().push(bind);
        }
        let several = ports.len() > 1;
        for (number, (port, binds)) in ports.into_iter().enumerate() {
            let id = if number == 0 { name.clone() } else { format!("{name}-{port}") };
            let section = Section::Listener(id.clone());
            if several {
                let text = "one listener for each port, for Stalwart's policies tell them apart by it";
                self.plan.note(
                    section.clone(),
                    None,
                    format!("{LISTENER}{name}.bind"),
                    NoteKind::Meaning,
                    text,
                );
            }
            let behind = self.port_behind(port, taken);
            let protocol = match language {
                "smtp" if port == 25 => {
                    self.tell_local_port(&section, behind);
                    "smtp"
                }
                "smtp" => {
                    if !matches!(port, 587 | 465) {
                        let text = format!(
                            "Stalwart's policies treat anyone who comes to a port other than 25 as a user, so this is \
                             `submission`; if {port} is published as 25, write `protocol = \"smtp\"`"
                        );
                        self.plan.note(
                            section.clone(),
                            None,
                            format!("{LISTENER}{name}"),
                            NoteKind::Meaning,
                            text,
                        );
                    }
                    "submission"
                }
                "lmtp" => "lmtp",
                "imap" => "imap",
                "pop3" => "pop3",
                "managesieve" => "managesieve",
                _ => "http",
            };
            let backend = SocketAddr::new(self.behind.addr, behind);
            self.plan.listeners.push(Listener {
                id,
                binds,
                protocol,
                tls,
                trusted: trusted.clone(),
                backend,
            });
        }
        self.change_listener(id, several);
    }

    /// Whether the client's bytes are TLS.
    fn tls(&mut self, id: &str, section: &Section) -> Tls {
        let implicit = self.of(id, "tls.implicit").cloned();
        let enabled = self.of(id, "tls.enable").is_none_or(|entry| is_true(Some(entry)));
        match implicit.filter(|entry| is_true(Some(entry))) {
            Some(_) if enabled => Tls::Implicit,
            Some(entry) => {
                let text = "TLS is not enabled on this listener, so it speaks in clear text";
                self.plan.note(section.clone(), Some(&entry.place), entry.key, NoteKind::Stalwart, text);
                Tls::Later
            }
            None => Tls::Later,
        }
    }

    /// The list of a listener's own.
    fn trusted_by(&mut self, id: &str, section: &Section) -> Option<Trust> {
        let key = format!("{LISTENER}{id}.proxy.trusted-networks");
        let mut list = lists::written(self.entries, &key);
        let before = format!("{LISTENER}{id}.proxy-trusted-networks");
        let older = lists::written(self.entries, &before);
        if let Some(item) = older.items.first() {
            let text = "Stalwart has read this key in 0.5.1 and 0.5.2 only; in later ones the server-wide list holds";
            self.plan.note(section.clone(), Some(item.place), &before, NoteKind::Stalwart, text);
            list.items.extend(older.items);
        }
        if let Some(place) = list.empty.filter(|_| self.plan.trusted.is_some()) {
            let text = format!(
                "an empty list does not switch it off: the server-wide list holds, there and here. For nobody write \
                 `proxy.trusted-networks = \"off\"` below, and see `{TRUSTED}`"
            );
            self.plan.note(section.clone(), Some(place), &key, NoteKind::Stalwart, text);
        }
        self.spelled(section, &key, &list);
        let networks = self.networks(section, &key, &list);
        if !networks.is_empty() {
            return Some(Trust::Networks(networks));
        }
        let first = list.items.first()?;
        let text = "nothing of it is a network to Stalwart, which then trusts nobody here, not even by the server-wide list";
        self.plan.note(section.clone(), Some(first.place), key, NoteKind::Stalwart, text);
        Some(Trust::Off)
    }

    fn port_behind(&self, port: u16, taken: &mut BTreeSet<u16>) -> u16 {
        if self.behind.ports == Ports::Kept {
            return port;
        }
        let moved = port.checked_add(MOVED).filter(|moved| !taken.contains(moved));
        let free = moved.or_else(|| (ELSEWHERE..).find(|other| !taken.contains(other))).unwrap_or(port);
        taken.insert(free);
        free
    }

    fn tell_local_port(&mut self, section: &Section, behind: u16) {
        if behind == 25 {
            return;
        }
        let text = format!(
            "Stalwart's policies ask for `local_port == 25`, and that is the port it is bound to, {behind} then: mail from \
             other servers would hear `503 5.5.1 You must authenticate first.` Import again with `--behind ADDRESS \
             --keep-ports`, ADDRESS being that of a container or machine where Stalwart keeps port 25, or rewrite \
             every expression with `local_port` in Stalwart's settings, the default ones too"
        );
        self.plan.note(section.clone(), None, "local_port", NoteKind::Meaning, text);
    }

    /// What has to change over there.
    fn change_listener(&mut self, id: &str, several: bool) {
        let ours: Vec<String> = self
            .plan
            .listeners
            .iter()
            .rev()
            .take_while(|listener| several && listener.id.starts_with(id) || listener.id == id)
            .map(|listener| format!("\"{}\"", listener.backend))
            .collect();
        let binds = ours.into_iter().rev().collect::<Vec<_>>().join(", ");
        self.plan.stalwart.push(match self.form {
            Form::Text => format!("server.listener.{}.bind = [{binds}]", quoted(id)),
            Form::Objects => format!("NetworkListener {id:?}: bind = [{binds}]"),
        });
    }
}

/// A name as a key.
fn quoted(id: &str) -> String {
    let bare = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if bare { id.to_owned() } else { format!("{id:?}") }
}
