//! The README says what is true: its files are those that the interop cases run, its links lead somewhere; so does the page of dependencies.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use truepeer_gateway::config::{self, Surroundings};

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

#[test]
fn the_ways_in_are_two_commands_each_and_name_this_version() {
    let readme = read("README.md");
    let section = readme.split("## Three ways in\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let blocks: Vec<Vec<&str>> = section
        .split("```sh\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap().lines().collect())
        .collect();
    // `./ci deb`, `release` and `demo` run them as they stand.
    assert_eq!(blocks.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2], "{blocks:?}");
    let version = env!("CARGO_PKG_VERSION");
    assert!(blocks[0][0].ends_with(&format!(" ./truepeer_{version}-1_amd64.deb")), "{blocks:?}");
    assert!(blocks[1][0].ends_with(&format!(" truepeer-{version}-x86_64-linux.tar.gz")), "{blocks:?}");
}

#[test]
fn every_dependency_of_the_workspace_has_its_line() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let page = read("docs/design/dependencies.md");
    let (_, lines) = page.split_once("## What we depend on").unwrap();
    let used: BTreeSet<&str> = manifest["workspace"]["dependencies"]
        .as_table()
        .unwrap()
        .iter()
        .filter(|(_, dependency)| dependency.get("path").is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    let described: BTreeSet<&str> = lines
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    assert!(used.len() > 20, "{used:?}");
    assert_eq!(described, used, "docs/design/dependencies.md and the workspace table differ");
}

#[test]
fn every_test_that_the_invariants_name_exists() {
    let mut sources = String::new();
    for krate in ["truepeer", "truepeer-proto", "truepeer-gateway"] {
        read_sources(&root().join("crates").join(krate), &mut sources);
    }
    let invariants = read("docs/design/invariants.md");
    let parts: Vec<&str> = invariants.split('`').collect();
    let named = parts.windows(2).skip(1).filter(|pair| pair[1].matches('_').count() > 2);
    // Those of the interop harness are held by a test over there.
    let ours: Vec<&str> = named.filter(|pair| !pair[0].ends_with("interop ")).map(|pair| pair[1]).collect();
    assert!(ours.len() > 20, "{ours:?}");
    for name in ours {
        assert!(
            sources.contains(&format!("fn {name}(")),
            "docs/design/invariants.md names {name}, which is no test"
        );
    }
}

fn read_sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
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

/// Pages whose blocks are configurations of truepeer's.
fn guides() -> Vec<String> {
    let folder = root().join("docs/neighbours");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let pages = names.map(|name| format!("docs/neighbours/{}", name.to_str().unwrap()));
    pages.chain(["docs/migrate.md", "docs/health-checks.md"].map(str::to_owned)).collect()
}

#[test]
fn every_configuration_that_a_guide_shows_can_be_run() {
    let mut count = 0;
    for page in guides() {
        for block in read(&page).split("```toml\n").skip(1) {
            let text = block.split("```").next().unwrap();
            let loaded = config::resolve(text, &page, &Surroundings::default());
            if let Err(errors) = loaded {
                panic!("{page}: {}", errors.render(config::Colour::Plain));
            }
            count += 1;
        }
    }
    assert!(count > 15, "{count}");
}

#[test]
fn every_link_of_a_guide_leads_to_a_file() {
    let more = ["from-stalwart", "local-and-outbound", "alerts", "top", "compare-library"];
    let more = more.map(|page| format!("docs/{page}.md"));
    for page in guides().into_iter().chain(more) {
        let text = read(&page);
        let folder = Path::new(&page).parent().unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let file = link.split('#').next().unwrap();
            assert!(file.is_empty() || root().join(folder).join(file).exists(), "{page}: {link}");
        }
    }
}

/// The tests and cases that hold a statement are there, by name.
#[test]
fn every_test_that_the_page_for_users_of_stalwart_names_exists() {
    let mut sources = String::new();
    let mut folders = vec![root().join("crates"), root().join("interop/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|ext| ext == "rs") {
                sources.push_str(&std::fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    let page = read("docs/from-stalwart.md");
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.matches('|').count() == 5);
    let mut count = 0;
    for row in rows.skip(1) {
        let held = row.rsplit('|').nth(1).unwrap();
        for name in held.split('`').skip(1).step_by(2) {
            let there = [format!("fn {name}("), format!("\"{name}\"")];
            assert!(there.iter().any(|text| sources.contains(text)), "{name} is no test");
            count += 1;
        }
    }
    assert!(count >= 10, "{count}");
}

/// What the page claims of this library, a test of it holds; what it claims of others, their files.
#[test]
fn every_cell_about_this_library_names_a_test_of_it() {
    let mut sources = String::new();
    read_sources(&root().join("crates/truepeer"), &mut sources);
    let page = read("docs/compare-library.md");
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |"));
    let cells = rows.filter_map(|row| row.split('|').nth(2));
    let mut count = 0;
    for name in cells.flat_map(quoted).filter(|name| name.matches('_').count() > 2) {
        assert!(sources.contains(&format!("fn {name}(")), "{name} is no test");
        count += 1;
    }
    assert!(count > 25, "{count}");
}
