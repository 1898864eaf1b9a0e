//! Replays the seed corpus, the wire cases and generated headers through every property.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]
#![allow(clippy::print_stdout, reason = "the input is printed when a property breaks")]
use std::path::Path;

use truepeer_fuzz::PROPERTIES;
use truepeer_testkit::reference::generate::{Random, input};

/// Holds `bytes` against every property; names input and property if one breaks.
fn hold(name: &str, bytes: &[u8]) {
    for (property, holds) in PROPERTIES {
        let result = std::panic::catch_unwind(|| holds(bytes));
        assert!(result.is_ok(), "{property} breaks for {name}: {}", bytes.escape_ascii());
    }
}

#[test]
fn corpus_breaks_no_property() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/codec");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        hold(&path.display().to_string(), &std::fs::read(&path).unwrap());
        seen += 1;
    }
    assert!(seen >= 20, "the corpus has gone");
}

#[test]
fn wire_cases_break_no_property() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors/vectors.json");
    let cases: Vec<serde_json::Value> =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for case in &cases {
        let hex = case["hex"].as_str().unwrap();
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        hold(case["id"].as_str().unwrap(), &bytes);
    }
}

#[test]
fn recordings_break_no_property() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors/captures");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        hold(&path.display().to_string(), &std::fs::read(&path).unwrap());
    }
}

#[test]
fn generated_headers_break_no_property() {
    let seed = 7;
    let mut random = Random::new(seed);
    for nth in 0..3_000 {
        hold(&format!("input {nth} of seed {seed}"), &input(&mut random));
    }
}
