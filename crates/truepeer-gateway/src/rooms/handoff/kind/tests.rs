//! Each row against what was observed of that server, written down here a second time, and the page made from the rows.

use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::rooms::handoff::tlvs::Fact;

/// What was observed: name, whether it reads v1, longest v2 header, facts that it uses, whether it takes port 0 in v1,
/// seconds after which it greets without a header (none: it does not; 0: at once).
type Observed = (&'static str, bool, usize, &'static [Fact], bool, Option<u64>);

const OBSERVED: [Observed; 10] = [
    ("postfix", true, 536, &[], true, None),
    ("postscreen", true, 536, &[], true, None),
    ("dovecot", true, 1500, &[Fact::Ssl], false, None),
    ("exim", true, 232, &[], false, Some(3)),
    ("opensmtpd", false, 65_535, &[], true, None),
    ("stalwart", true, 65_535, &[Fact::Ssl], true, None),
    ("nginx", true, 107, &[], true, None),
    (
        "haproxy",
        true,
        16_384,
        &[Fact::Ssl, Fact::UniqueId, Fact::Authority, Fact::Alpn, Fact::Crc32c],
        true,
        None,
    ),
    ("varnish", true, 404, &[Fact::Ssl, Fact::Authority, Fact::Alpn, Fact::Crc32c], true, None),
    ("mariadb", true, 612, &[], true, Some(0)),
];

#[test]
fn every_row_is_what_was_observed() {
    for (name, v1, budget, facts, port_zero, greets) in OBSERVED {
        let kind = Kind::parse(name).unwrap();
        let row = kind.facts();
        assert_eq!(kind.to_string(), name);
        assert_eq!(row.handoff, Some(Handoff::ProxyV2), "{name}");
        let reads = |handoff| !row.unreadable.iter().any(|(unreadable, _)| *unreadable == handoff);
        assert_eq!((reads(Handoff::ProxyV1), reads(Handoff::ProxyV2)), (v1, true), "{name}");
        assert_eq!(row.header_budget, budget, "{name}");
        assert_eq!(row.tlvs.iter().collect::<Vec<_>>(), facts, "{name}");
        assert_eq!(row.v1_port_zero == PortZero::Taken, port_zero, "{name}");
        let silence = match greets {
            None => Silence::Kept,
            Some(0) => Silence::Broken,
            Some(seconds) => Silence::KeptFor(Duration::from_secs(seconds)),
        };
        assert_eq!(row.silence, silence, "{name}");
        assert!(!row.remedy.is_empty() && !row.seen.is_empty(), "{name}");
    }
    assert_eq!(OBSERVED.len() + 2, Kind::ALL.len(), "all but `whoami` and `other`");
}

#[test]
fn what_breaks_a_kind_is_never_what_it_gets_by_default() {
    for kind in Kind::ALL {
        let row = kind.facts();
        let breaks = row.breaks.map_or(FactSet::NONE, |(breaks, _)| breaks);
        assert!(!row.tlvs.iter().any(|fact| breaks.has(fact)), "{kind}");
    }
}

#[test]
fn the_documented_table_is_that_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/backends.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- generated: kinds -->\n", "<!-- end: kinds -->");
    let (before, rest) = written.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let current = format!("{before}{begin}{}{end}{after}", page());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &current).unwrap();
    } else {
        assert!(written == current, "docs/backends.md is stale: run the tests with UPDATE=1");
    }
}

/// The page of each server in `docs/neighbours/` has what the table says of it.
#[test]
fn the_documented_limits_of_each_server_are_those_of_the_program() {
    for (page, kinds) in [
        ("postfix", &[Kind::Postfix, Kind::Postscreen][..]),
        ("dovecot", &[Kind::Dovecot]),
        ("exim", &[Kind::Exim]),
        ("opensmtpd", &[Kind::Opensmtpd]),
        ("stalwart", &[Kind::Stalwart]),
        ("nginx", &[Kind::Nginx]),
    ] {
        let name = format!("../../docs/neighbours/{page}.md");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
        let written = std::fs::read_to_string(&path).unwrap();
        let mut current = written.clone();
        for kind in kinds {
            let (begin, end) =
                (format!("<!-- generated: kind {kind} -->\n"), format!("<!-- end: kind {kind} -->"));
            let (before, rest) = current.split_once(&begin).unwrap();
            let (_, after) = rest.split_once(&end).unwrap();
            current = format!("{before}{begin}{}{end}{after}", limits(*kind));
        }
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &current).unwrap();
        } else {
            assert!(written == current, "{name} is stale: run the tests with UPDATE=1");
        }
    }
}

fn limits(kind: Kind) -> String {
    let row = kind.facts();
    let tlvs: Vec<_> = row.tlvs.iter().map(|fact| format!("`{}`", fact.name())).collect();
    let tlvs = if tlvs.is_empty() { "none".to_owned() } else { tlvs.join(", ") };
    let unreadable: Vec<_> =
        row.unreadable.iter().map(|(handoff, why)| format!("`{}`: {why}", handoff.name())).collect();
    let unreadable = if unreadable.is_empty() { "none".to_owned() } else { unreadable.join("; ") };
    let breaks = row.breaks.map_or("none known".to_owned(), |(facts, why)| {
        let names: Vec<_> = facts.iter().map(|fact| format!("`{}`", fact.name())).collect();
        format!("{}: {why}", names.join(", "))
    });
    let port_zero = match row.v1_port_zero {
        PortZero::Taken => "taken",
        PortZero::Refused => "refused; truepeer writes 1 there",
    };
    let silence = match row.silence {
        Silence::Kept => "no greeting".to_owned(),
        Silence::KeptFor(time) => format!("it greets after {} s, and then refuses all", time.as_secs()),
        Silence::Broken => "it greets at once".to_owned(),
    };
    let handoff = row.handoff.map_or("must be said", Handoff::name);
    format!(
        "`kind = \"{kind}\"` ({}), seen on {}:\n\n| what | is so |\n|---|---|\n| `handoff` by default | `{handoff}` |\n| \
         longest header | {} bytes |\n| TLVs that it reads, and gets by default | {tlvs} |\n| TLVs that break it | \
         {breaks} |\n| handoffs that it cannot read | {unreadable} |\n| port 0 in version 1 | {port_zero} |\n| without \
         a header | {silence} |\n| to make it read headers | {} |\n\n",
        row.title, row.seen, row.header_budget, row.remedy
    )
}

fn page() -> String {
    let mut page = "| `kind` | server | `handoff` | longest header, bytes | TLVs | v1 with port 0 | without a header | seen on |\n|---|---|---|---:|---|---|---|---|\n".to_owned();
    for kind in Kind::ALL {
        let row = kind.facts();
        let handoff =
            row.handoff.map_or("must be said".to_owned(), |handoff| format!("`{}`", handoff.name()));
        let tlvs: Vec<_> = row.tlvs.iter().map(|fact| format!("`{}`", fact.name())).collect();
        let tlvs = if tlvs.is_empty() { "none".to_owned() } else { tlvs.join(", ") };
        let port_zero = match row.v1_port_zero {
            PortZero::Taken => "taken",
            PortZero::Refused => "refused: 1 is written",
        };
        let silence = match row.silence {
            Silence::Kept => "no greeting".to_owned(),
            Silence::KeptFor(time) => format!("greets after {} s, then refuses all", time.as_secs()),
            Silence::Broken => "greets at once".to_owned(),
        };
        let _ = writeln!(
            page,
            "| `{kind}` | {} | {handoff} | {} | {tlvs} | {port_zero} | {silence} | {} |",
            row.title, row.header_budget, row.seen
        );
    }
    page.push_str("\n## How to make each read headers\n\n");
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.facts().remedy.is_empty()) {
        let _ = writeln!(page, "- **{}**: {}.", kind.facts().title, kind.facts().remedy);
    }
    page.push_str("\n## What does not go together\n\n");
    for kind in Kind::ALL {
        let row = kind.facts();
        for (handoff, why) in row.unreadable {
            let _ = writeln!(page, "- **{}** and `handoff = \"{}\"`: {why}.", row.title, handoff.name());
        }
        if let Some((breaks, why)) = row.breaks {
            let names: Vec<_> = breaks.iter().map(|fact| format!("`{}`", fact.name())).collect();
            let _ = writeln!(page, "- **{}** and {}: {why}.", row.title, names.join(", "));
        }
    }
    page
}
