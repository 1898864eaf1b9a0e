//! The dashboard in `packaging/grafana/` is made from the table of metrics; `UPDATE=1` writes it anew.
//!
//! Its queries are written a second time as rules, with a history and the values that they must have over it: `promtool`
//! answers them without a server.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::{expected, gauges, parse, render, shards};
use crate::facts::outcome::{Level, Outcome};
use crate::observe::metrics::Format;
use crate::observe::metrics::family::{Family, Kind};
use crate::observe::metrics::label::Label;

const DOCS: &str = "https://github.com/truepeer/truepeer/blob/main/docs/";

/// The rows of the dashboard, in their order.
const ROWS: [&str; 6] =
    ["Now", "What comes in", "Who is turned away", "Backends", "How long it takes", "This process"];

/// One picture.
struct Panel {
    row: &'static str,
    title: &'static str,
    family: Family,
    queries: Vec<Query>,
}

struct Query {
    expr: String,
    legend: String,
    /// What it is over the history that the test has.
    value: f64,
    /// The labels of the one sample that it has then.
    labels: String,
}

/// Where each family is shown, under which title; `None` for those that are drawn in another's panel.
fn place(family: Family) -> Option<(&'static str, &'static str)> {
    let [now, comes, away, backends, times, process] = ROWS;
    Some(match family {
        Family::Build => (now, "Version"),
        Family::StartTime => (now, "Up for"),
        Family::OpenConnections => (now, "Open connections, and where accepting pauses"),
        Family::PendingHeaders => (now, "Unfinished headers, and where the oldest are closed"),
        Family::ActiveBans => (now, "Bans in force"),
        Family::AcceptedConnections => (comes, "Accepted connections"),
        Family::IdentifiedConnections => (comes, "Clients, by how they are known"),
        Family::RelayedBytes => (comes, "Relayed bytes"),
        Family::OwnConnections => (comes, "The proxies' own connections"),
        Family::HealthChecks => (comes, "Health checks, by answer"),
        Family::AcceptFailures => (comes, "Accepting failed"),
        Family::AcceptPauses => (comes, "Accepting paused"),
        Family::EndedConnections => (away, "Connections that did not end well, by outcome"),
        Family::RefusedConnections => (away, "Clients refused, by rule"),
        Family::WouldRefuseConnections => (away, "Clients that would be refused, by rule"),
        Family::BackendReady => (backends, "Ready to serve"),
        Family::BackendAddresses => (backends, "Addresses, by what is known of them"),
        Family::HandoffDuration => (backends, "Connecting and telling who the client is"),
        Family::IdentifyDuration => (times, "Knowing the client"),
        Family::RelayDuration => (times, "The relay"),
        Family::ConnectionDuration => (times, "A whole connection"),
        Family::LimitedClients => (process, "Clients in the table of limits, and its end"),
        Family::SharedClientCounts => (process, "Clients counted together, for want of room"),
        Family::SharedStoreConnected => (process, "The shared store answers"),
        Family::SharedStoreSilence => (process, "Since the shared store last answered"),
        Family::SharedStoreEntries => (process, "Networks that the shared store knows"),
        Family::SharedPendingOrders => (process, "Bans that other front doors may not know yet"),
        Family::SharedRefusedEntries => (process, "Entries of the shared store that were refused, by reason"),
        Family::OpenDescriptors => (process, "Descriptors, and their limit"),
        Family::FoldedRecords => (process, "Records folded into summaries"),
        Family::LostLogLines => (process, "Lines that the log's destination did not take"),
        Family::OpenConnectionsLimit
        | Family::PendingHeadersLimit
        | Family::LimitedClientsLimit
        | Family::DescriptorsLimit => return None,
    })
}

/// The limit that belongs to a gauge.
fn limit_of(family: Family) -> Option<Family> {
    Some(match family {
        Family::OpenConnections => Family::OpenConnectionsLimit,
        Family::PendingHeaders => Family::PendingHeadersLimit,
        Family::LimitedClients => Family::LimitedClientsLimit,
        Family::OpenDescriptors => Family::DescriptorsLimit,
        _ => return None,
    })
}

fn panels() -> Vec<Panel> {
    let placed = Family::ALL.into_iter().filter_map(|family| Some((family, place(family)?)));
    let panel = |(family, (row, title))| Panel { row, title, family, queries: queries(family) };
    let mut panels: Vec<_> = placed.map(panel).collect();
    panels.sort_by_key(|panel| ROWS.iter().position(|row| *row == panel.row));
    panels
}

/// What `Kind` of family is asked how. In the history of the test counters rise by one a second, gauges are 7, and all
/// durations are spread over the first tenth of a second.
fn queries(family: Family) -> Vec<Query> {
    let facts = family.facts();
    let names: Vec<_> = facts.labels.iter().map(|label| label.name()).collect();
    let series = |suffix: &str| format!("{}{suffix}{{{}}}", facts.name, filter(family));
    let by = if names.is_empty() { String::new() } else { format!("by ({}) ", names.join(", ")) };
    let legend = match names.is_empty() {
        true => facts.name.trim_start_matches("truepeer_").replace('_', " "),
        false => names.iter().map(|name| format!("{{{{{name}}}}}")).collect::<Vec<_>>().join(" "),
    };
    let labels = sample_labels(family);
    let one = |expr: String, value| Query { expr, legend: legend.clone(), value, labels: labels.clone() };
    let rate = |suffix: &str| format!("rate({}[$__rate_interval])", series(suffix));
    match facts.kind {
        Kind::Info => vec![one(format!("count {by}({})", series("_info")), 1.0)],
        Kind::Counter | Kind::CounterOfBytes => vec![one(format!("sum {by}({})", rate("_total")), 1.0)],
        // When it began; at the test's end, after an hour, that is 3,000 seconds ago.
        Kind::GaugeOfSeconds => vec![one(format!("max(time() - {})", series("")), 3000.0)],
        Kind::Gauge => {
            // Of several instances the worst counts where the value says whether all is well.
            let how = if family == Family::BackendReady { "min" } else { "sum" };
            let gauge = one(format!("{how} {by}({})", series("")), 7.0);
            let limit = limit_of(family).into_iter().flat_map(queries);
            [gauge].into_iter().chain(limit).collect()
        }
        Kind::HistogramOfSeconds => {
            let buckets = rate("_bucket");
            let quantile = |(quantile, name, value)| Query {
                expr: format!(
                    "histogram_quantile({quantile}, sum by (le, {}) ({buckets}))",
                    names.join(", ")
                ),
                legend: format!("{name} {legend}"),
                value,
                labels: labels.clone(),
            };
            [("0.5", "half", 0.05), ("0.99", "99 of 100", 0.099)].into_iter().map(quantile).collect()
        }
    }
}

/// What narrows a family to what was chosen at the top of the dashboard.
fn filter(family: Family) -> String {
    let labels = family.facts().labels;
    let mut filter = "instance=~\"$instance\"".to_owned();
    if labels.contains(&Label::Listener) {
        filter.push_str(",listener=~\"$listener\"");
    }
    if labels.contains(&Label::Outcome) {
        let well = |outcome: &Outcome| outcome.was_served() || outcome.facts().level == Level::Debug;
        let well: Vec<_> =
            Outcome::ALL.iter().filter(|outcome| well(outcome)).map(|outcome| outcome.facts().code).collect();
        let _ = write!(filter, ",outcome!~\"{}\"", well.join("|"));
    }
    filter
}

/// The labels of the one series of a family in the history: the last value of each.
fn sample_labels(family: Family) -> String {
    let facts = family.facts();
    let name = format!("{}{}", facts.name, facts.kind.suffix());
    let (_, _, labels) = expected().into_iter().find(|(_, sample, _)| *sample == name).unwrap();
    let labels: Vec<_> =
        labels.iter().map(|(label, values)| format!("{label}=\"{}\"", values[values.len() - 1])).collect();
    labels.join(",")
}

/// The dashboard as Grafana reads it.
fn dashboard() -> String {
    const WIDTH: u32 = 8;
    const HEIGHT: u32 = 8;
    let (mut all, mut y, mut id) = (Vec::new(), 0, 0);
    let panels = panels();
    for row in ROWS {
        id += 1;
        all.push(json!({
            "id": id, "type": "row", "title": row, "collapsed": false, "panels": [],
            "gridPos": { "x": 0, "y": y, "w": 24, "h": 1 },
        }));
        y += 1;
        let mut x = 0;
        for panel in panels.iter().filter(|panel| panel.row == row) {
            id += 1;
            if x + WIDTH > 24 {
                (x, y) = (0, y + HEIGHT);
            }
            all.push(drawn(panel, id, (x, y, WIDTH, HEIGHT)));
            x += WIDTH;
        }
        y += HEIGHT;
    }
    let chosen = |name: &str, of: &str| {
        json!({
            "name": name, "label": name, "type": "query", "datasource": source(),
            "query": { "query": format!("label_values({of}, {name})"), "refId": name },
            "definition": format!("label_values({of}, {name})"),
            "multi": true, "includeAll": true, "allValue": ".*", "current": { "text": "All", "value": "$__all" },
            "refresh": 2, "sort": 1,
        })
    };
    let dashboard = json!({
        "uid": "truepeer", "title": "truepeer", "tags": ["truepeer"], "schemaVersion": 39, "version": 1,
        "editable": true, "graphTooltip": 1, "refresh": "30s", "timezone": "browser",
        "time": { "from": "now-3h", "to": "now" },
        "links": [
            { "title": "What each number means", "type": "link", "targetBlank": true, "url": format!("{DOCS}metrics-and-logs.md") },
            { "title": "What clients hear, and why", "type": "link", "targetBlank": true, "url": format!("{DOCS}refusals.md") },
        ],
        "templating": { "list": [
            { "name": "datasource", "label": "data source", "type": "datasource", "query": "prometheus" },
            chosen("instance", "truepeer_build_info"),
            chosen("listener", "truepeer_accepted_connections_total"),
        ] },
        "panels": all,
    });
    format!("{dashboard:#}\n")
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn drawn(panel: &Panel, id: u32, (x, y, w, h): (u32, u32, u32, u32)) -> Value {
    let facts = panel.family.facts();
    let unit = match (facts.kind, panel.family) {
        (Kind::CounterOfBytes, _) => "Bps",
        (Kind::Counter, _) => "cps",
        (Kind::HistogramOfSeconds | Kind::GaugeOfSeconds, _) => "s",
        (Kind::Info | Kind::Gauge, _) => "short",
    };
    let is_single =
        matches!(facts.kind, Kind::Info | Kind::GaugeOfSeconds) || panel.family == Family::BackendReady;
    let targets: Vec<_> = ('A'..)
        .zip(&panel.queries)
        .map(|(letter, query)| json!({ "refId": letter.to_string(), "datasource": source(), "expr": query.expr, "legendFormat": query.legend }))
        .collect();
    // What may be handed no clients must not look like anything else.
    let steps = match panel.family {
        Family::BackendReady => json!([{ "color": "red", "value": null }, { "color": "green", "value": 1 }]),
        _ => json!([{ "color": "green", "value": null }]),
    };
    let options = match (is_single, facts.kind) {
        (true, Kind::Info) => json!({ "textMode": "name", "reduceOptions": { "calcs": ["lastNotNull"] } }),
        (true, _) => json!({ "textMode": "value_and_name", "reduceOptions": { "calcs": ["lastNotNull"] } }),
        (false, _) => {
            json!({ "legend": { "displayMode": "list", "placement": "bottom" }, "tooltip": { "mode": "multi", "sort": "desc" } })
        }
    };
    json!({
        "id": id, "type": if is_single { "stat" } else { "timeseries" }, "title": panel.title, "description": facts.help,
        "datasource": source(), "gridPos": { "x": x, "y": y, "w": w, "h": h }, "targets": targets, "options": options,
        "fieldConfig": {
            "defaults": { "unit": unit, "min": 0, "thresholds": { "mode": "absolute", "steps": steps } },
            "overrides": [],
        },
    })
}

/// A query without what Grafana puts in.
fn plain(expr: &str) -> String {
    expr.replace("$instance", ".*").replace("$listener", ".*").replace("$__rate_interval", "5m")
}

/// Every query as a rule, so that `promtool check rules` reads it.
fn rules() -> String {
    let mut text = "# The queries of truepeer.json, for promtool alone. Made with it: do not load these.\n\
                    groups:\n  - name: dashboard\n    rules:\n"
        .to_owned();
    for (number, query) in panels().iter().flat_map(|panel| &panel.queries).enumerate() {
        let _ =
            writeln!(text, "      - record: dashboard:query{number}\n        expr: '{}'", plain(&query.expr));
    }
    text
}

/// A history of an hour, and what each query is at its end.
fn history() -> String {
    let mut text = "# What the queries of truepeer.json are over a known history: `promtool test rules queries.test.yml`.\n\
                    rule_files: [queries.rules.yml]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n"
        .to_owned();
    let mut series = |name: String, labels: &str, values: &str| {
        let labels = if labels.is_empty() { String::new() } else { format!(",{labels}") };
        let _ =
            writeln!(text, "      - {{ series: '{name}{{instance=\"a\"{labels}}}', values: '{values}' }}");
    };
    for family in Family::ALL {
        let (facts, labels) = (family.facts(), sample_labels(family));
        let name = format!("{}{}", facts.name, facts.kind.suffix());
        match facts.kind {
            Kind::Info => series(name, &labels, "1x60"),
            Kind::Counter | Kind::CounterOfBytes => series(name, &labels, "0+60x60"),
            Kind::Gauge => series(name, &labels, "7x60"),
            Kind::GaugeOfSeconds => series(name, &labels, "600x60"),
            Kind::HistogramOfSeconds => {
                for le in ["0.1", "+Inf"] {
                    series(format!("{name}_bucket"), &format!("{labels},le=\"{le}\""), "0+60x60");
                }
            }
        }
    }
    text.push_str("    promql_expr_test:\n");
    for query in panels().iter().flat_map(|panel| &panel.queries) {
        let Query { expr, labels, value, .. } = query;
        let _ = writeln!(
            text,
            "      - expr: '{}'\n        eval_time: 1h\n        exp_samples: [{{ labels: '{{{labels}}}', value: {value} }}]",
            plain(expr)
        );
    }
    text
}

#[test]
fn documented_families_are_all_on_the_dashboard() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/grafana");
    for (file, text) in
        [("truepeer.json", dashboard()), ("queries.rules.yml", rules()), ("queries.test.yml", history())]
    {
        let path = folder.join(file);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == text, "packaging/grafana/{file} is stale: run the tests with UPDATE=1");
    }
    // Each family is asked for: in a panel of its own or as the limit of another.
    let asked = rules();
    for family in Family::ALL {
        assert!(asked.contains(family.facts().name), "{family:?}");
    }
}

/// Read back from the file, without the table that it was made from.
#[test]
fn every_series_and_label_on_the_dashboard_exists() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/grafana/truepeer.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let parsed = parse(&render(&shards(&["smtp"]), &gauges(&["postfix"]), Format::OpenMetrics));
    let samples: Vec<_> = parsed.families.iter().flat_map(|family| &family.samples).collect();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let exprs = panels
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .map(|target| target["expr"].as_str().unwrap());
    let mut checked = 0;
    for expr in exprs {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let names: BTreeSet<_> =
            expr.split(|c| !is_part(c)).filter(|word| word.starts_with("truepeer_")).collect();
        assert_eq!(names.len(), 1, "{expr}");
        let known: BTreeSet<&str> = samples
            .iter()
            .filter(|sample| names.contains(sample.name.as_str()))
            .flat_map(|sample| sample.labels.iter().map(|(label, _)| label.as_str()))
            // Prometheus adds where it was scraped.
            .chain(["instance"])
            .collect();
        assert!(samples.iter().any(|sample| names.contains(sample.name.as_str())), "{expr}");
        let chosen = expr.split_once('{').unwrap().1.split_once('}').unwrap().0;
        let chosen = chosen.split(',').filter_map(|pair| pair.split(['=', '!']).next());
        let grouped = expr.split_once("by (").map_or("", |(_, rest)| rest.split_once(')').unwrap().0);
        for label in chosen.chain(grouped.split(", ").filter(|label| !label.is_empty())) {
            assert!(known.contains(label), "{label} in {expr}: {known:?}");
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked}");
    let ids: Vec<_> =
        dashboard["panels"].as_array().unwrap().iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "Grafana wants each id once");
}
