//! Every row of `docs/spec-coverage.md` names code and a test that exist.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]
mod common;

use std::path::PathBuf;

/// The rows of all tables, as their cells.
fn rows() -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(common::root().join("docs/spec-coverage.md")).unwrap();
    text.lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("|---") && !line.starts_with("| clause"))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// `path::function` of each reference in a cell.
fn references(cell: &str) -> Vec<(PathBuf, String)> {
    cell.split(", ")
        .map(|reference| {
            let (path, function) = reference.trim_matches('`').split_once("::").expect(cell);
            let folder = if path.starts_with("fuzz/") { "" } else { "crates/truepeer-proto" };
            (common::root().join(folder).join(path), function.to_owned())
        })
        .collect()
}

/// The line that begins the function, and the one before it.
fn definition(path: &PathBuf, function: &str) -> Option<(String, String)> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines: Vec<&str> = text.lines().collect();
    lines
        .windows(2)
        .find(|pair| {
            [format!("fn {function}("), format!("fn {function}<")].iter().any(|name| pair[1].contains(name))
        })
        .map(|pair| (pair[0].to_owned(), pair[1].to_owned()))
}

#[test]
fn every_row_names_code_and_a_test_that_exist() {
    let rows = rows();
    assert!(rows.len() > 60, "only {} rows found", rows.len());
    for row in rows {
        let [_, level, rule, code, tests] = row.as_slice() else { panic!("{row:?}") };
        assert!(["must", "should", "may", "profile", "promise"].contains(&level.as_str()), "{rule}: {level}");
        for (path, function) in references(code) {
            assert!(definition(&path, &function).is_some(), "{rule}: no {function} in {}", path.display());
        }
        for (path, function) in references(tests) {
            let (before, _) = definition(&path, &function)
                .unwrap_or_else(|| panic!("{rule}: no {function} in {}", path.display()));
            // A fuzz property is run by the replay, by its name in the list of properties.
            let is_property = path.ends_with("fuzz/src/codec.rs") && {
                let list = std::fs::read_to_string(common::root().join("fuzz/src/lib.rs")).unwrap();
                list.contains(&format!("codec::{function})"))
            };
            assert!(before.contains("#[test]") || is_property, "{rule}: {function} is no test");
        }
    }
}

#[test]
fn every_switch_and_every_reason_has_its_row_or_case() {
    let page = std::fs::read_to_string(common::root().join("docs/spec-coverage.md")).unwrap();
    for switch in ["MixedFamilies::Accept", "Checksum::Skip", "Decoder::max_len", "Decoder::versions"] {
        assert!(page.contains(switch), "{switch}");
    }
    let reasons: Vec<String> = common::cases().into_iter().map(|case| case.reason).collect();
    for reason in [
        "bad_signature",
        "v1_fields",
        "v1_family",
        "v1_address",
        "v1_port",
        "v1_eol",
        "v1_too_long",
        "v2_version",
        "v2_command",
        "v2_family",
        "v2_protocol",
        "v2_combination",
        "v2_length",
        "tlv_truncated",
        "tlv_crc32c",
        "tlv_duplicate_crc",
        "tlv_unique_id",
        "tlv_ssl",
        "truncated",
    ] {
        assert!(reasons.iter().any(|found| found == reason), "no case for {reason}");
    }
}
