//! The alert rules that are shipped speak of series that exist.

use std::collections::BTreeSet;

use super::{gauges, parse, render, shards};
use crate::facts::outcome::Outcome;
use crate::observe::metrics::Format;
use crate::rooms::record::{RefusedBy, Scope, Source};

const RULES: &str = include_str!("../../../../../../packaging/prometheus/truepeer.rules.yml");

/// Words of the rules that begin like our series.
fn names() -> BTreeSet<&'static str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    RULES.split(|c| !is_part(c)).filter(|word| word.starts_with("truepeer_")).collect()
}

#[test]
fn every_series_in_a_rule_exists() {
    let parsed = parse(&render(&shards(&["smtp"]), &gauges(&["postfix"]), Format::OpenMetrics));
    let samples = parsed.families.iter().flat_map(|family| &family.samples);
    let known: BTreeSet<_> = samples.map(|sample| sample.name.as_str()).collect();
    let names = names();
    assert!(names.len() > 10, "{names:?}");
    let unknown: Vec<_> = names.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn every_label_value_in_a_rule_exists() {
    let mut known: BTreeSet<&str> = Outcome::ALL.iter().map(|outcome| outcome.facts().code).collect();
    known.extend(RefusedBy::ALL.iter().map(|refusal| refusal.code()));
    known.extend(Scope::ALL.iter().map(|scope| scope.code()));
    known.extend(Source::ALL.iter().map(|source| source.code()));
    let mut checked = 0;
    for label in ["outcome", "rule", "scope", "source"] {
        for operator in ["=~\"", "=\"", "!~\"", "!=\""] {
            for value in RULES.split(&format!("{label}{operator}")).skip(1) {
                let value = value.split('"').next().unwrap();
                for word in value.split('|') {
                    assert!(known.contains(word), "{label}{operator}{value}");
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 5, "{checked}");
}

/// What an alert means is a click away, and no page speaks of an alert that there is not.
#[test]
fn every_alert_links_to_its_section_and_every_section_has_its_alert() {
    const PAGE: &str = include_str!("../../../../../../docs/alerts.md");
    let alerts: Vec<_> = RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let sections: Vec<_> = PAGE.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(alerts, sections);
    for (alert, rule) in alerts.iter().zip(RULES.split("- alert: ").skip(1)) {
        let url = "https://github.com/truepeer/truepeer/blob/main/docs/alerts.md";
        let link = format!("runbook_url: \"{url}#{}\"\n", alert.to_lowercase());
        assert!(rule.contains(&link), "{alert}");
    }
}
