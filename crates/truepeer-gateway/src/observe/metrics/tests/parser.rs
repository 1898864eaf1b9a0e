//! A strict reader of OpenMetrics text, written from the format's rules and not from the writer: whatever is not
//! allowed ends the test.

use std::collections::BTreeSet;

/// A text that keeps the rules.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) families: Vec<Family>,
}

#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) unit: Option<String>,
    pub(super) help: String,
    pub(super) samples: Vec<Sample>,
}

#[derive(Debug)]
pub(super) struct Sample {
    /// Name and labels as written.
    pub(super) series: String,
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
}

impl Parsed {
    pub(super) fn all_series(&self) -> BTreeSet<String> {
        self.families.iter().flat_map(|family| &family.samples).map(|sample| sample.series.clone()).collect()
    }
}

impl Family {
    pub(super) fn series_of(&self, name: &str) -> BTreeSet<String> {
        let samples = self.samples.iter().filter(|sample| sample.name == name);
        samples.map(|sample| sample.series.clone()).collect()
    }
}

pub(super) fn parse(text: &str) -> Parsed {
    let body = text.strip_suffix("# EOF\n").expect("the text ends in # EOF and a line end");
    let mut families: Vec<Family> = Vec::new();
    for line in body.split_terminator('\n') {
        assert!(!line.is_empty() && line.trim() == line, "{line:?}");
        let Some(metadata) = line.strip_prefix("# ") else {
            families.last_mut().expect("a family comes first").samples.push(parse_sample(line));
            continue;
        };
        let [word, name, rest] = metadata.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line:?}") };
        if word == "TYPE" {
            let (name, kind) = (name.to_owned(), rest.to_owned());
            let unit = None;
            families.push(Family { name, kind, unit, help: String::new(), samples: Vec::new() });
            continue;
        }
        let family = families.last_mut().expect("TYPE comes first here");
        assert!(family.name == name && family.samples.is_empty(), "out of place: {line:?}");
        match word {
            "UNIT" => assert_eq!(family.unit.replace(rest.to_owned()), None, "{line:?}"),
            "HELP" => {
                assert!(family.help.is_empty() && rest.ends_with('.'), "{line:?}");
                family.help = rest.to_owned();
            }
            _ => panic!("{line:?}"),
        }
    }
    let parsed = Parsed { families };
    let mut names = BTreeSet::new();
    for family in &parsed.families {
        assert!(names.insert(&family.name), "family twice: {}", family.name);
        check(family);
    }
    let count: usize = parsed.families.iter().map(|family| family.samples.len()).sum();
    assert_eq!(parsed.all_series().len(), count, "a series twice");
    parsed
}

fn check(family: &Family) {
    let Family { name, kind, unit, help, samples } = family;
    assert!(name.starts_with("truepeer_"), "{name}");
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
    assert!(!name.ends_with("_total") && !name.ends_with("_info"), "{name}: suffixes are for samples");
    assert!(!help.is_empty(), "{name}: no HELP");
    for word in ["seconds", "bytes"] {
        let named = name.ends_with(&format!("_{word}"));
        assert_eq!(named, unit.as_deref() == Some(word), "{name}: unit {unit:?}");
    }
    let suffixes: &[&str] = match kind.as_str() {
        "counter" => &["_total"],
        "info" => &["_info"],
        "gauge" => &[""],
        "histogram" => &["_bucket", "_count", "_sum"],
        other => panic!("{name}: type {other}"),
    };
    for sample in samples {
        let suffix = sample.name.strip_prefix(name.as_str()).expect("a sample has its family's name");
        assert!(suffixes.contains(&suffix), "{name}: sample {}", sample.name);
        assert!(sample.value >= 0.0 && sample.value.is_finite(), "{}", sample.series);
        let mut labels = BTreeSet::new();
        assert!(sample.labels.iter().all(|(label, _)| labels.insert(label)), "{}", sample.series);
        assert_eq!(labels.contains(&"le".to_owned()), suffix == "_bucket", "{}", sample.series);
    }
    if kind == "histogram" {
        check_histograms(family);
    }
}

/// Samples of one histogram stand together; buckets ascend, are cumulative and end in the count.
fn check_histograms(family: &Family) {
    let mut samples = family.samples.iter().peekable();
    while let Some(first) = samples.peek() {
        let (without_le, mut last, mut count) = (without_le(first), f64::NEG_INFINITY, 0.0);
        while let Some(bucket) = samples.next_if(|sample| sample.name.ends_with("_bucket")) {
            assert_eq!(self::without_le(bucket), without_le);
            let (_, bound) = bucket.labels.last().expect("a bucket has a bound");
            let bound: f64 = if bound == "+Inf" {
                f64::INFINITY
            } else {
                assert!(bound.contains('.'), "not canonical: {bound}");
                bound.parse().expect("a number")
            };
            assert!(bound > last && bucket.value >= count, "{}", bucket.series);
            (last, count) = (bound, bucket.value);
        }
        assert_eq!(last, f64::INFINITY, "{}: the last bucket", family.name);
        for (suffix, value) in [("_count", Some(count)), ("_sum", None)] {
            let sample = samples.next().expect("count and sum follow");
            assert!(sample.name.ends_with(suffix) && sample.labels == without_le, "{}", sample.series);
            assert!(value.is_none_or(|value| value == sample.value), "{}", sample.series);
        }
    }
}

fn without_le(sample: &Sample) -> Vec<(String, String)> {
    sample.labels.iter().filter(|(label, _)| label != "le").cloned().collect()
}

fn parse_sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = match series.split_once('{') {
        None => (series, Vec::new()),
        Some((name, labels)) => (name, parse_labels(labels.strip_suffix('}').expect("a closing brace"))),
    };
    let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line:?}"));
    Sample { series: series.to_owned(), name: name.to_owned(), labels, value }
}

fn parse_labels(text: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    let mut chars = text.chars();
    loop {
        let name: String = chars.by_ref().take_while(|c| *c != '=').collect();
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase()), "{text:?}");
        assert_eq!(chars.next(), Some('"'), "{text:?}");
        let mut value = String::new();
        loop {
            match chars.next().expect("a closing quote") {
                '"' => break,
                '\\' => value.push(match chars.next() {
                    Some('n') => '\n',
                    Some(c @ ('"' | '\\')) => c,
                    other => panic!("escape {other:?} in {text:?}"),
                }),
                c => value.push(c),
            }
        }
        labels.push((name, value));
        match chars.next() {
            None => return labels,
            comma => assert_eq!(comma, Some(','), "{text:?}"),
        }
    }
}
