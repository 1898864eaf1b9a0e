//! Real set-ups, each broken in one line: the findings name class, side, file and line, and with that line repaired
//! there is no finding at all. The cases are in `tests/neighbours/`; its README says how they are written.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use truepeer_doctor::neighbour::{File, Machine, Neighbour, Source, compare};

/// One text of a case.
#[derive(Debug, Clone)]
struct Text {
    /// The word on the command line.
    product: String,
    name: String,
    text: String,
}

#[derive(Debug, Default)]
struct Case {
    name: String,
    texts: Vec<Text>,
    machine: Machine,
    /// `CLASS side product FILE:LINE`
    expected: Vec<String>,
    /// `FILE:LINE`
    unread: Vec<String>,
    /// File and line, and what stands there instead.
    repairs: Vec<(String, usize, String)>,
}

fn cases() -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/neighbours");
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "case"));
    files.iter().flat_map(|file| parse(&fs::read_to_string(file).unwrap())).collect()
}

fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("=== ") {
            sections.push((head.to_owned(), String::new()));
        } else if let Some((_, body)) = sections.last_mut() {
            body.push_str(line);
            body.push('\n');
        }
    }
    for (head, body) in sections {
        let words: Vec<&str> = head.split(' ').collect();
        let lines = || body.lines().filter(|line| !line.is_empty()).map(str::to_owned);
        match words.as_slice() {
            ["case", name @ ..] => cases.push(Case { name: name.join(" "), ..Case::default() }),
            ["expect"] => cases.last_mut().unwrap().expected.extend(lines()),
            ["unread"] => cases.last_mut().unwrap().unread.extend(lines()),
            ["machine"] => {
                let machine = &mut cases.last_mut().unwrap().machine;
                for line in lines() {
                    match line.split_once(' ').unwrap_or((&line, "")) {
                        ("address", ip) => machine.addresses.push(ip.parse().unwrap()),
                        ("gateway", ip) => machine.gateways.push(ip.parse().unwrap()),
                        ("container", _) => machine.is_container = true,
                        other => panic!("no such fact: {other:?}"),
                    }
                }
            }
            ["repair", spot @ ..] => {
                let spot = spot.join(" ");
                let (file, line) = spot.rsplit_once(':').unwrap();
                let repair = (file.to_owned(), line.parse().unwrap(), body.trim_end().to_owned());
                cases.last_mut().unwrap().repairs.push(repair);
            }
            [product, name @ ..] => cases.last_mut().unwrap().texts.push(Text {
                product: (*product).to_owned(),
                name: name.join(" "),
                text: body.trim_end().to_owned() + "\n",
            }),
            [] => panic!("a head without a word"),
        }
    }
    cases
}

fn read(texts: &[Text]) -> Vec<Neighbour> {
    let mut groups: BTreeMap<&str, Vec<File<'_>>> = BTreeMap::new();
    for Text { product, name, text } in texts {
        groups.entry(product).or_default().push(File { name, text });
    }
    let source = |product: &str| Source::named(product).unwrap_or_else(|| panic!("no reader for {product}"));
    groups.into_iter().flat_map(|(product, files)| source(product).read(&files)).collect()
}

fn repaired(case: &Case) -> Vec<Text> {
    let mut texts = case.texts.clone();
    for (file, line, new) in &case.repairs {
        let text = texts.iter_mut().find(|text| text.name == *file).unwrap_or_else(|| panic!("no {file}"));
        let mut lines: Vec<&str> = text.text.lines().collect();
        assert!(*line >= 1 && *line <= lines.len(), "{}: {file} has no line {line}", case.name);
        lines[line - 1] = new;
        text.text = lines.join("\n") + "\n";
    }
    texts
}

#[test]
fn each_misfit_is_named_with_its_line_and_none_is_left_once_that_line_is_repaired() {
    let (mut wrong, cases) = (String::new(), cases());
    let mut fail = |case: &Case, why: String| wrong.push_str(&format!("\n{}: {why}\n", case.name));
    for case in &cases {
        let neighbours = read(&case.texts);
        let found = compare(&neighbours, &case.machine);
        let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
        for expected in &case.expected {
            let words: Vec<&str> = expected.splitn(4, ' ').collect();
            let [class, side, product, spot] = words.as_slice() else { panic!("{expected}") };
            let fits = found.iter().any(|finding| {
                finding.class.name() == *class
                    && finding.side.name() == *side
                    && finding.product.is_some_and(|named| named.name() == *product)
                    && (format!("{} ", finding.seen).contains(&format!("{spot}:"))
                        || finding.seen.contains(&format!("{spot};")))
                    && finding.change.contains(*spot)
            });
            if !fits {
                fail(case, format!("no `{expected}` in\n{}", shown.join("\n")));
            }
        }
        if found.len() != case.expected.len() {
            fail(
                case,
                format!("{} findings, {} expected:\n{}", found.len(), case.expected.len(), shown.join("\n")),
            );
        }
        let unread: Vec<String> =
            neighbours.iter().flat_map(|each| &each.unread).map(|unread| unread.place.spot()).collect();
        if unread != case.unread {
            fail(case, format!("unread is {unread:?}"));
        }
        let healthy = compare(&read(&repaired(case)), &case.machine);
        if !healthy.is_empty() {
            let shown: Vec<String> = healthy.iter().map(ToString::to_string).collect();
            fail(case, format!("repaired, and still\n{}", shown.join("\n")));
        }
    }
    assert!(cases.len() > 20, "only {} cases", cases.len());
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn texts_that_break_off_anywhere_or_are_another_programs_end_every_reader() {
    for case in cases() {
        for text in &case.texts {
            for cut in (0..text.text.len()).step_by(11) {
                let text = String::from_utf8_lossy(&text.text.as_bytes()[..cut]);
                let file = File { name: "x", text: &text };
                for source in Source::ALL {
                    let found = source.read(&[file]);
                    let _ = compare(&found, &case.machine);
                }
            }
        }
    }
}

#[test]
fn what_is_too_much_is_said() {
    let mut text = String::from("listen x\n");
    for port in 0..6_000 {
        text.push_str(&format!("  bind 127.0.0.1:{}\n", 1_000 + port));
    }
    let read = Source::named("haproxy").unwrap().read(&[File { name: "h", text: &text }]);
    assert_eq!(read[0].listens.len(), truepeer_doctor::neighbour::MAX_PORTS);
    assert!(read[0].unread[0].why.contains("more than 5000"), "{:?}", read[0].unread);
}

#[test]
fn every_reader_has_a_name_of_its_own_and_is_found_by_it() {
    for source in Source::ALL {
        let name = source.product.name();
        assert_eq!(Source::named(name).unwrap().product, source.product, "{name}");
        for other in source.also {
            assert_eq!(Source::named(other).unwrap().product, source.product, "{other}");
        }
        assert_eq!(Source::of(source.product).unwrap().product, source.product);
    }
}
