//! The page about reading the log: its commands answer with what it says, and its log looks like a real one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use truepeer_gateway::observe::events::EVENTS;
use truepeer_gateway::observe::record::FIELDS;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/logs.md");
    std::fs::read_to_string(path).unwrap()
}

/// The blocks of the page, each with its kind, in their order.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let parts: Vec<_> = page.split("```").collect();
    parts.chunks(2).filter_map(|pair| pair.get(1)?.split_once('\n')).collect()
}

struct Log(PathBuf);

impl Drop for Log {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn each_command_prints_what_stands_below_it() {
    let page = page();
    let blocks = blocks(&page);
    let (_, lines) = blocks.iter().find(|(kind, _)| *kind == "log").expect("a log for the examples");
    let log = Log(std::env::temp_dir().join(format!("truepeer-page-{}.log", std::process::id())));
    std::fs::write(&log.0, lines).unwrap();
    let mut ran = 0;
    for pair in blocks.windows(2) {
        let [(kind, command), (next, expected)] = pair else { panic!("{pair:?}") };
        if *kind != "sh" {
            continue;
        }
        assert_eq!(*next, "text", "{command}");
        let output = Command::new("sh").args(["-c", command]).env("log", &log.0).output().unwrap();
        assert!(output.status.success(), "{command}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout), *expected, "{command}");
        ran += 1;
    }
    assert_eq!(ran, 6);
}

#[test]
fn the_log_of_the_examples_has_the_fields_of_records_in_their_order() {
    let page = page();
    let blocks = blocks(&page);
    let (_, lines) = blocks.iter().find(|(kind, _)| *kind == "log").unwrap();
    for line in lines.lines() {
        let event = line.split(" event=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        assert!(EVENTS.iter().any(|(name, _)| *name == event), "{line}");
        if event != "connection" && event != "connected" {
            continue;
        }
        let mut fields = FIELDS.iter();
        let mut rest = line;
        while !rest.is_empty() {
            let (key, after) = rest.split_once('=').unwrap();
            assert!(fields.any(|(name, ..)| *name == key), "{key} in {line}");
            let len = match after.strip_prefix('"') {
                Some(quoted) => quoted.find('"').unwrap() + 2,
                None => after.find(' ').unwrap_or(after.len()),
            };
            rest = after.get(len..).unwrap().trim_start();
        }
    }
}
