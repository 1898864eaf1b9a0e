//! The guide as its reader follows it: what its code uses, its commands have brought in. That the code compiles is
//! a doc test; that such programs work is in `programs.rs`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

#[test]
fn every_crate_that_a_sections_code_uses_was_added_by_its_commands() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/library.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let mut programs = 0;
    for section in guide.split("\n## ").filter(|section| section.contains("fn main()")) {
        programs += 1;
        let title = section.lines().next().unwrap();
        for name in ["axum", "tokio", "truepeer"] {
            let used = section.contains(&format!("{name}::"));
            let add = format!("cargo add {name}");
            let added = section.lines().any(|line| line == add || line.starts_with(&format!("{add} ")));
            assert_eq!(used, added, "{title}: {name}");
        }
        let tokio = section.lines().find(|line| line.starts_with("cargo add tokio")).unwrap();
        for (feature, sign) in [
            ("macros", "#[tokio::main]"),
            ("rt-multi-thread", "#[tokio::main]"),
            ("io-util", "AsyncBufReadExt"),
        ] {
            assert!(!section.contains(sign) || tokio.contains(feature), "{title}: tokio's {feature}");
        }
    }
    assert_eq!(programs, 2, "axum, and a line-based server");
}
