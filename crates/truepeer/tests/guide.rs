//! The guide as its reader follows it: what its code uses, its commands have brought in. That the code compiles is
//! a doc test; that such programs work is in `programs.rs`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

#[test]
fn every_crate_that_a_sections_code_uses_was_added_by_its_commands() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/library.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let mut programs = 0;
    for section in guide.split("\n## ").filter(|section| section.contains("fn main()")) {
        programs += 1;
        let title = section.lines().next().unwrap();
        for name in ["actix_web", "axum", "tokio", "truepeer"] {
            let used = section.contains(&format!("{name}::"));
            let add = format!("cargo add {}", name.replace('_', "-"));
            let added = section.lines().any(|line| line == add || line.starts_with(&format!("{add} ")));
            assert_eq!(used, added, "{title}: {name}");
        }
        // actix brings a runtime of its own.
        let tokio = section.lines().find(|line| line.starts_with("cargo add tokio")).unwrap_or_default();
        for (feature, sign) in [
            ("macros", "#[tokio::main]"),
            ("rt-multi-thread", "#[tokio::main]"),
            ("io-util", "AsyncBufReadExt"),
        ] {
            assert!(!section.contains(sign) || tokio.contains(feature), "{title}: tokio's {feature}");
        }
    }
    assert_eq!(programs, 3, "axum, actix-web, and a line-based server");
}

/// What its reader types is there: programs of the name `nc` do not agree on their options.
#[test]
fn commands_are_of_programs_that_agree_with_themselves() {
    let guide =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/library.md")).unwrap();
    let blocks = guide.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let lines: Vec<&str> = blocks.flat_map(str::lines).collect();
    assert!(lines.iter().any(|line| line.starts_with("curl --haproxy-protocol")), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("| nc ")), "{lines:?}");
}

/// Every example has its line in the table of what to add, and its features are those that the manifest asks for.
#[test]
fn every_example_says_what_to_add() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(root.join("docs/library.md")).unwrap();
    let examples = [
        ("actix", "actix"),
        ("axum", "axum"),
        ("backend", ""),
        ("dns", ""),
        ("hyper", ""),
        ("line", ""),
        ("quic", ""),
        ("smtp", ""),
        ("tls", "tokio-rustls"),
        ("tonic", "tonic"),
        ("tower", "axum,tower"),
    ];
    let mut names: Vec<String> = std::fs::read_dir(root.join("examples"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().is_file())
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, examples.map(|(name, _)| name.to_owned()));
    for (name, features) in examples {
        let row = guide.lines().find(|line| {
            line.starts_with("| `")
                && line.contains("`; `") | line.contains("the same")
                && line.split('|').nth(1).is_some_and(|cell| cell.contains(&format!("`{name}`")))
        });
        let row = row.unwrap_or_else(|| panic!("{name} has no row"));
        let wanted = match features {
            "" => "`truepeer`".to_owned(),
            features => format!("`truepeer --features {features}`"),
        };
        assert!(row.contains(&wanted) || row.contains("the same"), "{name}: {row}");
    }
}
