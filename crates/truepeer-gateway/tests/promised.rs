//! `pub` means promised: what the libraries show is used outside of them, or written about.
//!
//! That nothing is `pub` which cannot be reached is a lint's work (`unreachable_pub`); this asks whether anybody wants it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

const LIBRARIES: [&str; 3] = ["truepeer-proto", "truepeer", "truepeer-doctor"];

/// Names that no document and no other crate has, each with the reason why it is shown all the same.
const SHOWN_ANYWAY: [(&str, &str); 17] = [
    ("V2_MIN_LEN", "the length of the specification beside the three that are used"),
    ("MAX_HELD", "the bound of what is held back"),
    ("DEFAULT_HEADER_TIMEOUT", "the default of a documented setting"),
    ("DEFAULT_MAX_PENDING", "the default of a documented setting"),
    ("DEFAULT_MAX_HANDSHAKES", "the default of a documented setting"),
    ("DEFAULT_HANDSHAKE_TIMEOUT", "the default of a documented setting"),
    ("unsafe_everybody", "for a port that only proxies can reach"),
    ("as_ssl", "the TLV behind facts that are shown"),
    ("alibaba_service_id", "one name for each registered TLV"),
    ("Mapped", "the type of a row's field"),
    ("CheckSends", "the type of a row's field"),
    ("CheckKind", "the type of a row's field"),
    ("TlsNote", "the type of a row's field"),
    ("CheckForm", "the type of a fact"),
    ("ConnectTls", "the type of a fact"),
    ("LENGTHS", "what the error beside it speaks of"),
    ("MAX_SOCKETS", "a bound"),
];

/// Names that come in families, of which somebody uses one.
const FAMILIES: [&str; 2] = ["poll_", "DEFAULT_"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every source and document below `folder`, with its path.
fn read(folder: &Path, texts: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                read(&path, texts);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "md") {
            let text = fs::read_to_string(&path).unwrap();
            texts.push((path, text));
        }
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// Functions, types and constants that a source file shows, tests left out.
fn shown(source: &str) -> Vec<&str> {
    let product = source.split("#[cfg(test)]").next().unwrap();
    product.lines().filter_map(|line| declared(line.trim_start().strip_prefix("pub ")?)).collect()
}

/// What a line behind its `pub` declares, if it is neither a field nor a module nor a name of another place.
fn declared(line: &str) -> Option<&str> {
    let mut rest = line;
    while let Some((word, behind)) = rest.split_once(' ') {
        match word {
            "async" => rest = behind,
            "const" if behind.starts_with("fn ") || behind.starts_with("async ") => rest = behind,
            "fn" | "struct" | "enum" | "trait" | "const" | "static" | "type" => {
                return behind.split(|c: char| !(c.is_alphanumeric() || c == '_')).next();
            }
            _ => return None,
        }
    }
    None
}

#[test]
fn what_the_libraries_show_is_used_outside_of_them_or_written_about() {
    let mut texts = Vec::new();
    for folder in ["crates", "docs", "fuzz", "interop", "bench"] {
        read(&root().join(folder), &mut texts);
    }
    let own = LIBRARIES.map(|library| root().join("crates").join(library).join("src"));
    // Where each word stands: in which library's sources, or elsewhere.
    let mut places: HashMap<&str, BTreeSet<usize>> = HashMap::new();
    for (path, text) in &texts {
        let place = own.iter().position(|own| path.starts_with(own)).unwrap_or(LIBRARIES.len());
        let mut note = |word, place| {
            places.entry(word).or_default().insert(place);
        };
        words(text).for_each(|word| note(word, place));
        // What a module says of itself is a document, too.
        let documents = text.lines().filter(|line| line.trim_start().starts_with("//!"));
        documents.flat_map(words).for_each(|word| note(word, LIBRARIES.len()));
    }
    let (mut unwanted, mut seen) = (Vec::new(), 0);
    let mut spare: BTreeSet<&str> = SHOWN_ANYWAY.iter().map(|(name, _)| *name).collect();
    for (place, library) in LIBRARIES.iter().enumerate() {
        let sources = texts.iter().filter(|(path, _)| {
            let inside = path.strip_prefix(&own[place]);
            inside.is_ok_and(|inside| !inside.iter().any(|part| part == "tests" || part == "tests.rs"))
        });
        for name in sources.flat_map(|(_, text)| shown(text)) {
            seen += 1;
            spare.remove(name);
            let excused = SHOWN_ANYWAY.iter().any(|(excused, _)| *excused == name)
                || FAMILIES.iter().any(|family| name.starts_with(family));
            if !excused && places[name].iter().all(|at| *at == place) {
                unwanted.push(format!("{library}: {name}"));
            }
        }
    }
    assert!(seen > 300, "only {seen} names were found");
    assert!(unwanted.is_empty(), "make these the crate's own, or say what they are for: {unwanted:#?}");
    assert!(spare.is_empty(), "these are not shown any more: {spare:?}");
}

#[test]
fn what_is_shown_is_found() {
    let source = "pub struct A;\n    pub const fn b() {}\n    pub async fn c<T>() {}\npub const D: u8 = 1;\n\
                  pub(crate) fn e() {}\npub enum F {\n#[cfg(test)]\npub fn g() {}\npub mod h;\npub use i::J;";
    assert_eq!(shown(source), ["A", "b", "c", "D", "F"]);
}
