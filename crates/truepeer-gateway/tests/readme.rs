//! The README says what is true: its files are those that the interop cases run, its links lead somewhere.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_files_of_the_example_stand_in_the_readme_word_for_word() {
    let readme = read("README.md");
    for file in ["truepeer.toml", "haproxy.cfg", "master.cf"] {
        let text = read(&format!("packaging/examples/haproxy-postfix/{file}"));
        assert!(readme.contains(&format!("\n{}\n```", text.trim_end())), "{file} differs from the README");
    }
}

#[test]
fn every_file_that_the_documents_name_exists() {
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        for path in quoted(&read(document)).filter(|name| is_path(name)) {
            assert!(root().join(path).exists(), "{document} names {path}, which does not exist");
        }
    }
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_path(name: &str) -> bool {
    let roots = ["docs/", "packaging/", "crates/", "interop/", "bench/"];
    !name.contains(' ') && (roots.iter().any(|root| name.starts_with(root)) || name.ends_with(".md"))
}
