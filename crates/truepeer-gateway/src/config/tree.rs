//! The walk: every key of a parsed file is a setting, a section, or a problem. Nothing is read and ignored.
//!
//! It knows where settings stand, not what their values mean; `read` does that.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::{distance, nearest};
use super::problem::Problem;
use super::setting::Setting;
use super::settings::{ALL, FOREIGN};

/// The tables whose keys are names that the operator chooses.
const NAMED: [&str; 2] = ["server.listener.<id>", "backend.<id>"];

/// What a file holds, sorted by owner.
#[derive(Debug, Default)]
pub(super) struct Tree<'t> {
    found: Vec<Found<'t>>,
    /// `[server.listener.<id>]`, in the order of the file.
    pub(super) listeners: Vec<Section<'t>>,
    /// `[backend.<id>]`, in the order of the file.
    pub(super) backends: Vec<Section<'t>>,
}

/// A setting that the file holds.
#[derive(Debug)]
pub(super) struct Found<'t> {
    /// Which one.
    pub(super) setting: &'static Setting,
    /// Whose.
    pub(super) owner: Owner<'t>,
    /// Its full key, as the operator would write it.
    pub(super) key: String,
    /// What was written.
    pub(super) value: &'t Spanned<DeValue<'t>>,
}

impl Found<'_> {
    /// Whether the value is exactly this string.
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.value.get_ref(), DeValue::String(text) if text == word)
    }

    /// The value, if it is a whole number that is not negative.
    pub(super) fn integer(&self) -> Option<u64> {
        match self.value.get_ref() {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        }
    }
}

/// A named section, with the place where its name first stands.
#[derive(Debug, Clone)]
pub(super) struct Section<'t> {
    /// The name.
    pub(super) id: &'t str,
    /// Its place.
    pub(super) at: Range<usize>,
}

/// Whose a setting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner<'t> {
    /// `[server]`, `[log]` and the like: there is one of each.
    Global,
    /// The listener of that name.
    Listener(&'t str),
    /// The backend of that name.
    Backend(&'t str),
}

impl<'t> Tree<'t> {
    /// Walks the whole table. Problems are about keys only.
    pub(super) fn walk(table: &'t DeTable<'t>) -> (Self, Vec<Problem>) {
        let mut walk = Walk { tree: Self::default(), path: Vec::new(), problems: Vec::new() };
        walk.table(table);
        let by_place = |a: &Section<'_>, b: &Section<'_>| a.at.start.cmp(&b.at.start);
        walk.tree.listeners.sort_by(by_place);
        walk.tree.backends.sort_by(by_place);
        (walk.tree, walk.problems)
    }

    /// What the file says of `setting` for `owner`; nothing is inherited here.
    pub(super) fn get(&self, setting: &'static Setting, owner: Owner<'_>) -> Option<&Found<'t>> {
        self.found.iter().find(|found| std::ptr::eq(found.setting, setting) && found.owner == owner)
    }
}

struct Walk<'t> {
    tree: Tree<'t>,
    path: Vec<&'t str>,
    problems: Vec<Problem>,
}

/// What a key is.
enum Meaning {
    Setting(&'static Setting),
    Section,
    Foreign(&'static str),
    Unknown,
}

impl<'t> Walk<'t> {
    fn table(&mut self, table: &'t DeTable<'t>) {
        for (key, value) in table {
            self.path.push(key.get_ref().as_ref());
            self.entry(key.span(), value);
            self.path.pop();
        }
    }

    fn entry(&mut self, at: Range<usize>, value: &'t Spanned<DeValue<'t>>) {
        let key = join(&self.path);
        match meaning(&self.path) {
            Meaning::Setting(setting) => {
                let owner = match self.path.as_slice() {
                    ["server", "listener", id, ..] => Owner::Listener(id),
                    ["backend", id, ..] => Owner::Backend(id),
                    _ => Owner::Global,
                };
                self.tree.found.push(Found { setting, owner, key, value });
            }
            Meaning::Section => {
                let DeValue::Table(table) = value.get_ref() else {
                    let problem = Problem::new(format!("`{key}` is a section"))
                        .at(value.span(), format!("found {}", describe(value.get_ref())))
                        .help(format!(
                            "its settings stand below it, as `{key}.NAME = ...` or under `[{key}]`"
                        ));
                    self.problems.push(problem);
                    return;
                };
                match self.path.as_slice() {
                    ["server", "listener", id] => self.tree.listeners.push(Section { id, at: at.clone() }),
                    ["backend", id] => self.tree.backends.push(Section { id, at: at.clone() }),
                    _ => {}
                }
                if let ["server", "listener", id] | ["backend", id] = self.path.as_slice() {
                    self.name(id, at);
                }
                self.table(table);
            }
            Meaning::Foreign(advice) => self.problems.push(
                Problem::new(format!("`{key}` is no setting of truepeer"))
                    .at(at, "a key of Stalwart's")
                    .help(advice),
            ),
            Meaning::Unknown => {
                let mut problem = Problem::new(format!("unknown key `{key}`")).at(at, "not known");
                match suggestion(&self.path) {
                    Some(near) => problem = problem.help(format!("the nearest known one is `{near}`")),
                    None => {
                        if let Some(known) = siblings(&self.path) {
                            problem = problem.help(format!("known here: {known}"));
                        }
                    }
                }
                self.problems.push(problem);
            }
        }
    }

    /// Names become labels of metrics and fields of logs.
    fn name(&mut self, id: &str, at: Range<usize>) {
        const LONGEST: usize = 64;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if id.is_empty() || id.len() > LONGEST || !id.bytes().all(plain) {
            self.problems.push(
                Problem::new(format!("{id:?} cannot be a name"))
                    .at(at, "it appears in logs and metrics")
                    .help(format!("up to {LONGEST} letters, digits, `-`, `_` and `.`")),
            );
        }
    }
}

/// What a value is, for "found".
pub(super) fn describe(value: &DeValue<'_>) -> String {
    const LONGEST: usize = 60;
    match value {
        DeValue::String(text) if text.chars().count() <= LONGEST => format!("the string {text:?}"),
        DeValue::String(text) => {
            format!("the string {:?}...", text.chars().take(LONGEST).collect::<String>())
        }
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(flag) => format!("`{flag}`"),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(list) if list.is_empty() => "an empty list".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn meaning(path: &[&str]) -> Meaning {
    for setting in ALL {
        if setting.keys().any(|pattern| covers(&pattern, path) == Some(Cover::Whole)) {
            return Meaning::Setting(setting);
        }
    }
    if ALL.iter().any(|setting| setting.keys().any(|pattern| covers(&pattern, path) == Some(Cover::Prefix))) {
        return Meaning::Section;
    }
    let foreign = FOREIGN
        .iter()
        .find(|(patterns, _)| patterns.iter().any(|pattern| covers(pattern, path) == Some(Cover::Whole)));
    foreign.map_or(Meaning::Unknown, |(_, advice)| Meaning::Foreign(advice))
}

/// How much of a pattern a path is.
#[derive(PartialEq, Eq)]
enum Cover {
    Whole,
    Prefix,
}

fn covers(pattern: &str, path: &[&str]) -> Option<Cover> {
    let mut segments = pattern.split('.');
    for key in path {
        match segments.next()? {
            "<id>" => {}
            segment if segment == *key => {}
            _ => return None,
        }
    }
    Some(if segments.next().is_none() { Cover::Whole } else { Cover::Prefix })
}

/// The known key that was probably meant, with the operator's own names in it.
fn suggestion(path: &[&str]) -> Option<String> {
    let written = join(path);
    let last = path.last()?;
    let known: Vec<String> = known_keys().map(|pattern| with_names(&pattern, path)).collect();
    // The same word in another place is a better guess than another word in the same place.
    let moved = known
        .iter()
        .filter(|key| key.rsplit('.').next() == Some(last))
        .min_by_key(|key| distance(key, &written));
    let here = join(path.get(..path.len().saturating_sub(1)).unwrap_or_default());
    let near = || {
        let below = known.iter().filter_map(|key| {
            let rest =
                if here.is_empty() { key.as_str() } else { key.strip_prefix(&here)?.strip_prefix('.')? };
            (!rest.contains('<')).then_some(rest)
        });
        let rest = nearest(last, below)?;
        Some(if here.is_empty() { rest.to_owned() } else { format!("{here}.{rest}") })
    };
    moved.cloned().or_else(near)
}

/// The last parts of the keys known in the section that `path` is in.
fn siblings(path: &[&str]) -> Option<String> {
    let here = path.get(..path.len().checked_sub(1)?)?;
    let mut names: Vec<String> = known_keys()
        .filter_map(|pattern| {
            let depth = here.len();
            (covers(&pattern, here) == Some(Cover::Prefix))
                .then(|| pattern.split('.').nth(depth).map(str::to_owned))
                .flatten()
        })
        .filter(|name| name != "<id>")
        .collect();
    names.sort_unstable();
    names.dedup();
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Every key and every section, as patterns.
fn known_keys() -> impl Iterator<Item = String> {
    let sections =
        ["server", "server.listener", "backend", "access", "limits", "log", "admin", "status", "shared"]
            .into_iter()
            .chain(NAMED);
    ALL.iter().flat_map(|setting| setting.keys()).chain(sections.map(str::to_owned))
}

/// The pattern with its `<id>` taken from `path`, as far as they run together.
fn with_names(pattern: &str, path: &[&str]) -> String {
    let mut together = true;
    let segments = pattern.split('.').enumerate().map(|(at, segment)| {
        let written = path.get(at).copied();
        match (segment, written) {
            ("<id>", Some(id)) if together => id,
            _ => {
                together &= written == Some(segment);
                segment
            }
        }
    });
    segments.collect::<Vec<_>>().join(".")
}

/// A dotted key, with quotes where TOML wants them.
fn join(path: &[&str]) -> String {
    let bare = |key: &&str| {
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let quote = |key: &&str| if bare(key) { (*key).to_owned() } else { format!("{key:?}") };
    path.iter().map(quote).collect::<Vec<_>>().join(".")
}
