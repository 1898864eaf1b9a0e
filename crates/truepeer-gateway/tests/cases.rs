//! Public reports, reproduced: each file of `docs/cases/` is put to the command that a user would run, which must name
//! class, side and line to change; its healthy twin must yield nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and this one tells a number"
)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

struct Case {
    name: String,
    table: toml::Table,
}

impl Case {
    fn text(&self, key: &str) -> &str {
        self.table[key].as_str().unwrap_or_else(|| panic!("{}: no {key}", self.name))
    }

    /// The findings that the command prints for `input`.
    fn findings(&self, input: &str) -> Vec<Value> {
        let command = self.table["command"].as_array().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_truepeer"))
            .args(command.iter().map(|word| word.as_str().unwrap()))
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
            // A header, with its findings inside.
            findings.extend(object["findings"].as_array().into_iter().flatten().cloned());
            findings.extend(object.get("finding").filter(|finding| finding.is_object()).cloned());
        }
        findings
    }

    /// What is wrong with the answer; nothing if the case is solved.
    fn judge(&self) -> Option<String> {
        let found = self.findings(self.text("input"));
        let solves = |finding: &Value| {
            finding["class"] == self.text("class")
                && finding["side"] == self.text("side")
                && finding["change"].as_str().unwrap().contains(self.text("change"))
        };
        // The best one: a person reads that first.
        if !found.first().is_some_and(solves) {
            return Some(format!("{}: {found:#?}", self.name));
        }
        let healthy = self.findings(self.table["healthy"]["input"].as_str().unwrap());
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

#[test]
fn every_case_is_solved_and_its_healthy_twin_yields_nothing() {
    let cases = cases();
    let mut wrong = Vec::new();
    let (mut solved, mut all) = ([0; 2], [0; 2]);
    for case in &cases {
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
    assert!(cases.len() >= 40, "only {} cases", cases.len());
}

#[test]
fn the_cases_are_split_as_the_page_says() {
    let cases = cases();
    let measured = cases.iter().filter(|case| case.text("part") == "measure").count();
    assert_eq!(measured, cases.len() / 3);
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cases/README.md")).unwrap();
    assert!(page.contains(&format!("{} cases", cases.len())), "the page counts otherwise");
    for case in &cases {
        assert!(["build", "measure"].contains(&case.text("part")) && !case.text("words").is_empty());
    }
}
