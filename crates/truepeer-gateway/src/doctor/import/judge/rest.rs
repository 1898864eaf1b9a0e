//! Everything else in the file: what goes on in Stalwart, what nobody reads there, what has no counterpart, and what is
//! not known here.

use std::collections::BTreeMap;

use super::super::Form;
use super::super::note::{NoteKind, Section};
use super::super::plan::Trust;
use super::{Judge, TRUSTED, is_true};
use truepeer_doctor::stalwart::{Assignment, Position, Syntax};

/// What is said of a key that is judged by its name alone.
enum Fate {
    /// Judged elsewhere.
    Told,
    /// It goes on in Stalwart as before.
    Stays,
    /// A story.
    Story(NoteKind, &'static str),
    /// Nothing is known of it.
    Unknown,
}

/// Sections of Stalwart's that have nothing to do with who connects.
const ELSEWHERE: &[&str] = &[
    "acme",
    "ai",
    "auth",
    "authentication",
    "calendar",
    "certificate",
    "changes",
    "cluster",
    "config",
    "contacts",
    "directory",
    "email",
    "enterprise",
    "file-storage",
    "form",
    "global",
    "groupware",
    "http",
    "imap",
    "include",
    "jmap",
    "limits",
    "local",
    "lookup",
    "macros",
    "management",
    "metrics",
    "oauth",
    "object-quota",
    "pop3",
    "queue",
    "remote",
    "report",
    "resolver",
    "security",
    "session",
    "sharing",
    "sieve",
    "signature",
    "smtp",
    "spam",
    "spam-filter",
    "storage",
    "store",
    "telemetry",
    "tracer",
    "tracing",
    "version",
    "webadmin",
    "webhook",
];

impl Judge<'_> {
    pub(super) fn rest(&mut self) {
        let mut stays: BTreeMap<String, usize> = BTreeMap::new();
        for entry in self.entries {
            let Assignment { key, value, place, form } = entry;
            if value.contains("local_port") || value.contains("local_ip") {
                let text = "it asks for the port or address that Stalwart is bound to, which is another one behind truepeer";
                self.plan.note(Section::End, Some(place), key, NoteKind::Meaning, text);
            }
            match self.fate(key, *form) {
                Fate::Told => {}
                Fate::Stays => {
                    let section = self.stays_under(key);
                    let count = stays.entry(section).or_default();
                    *count = count.saturating_add(1);
                }
                Fate::Story(kind, text) => {
                    self.plan.note(self.section_of(key), Some(place), key, kind, text);
                }
                Fate::Unknown => {
                    let shown: String = value.chars().take(60).flat_map(char::escape_debug).collect();
                    let text =
                        format!("\"{shown}\": what this means is not known here; nothing was made of it");
                    self.plan.note(Section::End, Some(place), key, NoteKind::Unknown, text);
                }
            }
        }
        for (section, count) in stays {
            let text = match count {
                1 => "1 setting, which stays as it is".to_owned(),
                _ => format!("{count} settings, which stay as they are"),
            };
            self.plan.note(Section::End, None, section, NoteKind::Stays, text);
        }
        self.forwarded();
        self.change_trust();
    }

    fn fate(&self, key: &str, form: Syntax) -> Fate {
        const SOCKET: &str = "truepeer sets the options of its sockets itself; there is no counterpart";
        let under = |prefix: &str| {
            key.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
        };
        if let Some(id) = self.owner(key) {
            let own = key.get("server.listener.".len()..).and_then(|rest| rest.strip_prefix(id.as_str()));
            return of_listener(own.and_then(|own| own.strip_prefix('.')).unwrap_or_default(), form);
        }
        if under("server.listener") || under(TRUSTED) || under("server.proxy-trusted-networks") {
            return Fate::Told;
        }
        if ["server.hostname", "server.max-connections", "lookup.default.hostname"].contains(&key) {
            return Fate::Told;
        }
        if under("server.blocked-ip") || under("server.allowed-ip") {
            return Fate::Told;
        }
        if under("server.security") {
            return Fate::Story(
                NoteKind::Stalwart,
                "Stalwart reads no key of this name; its lists are `server.allowed-ip` and `server.blocked-ip`",
            );
        }
        if under("server.proxy") {
            return Fate::Story(NoteKind::Unknown, "Stalwart reads nothing here but `trusted-networks`");
        }
        if key == "server.tls.implicit" {
            return Fate::Story(
                NoteKind::Stalwart,
                "documented, and not read: TLS is implicit at single listeners only",
            );
        }
        if under("server.socket") {
            return Fate::Story(NoteKind::Left, SOCKET);
        }
        if under("server.auto-ban") || under("server.fail2ban") || under("authentication.fail2ban") {
            return Fate::Story(
                NoteKind::Stays,
                "stays in Stalwart, and is about real clients now; a ban there closes their connections without a word",
            );
        }
        if ["server.tls", "server.http", "server.run-as"].iter().any(|prefix| under(prefix)) {
            return Fate::Stays;
        }
        if self.form == Form::Objects {
            return match key.split_once('.') {
                Some(("BlockedIp" | "AllowedIp", "expiresAt")) => Fate::Story(
                    NoteKind::Meaning,
                    "it expires there and would not here: leave it out below, and keep it with `truepeer deny ADDRESS --for TIME`",
                ),
                Some(("SystemSettings" | "BlockedIp" | "AllowedIp" | "NetworkListener", _)) | None => {
                    Fate::Unknown
                }
                Some(_) => Fate::Stays,
            };
        }
        match key.split('.').next() {
            Some(first) if ELSEWHERE.contains(&first) => Fate::Stays,
            _ => Fate::Unknown,
        }
    }

    fn stays_under(&self, key: &str) -> String {
        let mut words = key.split('.');
        let first = words.next().unwrap_or_default();
        match self.owner(key) {
            Some(id) => format!("server.listener.{id}.tls"),
            None if first == "server" => format!("server.{}", words.next().unwrap_or_default()),
            None => first.to_owned(),
        }
    }

    fn section_of(&self, key: &str) -> Section {
        match self.owner(key) {
            Some(id) if self.plan.listeners.iter().any(|listener| listener.id == id) => Section::Listener(id),
            _ => Section::End,
        }
    }

    /// The other layer, which is often taken for this one.
    fn forwarded(&mut self) {
        let found =
            ["http.use-x-forwarded", "server.http.use-x-forwarded"].iter().find_map(|key| self.get(key));
        if let Some(entry) = found.filter(|entry| is_true(Some(entry))) {
            let text = "with this Stalwart believes whatever `Forwarded` or `X-Forwarded-For` says, from anybody; behind \
                        truepeer it knows the client without it, so switch it off unless another web proxy stands before";
            self.plan.note(Section::End, Some(&entry.place), &entry.key, NoteKind::Meaning, text);
        }
    }

    fn change_trust(&mut self) {
        let loopback = self.behind.addr.is_loopback();
        let ours = if loopback { self.behind.addr.to_string() } else { "ADDRESS OF TRUEPEER".to_owned() };
        let lists: Vec<(String, Option<Position>)> = self
            .entries
            .iter()
            .filter(|entry| {
                entry.key.starts_with("server.listener.")
                    && ["proxy.trusted-networks", "proxy-trusted-networks"]
                        .iter()
                        .any(|name| entry.key.contains(name))
            })
            .map(|entry| (entry.key.clone(), Some(entry.place.clone())))
            .collect();
        self.plan.stalwart.push(match self.form {
            Form::Text => format!("{TRUSTED} = [\"{ours}\"]"),
            Form::Objects => format!("SystemSettings: proxyTrustedNetworks = {{\"{ours}\": true}}"),
        });
        let mut removed: Vec<String> = Vec::new();
        for (key, place) in lists {
            let Some(id) = self.owner(&key) else { continue };
            let what = match (self.form, place) {
                (Form::Text, Some(place)) => format!("remove the list of listener {id:?} ({place})"),
                _ => format!("NetworkListener {id:?}: overrideProxyTrustedNetworks = {{}}"),
            };
            // One line for each list, not for each of its entries.
            if !removed.iter().any(|known| known.contains(&format!("{id:?}"))) {
                removed.push(what);
            }
        }
        self.plan.stalwart.extend(removed);
        let nobody = self.plan.trusted.is_none()
            && self
                .plan
                .listeners
                .iter()
                .all(|listener| !matches!(listener.trusted, Some(Trust::Networks(_))));
        if nobody {
            let text = "nobody is trusted, here as there: the peer is the client";
            self.plan.note(Section::Proxy, None, TRUSTED, NoteKind::Stays, text);
        }
    }
}

/// A key of a listener, by what stands behind its name.
fn of_listener(key: &str, form: Syntax) -> Fate {
    let under =
        |prefix: &str| key.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    if under("bind") || under("proxy.trusted-networks") || under("proxy-trusted-networks") {
        return Fate::Told;
    }
    match key {
        "protocol" | "tls.implicit" | "tls.enable" => Fate::Told,
        "proxy.override" => Fate::Story(
            NoteKind::Stalwart,
            "a hint for the web interface; the server never reads it, so it switches nothing on or off",
        ),
        "socket.override" | "tls.override" => {
            Fate::Story(NoteKind::Stalwart, "a hint for the web interface; the server never reads it")
        }
        "tls.timeout" => {
            Fate::Story(NoteKind::Stalwart, "documented, and not read: handshakes have no deadline there")
        }
        "max-connections" => Fate::Story(
            NoteKind::Left,
            "there is no limit for one listener here; `server.max-connections` is for the whole process, and \
             `limits.connections-per-client` for each client",
        ),
        _ if under("socket") => Fate::Story(
            NoteKind::Left,
            "truepeer sets the options of its sockets itself; there is no counterpart",
        ),
        // Nothing to say of an empty list.
        _ if under("tls") && form == Syntax::Empty => Fate::Told,
        _ if under("tls") => Fate::Stays,
        _ => Fate::Unknown,
    }
}
