//! What `docs/json.md` promises of an object, and whether the object keeps it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// `object` has exactly the names under `heading`, each of a type that stands there.
#[track_caller]
pub fn assert_documented(heading: &str, object: &Value) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/json.md");
    let page = std::fs::read_to_string(page).unwrap();
    let section = page.split(&format!("\n## {heading}\n")).nth(1).expect("a heading in docs/json.md");
    let rows = section.lines().take_while(|line| !line.starts_with("## "));
    let promised: BTreeMap<&str, &str> = rows
        .filter_map(|row| {
            let mut cells = row.split('|').map(str::trim).skip(1);
            let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            Some((name, cells.next()?))
        })
        .collect();
    let object = object.as_object().expect("an object");
    let names: Vec<_> = object.keys().map(String::as_str).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, promised.keys().copied().collect::<Vec<_>>(), "{heading}");
    for (name, value) in object {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "flag",
            Value::Number(_) => "number",
            Value::String(_) => "text",
            Value::Array(_) => "list",
            Value::Object(_) => "object",
        };
        assert!(promised[name.as_str()].split(" or ").any(|one| one == kind), "{heading}: {name} is {kind}");
    }
}
