//! A server that ignores the header is found out at start, and no client ever talks to it.
//!
//! Called by `cases`.

use std::net::SocketAddr;

use super::{Case, PROXY, row};
use crate::client::{Client, Place};
use crate::feed::Mark;
use crate::lab::Lab;
use crate::servers::truepeer::{Backend, Listener};
use crate::verdict::{Result, ensure};

/// A server's port that lacks its setting.
struct Lacking {
    kind: &'static str,
    protocol: &'static str,
    addr: fn(&Lab) -> Result<SocketAddr>,
    /// How the refusal begins that a client hears.
    refusal: &'static str,
    /// What truepeer's log must name.
    cure: &'static str,
}

/// Both servers.
pub(super) fn cases() -> Vec<Case> {
    vec![
        row(
            "postfix_without_smtpd_upstream_proxy_protocol_is_found_out_at_start".to_owned(),
            Lacking {
                kind: "postfix",
                protocol: "smtp",
                addr: |lab| Ok(lab.postfix()?.plain_port()),
                refusal: "421",
                cure: "smtpd_upstream_proxy_protocol",
            },
            run,
        ),
        row(
            "a_slow_postfix_without_smtpd_upstream_proxy_protocol_is_found_out_as_well".to_owned(),
            Lacking {
                kind: "postfix",
                protocol: "smtp",
                addr: |lab| Ok(lab.postfix()?.slow_port()),
                refusal: "421",
                cure: "smtpd_upstream_proxy_protocol",
            },
            run,
        ),
        row(
            "dovecot_without_haproxy_yes_is_found_out_at_start".to_owned(),
            Lacking {
                kind: "dovecot",
                protocol: "imap",
                addr: |lab| Ok(lab.dovecot()?.plain_port()),
                refusal: "* BYE",
                cure: "haproxy = yes",
            },
            run,
        ),
        row("a_postscreen_that_lets_clients_wait_is_slow_and_then_proved".to_owned(), (), waits),
    ]
}

/// Silence and a first `220-` prove nothing: the port is called slow, and proved once the greeting is whole.
fn waits(lab: &Lab, (): &()) -> Result {
    let listener = Listener { id: "door", ip: PROXY.ip(), protocol: "smtp", backend: "server", lines: "" };
    let backend =
        Backend { id: "server", kind: "postscreen", handoff: None, addr: lab.postfix()?.screen_port() };
    let truepeer = lab.start_truepeer("truepeer-screened", &[listener], &[backend])?;
    let log = truepeer.log();
    log.wait_line(Mark::default(), "truepeer calls postscreen slow", |line| line.contains("backend_slow"))?;
    log.wait_line(Mark::default(), "truepeer proves postscreen", |line| line.contains("backend_proved"))?;
    let blamed = |line: &String| line.contains("_ignores_header") || line.contains("_refuses_header");
    let wrong: Vec<_> = log.lines(Mark::default()).into_iter().filter(blamed).collect();
    ensure(wrong.is_empty(), || format!("a port that reads headers was blamed: {wrong:#?}"))
}

fn run(lab: &Lab, lacking: &Lacking) -> Result {
    let Lacking { kind, protocol, addr, refusal, cure } = *lacking;
    let listener = Listener { id: "door", ip: PROXY.ip(), protocol, backend: "server", lines: "" };
    let backend = Backend { id: "server", kind, handoff: None, addr: addr(lab)? };
    let (postfix, dovecot) = (lab.postfix()?.log(), lab.dovecot()?.log());
    let marks = (postfix.mark(), dovecot.mark());
    let truepeer = lab.start_truepeer("truepeer-lacking", &[listener], &[backend])?;
    let door = truepeer.port("door")?;
    // One before the proof can have ended, one after it.
    let mut early = Client::dial(Place::Here(lab.fresh_source()), door)?;
    hears(&mut early, refusal)?;
    let line = truepeer
        .log()
        .wait_line(Mark::default(), &format!("truepeer names `{cure}`"), |line| line.contains(cure))?;
    // Which of the two depends on how the server takes bytes before its greeting.
    let codes = ["backend_ignores_header", "backend_refuses_header"];
    ensure(codes.iter().any(|code| line.contains(code)), || format!("the line has no code: {line}"))?;
    let mut late = Client::dial(Place::Here(lab.fresh_source()), door)?;
    hears(&mut late, refusal)?;
    for line in postfix.lines(marks.0).into_iter().chain(dovecot.lines(marks.1)) {
        let words = [&early, &late].map(|client| client.addr().ip().to_string());
        ensure(!words.iter().any(|words| line.contains(words.as_str())), || {
            format!("a client reached a server that ignores headers: {line}")
        })?;
    }
    Ok(())
}

fn hears(client: &mut Client, refusal: &str) -> Result {
    let heard = client.rest("truepeer refuses and closes")?;
    ensure(heard.starts_with(refusal), || format!("expected `{refusal}`, heard `{heard}`"))
}
