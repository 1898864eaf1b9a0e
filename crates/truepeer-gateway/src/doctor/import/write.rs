//! Our configuration as text: each part with what is to be known about it above, the rest at the end.

use std::fmt::Write as _;

use ipnet::IpNet;

use super::note::{Note, NoteKind, Section};
use super::plan::{Listener, Plan, Tls, Trust};
use super::{Form, Imported};
use truepeer_doctor::stalwart::lists;

/// Where comments are wrapped.
const WIDTH: usize = 100;

/// Writes it all down.
pub(super) fn write(plan: Plan, name: &str, form: Form) -> Imported {
    let mut out = Text::default();
    let line = match form {
        Form::Text => "a text file, as up to 0.15",
        Form::Objects => "objects in JSON, as since 0.16",
    };
    let name: String = name.chars().flat_map(char::escape_debug).collect();
    out.comment(&format!("Made by `truepeer import stalwart` of {name} ({line})."));
    out.comment("Comments name the line or object that they are about. Read them, then `truepeer check`.");
    out.blank();
    out.line("[server]");
    out.notes(&plan.notes, &Section::Server);
    if let Some(hostname) = &plan.hostname {
        out.line(&format!("hostname = {}", quote(hostname)));
    }
    out.blank();
    let said = plan.notes.iter().any(|note| note.section == Section::Proxy);
    if plan.trusted.is_some() || said {
        out.line("[server.proxy]");
        out.notes(&plan.notes, &Section::Proxy);
        out.trusted("trusted-networks", plan.trusted.as_ref());
        out.blank();
    }
    let all =
        plan.listeners.iter().map(|listener| Section::Listener(listener.id.clone())).collect::<Vec<_>>();
    for listener in &plan.listeners {
        out.listener(listener, &plan.notes);
    }
    for Listener { id, backend, .. } in &plan.listeners {
        out.line(&format!("[backend.{}]", key(&backend_id(id))));
        out.line("kind = \"stalwart\"");
        out.line(&format!("address = \"{backend}\""));
        out.blank();
    }
    if !(plan.deny.is_empty() && plan.allow.is_empty())
        || plan.notes.iter().any(|note| note.section == Section::Access)
    {
        out.line("[access]");
        out.notes(&plan.notes, &Section::Access);
        out.networks("deny", &plan.deny);
        out.networks("allow", &plan.allow);
        out.blank();
    }
    out.comment("To change in Stalwart, in one go with starting truepeer:");
    for line in &plan.stalwart {
        out.comment(&format!("  {line}"));
    }
    let rest: Vec<&Note> = plan
        .notes
        .iter()
        .filter(|note| match &note.section {
            Section::End => true,
            section @ Section::Listener(_) => !all.contains(section),
            Section::Server | Section::Proxy | Section::Access => false,
        })
        .collect();
    for (title, kinds) in [
        ("Not in this configuration:", &[NoteKind::Left, NoteKind::Stalwart, NoteKind::Meaning][..]),
        ("Not known here, so nothing was made of it:", &[NoteKind::Unknown]),
        ("Goes on in Stalwart:", &[NoteKind::Stays]),
    ] {
        let of_kind: Vec<_> = rest.iter().filter(|note| kinds.contains(&note.kind)).collect();
        if !of_kind.is_empty() {
            out.comment("");
            out.comment(title);
        }
        for note in of_kind {
            out.comment(&format!("  {note}"));
        }
    }
    Imported { config: out.0, notes: plan.notes, stalwart: plan.stalwart }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }

    fn blank(&mut self) {
        if !self.0.ends_with("\n\n") {
            self.0.push('\n');
        }
    }

    /// One paragraph, wrapped between words; what is longer than a line stands alone.
    fn comment(&mut self, text: &str) {
        let indent: String = text.chars().take_while(|c| *c == ' ').collect();
        let mut line = String::new();
        for word in text.split_whitespace() {
            let word: String = word
                .chars()
                .flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] })
                .collect();
            if !line.is_empty() && line.chars().count().saturating_add(word.chars().count()) > WIDTH {
                self.line(&format!("#{line}"));
                line = format!(" {indent}  {word}");
            } else if line.is_empty() {
                line = format!(" {indent}{word}");
            } else {
                line.push(' ');
                line.push_str(&word);
            }
        }
        self.line(&format!("#{line}"));
    }

    fn notes(&mut self, notes: &[Note], section: &Section) {
        for note in notes.iter().filter(|note| note.section == *section) {
            self.comment(&note.to_string());
        }
    }

    fn listener(&mut self, listener: &Listener, notes: &[Note]) {
        self.line(&format!("[server.listener.{}]", key(&listener.id)));
        self.notes(notes, &Section::Listener(listener.id.clone()));
        let binds: Vec<String> = listener.binds.iter().map(ToString::to_string).collect();
        self.list("bind", &binds);
        self.line(&format!("protocol = \"{}\"", listener.protocol));
        if listener.tls == Tls::Implicit {
            self.line("tls.implicit = true");
        }
        self.line(&format!("backend = {}", quote(&backend_id(&listener.id))));
        self.trusted("proxy.trusted-networks", listener.trusted.as_ref());
        self.blank();
    }

    fn trusted(&mut self, key: &str, trusted: Option<&Trust>) {
        match trusted {
            Some(Trust::Networks(networks)) => self.networks(key, networks),
            Some(Trust::Off) => self.line(&format!("{key} = \"off\"")),
            None => {}
        }
    }

    fn networks(&mut self, key: &str, networks: &[IpNet]) {
        if !networks.is_empty() {
            let shown: Vec<String> = networks.iter().copied().map(lists::shown).collect();
            self.list(key, &shown);
        }
    }

    /// In one line if it fits.
    fn list(&mut self, key: &str, items: &[String]) {
        let quoted: Vec<String> = items.iter().map(|item| quote(item)).collect();
        let line = format!("{key} = [{}]", quoted.join(", "));
        if line.len() <= WIDTH {
            return self.line(&line);
        }
        self.line(&format!("{key} = ["));
        for item in quoted {
            self.line(&format!("  {item},"));
        }
        self.line("]");
    }
}

fn backend_id(listener: &str) -> String {
    format!("stalwart-{listener}")
}

/// A basic string of TOML.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A name as a key.
fn key(name: &str) -> String {
    let bare = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if bare { name.to_owned() } else { quote(name) }
}
