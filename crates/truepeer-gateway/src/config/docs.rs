//! What the table of settings looks like on paper: `docs/config.md`, the sample file, `check --explain KEY`.
//!
//! Everything here is rendered from `settings`; a test fails when the files in the repository are not what it renders.

use std::fmt::Write as _;

use super::setting::{Default, Sample, Scope, Setting, Shape, by_protocol, duration_text};
use super::settings::ALL;

const INTRODUCTION: &str = "\
# Configuration

<!-- Generated from the table of settings; `UPDATE=1 cargo test -p truepeer-gateway --test config_cases` rewrites it. -->

The configuration is one TOML file: the one named with `--config`, else `/etc/truepeer/truepeer.toml`.
Where neither exists, a demonstration on loopback starts; under a service manager or as PID 1 that is an error instead.

- `truepeer check` reads a file as `run` would and says everything that is wrong or surprising about it.
- `truepeer check --explain KEY` prints the entry of this page for one key.
- A key that is not on this page is an error: nothing is read and ignored.
- Durations carry their unit: `\"500ms\"`, `\"5s\"`, `\"2m\"`, `\"1h30m\"`.
- Tables and dotted keys mean the same: `proxy.unlisted = ...` under `[server]` is `unlisted = ...` under `[server.proxy]`.
- `<id>` is a name that you choose: letters, digits, `-`, `_` and `.`.
";

const SAMPLE_INTRODUCTION: &str = "\
# A configuration of truepeer.
#
# Lines in force are what a front door for one mail server needs; put your proxy's address into
# `trusted-networks`. Lines behind `#` show settings at their default, or an example where the
# default follows from something else. `truepeer check` says what a file means.
";

/// The sections of the documentation: which settings, under which heading, with which first sentence.
const SECTIONS: [(Scope, &str, &str); 12] = [
    (Scope::Server, "`[server]`", "Settings of the whole process."),
    (
        Scope::Proxy,
        "`proxy.` in `[server]` or in one listener",
        "Which proxies are trusted, and how their headers are read.\n\
         Each of these may stand under `[server]` for all listeners, and under a `[server.listener.<id>]`, where it wins.",
    ),
    (
        Scope::Refuse,
        "`refuse.` in `[server]` or in one listener",
        "What refused clients are told; `docs/refusals.md` has the exact lines.",
    ),
    (Scope::Listener, "`[server.listener.<id>]`", "Where clients and proxies connect."),
    (Scope::Backend, "`[backend.<id>]`", "The servers that clients are handed to."),
    (
        Scope::Access,
        "`[access]`, or `access.` in one listener",
        "Which clients may enter.\n\
         Applies to clients only: a proxy that is listed here may still bring other clients, and its own connections are not checked.\n\
         The order is always: `allow`, then `deny`, then `default`; a listener's lists add to those of `[access]`, and `allow` of either beats `deny` of both.\n\
         `truepeer check --explain-ip ADDRESS` says what would happen to an address, and which line says so.",
    ),
    (
        Scope::Limits,
        "`[limits]`, or `limits.` in one listener",
        "How many connections clients may have.\n\
         Limits are about clients: a proxy may bring as many as it likes, and its own connections do not count here.\n\
         A limit always answers temporarily, in the listener's protocol, and never where `tls.implicit = true`.\n\
         Each of these may stand in `[limits]` for all listeners, and under a `[server.listener.<id>.limits]`, where it wins.",
    ),
    (Scope::LimitsOfAll, "`[limits]` only", "What all listeners share."),
    (Scope::Log, "`[log]`", "What is logged, and where."),
    (Scope::Admin, "`[admin]`", "For the operator: commands that reach a running server."),
    (Scope::Status, "`[status]`", "For monitoring: numbers and readiness, read-only."),
    (
        Scope::Shared,
        "`[shared]`",
        "What several front doors know together: bans, through a common Redis or Valkey.\n\
         `docs/scale.md` says what is shared and what is not.",
    ),
];

/// The text of `docs/config.md`.
#[must_use]
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (scope, heading, sentence) in SECTIONS {
        let _ = write!(page, "\n## {heading}\n\n{sentence}\n");
        for setting in in_scope(scope) {
            let _ = write!(page, "\n### `{}`\n\n{}\n\n", setting.name, setting.docs);
            let keys: Vec<_> = setting.keys().map(|key| format!("`{key}`")).collect();
            let _ = writeln!(page, "- Key: {}", keys.join(" or "));
            for line in facts(setting) {
                let _ = writeln!(page, "- {line}");
            }
        }
    }
    page
}

/// The text of the sample file: valid as it stands, and showing every setting.
#[must_use]
pub fn sample() -> String {
    let mut file = SAMPLE_INTRODUCTION.to_owned();
    let proxy = |setting: &&&'static Setting| setting.name.starts_with("proxy.");
    let server = |wanted: bool| {
        ALL.iter()
            .filter(|setting| matches!(setting.scope, Scope::Server | Scope::Proxy | Scope::Refuse))
            .filter(move |setting| proxy(setting) == wanted)
    };
    sample_section(&mut file, "server", "", server(false));
    sample_section(&mut file, "server.proxy", "proxy.", server(true));
    file.push_str(
        "\n# Each listener has a section of its own. All of [server.proxy] but `max-pending` may stand here, too,\n\
         # as in `proxy.unlisted = \"refuse\"`, and then wins.",
    );
    let listener = ALL.iter().filter(|setting| setting.scope == Scope::Listener);
    sample_section(&mut file, "server.listener.smtp", "", listener);
    sample_section(
        &mut file,
        "backend.postfix",
        "",
        ALL.iter().filter(|setting| setting.scope == Scope::Backend),
    );
    file.push_str("\n# May stand in one listener, too, as in `access.deny = [...]`: its lists add to these.");
    let access = ALL.iter().filter(|setting| setting.scope == Scope::Access);
    sample_section(&mut file, "access", "", access);
    file.push_str("\n# All of [limits] but `max-clients` may stand in one listener, too, as in `limits.ipv6-prefix = 56`, and then wins.");
    sample_section(
        &mut file,
        "limits",
        "",
        ALL.iter().filter(|setting| matches!(setting.scope, Scope::Limits | Scope::LimitsOfAll)),
    );
    sample_section(&mut file, "log", "", ALL.iter().filter(|setting| setting.scope == Scope::Log));
    sample_section(&mut file, "admin", "", ALL.iter().filter(|setting| setting.scope == Scope::Admin));
    sample_section(&mut file, "status", "", ALL.iter().filter(|setting| setting.scope == Scope::Status));
    sample_section(&mut file, "shared", "", ALL.iter().filter(|setting| setting.scope == Scope::Shared));
    file
}

/// What `key` means; `None` if it is no key at all.
///
/// The key may be written in full, with a name or `<id>` in it, or as its last parts: `header-timeout`.
#[must_use]
pub fn explain(key: &str) -> Option<String> {
    let whole = |pattern: &str| {
        let parts = || pattern.split('.').zip(key.split('.'));
        pattern.split('.').count() == key.split('.').count()
            && parts().all(|(part, written)| part == written || part == "<id>" && !written.is_empty())
    };
    let tail = |pattern: &str| pattern.strip_suffix(key).is_some_and(|rest| rest.ends_with('.'));
    let by = |matches: &dyn Fn(&str) -> bool| {
        let entries: Vec<String> = ALL
            .iter()
            .filter(|setting| setting.keys().any(|pattern| matches(&pattern)))
            .map(|setting| entry(setting))
            .collect();
        (!entries.is_empty()).then(|| entries.join("\n"))
    };
    by(&whole).or_else(|| by(&tail))
}

fn in_scope(scope: Scope) -> impl Iterator<Item = &'static Setting> {
    ALL.iter().copied().filter(move |setting| setting.scope == scope)
}

fn entry(setting: &Setting) -> String {
    let mut text = setting.keys().collect::<Vec<_>>().join("\n");
    let _ = write!(text, "\n\n{}\n\n", setting.docs);
    for line in facts(setting) {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// What is allowed and what holds by default.
fn facts(setting: &Setting) -> Vec<String> {
    let mut lines = vec![format!("Allowed: {}", setting.shape.allowed())];
    if let Shape::Duration { floor, why } = setting.shape
        && !floor.is_zero()
    {
        lines.push(format!("At least `\"{}\"`: {why}", duration_text(floor)));
    }
    match (setting.default_toml(), setting.default) {
        (Some(value), _) => lines.push(format!("Default: `{value}`")),
        (None, Default::Required) => lines.push("Required".to_owned()),
        (None, Default::ByProtocol(value)) => lines.push(format!("Default: {}", by_protocol(value))),
        (None, Default::Derived(what)) => lines.push(format!("Default: {what}")),
        (None, _) => {}
    }
    lines
}

fn sample_section<'s>(
    file: &mut String,
    table: &str,
    prefix: &str,
    settings: impl Iterator<Item = &'s &'static Setting>,
) {
    let _ = write!(file, "\n[{table}]\n");
    for (at, setting) in settings.enumerate() {
        if at > 0 {
            file.push('\n');
        }
        for sentence in setting.docs.lines() {
            comment(file, sentence);
        }
        let name = setting.name.strip_prefix(prefix).unwrap_or(setting.name);
        let _ = match setting.sample {
            Sample::Live(value) => writeln!(file, "{name} = {value}"),
            Sample::Comment(value) => writeln!(file, "#{name} = {value}"),
            Sample::Example(value) => writeln!(file, "# {name} = {value}"),
            Sample::CommentDefault => {
                writeln!(file, "#{name} = {}", setting.default_toml().unwrap_or_default())
            }
        };
    }
}

/// A sentence as comment lines of a fair width.
fn comment(file: &mut String, sentence: &str) {
    const WIDTH: usize = 100;
    let mut width = 1_usize;
    file.push('#');
    for word in sentence.split(' ') {
        let needed = word.chars().count().saturating_add(1);
        if width.saturating_add(needed) > WIDTH {
            file.push_str("\n#");
            width = 1;
        }
        file.push(' ');
        file.push_str(word);
        width = width.saturating_add(needed);
    }
    file.push('\n');
}
