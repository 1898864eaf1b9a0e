//! What `docs/json.md` promises of an object, and whether the object keeps it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// The names under `heading`, with their types.
fn promised(page: &str, heading: &str) -> BTreeMap<String, String> {
    let section = page.split(&format!("\n## {heading}\n")).nth(1).expect("a heading in docs/json.md");
    let rows = section.lines().take_while(|line| !line.starts_with("## "));
    rows.filter_map(|row| {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name.to_owned(), cells.next()?.to_owned()))
    })
    .collect()
}

fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/json.md");
    std::fs::read_to_string(page).unwrap()
}

/// The page's word for the type of `value`.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "flag",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

fn fits(value: &Value, types: &str) -> bool {
    let kind = kind(value);
    types.split(" or ").any(|one| one == kind)
}

/// `object` has exactly the names under `heading`, each of a type that stands there.
#[track_caller]
pub fn assert_documented(heading: &str, object: &Value) {
    let promised = promised(&page(), heading);
    let object = object.as_object().expect("an object");
    let mut names: Vec<_> = object.keys().collect();
    names.sort_unstable();
    assert_eq!(names, promised.keys().collect::<Vec<_>>(), "{heading}");
    for (name, value) in object {
        assert!(fits(value, &promised[name]), "{heading}: {name} is {value}");
    }
}

/// `object` has every name under `heading`, perhaps with others that an answer of a running front door adds.
#[track_caller]
#[allow(dead_code, reason = "each test file uses its own part")]
pub fn assert_promised(heading: &str, object: &Value) {
    for (name, types) in promised(&page(), heading) {
        let value = object.get(&name).unwrap_or_else(|| panic!("{heading}: no {name} in {object}"));
        assert!(fits(value, &types), "{heading}: {name} is {value}");
    }
}
