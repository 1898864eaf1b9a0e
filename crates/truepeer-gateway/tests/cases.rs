//! Public reports, reproduced: each file of `docs/cases/` is put to the command that a user would run, which must name
//! class, side and line to change; its healthy twin must yield nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a test fails by panicking, and this one tells a number"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::program::Folder;
use serde_json::Value;

/// A case's files, by name.
type Files = BTreeMap<String, String>;

struct Case {
    name: String,
    table: toml::Table,
}

impl Case {
    fn text(&self, key: &str) -> &str {
        self.table[key].as_str().unwrap_or_else(|| panic!("{}: no {key}", self.name))
    }

    fn input(table: &toml::Table) -> &str {
        table.get("input").and_then(toml::Value::as_str).unwrap_or_default()
    }

    /// Whether it is played by the harness of real programs alone: there is nothing to paste.
    fn is_live(&self) -> bool {
        let words = self.table["command"].as_array().unwrap();
        matches!(words[0].as_str(), Some("watch" | "probe"))
    }

    /// How real programs play it, if they do.
    fn real(&self) -> Option<&toml::Value> {
        self.table.get("real")
    }

    fn files(&self) -> Files {
        let files = self.table.get("files").and_then(toml::Value::as_table);
        let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
        files.into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
    }

    /// The files with each line repaired, and which lines those are.
    fn repaired(&self) -> (Files, Vec<String>) {
        let mut files = self.files();
        let lines = self.table["healthy"].as_table().and_then(|healthy| healthy.get("lines"));
        let mut spots = Vec::new();
        for (spot, new) in lines.and_then(toml::Value::as_table).into_iter().flatten() {
            let (name, number) = spot.rsplit_once(':').unwrap();
            let file = files.get_mut(name).unwrap_or_else(|| panic!("{}: no {name}", self.name));
            let mut lines: Vec<&str> = file.lines().collect();
            lines[number.parse::<usize>().unwrap() - 1] = new.as_str().unwrap();
            *file = lines.join("\n") + "\n";
            spots.push(spot.clone());
        }
        (files, spots)
    }

    /// The findings that the command prints for `input`, beside `files`.
    fn findings(&self, files: &Files, input: &str) -> Vec<Value> {
        let folder = Folder::new();
        for (name, text) in files {
            fs::write(folder.path(name), text).unwrap();
        }
        let command = self.table["command"].as_array().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_truepeer"))
            .args(command.iter().map(|word| word.as_str().unwrap()))
            .current_dir(folder.path("."))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        let mut findings = Vec::new();
        for line in output.lines() {
            let object: Value = serde_json::from_str(line).unwrap();
            if object.get("class").is_some() {
                findings.push(object);
                continue;
            }
            // Nothing may be left unread: it would be no proof.
            assert!(object.get("unread").is_none(), "{}: {object}", self.name);
            // A header, with its findings inside.
            findings.extend(object["findings"].as_array().into_iter().flatten().cloned());
            findings.extend(object.get("finding").filter(|finding| finding.is_object()).cloned());
        }
        findings
    }

    /// What is wrong with the answer; nothing if the case is solved.
    fn judge(&self) -> Option<String> {
        let found = self.findings(&self.files(), Self::input(&self.table));
        let (repaired, spots) = self.repaired();
        let solves = |finding: &Value| {
            let change = finding["change"].as_str().unwrap();
            finding["class"] == self.text("class")
                && finding["side"] == self.text("side")
                && change.contains(self.text("change"))
                // A repair of files is at a line that was named.
                && (spots.is_empty() || spots.iter().any(|spot| change.contains(spot)))
        };
        // The best one: a person reads that first.
        if !found.first().is_some_and(solves) {
            return Some(format!("{}: {found:#?}", self.name));
        }
        let healthy = self.findings(&repaired, Self::input(self.table["healthy"].as_table().unwrap()));
        (!healthy.is_empty()).then(|| format!("{}, healthy: {healthy:#?}", self.name))
    }
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cases");
    let mut cases: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| Case {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            table: fs::read_to_string(&path).unwrap().parse().unwrap(),
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cases/README.md")).unwrap()
}

#[test]
fn every_case_is_solved_and_its_healthy_twin_yields_nothing() {
    let cases = cases();
    let mut wrong = Vec::new();
    let (mut solved, mut all) = ([0; 2], [0; 2]);
    // Strictly: the case's own set-up or bytes, and what is found in what the real program then says. The others are
    // known from a case that plays the same misfit.
    let strictly = cases.iter().filter(|case| case.real().is_some_and(toml::Value::is_table)).count();
    let alike = cases.iter().filter(|case| case.real().is_some_and(toml::Value::is_str)).count();
    for case in cases.iter().filter(|case| !case.is_live()) {
        let part = usize::from(case.text("part") == "measure");
        all[part] += 1;
        match case.judge() {
            Some(text) => wrong.push(text),
            None => solved[part] += 1,
        }
    }
    println!(
        "solved: {} of {} to build with, {} of {} to measure with",
        solved[0], all[0], solved[1], all[1]
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!(
        "{strictly} of {} are played with real programs, and {alike} more are played alike",
        cases.len()
    );
    assert!(solved.iter().sum::<usize>() >= 55, "only {solved:?}");
    assert!(strictly >= 25, "only {strictly} with real programs");
    let page = page();
    for said in [
        format!("{strictly} of them are played with real programs"),
        format!("{alike} more are played alike"),
    ] {
        assert!(page.contains(&said), "the page does not say: {said}");
    }
}

#[test]
fn the_cases_are_split_as_the_page_says() {
    let cases = cases();
    let measured = cases.iter().filter(|case| case.text("part") == "measure").count();
    assert_eq!(measured, cases.len() / 3);
    // One file for each report, and what is played is one of the harness' own.
    let harness = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/src/cases");
    let sources: String = fs::read_dir(harness)
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok())
        .collect();
    for case in &cases {
        if let Some(name) = case.table.get("real").and_then(toml::Value::as_str) {
            let name = name.strip_prefix("doctor_finds_").unwrap_or(name);
            assert!(sources.contains(&format!("\"{name}\"")), "{}: nobody plays {name}", case.name);
        }
    }
    assert!(page().contains(&format!("{} cases", cases.len())), "the page counts otherwise");
    for case in &cases {
        assert!(["build", "measure"].contains(&case.text("part")) && !case.text("words").is_empty());
    }
}
