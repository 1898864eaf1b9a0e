//! Prometheus reads the status page in both formats; `promtool` accepts it and the alert rules, and answers the
//! dashboard's queries.
//!
//! Called by `cases`.

use core::fmt::Write as _;

use super::{Case, PROXY, case, hello, told_client, told_destination};
use crate::client::{Client, Place};
use crate::feed::Mark;
use crate::header;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::haproxy::Haproxy;
use crate::servers::prometheus::{Prometheus, get, promtool};
use crate::servers::truepeer::{Backend, Listener};
use crate::servers::write;
use crate::verdict::{During, Result, ensure};

const RULES: &str = include_str!("../../../packaging/prometheus/truepeer.rules.yml");
const RULES_TEST: &str = include_str!("../../../packaging/prometheus/truepeer.test.yml");

/// The queries of the dashboard, and what they must be over a known history; made with it.
const QUERIES: &str = include_str!("../../../packaging/grafana/queries.rules.yml");
const QUERIES_TEST: &str = include_str!("../../../packaging/grafana/queries.test.yml");

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("prometheus_scrapes_what_happened_in_both_formats", scrape),
        case("promtool_accepts_the_alert_rules_and_their_tests", rules),
        case("promtool_answers_the_queries_of_the_dashboard", dashboard),
        case("promtool_finds_no_fault_with_the_metrics", lint),
    ]
}

fn scrape(lab: &Lab) -> Result {
    let listener = Listener {
        id: "smtp",
        ip: PROXY.ip(),
        protocol: "smtp",
        backend: "postfix",
        lines: "access.deny = [\"203.0.113.66\"]\n",
    };
    let backend =
        Backend { id: "postfix", kind: "postfix", handoff: None, addr: lab.postfix()?.header_port() };
    let truepeer = lab.start_truepeer("truepeer-scraped", &[listener], &[backend])?;
    truepeer.wait_event(Mark::default(), "backend_proved", "postfix")?;
    let (door, status) = (truepeer.port("smtp")?, truepeer.port("status")?);

    // Prometheus takes OpenMetrics where it can; a HAProxy in between asks for the older text in its name.
    let old = Port::free(PROXY.ip())?;
    let text = format!(
        "defaults\n  mode http\n  timeout connect 10s\n  timeout client 10s\n  timeout server 10s\n\
         listen old\n  bind {}\n  http-request set-header Accept text/plain;version=0.0.4\n  server status {status}\n",
        old.addr()
    );
    let haproxy = Haproxy::start_as_written(&lab.fresh_dir("haproxy-old")?, &text)?;
    lab.watch("haproxy-old", haproxy.log());
    let dir = lab.fresh_dir("prometheus")?;
    let rules = dir.join("truepeer.rules.yml");
    write(&rules, RULES)?;
    let prometheus = Prometheus::start(&dir, &rules, &[("new", status), ("old", old.addr())])?;
    lab.watch("prometheus", prometheus.log());
    for job in ["new", "old"] {
        prometheus.wait_value(&format!("up{{job=\"{job}\"}}"), "1")?;
    }
    for (job, family, expected) in
        [("new", "truepeer_build", "info"), ("old", "truepeer_build_info", "gauge")]
    {
        let found = prometheus.type_of(job, family)?;
        ensure(found == expected, || format!("{job}: {family} is read as {found}"))?;
    }

    // What happens while it watches: three through a proxy, one direct, one denied, one health check, one ban.
    for port in [4731, 4732, 4733] {
        let mut client = Client::dial(PROXY, door)?;
        client.send(&header::v2(told_client(port), told_destination(), &[]))?;
        hello(&mut client)?;
    }
    hello(&mut Client::dial(Place::Here(lab.fresh_source()), door)?)?;
    let denied = std::net::SocketAddr::from(([203, 0, 113, 66], 4734));
    let mut client = Client::dial(PROXY, door)?;
    client.send(&header::v2(denied, told_destination(), &[]))?;
    client.expect_reply("554")?;
    drop(client);
    let mut check = Client::dial(PROXY, door)?;
    check.send(&header::v2_local())?;
    hello(&mut check)?;
    let ban = truepeer.command(&["deny", "192.0.2.77", "--for", "1h"])?;
    ensure(ban.status.success(), || String::from_utf8_lossy(&ban.stderr).into_owned())?;

    for job in ["new", "old"] {
        for (series, labels, value) in [
            ("accepted_connections_total", "listener=\"smtp\"", "6"),
            ("identified_connections_total", "source=\"v2\",scope=\"public\"", "4"),
            ("identified_connections_total", "source=\"direct\",scope=\"private\"", "1"),
            ("identified_connections_total", "source=\"v1\",scope=\"public\"", "0"),
            ("own_connections_total", "listener=\"smtp\"", "1"),
            ("ended_connections_total", "outcome=\"done\"", "4"),
            ("ended_connections_total", "outcome=\"access_denied\"", "1"),
            ("ended_connections_total", "outcome=\"own_answered\"", "1"),
            ("refused_connections_total", "rule=\"deny_list\"", "1"),
            ("refused_connections_total", "rule=\"ban\"", "0"),
            ("open_connections", "listener=\"smtp\"", "0"),
            ("pending_headers", "", "0"),
            ("active_bans", "", "1"),
            ("backend_ready", "backend=\"postfix\"", "1"),
            ("identify_duration_seconds_count", "listener=\"smtp\"", "6"),
            ("handoff_duration_seconds_count", "listener=\"smtp\"", "4"),
            ("relay_duration_seconds_count", "listener=\"smtp\"", "4"),
            ("connection_duration_seconds_count", "listener=\"smtp\"", "6"),
            ("connection_duration_seconds_bucket", "le=\"+Inf\"", "6"),
        ] {
            let comma = if labels.is_empty() { "" } else { "," };
            prometheus.wait_value(&format!("truepeer_{series}{{job=\"{job}\"{comma}{labels}}}"), value)?;
        }
        prometheus.wait_value(&format!("count(truepeer_build_info{{job=\"{job}\",version!=\"\"}})"), "1")?;
        // Four clients said EHLO and QUIT.
        prometheus.wait_value(
            &format!("truepeer_relayed_bytes_total{{job=\"{job}\",direction=\"in\"}}"),
            &4_usize.saturating_mul("EHLO client.interop.test\r\nQUIT\r\n".len()).to_string(),
        )?;
    }
    // Every rule is evaluated over what was scraped, and none of them fails.
    prometheus.wait_value("sum(prometheus_rule_evaluation_failures_total) or vector(0)", "0")
}

fn rules(lab: &Lab) -> Result {
    let dir = lab.fresh_dir("rules")?;
    write(&dir.join("truepeer.rules.yml"), RULES)?;
    write(&dir.join("truepeer.test.yml"), RULES_TEST)?;
    let checked = promtool(&dir, &["check", "rules", "truepeer.rules.yml"], "")?;
    let mut count = String::new();
    write!(count, "{} rules found", RULES.matches("- alert:").count()).during("count rules")?;
    ensure(checked.contains("SUCCESS") && checked.contains(&count), || checked.clone())?;
    let tested = promtool(&dir, &["test", "rules", "truepeer.test.yml"], "")?;
    ensure(tested.contains("SUCCESS"), || tested.clone())
}

fn dashboard(lab: &Lab) -> Result {
    let dir = lab.fresh_dir("dashboard")?;
    write(&dir.join("queries.rules.yml"), QUERIES)?;
    write(&dir.join("queries.test.yml"), QUERIES_TEST)?;
    let checked = promtool(&dir, &["check", "rules", "queries.rules.yml"], "")?;
    ensure(checked.contains("SUCCESS"), || checked.clone())?;
    let tested = promtool(&dir, &["test", "rules", "queries.test.yml"], "")?;
    ensure(tested.contains("SUCCESS"), || tested.clone())
}

fn lint(lab: &Lab) -> Result {
    let status = lab.truepeer()?.port("status")?;
    let (head, text) = get(status, "/metrics", "text/plain;version=0.0.4")?;
    ensure(head.contains("content-type: text/plain; version=0.0.4"), || head.clone())?;
    let said = promtool(&lab.fresh_dir("lint")?, &["check", "metrics"], &text)?;
    ensure(said.is_empty(), || said.clone())
}
