//! What each entry means, there and here: every one of them ends in our configuration, in a note, or in both.

mod listeners;
mod rest;

use std::collections::HashSet;

use ipnet::IpNet;

use super::note::{NoteKind, Section};
use super::plan::{Plan, Trust};
use super::{Behind, Form, Unreadable};
use truepeer_doctor::stalwart::lists::{self, Item, Made, Spelled, Written};
use truepeer_doctor::stalwart::{Assignment, Position, Syntax};

const TRUSTED: &str = "server.proxy.trusted-networks";
/// Its name in 0.5.1 and 0.5.2.
const TRUSTED_BEFORE: &str = "server.proxy-trusted-networks";
/// Far more than anybody has; each costs walks over the whole file.
const MAX_LISTENERS: usize = 256;

/// Judges a whole file.
pub(super) fn judge(entries: &[Assignment], form: Form, behind: Behind) -> Result<Plan, Unreadable> {
    let mut plan = Plan::default();
    let ids = listeners::ids(entries, form);
    if ids.len() > MAX_LISTENERS {
        return Err(Unreadable::whole(format!("there are more than {MAX_LISTENERS} listeners in it")));
    }
    let known = ids.iter().cloned().collect();
    let mut judge = Judge { entries, form, behind, ids, known, plan: &mut plan };
    judge.server();
    judge.trusted();
    judge.listeners();
    judge.access();
    judge.rest();
    if plan.listeners.is_empty() {
        // What little was found says why.
        let notes = plan.notes.iter().find(|note| matches!(note.section, Section::Listener(_)));
        let why = match (notes, form) {
            (Some(note), _) => format!(": {note}"),
            (None, Form::Text) => String::new(),
            (None, Form::Objects) => {
                ": since 0.16 config.json holds the data store alone; what the database holds is printed by \
                 `stalwart-cli snapshot`"
                    .to_owned()
            }
        };
        return Err(Unreadable::whole(format!("there is no listener in it that could be served{why}")));
    }
    Ok(plan)
}

struct Judge<'e> {
    entries: &'e [Assignment],
    form: Form,
    behind: Behind,
    /// The names of all listeners, in the order of the file.
    ids: Vec<String>,
    /// The same, to look them up.
    known: HashSet<String>,
    plan: &'e mut Plan,
}

impl<'e> Judge<'e> {
    fn get(&self, key: &str) -> Option<&'e Assignment> {
        self.entries.iter().find(|entry| entry.key == key && entry.form != Syntax::Empty)
    }

    fn server(&mut self) {
        const LIMIT: &str = "server.max-connections";
        let named = ["server.hostname", "lookup.default.hostname"].iter().find_map(|key| self.get(key));
        if let Some(Assignment { key, value, place, .. }) = named {
            if is_host_name(value) {
                self.plan.hostname = Some(value.clone());
            } else {
                let text = format!("\"{}\" is no host name that is known here", value.escape_debug());
                self.plan.note(Section::Server, Some(place), key, NoteKind::Left, text);
            }
        }
        if let Some(Assignment { value, place, .. }) = self.get(LIMIT) {
            let text = format!(
                "{} is for each listener there; here `max-connections` is for the whole process, and without it follows \
                 from the limit on open files",
                value.escape_debug()
            );
            self.plan.note(Section::Server, Some(place), LIMIT, NoteKind::Left, text);
        }
    }

    fn trusted(&mut self) {
        let mut list = lists::written(self.entries, TRUSTED);
        let before = lists::written(self.entries, TRUSTED_BEFORE);
        if let Some(Item { place, .. }) = before.items.first() {
            let text = "Stalwart has read this key in 0.5.1 and 0.5.2 only; later ones trust nobody by it";
            self.plan.note(Section::Proxy, Some(place), TRUSTED_BEFORE, NoteKind::Stalwart, text);
            list.items.extend(before.items);
        }
        if let Some(place) = list.empty {
            let text = "an empty list is the same as none: nobody is trusted";
            self.plan.note(Section::Proxy, Some(place), TRUSTED, NoteKind::Stalwart, text);
        }
        self.spelled(&Section::Proxy, TRUSTED, &list);
        let networks = self.networks(&Section::Proxy, TRUSTED, &list);
        if networks.is_empty() {
            return;
        }
        if self.form == Form::Objects {
            let text = "Stalwart exempts real clients in these networks from its bans and limits, too; truepeer does not";
            self.plan.note(Section::Proxy, None, TRUSTED, NoteKind::Meaning, text);
        }
        self.plan.trusted = Some(Trust::Networks(networks));
    }

    /// What Stalwart made of the spelling, where that is not what it looks like.
    fn spelled(&mut self, section: &Section, key: &str, list: &Written<'_>) {
        if self.form == Form::Objects {
            return;
        }
        let set = list.items.iter().find(|item| item.spelled.is_set());
        let single = list.items.iter().find(|item| item.spelled == Spelled::Single && !item.text.is_empty());
        let mut say = |place: &Position, text: &str| {
            self.plan.note(section.clone(), Some(place), key, NoteKind::Stalwart, text);
        };
        if let Some(Item { place, .. }) = set {
            say(
                place,
                "a set is how 0.5.3 to 0.6 want it; 0.7 and later make an error of each entry (`Invalid IP address \
                 \"\"`), run on and trust nobody by it. Here it is taken as it was meant",
            );
        }
        if let (Some(Item { place, .. }), Section::Listener(_)) = (single, section) {
            say(
                place,
                "a single string at a listener is read since 0.10; 0.7 to 0.9 ignore it, and the server-wide list holds",
            );
        }
    }

    /// The networks of a list that Stalwart takes, as they are written here.
    fn networks(&mut self, section: &Section, key: &str, list: &Written<'_>) -> Vec<IpNet> {
        let (mut networks, mut seen) = (Vec::new(), HashSet::new());
        for item in &list.items {
            match lists::made_of(item.text) {
                Made::Network(network, told) => {
                    for text in told {
                        let text = format!("\"{}\": {text}", item.text.escape_debug());
                        self.plan.note(section.clone(), Some(item.place), key, NoteKind::Meaning, text);
                    }
                    if seen.insert(network) {
                        networks.push(network);
                    }
                }
                Made::Nothing(why) => {
                    let text = format!("\"{}\": {why}", item.text.escape_debug());
                    self.plan.note(section.clone(), Some(item.place), key, NoteKind::Left, text);
                }
            }
        }
        for entry in &list.strange {
            let text =
                format!("\"{}\" is no entry of a list as it is known here", entry.value.escape_debug());
            self.plan.note(section.clone(), Some(&entry.place), &entry.key, NoteKind::Unknown, text);
        }
        networks
    }

    fn access(&mut self) {
        let deny = self.clients("server.blocked-ip");
        let mut allow = self.clients("server.allowed-ip");
        if self.form == Form::Text {
            // Nobody comes in here who is kept out there.
            let denied = |network: &IpNet| deny.iter().any(|other| overlap(network, other));
            let (both, rest) = allow.into_iter().partition(denied);
            allow = rest;
            for network in both {
                let text = format!(
                    "{} is in both lists. Up to 0.15 a block beats this list, which only prevents new ones; here \
                     `allow` beats `deny`",
                    lists::shown(network)
                );
                self.plan.note(Section::Access, None, "server.allowed-ip", NoteKind::Left, text);
            }
        }
        let trusted = self.all_trusted();
        for (key, list) in [("server.blocked-ip", &deny), ("server.allowed-ip", &allow)] {
            for network in list.iter().filter(|network| trusted.iter().any(|other| overlap(network, other))) {
                let text = format!(
                    "{} overlaps the trusted networks: here this is about clients only; a proxy with such an \
                     address speaks for others all the same, and needs no entry",
                    lists::shown(*network)
                );
                self.plan.note(Section::Access, None, key, NoteKind::Meaning, text);
            }
        }
        if !allow.is_empty() {
            let text = "there it prevents bans only; here `allow` beats everything that keeps clients out, `truepeer \
                        deny` too";
            self.plan.note(Section::Access, None, "server.allowed-ip", NoteKind::Meaning, text);
        }
        if !deny.is_empty() {
            let text = "there such a client's connection closes without a word; here it hears a permanent refusal in \
                        its protocol";
            self.plan.note(Section::Access, None, "server.blocked-ip", NoteKind::Meaning, text);
        }
        (self.plan.deny, self.plan.allow) = (deny, allow);
    }

    fn clients(&mut self, key: &str) -> Vec<IpNet> {
        let list = lists::written(self.entries, key);
        if let Some(Item { place, .. }) = list.items.iter().find(|item| !item.spelled.is_set()) {
            let text = "Stalwart wants a set here, `{\"192.0.2.1\"}` or a table with empty values, and reads nothing of a \
                        list. Here it is taken as it was meant";
            self.plan.note(Section::Access, Some(place), key, NoteKind::Stalwart, text);
        }
        self.networks(&Section::Access, key, &list)
    }

    fn all_trusted(&self) -> Vec<IpNet> {
        let own = self.plan.listeners.iter().filter_map(|listener| listener.trusted.as_ref());
        own.chain(&self.plan.trusted)
            .filter_map(|trust| match trust {
                Trust::Networks(networks) => Some(networks.clone()),
                Trust::Off => None,
            })
            .flatten()
            .collect()
    }
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// Whether it can stand in a greeting.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// A value that Stalwart takes for yes.
fn is_true(entry: Option<&Assignment>) -> bool {
    entry.is_some_and(|entry| entry.value.eq_ignore_ascii_case("true"))
}
