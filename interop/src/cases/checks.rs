//! Health checks of HAProxy succeed through truepeer, and the servers never see them.
//!
//! Called by `cases`.

use super::{Case, nobody_reached_postfix, row};
use crate::feed::Mark;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::Front;
use crate::servers::haproxy::{Frontend, Haproxy};
use crate::servers::truepeer::Record;
use crate::verdict::Result;

/// How HAProxy checks a server.
struct Check {
    listener: &'static str,
    server: &'static str,
    lines: &'static str,
}

/// One case per kind of check.
pub(super) fn cases() -> Vec<Case> {
    let check = |listener, lines| Check { listener, server: "send-proxy-v2 check inter 200ms rise 2", lines };
    // Version 1 knows no LOCAL, so these name the check's own connection.
    let v1 = |listener, lines| Check { listener, server: "send-proxy check inter 200ms rise 2", lines };
    vec![
        row("haproxy_connect_check_succeeds_and_no_client_appears".to_owned(), check("smtp4", ""), run),
        row(
            "haproxy_smtpchk_succeeds_and_no_client_appears".to_owned(),
            check("smtp4", "  option smtpchk EHLO check.interop.test\n"),
            run,
        ),
        row(
            "haproxy_imap_check_succeeds_and_no_client_appears".to_owned(),
            check("imap4", "  option tcp-check\n  tcp-check expect rstring ^\\*\\ OK\n"),
            run,
        ),
        row("haproxy_v1_connect_check_succeeds_and_no_client_appears".to_owned(), v1("smtp4", ""), run),
        row(
            "haproxy_v1_smtpchk_succeeds_and_no_client_appears".to_owned(),
            v1("smtp4", "  option smtpchk EHLO check.interop.test\n"),
            run,
        ),
        row(
            "haproxy_v1_imap_check_succeeds_and_no_client_appears".to_owned(),
            v1("imap4", "  option tcp-check\n  tcp-check expect rstring ^\\*\\ OK\n"),
            run,
        ),
    ]
}

fn run(lab: &Lab, check: &Check) -> Result {
    let truepeer = lab.truepeer()?;
    let (mark, ours) = (lab.postfix()?.log().mark(), truepeer.log().mark());
    let dovecot = lab.dovecot()?.log();
    let dovecot_mark = dovecot.mark();
    let port = Port::free(super::PROXY.ip())?;
    let frontend = Frontend {
        name: "checked".to_owned(),
        front: Front { listen: port.addr(), to: truepeer.port(check.listener)? },
        bind: String::new(),
        server: check.server.to_owned(),
        lines: format!("  option log-health-checks\n{}", check.lines),
    };
    let haproxy = Haproxy::start(&lab.fresh_dir("haproxy-check")?, &[frontend])?;
    lab.watch("haproxy-check", haproxy.log());
    let succeeded = |line: &str| line.contains("Health check for server") && line.contains("succeeded");
    haproxy.log().wait_line(Mark::default(), "HAProxy's check succeeds", succeeded)?;
    drop(haproxy);
    nobody_reached_postfix(lab, mark)?;
    // Clients of other cases may still be ending; a check would be an own connection, or a proxy as its own client.
    let is_check = |record: &Record| {
        let as_client = record.text("client") == record.text("peer") && record.text("source") != "direct";
        as_client || ["local", "own_address"].contains(&record.text("own").as_str())
    };
    let records = truepeer.log().lines(ours).into_iter().filter_map(|line| Record::parse(&line));
    let records: Vec<_> = records.filter(is_check).collect();
    crate::verdict::ensure(records.is_empty(), || format!("a check left a record: {records:#?}"))?;
    // Visits that the lab made when it started may still be ending; a check would come from the proxy's address.
    let from_proxy = format!("rip={},", super::PROXY.ip());
    let lines: Vec<_> =
        dovecot.lines(dovecot_mark).into_iter().filter(|line| line.contains(&from_proxy)).collect();
    crate::verdict::ensure(lines.is_empty(), || format!("Dovecot saw a check: {lines:#?}"))
}
