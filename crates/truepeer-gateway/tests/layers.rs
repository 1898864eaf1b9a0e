//! The house: which floor may use which, and no circles anywhere. The table is the one that `ARCHITECTURE.md` shows.
//!
//! Read from the text of the sources: every path that begins with `crate::`, in code that is not a test's. An arrow
//! that the table lacks fails with both names, and so does a row of the table that no code needs any more.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

type Arrows = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A module's path and its code without comments and tests.
struct Module {
    path: Vec<String>,
    file: PathBuf,
    code: String,
}

fn modules() -> Vec<Module> {
    modules_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

fn modules_of(src: &Path) -> Vec<Module> {
    let mut found = Vec::new();
    gather(src, src, &mut found);
    assert!(found.len() > 70, "the sources are not where this test looks: {}", src.display());
    found
}

fn gather(src: &Path, folder: &Path, found: &mut Vec<Module>) {
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        if name == "tests" {
            continue;
        }
        if file.is_dir() {
            gather(src, &file, found);
        } else if file.extension().is_some_and(|extension| extension == "rs") {
            let mut path: Vec<_> =
                file.strip_prefix(src).unwrap().with_extension("").iter().map(text).collect();
            if name == "mod" {
                path.pop();
            }
            found.push(Module { path, code: code(&fs::read_to_string(&file).unwrap()), file });
        }
    }
}

fn text(part: &std::ffi::OsStr) -> String {
    part.to_str().unwrap().to_owned()
}

/// Without comments, and without what stands behind `#[cfg(test)]`, which is always last.
fn code(file: &str) -> String {
    let product = file.split("#[cfg(test)]").next().unwrap();
    let lines = product.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Every `crate::` path in `code`, groups in braces taken apart.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        follow(rest, &mut Vec::new(), &mut found);
    }
    found
}

/// Reads one path or one group at the head of `rest`; returns what is behind it.
fn follow<'a>(mut rest: &'a str, before: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    rest = rest.trim_start();
    if let Some(group) = rest.strip_prefix('{') {
        rest = group;
        loop {
            rest = follow(rest, before, found).trim_start();
            match rest.strip_prefix(',') {
                Some(more) if !more.trim_start().starts_with('}') => rest = more,
                Some(more) => return more.trim_start().strip_prefix('}').unwrap_or(more),
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let (name, mut behind) = rest.split_at(end);
    before.push(name.to_owned());
    match behind.strip_prefix("::") {
        Some(more) => behind = follow(more, before, found),
        None => found.push(before.clone()),
    }
    before.pop();
    behind
}

/// Which floor uses which.
fn floors(modules: &[Module]) -> Arrows {
    let mut arrows = Arrows::new();
    for module in modules {
        let Some(from) = module.path.first().filter(|from| *from != "lib" && *from != "main") else {
            continue;
        };
        let to = arrows.entry(from.clone()).or_default();
        to.extend(paths(&module.code).into_iter().filter_map(|path| path.into_iter().next()));
        to.remove(from);
    }
    arrows
}

/// The rows of the table in `ARCHITECTURE.md`, under the heading on floors.
fn table() -> Arrows {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = page.split("## Floors").nth(1).unwrap_or_else(|| panic!("no section on floors"));
    let rows = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let row = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').collect();
        let from = words(cells[0])[0].trim_end_matches(".rs").trim_end_matches('/').to_owned();
        let to = words(cells[1])
            .iter()
            .map(|to| to.trim_end_matches(".rs").trim_end_matches('/').to_owned())
            .collect();
        (from, to)
    };
    rows.take_while(|line| line.starts_with('|')).map(row).collect()
}

#[test]
fn every_arrow_between_floors_is_in_the_table_and_every_row_is_needed() {
    let (found, allowed) = (floors(&modules()), table());
    let mut wrong = Vec::new();
    for (from, tos) in &found {
        let row = allowed.get(from);
        let planted = tos.iter().filter(|to| !row.is_some_and(|row| row.contains(*to)));
        wrong.extend(planted.map(|to| format!("{from} uses {to}, which the table does not allow")));
    }
    for (from, tos) in &allowed {
        let Some(used) = found.get(from) else {
            wrong.push(format!("the table has a floor {from} that is not there"));
            continue;
        };
        wrong.extend(
            tos.difference(used).map(|to| format!("the table lets {from} use {to}, which nothing needs")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_room_engine_or_fact_knows_who_furnishes_it_or_tells_of_it() {
    let found = floors(&modules());
    for low in ["rooms", "engine", "facts"] {
        for high in ["config", "server", "door", "observe", "doctor", "connection", "control", "cli"] {
            assert!(!found[low].contains(high), "{low} uses {high}");
        }
    }
}

/// Every path that begins with `super::`: how often it says so, and what is behind.
fn supers(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("super::") {
        rest = &rest[at..];
        let mut parents = 0_usize;
        while let Some(behind) = rest.strip_prefix("super::") {
            (parents, rest) = (parents.saturating_add(1), behind);
        }
        found.push((parents, rest));
    }
    found
}

/// For each folder, the modules in it and which of its neighbours each uses, submodules counted with their parent.
fn neighbours(modules: &[Module]) -> BTreeMap<Vec<String>, Arrows> {
    let known: BTreeSet<&[String]> = modules.iter().map(|module| module.path.as_slice()).collect();
    let mut folders: BTreeMap<Vec<String>, Arrows> = BTreeMap::new();
    for module in modules {
        let mut uses: Vec<Vec<String>> = paths(&module.code);
        for (parents, rest) in supers(&module.code) {
            let Some(parent) = module.path.len().checked_sub(parents) else { continue };
            follow(rest, &mut module.path[..parent].to_vec(), &mut uses);
        }
        for used in uses {
            let target = (1..=used.len()).rev().map(|len| &used[..len]).find(|path| known.contains(path));
            let Some(target) = target else { continue };
            let shared = module.path.iter().zip(target).take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (module.path.get(shared), target.get(shared)) {
                let folder = folders.entry(module.path[..shared].to_vec()).or_default();
                folder.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    folders
}

fn circle(arrows: &Arrows) -> Option<Vec<String>> {
    fn walk(at: &str, arrows: &Arrows, trail: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
        if let Some(begin) = trail.iter().position(|step| step == at) {
            trail.drain(..begin);
            return true;
        }
        if !done.insert(at.to_owned()) {
            return false;
        }
        trail.push(at.to_owned());
        let found = arrows.get(at).is_some_and(|tos| tos.iter().any(|to| walk(to, arrows, trail, done)));
        if !found {
            trail.pop();
        }
        found
    }
    let mut done = BTreeSet::new();
    arrows.keys().find_map(|start| {
        let mut trail = Vec::new();
        walk(start, arrows, &mut trail, &mut done).then_some(trail)
    })
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    let folders = neighbours(&modules());
    let circles: Vec<_> = folders
        .iter()
        .filter_map(|(folder, arrows)| {
            circle(arrows).map(|circle| format!("{}: {}", folder.join("::"), circle.join(" -> ")))
        })
        .collect();
    assert!(circles.is_empty(), "{circles:#?}");
}

fn planted(path: &[&str], code: &str) -> Module {
    Module {
        path: path.iter().map(|part| (*part).to_owned()).collect(),
        file: PathBuf::new(),
        code: code.to_owned(),
    }
}

#[test]
fn planted_arrows_and_circles_are_found() {
    let modules = [
        planted(&["rooms", "a"], "use crate::{config::{Config, Log}, facts::x::Y};"),
        planted(&["rooms", "b"], "use super::a::Thing;"),
        planted(&["rooms", "a", "c"], "fn f() { crate::rooms::b::go(); }"),
    ];
    assert_eq!(floors(&modules)["rooms"], ["config", "facts"].map(str::to_owned).into());
    let folders = neighbours(&modules);
    assert_eq!(circle(&folders[&vec!["rooms".to_owned()]]), Some(vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn no_room_names_the_runtime_and_no_file_is_too_long() {
    for module in modules() {
        let floor = module.path.first().map_or("", String::as_str);
        if ["rooms", "connection", "door", "facts"].contains(&floor) {
            for word in
                ["tokio", "socket2", "rustix::net", "TcpStream", "TcpListener", "UdpSocket", "os::unix::net"]
            {
                assert!(!module.code.contains(word), "{} names {word}", module.file.display());
            }
        }
        let lines = fs::read_to_string(&module.file).unwrap().lines().count();
        assert!(lines <= 500, "{} has {lines} lines", module.file.display());
    }
    let walk = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/connection.rs")).unwrap();
    assert!(walk.lines().count() < 150, "the walk is a story of less than 150 lines");
}

#[test]
fn only_the_walk_writes_the_record() {
    let mut seen = 0;
    for module in modules() {
        let path: Vec<_> = module.path.iter().map(String::as_str).collect();
        let notes = matches!(path[..], ["connection"] | ["connection", "noted"] | ["rooms", "record", ..]);
        if !notes && ["connection", "rooms", "engine", "facts"].contains(&path[0]) {
            seen += 1;
            for word in ["&mut Record", "&mut Observer", "seen.record"] {
                assert!(!module.code.contains(word), "{} names {word}", module.file.display());
            }
        }
    }
    assert!(seen > 50, "only {seen} files were read");
}

/// Folders whose types may have the names of others, each with the reason.
const NAMED_ALIKE: [(&str, &str); 1] =
    [("control::admin::reply", "what the admin socket says of a thing is called like the thing")];

/// The types that `code` shows beyond its own folder. What only one file or its folder sees may have a short name.
fn shown_types(code: &str) -> impl Iterator<Item = &str> {
    code.lines().filter_map(|line| {
        let declared = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) "))?;
        let named = ["struct ", "enum ", "trait "].iter().find_map(|kind| declared.strip_prefix(kind))?;
        named.split(|c: char| !c.is_alphanumeric()).next()
    })
}

/// Names that stand for more than one type, and where.
fn names_of_several(modules: &[Module]) -> BTreeMap<String, Vec<String>> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for module in modules {
        let place = module.path.join("::");
        if !NAMED_ALIKE.iter().any(|(folder, _)| place.starts_with(folder)) {
            for name in shown_types(&module.code) {
                places.entry(name.to_owned()).or_default().push(place.clone());
            }
        }
    }
    places.retain(|_, places| places.len() > 1);
    places
}

#[test]
fn a_name_of_a_type_means_one_thing() {
    let modules = modules();
    let doubled = names_of_several(&modules);
    assert!(doubled.is_empty(), "{doubled:#?}");
    let types = modules.iter().flat_map(|module| shown_types(&module.code)).count();
    assert!(types > 400, "only {types} types were found");
    for (folder, why) in NAMED_ALIKE {
        assert!(modules.iter().any(|module| module.path.join("::") == folder), "{folder} is gone ({why})");
    }
}

#[test]
fn a_name_of_a_type_means_one_thing_in_the_doctors_crate() {
    let modules = modules_of(&root().join("crates/truepeer-doctor/src"));
    let doubled = names_of_several(&modules);
    assert!(doubled.is_empty(), "{doubled:#?}");
    let types = modules.iter().flat_map(|module| shown_types(&module.code)).count();
    assert!(types > 60, "only {types} types were found");
}

#[test]
fn a_planted_second_meaning_is_found() {
    let modules = [
        planted(&["rooms", "a"], "pub struct Room(u8);\npub enum Kind {"),
        planted(&["facts"], "pub(crate) enum Room {\npub(super) struct Kind;\nenum Kind {"),
        planted(&["control", "admin", "reply"], "pub struct Room {"),
    ];
    let both = vec!["rooms::a".to_owned(), "facts".to_owned()];
    assert_eq!(names_of_several(&modules), BTreeMap::from([("Room".to_owned(), both)]));
}

/// The page that a newcomer reads, and the two behind it.
const PAGES: [&str; 3] = ["ARCHITECTURE.md", "docs/design/where.md", "docs/design/invariants.md"];

#[test]
fn every_path_that_the_architecture_names_exists() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut missing = Vec::new();
    let mut seen = 0;
    let pages = PAGES.map(|page| fs::read_to_string(root().join(page)).unwrap());
    for word in pages.iter().flat_map(|page| page.split('`').skip(1).step_by(2)) {
        if !(word.ends_with(".rs") || word.ends_with('/')) || word.contains(' ') {
            continue;
        }
        seen += 1;
        let places = [
            root(),
            src.clone(),
            root().join("crates/truepeer/src"),
            Path::new(env!("CARGO_MANIFEST_DIR")).into(),
        ];
        if !places.iter().any(|place| place.join(word).exists()) {
            missing.push(word.to_owned());
        }
    }
    assert!(seen > 80, "only {seen} paths are named");
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_architecture_is_one_page_and_answers_what_a_newcomer_asks() {
    let page = fs::read_to_string(root().join(PAGES[0])).unwrap();
    let lines = page.lines().count();
    assert!(
        lines <= 90,
        "{lines} lines: the long list of places is {}, that of invariants {}",
        PAGES[1],
        PAGES[2]
    );
    let answers = page.split("## Where is ...?").nth(1).unwrap().split("\n## ").next().unwrap();
    for asked in [
        "the text of an SMTP refusal",
        "the header's deadline",
        "what happens when the backend dies",
        "a ban",
        "how a setting is added",
        "where a new handoff goes",
        "where a new protocol goes",
        "where a new TLV goes",
        "where a new kind of backend goes",
    ] {
        let answer = answers.lines().find(|line| line.starts_with(&format!("- {asked}:")));
        assert!(answer.is_some_and(|answer| answer.contains('`')), "{asked}");
    }
}
