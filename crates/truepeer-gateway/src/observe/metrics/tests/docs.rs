//! The tables in `docs/metrics-and-logs.md` are made from the definitions; `UPDATE=1` writes them anew.

use std::fmt::Write as _;
use std::path::Path;

use truepeer::Fault;

use crate::facts::lines::ConnectionLines;
use crate::facts::outcome::Outcome;
use crate::observe::metrics::family::Family;
use crate::observe::metrics::label::{Direction, HealthAnswer, Label};
use crate::rooms::bans::shared::EntryRefusal;
use crate::rooms::record::{RefusedBy, Scope, Source};

#[test]
fn documented_tables_are_those_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics-and-logs.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let mut current = written.clone();
    for (name, table) in [
        ("metrics", metrics()),
        ("labels", labels()),
        ("outcomes", outcomes()),
        ("fields", fields()),
        ("events", events()),
    ] {
        current = replace(&current, name, &table);
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &current).unwrap();
    } else {
        assert!(written == current, "docs/metrics-and-logs.md is stale: run the tests with UPDATE=1");
    }
}

/// The text with another table between the marks of `name`.
fn replace(text: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- generated: {name} -->\n"), format!("<!-- end: {name} -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    format!("{before}{begin}{table}{end}{after}")
}

fn events() -> String {
    let mut table = "| event | what it says |\n|---|---|\n".to_owned();
    for (event, meaning) in crate::observe::events::EVENTS {
        let _ = writeln!(table, "| `{event}` | {meaning} |");
    }
    table
}

fn fields() -> String {
    let mut table = "| field | lines | what it says |\n|---|---|---|\n".to_owned();
    for (field, lines, meaning) in crate::observe::record::FIELDS {
        let lines = match lines {
            ConnectionLines::Both => "both",
            ConnectionLines::End => "end",
        };
        let _ = writeln!(table, "| `{field}` | {lines} | {meaning} |");
    }
    table
}

fn metrics() -> String {
    let mut table = "| name | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for family in Family::ALL {
        let facts = family.facts();
        let labels: Vec<_> = facts.labels.iter().map(|label| format!("`{}`", label.name())).collect();
        let (name, suffix) = (facts.name, facts.kind.suffix());
        let _ = writeln!(
            table,
            "| `{name}{suffix}` | {} | {} | {} |",
            facts.kind.name(),
            labels.join(", "),
            facts.help
        );
    }
    table
}

fn labels() -> String {
    let codes = |codes: &mut dyn Iterator<Item = &str>| {
        codes.map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", ")
    };
    let mut table = "| label | values |\n|---|---|\n".to_owned();
    for label in [
        Label::Listener,
        Label::Backend,
        Label::Version,
        Label::Source,
        Label::Scope,
        Label::Rule,
        Label::Direction,
        Label::Readiness,
        Label::Answer,
        Label::Reason,
        Label::Outcome,
    ] {
        let values = match label {
            Label::Listener => "names of `server.listener.<id>`".to_owned(),
            Label::Backend => "names of `backend.<id>`".to_owned(),
            Label::Version => "the version of this program".to_owned(),
            Label::Source => codes(&mut Source::ALL.iter().map(|source| source.code())),
            Label::Scope => codes(&mut Scope::ALL.iter().map(|scope| scope.code())),
            Label::Rule => codes(&mut RefusedBy::ALL.iter().map(|refusal| refusal.code())),
            Label::Direction => codes(&mut Direction::ALL.iter().map(|direction| direction.code())),
            Label::Readiness => {
                let gauge = super::backend("any");
                codes(&mut gauge.by_readiness().iter().map(|(readiness, _)| *readiness))
            }
            Label::Answer => codes(&mut HealthAnswer::ALL.iter().map(|answer| answer.code())),
            Label::Reason => codes(&mut EntryRefusal::ALL.iter().map(|refusal| refusal.code())),
            Label::Outcome => "the codes in the table of outcomes".to_owned(),
        };
        let _ = writeln!(table, "| `{}` | {values} |", label.name());
    }
    table
}

fn outcomes() -> String {
    let mut table = "| code | fault | level | what happened |\n|---|---|---|---|\n".to_owned();
    for outcome in Outcome::ALL {
        let facts = outcome.facts();
        let fault = match facts.fault {
            Fault::Peer => "peer",
            Fault::Client => "client",
            Fault::Backend => "backend",
            Fault::Operator => "operator",
            Fault::Us => "truepeer",
            Fault::Nobody => "nobody",
            other => panic!("{other:?} has no word"),
        };
        let _ = writeln!(
            table,
            "| `{}` | {fault} | {} | {} |",
            facts.code,
            facts.level.name(),
            facts.sentence.replace('|', "\\|")
        );
    }
    table
}
