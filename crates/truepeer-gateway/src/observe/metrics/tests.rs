//! The text as a reader sees it: read by a strict parser, compared with what was counted.

#![allow(clippy::arithmetic_side_effects, reason = "numbers in tests are small")]

mod dashboard;
mod docs;
mod parser;
mod rules;

use std::collections::BTreeSet;

use super::*;
use crate::facts::address::ClientIp;
use crate::facts::outcome::Outcome;
use crate::rooms::bans::shared::SharingStatus;
use crate::rooms::limits::{LimitRule, LimitsStatus};
use crate::rooms::record::{RefusedBy, Scope, Source};
use parser::{Parsed, parse};

fn shards(names: &[&str]) -> Vec<Arc<Shard>> {
    names.iter().map(|name| Arc::new(Shard::new((*name).into()))).collect()
}

fn backend(name: &str) -> BackendGauge {
    BackendGauge { backend: name.into(), unasked: 0, proved: 0, unproven: 0, unready: 0 }
}

fn gauges(backends: &[&str]) -> Gauges {
    Gauges { backends: backends.iter().map(|name| backend(name)).collect(), ..Gauges::default() }
}

/// Type, name of the samples, and labels with their values.
type Row = (&'static str, &'static str, Vec<(&'static str, Vec<&'static str>)>);

/// Every family as an operator knows it, written down a second time.
/// Anyone who changes a name here breaks dashboards.
fn expected() -> Vec<Row> {
    let listener = || ("listener", vec!["smtp", "imap"]);
    let rules = vec![
        "deny_list",
        "default_deny",
        "ban",
        "require_secure",
        "connections_per_client",
        "rate_per_client",
        "listener_connections",
        "server_connections",
    ];
    let outcomes = Outcome::ALL.iter().map(|outcome| outcome.facts().code).collect();
    let backends = || ("backend", vec!["postfix"]);
    let readiness = vec!["unasked", "proved", "unproven", "unready"];
    vec![
        ("info", "truepeer_build_info", vec![("version", vec![env!("CARGO_PKG_VERSION")])]),
        ("gauge", "truepeer_start_time_seconds", vec![]),
        ("counter", "truepeer_accepted_connections_total", vec![listener()]),
        ("counter", "truepeer_accept_failures_total", vec![listener()]),
        ("counter", "truepeer_accept_pauses_total", vec![listener()]),
        ("gauge", "truepeer_open_connections", vec![listener()]),
        ("gauge", "truepeer_open_connections_limit", vec![]),
        ("gauge", "truepeer_pending_headers", vec![]),
        ("gauge", "truepeer_pending_headers_limit", vec![]),
        (
            "counter",
            "truepeer_identified_connections_total",
            vec![listener(), ("source", vec!["direct", "v1", "v2"]), ("scope", vec!["public", "private"])],
        ),
        ("counter", "truepeer_own_connections_total", vec![listener()]),
        ("counter", "truepeer_health_checks_total", vec![listener(), ("answer", vec!["ready", "unready"])]),
        ("counter", "truepeer_refused_connections_total", vec![listener(), ("rule", rules.clone())]),
        ("counter", "truepeer_would_refuse_connections_total", vec![listener(), ("rule", rules)]),
        ("counter", "truepeer_ended_connections_total", vec![listener(), ("outcome", outcomes)]),
        ("counter", "truepeer_relayed_bytes_total", vec![listener(), ("direction", vec!["in", "out"])]),
        ("histogram", "truepeer_identify_duration_seconds", vec![listener()]),
        ("histogram", "truepeer_handoff_duration_seconds", vec![listener()]),
        ("histogram", "truepeer_relay_duration_seconds", vec![listener()]),
        ("histogram", "truepeer_connection_duration_seconds", vec![listener()]),
        ("gauge", "truepeer_backend_ready", vec![backends()]),
        ("gauge", "truepeer_backend_addresses", vec![backends(), ("readiness", readiness)]),
        ("gauge", "truepeer_limited_clients", vec![]),
        ("gauge", "truepeer_limited_clients_limit", vec![]),
        ("counter", "truepeer_shared_client_counts_total", vec![]),
        ("gauge", "truepeer_active_bans", vec![]),
        ("gauge", "truepeer_shared_store_connected", vec![]),
        ("gauge", "truepeer_shared_store_silence_seconds", vec![]),
        ("gauge", "truepeer_shared_store_entries", vec![]),
        ("gauge", "truepeer_shared_pending_orders", vec![]),
        (
            "counter",
            "truepeer_shared_refused_entries_total",
            vec![("reason", vec!["unfit", "trusted_proxy", "too_wide", "full"])],
        ),
        ("counter", "truepeer_folded_records_total", vec![listener()]),
        ("counter", "truepeer_lost_log_lines_total", vec![]),
        ("gauge", "truepeer_open_descriptors", vec![]),
        ("gauge", "truepeer_descriptors_limit", vec![]),
    ]
}

/// Every combination of label values as the text writes it.
fn series(name: &str, labels: &[(&str, Vec<&str>)]) -> BTreeSet<String> {
    let mut sets = vec![String::new()];
    for (label, values) in labels {
        let with = |set: &String| {
            let comma = if set.is_empty() { "" } else { "," };
            values.iter().map(|value| format!("{set}{comma}{label}=\"{value}\"")).collect::<Vec<_>>()
        };
        sets = sets.iter().flat_map(with).collect();
    }
    let braced = |set: &String| if set.is_empty() { name.to_owned() } else { format!("{name}{{{set}}}") };
    sets.iter().map(braced).collect()
}

#[test]
fn every_series_exists_from_the_start_at_zero() {
    let parsed = parse(&render(&shards(&["smtp", "imap"]), &gauges(&["postfix"]), Format::OpenMetrics));
    let mut found: Vec<_> = parsed.families.iter().collect();
    for (kind, sample, labels) in expected() {
        let family = found.remove(0);
        assert_eq!(family.kind, kind, "{sample}");
        if kind == "histogram" {
            for part in ["count", "sum"] {
                let name = format!("{sample}_{part}");
                assert_eq!(family.series_of(&name), series(&name, &labels));
            }
        } else {
            assert_eq!(family.series_of(sample), series(sample, &labels));
        }
        let zero = if kind == "info" { 1.0 } else { 0.0 };
        assert!(family.samples.iter().all(|sample| sample.value == zero), "{family:?}");
    }
    assert!(found.is_empty(), "not expected: {found:?}");
}

#[test]
fn both_formats_hold_the_same_samples() {
    let shards = shards(&["smtp", "imap"]);
    count_everything_once(&shards[0]);
    let text = |format| render(&shards, &gauges(&["postfix"]), format);
    let (new, old) = (text(Format::OpenMetrics), text(Format::Prometheus));
    let samples = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(samples(&new), samples(&old));
    for line in [
        "# TYPE truepeer_build_info gauge",
        "# TYPE truepeer_accepted_connections_total counter",
        "# HELP truepeer_accepted_connections_total Connections that were accepted.",
        "# TYPE truepeer_open_connections gauge",
        "# TYPE truepeer_relay_duration_seconds histogram",
    ] {
        assert!(old.lines().any(|written| written == line), "{line}");
    }
    for word in ["# UNIT", "# EOF", " info\n"] {
        assert!(new.contains(word) && !old.contains(word), "{word}");
    }
}

#[test]
fn counting_makes_no_series_and_loses_none() {
    let shards = shards(&["smtp"]);
    let before = parse(&render(&shards, &gauges(&["postfix"]), Format::OpenMetrics)).all_series();
    count_everything_once(&shards[0]);
    let after = parse(&render(&shards, &gauges(&["postfix"]), Format::OpenMetrics)).all_series();
    assert_eq!(before, after);
}

fn count_everything_once(shard: &Shard) {
    shard.accepted();
    shard.accept_failed();
    shard.accept_paused();
    for source in Source::ALL {
        Scope::ALL.into_iter().for_each(|scope| shard.identified(source, scope));
    }
    shard.own();
    HealthAnswer::ALL.into_iter().for_each(|answer| shard.health_checked(answer));
    for refusal in RefusedBy::ALL {
        shard.refused(refusal);
        shard.would_refuse(refusal);
    }
    Outcome::ALL.into_iter().for_each(|outcome| shard.ended(outcome));
    shard.folded();
    Direction::ALL.into_iter().for_each(|direction| shard.relayed(direction, 1));
    TimedRoom::ALL.into_iter().for_each(|room| shard.spent(room, Duration::from_millis(3)));
}

#[test]
fn everything_that_is_counted_is_one_in_the_text() {
    let shards = shards(&["smtp"]);
    count_everything_once(&shards[0]);
    let parsed = parse(&render(&shards, &gauges(&[]), Format::OpenMetrics));
    let counters = parsed.families.iter().filter(|family| family.kind == "counter");
    let samples = counters.flat_map(|family| &family.samples);
    for sample in samples.filter(|sample| sample.series.contains("listener=")) {
        assert_eq!(sample.value, 1.0, "{}", sample.series);
    }
    for room in ["identify", "handoff", "relay", "connection"] {
        let name = format!("truepeer_{room}_duration_seconds");
        assert_eq!(value(&parsed, &format!("{name}_count{{listener=\"smtp\"}}")), 1.0);
        assert_eq!(value(&parsed, &format!("{name}_sum{{listener=\"smtp\"}}")), 0.003);
    }
    let bucket = |le| {
        value(&parsed, &format!("truepeer_identify_duration_seconds_bucket{{listener=\"smtp\",le=\"{le}\"}}"))
    };
    assert_eq!((bucket("0.0025"), bucket("0.005"), bucket("+Inf")), (0.0, 1.0, 1.0));
}

fn value(parsed: &Parsed, series: &str) -> f64 {
    let samples = parsed.families.iter().flat_map(|family| &family.samples);
    let mut found = samples.filter(|sample| sample.series == series);
    found.next().unwrap_or_else(|| panic!("no series {series}")).value
}

#[test]
fn workers_are_summed_by_listener() {
    let metrics = Metrics::default();
    let (smtp, imap): (Arc<str>, Arc<str>) = ("smtp".into(), "imap".into());
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let shard = metrics.shard(worker, &smtp);
            scope.spawn(move || (0..1000).for_each(|_| shard.accepted()));
        }
    });
    metrics.shard(1, &imap).accepted();
    metrics.shard(2, &smtp).ended(Outcome::Done);
    let text = metrics.render(&Gauges::default(), Format::OpenMetrics);
    let parsed = parse(&text);
    assert_eq!(value(&parsed, "truepeer_accepted_connections_total{listener=\"smtp\"}"), 4000.0);
    assert_eq!(value(&parsed, "truepeer_accepted_connections_total{listener=\"imap\"}"), 1.0);
    assert_eq!(value(&parsed, "truepeer_open_connections{listener=\"smtp\"}"), 3999.0);
    assert_eq!(value(&parsed, "truepeer_ended_connections_total{listener=\"smtp\",outcome=\"done\"}"), 1.0);
}

#[test]
fn a_worker_gets_the_same_shard_again() {
    let metrics = Metrics::default();
    let smtp: Arc<str> = "smtp".into();
    let first = metrics.shard(0, &smtp);
    assert!(Arc::ptr_eq(&first, &metrics.shard(0, &"smtp".into())));
    assert!(!Arc::ptr_eq(&first, &metrics.shard(1, &smtp)));
}

#[test]
fn gauges_are_what_they_were_given() {
    let gauges = Gauges {
        started: Duration::from_secs(1_700_000_000),
        max_connections: 8000,
        pending_headers: 3,
        max_pending_headers: 16_384,
        limits: LimitsStatus { clients: 17, max_clients: 131_072, shared: 5 },
        active_bans: 6,
        sharing: SharingStatus {
            connected: true,
            silent: Duration::from_millis(1500),
            entries: 12,
            pending: 4,
            refused: [1, 2, 3, 0],
            ..SharingStatus::default()
        },
        lost_log_lines: 7,
        open_descriptors: 90,
        max_descriptors: 65_536,
        backends: vec![
            BackendGauge { proved: 2, unready: 1, ..backend("postfix") },
            BackendGauge { unproven: 1, ..backend("nginx") },
            BackendGauge { unasked: 1, unready: 3, ..backend("dovecot") },
        ],
    };
    let parsed = parse(&render(&[], &gauges, Format::OpenMetrics));
    let cases = [
        ("truepeer_start_time_seconds", 1_700_000_000.0),
        ("truepeer_open_connections_limit", 8000.0),
        ("truepeer_pending_headers", 3.0),
        ("truepeer_pending_headers_limit", 16_384.0),
        ("truepeer_limited_clients", 17.0),
        ("truepeer_limited_clients_limit", 131_072.0),
        ("truepeer_shared_client_counts_total", 5.0),
        ("truepeer_active_bans", 6.0),
        ("truepeer_shared_store_connected", 1.0),
        ("truepeer_shared_store_silence_seconds", 1.5),
        ("truepeer_shared_store_entries", 12.0),
        ("truepeer_shared_pending_orders", 4.0),
        ("truepeer_shared_refused_entries_total{reason=\"trusted_proxy\"}", 2.0),
        ("truepeer_lost_log_lines_total", 7.0),
        ("truepeer_open_descriptors", 90.0),
        ("truepeer_descriptors_limit", 65_536.0),
        ("truepeer_backend_ready{backend=\"postfix\"}", 1.0),
        ("truepeer_backend_ready{backend=\"nginx\"}", 1.0),
        ("truepeer_backend_ready{backend=\"dovecot\"}", 0.0),
        ("truepeer_backend_addresses{backend=\"postfix\",readiness=\"proved\"}", 2.0),
        ("truepeer_backend_addresses{backend=\"dovecot\",readiness=\"unready\"}", 3.0),
        ("truepeer_backend_addresses{backend=\"dovecot\",readiness=\"unasked\"}", 1.0),
    ];
    for (series, expected) in cases {
        assert_eq!(value(&parsed, series), expected, "{series}");
    }
}

#[test]
fn a_listener_of_any_name_can_be_read() {
    parse(&render(&shards(&["a\"b\\c\nd{e}=,", ""]), &gauges(&["\\"]), Format::OpenMetrics));
}

#[test]
fn labels_follow_from_what_they_are_about() {
    for (client, scope) in [
        ("192.0.2.1", Scope::Public),
        ("10.0.0.1", Scope::Private),
        ("::ffff:10.0.0.1", Scope::Private),
        ("fe80::1", Scope::Private),
        ("2001:db8::1", Scope::Public),
    ] {
        assert_eq!(Scope::from(client.parse::<ClientIp>().unwrap()), scope, "{client}");
    }
    for rule in LimitRule::ALL {
        assert!(RefusedBy::ALL.contains(&RefusedBy::Limit(rule)));
        assert_eq!(RefusedBy::Limit(rule).code(), rule.code());
    }
    use truepeer::{IdentitySource, proto::Version};
    for source in
        [IdentitySource::Direct, IdentitySource::Header(Version::V1), IdentitySource::Header(Version::V2)]
    {
        assert_eq!(Source::from(source).code(), source.code());
    }
}
