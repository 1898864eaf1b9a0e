//! Every row of the logs' knowledge, with the real text, the same with other addresses and prefixes, and a copy that
//! is worded or wrapped otherwise. The texts are data, see `texts/README.md`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use truepeer_doctor::logs::{LogReader, explain};
use truepeer_doctor::{Class, Confidence, Product};

struct Case {
    id: String,
    kind: String,
    text: String,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/texts");
    let mut cases = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let mut id = String::new();
        for line in fs::read_to_string(path).unwrap().lines().filter(|line| !line.is_empty()) {
            if let Some(name) = line.strip_prefix("== ") {
                id = name.to_owned();
            } else {
                let (kind, text) = line.split_once(": ").unwrap();
                cases.push(Case { id: id.clone(), kind: kind.to_owned(), text: text.replace('⏎', "\n") });
            }
        }
    }
    cases
}

#[test]
fn every_text_is_known_as_what_it_is_in_all_its_forms() {
    let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for Case { id, kind, text } in cases() {
        let found: Vec<_> = explain(text.as_bytes()).findings.iter().map(|noted| noted.id).collect();
        if found != [id.as_str()] {
            wrong.push(format!("{id} ({kind}) is found as {found:?}: {text}"));
        }
        kinds.entry(id).or_default().push(kind);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(kinds.len() > 100, "only {} texts", kinds.len());
    for (id, kinds) in kinds {
        assert_eq!(kinds, ["real", "else", "worded"], "{id}");
    }
}

#[test]
fn all_texts_in_one_stream_are_found_however_it_is_cut() {
    let stream: Vec<u8> = cases()
        .iter()
        .filter(|case| case.kind == "else")
        .flat_map(|case| [case.text.as_bytes(), b"\n2027-01-01 00:00:00 nothing to see\n"].concat())
        .collect();
    let read = |step: usize| {
        let mut reader = LogReader::new();
        stream.chunks(step).for_each(|piece| reader.feed(piece));
        let report = reader.finish();
        let mut found: Vec<_> =
            report.findings.iter().map(|noted| (noted.id, noted.count, noted.first_line)).collect();
        found.sort_unstable();
        (found, report.lines)
    };
    let whole = read(stream.len());
    assert!(whole.0.len() > 100, "{}", whole.0.len());
    for step in [1, 7, 4096] {
        assert_eq!(read(step), whole);
    }
}

fn list(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/texts").join(name);
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn ordinary_lines_and_other_faults_are_unknown() {
    let lines = list("unknown.list");
    let wrong: Vec<_> = lines
        .iter()
        .flat_map(|line| explain(line.as_bytes()).findings.into_iter().map(move |noted| (noted.id, line)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Nor do they become something together.
    let all = explain(lines.join("\n").as_bytes());
    assert!(all.findings.is_empty(), "{:#?}", all.findings);
    assert_eq!(all.lines, u64::try_from(lines.len()).unwrap());
}

#[test]
fn texts_never_seen_are_known_by_the_header_that_they_contain() {
    let mut wrong = Vec::new();
    for line in list("shapes.list") {
        let (version, text) = line.split_once(' ').unwrap();
        let report = explain(text.as_bytes());
        let fits = |noted: &truepeer_doctor::logs::Noted| {
            noted.id.starts_with("header-")
                && noted.finding.class == Class::Unex
                && noted.finding.confidence != Confidence::Certain
                && noted.finding.cause.contains(&format!("version {version}"))
        };
        if report.findings.len() != 1 || !report.findings.iter().all(fits) {
            wrong.push((line.clone(), report.findings));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// None of these had a row, or a shape, when it was written down.
#[test]
fn other_programs_words_for_the_usual_faults_are_understood_and_other_faults_are_not() {
    let mut wrong = Vec::new();
    let (mut known, mut unknown) = (0, 0);
    for line in list("unseen.list").iter().filter(|line| !line.starts_with("# ")) {
        let (class, text) = line.split_once(' ').unwrap();
        let report = explain(text.as_bytes());
        let fits = match (class, report.findings.as_slice()) {
            // A fault, and nothing to know it by.
            ("?", []) => true,
            ("-", []) => {
                unknown += 1;
                true
            }
            (class, [noted]) => {
                known += 1;
                noted.finding.class.name() == class
            }
            _ => false,
        };
        if !fits {
            let found: Vec<_> = report.findings.iter().map(|noted| (noted.id, noted.finding.class)).collect();
            wrong.push((line.clone(), found));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(known >= 271 && unknown >= 162, "{known} known, {unknown} unknown");
}

#[test]
fn three_unknown_commands_in_a_row_are_a_version_2_header() {
    let transcript = b"220 mx.example ESMTP\r\n500 5.5.1 Invalid command.\r\n500 5.5.1 Invalid command.\r\n500 5.5.1 Invalid command.\r\n221 2.0.0 Bye.\r\n";
    let report = explain(transcript);
    let ids: Vec<_> = report.findings.iter().map(|noted| noted.id).collect();
    assert_eq!(ids, ["smtp-500-v2"]);
}

#[test]
fn what_was_quoted_where_a_header_was_due_decides() {
    for (quoted, class, words) in [
        ("", Class::Mix, "health check"),
        ("GET / HTTP/1.1", Class::Miss, "HTTP"),
        ("GET /.well-known/acme-challenge/x HTTP/1.1", Class::Mix, "certificate client"),
        ("\\x16\\x03\\x01", Class::Miss, "TLS came"),
        ("EHLO client.example", Class::Miss, "mail client"),
        ("PROXY TCP6 2001:db8::7 127.0.0.1 4711 25\\r\\n", Class::Fam, "mixes IPv4 and IPv6"),
        ("PRO", Class::Unex, "pieces"),
    ] {
        let line = format!(
            "broken header: \"{quoted}\" while reading PROXY protocol, client: 10.42.1.0, server: 0.0.0.0:443"
        );
        let report = explain(line.as_bytes());
        let finding = &report.findings[0].finding;
        assert!(finding.class == class && finding.cause.contains(words), "{quoted}: {finding}");
        assert_eq!(finding.product, Some(Product::Nginx));
    }
}

#[test]
fn an_address_is_put_into_the_line_to_change() {
    let report = explain(b"imap-login: Warning: haproxy: Client not trusted (rip=2001:db8::9)");
    assert_eq!(
        report.findings[0].finding.change,
        "dovecot.conf: `haproxy_trusted_networks = 2001:db8::9` (several are separated by spaces, not commas), then `doveadm reload`"
    );
}

#[test]
fn a_text_that_was_cut_at_any_character_is_still_known() {
    let mut wrong = Vec::new();
    for Case { id, kind, text } in cases() {
        if kind != "real" || text.contains('\n') || text.len() > 300 {
            continue;
        }
        let characters: Vec<char> = text.chars().collect();
        let cut: Vec<String> = characters.chunks(37).map(|piece| piece.iter().collect()).collect();
        let found: Vec<_> =
            explain(cut.join("\n").as_bytes()).findings.iter().map(|noted| noted.id.to_owned()).collect();
        if found.is_empty() {
            wrong.push(id);
        }
    }
    // Where a piece begins as a line of a log does, or an address is cut, nothing is better than a guess.
    assert!(wrong.len() <= 12, "{wrong:?}");
}

#[test]
fn findings_are_folded_and_long_lines_are_cut_and_counted() {
    let mut reader = LogReader::new();
    reader.feed(&vec![b'x'; 3 * LogReader::LINE_MAX]);
    reader.feed(b" haproxy read: timeout error\n");
    for number in 0..10_000 {
        reader.feed(
            format!("Nov 23 13:50:27 mx postfix/smtpd[{number}]: warning: haproxy read: timeout error\n")
                .as_bytes(),
        );
    }
    let report = reader.finish();
    assert_eq!((report.lines, report.cut_lines, report.findings.len()), (10_001, 1, 1));
    let noted = &report.findings[0];
    assert_eq!((noted.count, noted.first_line, noted.last_line), (10_000, 2, 10_001));
}

#[test]
fn bytes_of_any_kind_are_read_without_harm() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut reader = LogReader::new();
    for _ in 0..2_000 {
        let mut piece = Vec::new();
        for _ in 0..200 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            piece.extend_from_slice(&seed.to_le_bytes());
        }
        reader.feed(&piece);
    }
    assert!(reader.finish().findings.is_empty());
}
