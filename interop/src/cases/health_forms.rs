//! Every form of health check, with the backend up, down, and up again: the proxy's view is right throughout, and nobody
//! logs what is no news.
//!
//! Called by `cases`. HAProxy's `check` without a header in its simplest form, and NGINX, which has no checks, are in
//! `health`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::health::{FASTER, House, block, is_closed, often, on_ports, wait_until_greeted, yaml};
use super::{Case, Extent, PROXY, row};
use crate::feed::{Feed, Mark, PATIENCE};
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::envoy::Envoy;
use crate::servers::haproxy::{HEAD, Haproxy};
use crate::servers::prometheus::get;
use crate::servers::traefik::Traefik;
use crate::verdict::{Result, Verdict, ensure, failed};

const HEALTH_PORT: &str = "My balancer cannot send a header in its checks";
const CLOSES: &str = "My balancer's check only connects";

/// What truepeer offers to checks.
#[derive(Clone, Copy, Debug)]
enum Offer {
    /// A health port that answers.
    Answers,
    /// A data port that closes.
    Closes,
    /// A health port that closes together with the data port.
    ClosesBoth,
}

/// Forms that go with one offer: they are tried beside each other.
struct Forms {
    offer: Offer,
    forms: &'static [Form],
}

/// What starts a proxy that checks.
type Form = (&'static str, fn(&Lab, &House) -> Result<Checking>);

/// A proxy that checks.
struct Checking {
    /// Ends it when it is dropped.
    _program: Box<dyn core::any::Any>,
    log: Feed,
    front: SocketAddr,
    /// What it logs when it takes the server out, and when it takes it back.
    down: &'static str,
    up: &'static str,
    shows: Shows,
}

/// What truepeer sees of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shows {
    /// A connection, which it counts.
    Connections,
    /// Nothing: HAProxy resets a connection that it only wanted to open before the kernel gives it to anybody.
    Nothing,
}

/// A case for each offer.
pub(super) fn cases() -> Vec<Case> {
    vec![
        row(
            "checks_that_read_an_answer_are_right_up_down_and_up".to_owned(),
            Forms { offer: Offer::Answers, forms: ANSWERED },
            run,
        ),
        row(
            "checks_of_a_port_that_closes_are_right_up_down_and_up".to_owned(),
            Forms { offer: Offer::Closes, forms: REFUSED },
            run,
        ),
        row(
            "checks_that_only_connect_to_a_health_port_are_right_up_down_and_up".to_owned(),
            Forms { offer: Offer::ClosesBoth, forms: CONNECTED },
            run,
        ),
    ]
}

const ANSWERED: &[Form] = &[
    ("HAProxy smtpchk, v2", |lab, house| haproxy(lab, house, SMTPCHK, "send-proxy-v2 check")),
    ("HAProxy smtpchk, v1, check-send-proxy", |lab, house| {
        haproxy(lab, house, SMTPCHK, "send-proxy check check-send-proxy")
    }),
    ("HAProxy tcp-check, v2, check-send-proxy", |lab, house| {
        let lines = "  option tcp-check\n  tcp-check expect rstring ^220\n";
        haproxy(lab, house, lines, "send-proxy-v2 check check-send-proxy")
    }),
    ("HAProxy smtpchk of the health port", |lab, house| {
        let server = format!("send-proxy-v2 check port {}", house.health.port());
        haproxy(lab, house, SMTPCHK, &server)
    }),
    ("Traefik with `expect`", |lab, house| traefik(lab, house, |lines| lines)),
];

const REFUSED: &[Form] = &[
    ("HAProxy check, v1", |lab, house| haproxy(lab, house, "", "send-proxy check")),
    ("HAProxy check, v2", |lab, house| haproxy(lab, house, "", "send-proxy-v2 check")),
    ("Envoy with `receive`, v2", |lab, house| envoy(lab, house, |lines| lines)),
    ("Envoy with `receive`, v1", |lab, house| {
        envoy(lab, house, |lines| lines.replace("version: V2", "version: V1"))
    }),
];

const CONNECTED: &[Form] = &[
    ("HAProxy check of the health port", |lab, house| {
        let server = format!("send-proxy-v2 check port {}", house.health.port());
        Ok(Checking { shows: Shows::Nothing, ..haproxy(lab, house, "", &server)? })
    }),
    ("Traefik without `expect`", |lab, house| {
        traefik(lab, house, |lines| lines.replace("          expect: \"220\"\n", ""))
    }),
    ("Envoy with an empty check", |lab, house| {
        let to_health =
            format!("}}\n            health_check_config: {{port_value: {}}}\n", house.health.port());
        let check = "tcp_health_check: {receive: [{text: \"323230\"}]}";
        let place = yaml(house.door);
        envoy(lab, house, |lines| {
            let simple = lines.replace(check, "tcp_health_check: {}");
            simple.replace(&format!("{place}}}\n"), &format!("{place}{to_health}"))
        })
    }),
];

const SMTPCHK: &str = "  option smtpchk EHLO proxy.example.org\n";

fn run(lab: &Lab, Forms { offer, forms }: &Forms) -> Result {
    let mut house = match offer {
        Offer::Answers => House::start(lab, HEALTH_PORT)?,
        Offer::Closes => House::start(lab, CLOSES)?,
        Offer::ClosesBoth => {
            let line = "when-backend-down = \"close-listener\"\n";
            let both = format!("{line}health-bind = \"192.0.2.20:8025\"\n");
            House::start_with(lab, CLOSES, |text| text.replace(line, &both))?
        }
    };
    let start = |(name, start): &Form| Ok((*name, start(lab, &house)?));
    let checking: Vec<(&str, Checking)> = forms.iter().map(start).collect::<Result<_>>()?;
    let each = |step: &dyn Fn(&Checking) -> Result| -> Result {
        checking.iter().try_for_each(|(name, checking)| named(name, step(checking)))
    };
    each(&|checking| wait_until_greeted(checking.front))?;
    each(&|checking| house.serves(lab, checking.front))?;
    stay(lab, &house, &checking)?;

    let marks: Vec<Mark> = checking.iter().map(|(_, checking)| checking.log.mark()).collect();
    match offer {
        Offer::Answers => house.loses_postfix()?,
        Offer::Closes | Offer::ClosesBoth => house.loses_postfix_and_closes()?,
    }
    for ((name, checking), mark) in checking.iter().zip(marks) {
        named(name, says(checking, mark, checking.down))?;
        named(name, is_closed(lab, checking.front))?;
    }

    let marks: Vec<Mark> = checking.iter().map(|(_, checking)| checking.log.mark()).collect();
    house.postfix.start_again()?;
    lab.watch("postfix-started-again", house.postfix.log());
    for ((name, checking), mark) in checking.iter().zip(marks) {
        named(name, says(checking, mark, checking.up))?;
        named(name, wait_until_greeted(checking.front))?;
        named(name, house.serves(lab, checking.front))?;
    }
    stay(lab, &house, &checking)
}

/// Says which form it was.
fn named(name: &str, result: Result) -> Result {
    result.map_err(|verdict| match verdict {
        Verdict::Failed(why) => Verdict::Failed(format!("{name}: {why}")),
        other => other,
    })
}

/// Many checks later no proxy has changed its mind, and neither truepeer nor Postfix has logged one of them.
fn stay(lab: &Lab, house: &House, checking: &[(&str, Checking)]) -> Result {
    // Of each proxy, ten a second.
    let checks: u32 = if lab.extent() == Extent::All { 100 } else { 10 };
    let (ours, theirs) = (house.truepeer.log().mark(), house.postfix.log().mark());
    let marks: Vec<Mark> = checking.iter().map(|(_, checking)| checking.log.mark()).collect();
    let span = Duration::from_millis(100).saturating_mul(checks);
    let (begin, first) = (Instant::now(), seen(house.status)?);
    let counted = checking.iter().filter(|(_, checking)| checking.shows == Shows::Connections).count();
    let wanted = u64::from(checks).saturating_mul(u64::try_from(counted).unwrap_or(u64::MAX));
    while seen(house.status)?.saturating_sub(first) < wanted || begin.elapsed() < span {
        if begin.elapsed() > PATIENCE.saturating_add(span) {
            return failed(format!("not {wanted} checks in {} s", begin.elapsed().as_secs()));
        }
        std::thread::yield_now();
    }
    // The clients before may still be ending.
    let is_news =
        |line: &String| !line.contains("\"level\":\"debug\"") && !line.contains("\"outcome\":\"done\"");
    let lines: Vec<_> = house.truepeer.log().lines(ours).into_iter().filter(is_news).collect();
    ensure(lines.is_empty(), || format!("truepeer logged checks: {lines:#?}"))?;
    let is_error = |line: &String| ["warning", "error", "fatal"].iter().any(|word| line.contains(word));
    let lines: Vec<_> = house.postfix.log().lines(theirs).into_iter().filter(is_error).collect();
    ensure(lines.is_empty(), || format!("Postfix complains of checks: {lines:#?}"))?;
    for ((name, checking), mark) in checking.iter().zip(marks) {
        let turned = checking.log.lines(mark).into_iter().any(|line| line.contains(checking.down));
        ensure(!turned, || format!("{name}: it has changed its mind: `{}`", checking.down))?;
    }
    Ok(())
}

/// How many checks truepeer has counted, of every form.
fn seen(status: SocketAddr) -> Result<u64> {
    const COUNTERS: [&str; 2] = ["truepeer_own_connections_total", "truepeer_health_checks_total"];
    let (_, page) = get(status, "/metrics", "text/plain")?;
    let is_check = |line: &&str| {
        COUNTERS.iter().any(|name| line.starts_with(name)) || line.contains("outcome=\"header_empty\"")
    };
    let numbers =
        page.lines().filter(is_check).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    Ok(numbers.sum())
}

fn says(checking: &Checking, mark: Mark, words: &str) -> Result {
    let what = format!("the proxy says `{words}`");
    checking.log.wait_line(mark, &what, |line| line.contains(words)).map(|_| ())
}

fn haproxy(lab: &Lab, house: &House, lines: &str, server: &str) -> Result<Checking> {
    let front = Port::free(PROXY.ip())?;
    let text = format!(
        "{HEAD}{FASTER}frontend smtp-in\n  bind {}\n  default_backend smtp\nbackend smtp\n{lines}  server mx1 {} {server}\n",
        front.addr(),
        house.door
    );
    let started = Haproxy::start_as_written(&lab.fresh_dir("haproxy-checks")?, &text)?;
    let log = started.log().clone();
    lab.watch("haproxy-checks", &log);
    let (down, up) = ("Server smtp/mx1 is DOWN", "Server smtp/mx1 is UP");
    let shows = Shows::Connections;
    Ok(Checking { _program: Box::new(started), log, front: front.addr(), down, up, shows })
}

fn traefik(lab: &Lab, house: &House, change: impl Fn(String) -> String) -> Result<Checking> {
    let front = Port::free(PROXY.ip())?.addr();
    let text = change(on_ports(&block("Traefik", "yaml")?, house.door, house.health));
    let text = text.replace("interval: 5s", "interval: 0.1s");
    let started = Traefik::start(&lab.fresh_dir("traefik")?, front, &text)?;
    let log = started.log().clone();
    lab.watch("traefik", &log);
    let (down, up) = ("Propagating new DOWN status", "Propagating new UP status");
    Ok(Checking { _program: Box::new(started), log, front, down, up, shows: Shows::Connections })
}

fn envoy(lab: &Lab, house: &House, change: impl Fn(String) -> String) -> Result<Checking> {
    let front = Port::free(PROXY.ip())?;
    let text = block("Envoy", "yaml")?
        .replace("192.0.2.20, port_value: 25}", &yaml(house.door))
        .replace("0.0.0.0, port_value: 25}", &yaml(front.addr()));
    let started = Envoy::start(&lab.fresh_dir("envoy")?, &often(&change(text)))?;
    let log = started.log().clone();
    lab.watch("envoy", &log);
    let (down, up) = ("eject_unhealthy_event", "add_healthy_event");
    let shows = Shows::Connections;
    Ok(Checking { _program: Box::new(started), log, front: front.addr(), down, up, shows })
}
