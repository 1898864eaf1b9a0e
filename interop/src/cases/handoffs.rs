//! The lines of docs/handoff.md, word for word: a real HAProxy, an unmodified Postfix and an unmodified sshd, clients from
//! outside in both address families, once for each handoff that these two can be shown them by.
//!
//! Called by `cases`. Addresses and ports are those of the page, too, in the harness's own namespace.

use std::net::{IpAddr, SocketAddr};

use super::labels::possible;
use super::words::{follow_the_snippet, may_not_relay};
use super::{Case, case};
use crate::client::{Client, Place};
use crate::feed::{Feed, Mark};
use crate::lab::Lab;
use crate::page;
use crate::servers::haproxy::{HEAD, Haproxy};
use crate::servers::need_root;
use crate::servers::sshd::Sshd;
use crate::servers::truepeer::Truepeer;
use crate::space::{GATE_V4, GATE_V6, OUTSIDE_V4, OUTSIDE_V6};
use crate::verdict::{During, Result, ensure, failed};

const PAGE: &str = include_str!("../../../docs/handoff.md");
const AROUND: &str = "The parts around it";

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("the_page_word_for_word_xclient_postfix_sees_the_clients_of_haproxy", xclient),
        case("the_page_word_for_word_label_postfix_and_sshd_see_the_clients_of_haproxy", |lab| {
            possible()?;
            both(lab, "label", "backend_proved")
        }),
        case("the_page_word_for_word_transparent_postfix_and_sshd_see_the_clients_of_haproxy", |lab| {
            follow_the_snippet(lab)?;
            both(lab, "transparent", "backend_proved")
        }),
        case("the_page_word_for_word_exec_sshd_sees_the_clients_of_haproxy", exec),
    ]
}

/// The parts around a handoff, and truepeer with its lines.
struct Around {
    truepeer: Truepeer,
    _haproxy: Haproxy,
}

/// Which of the page's listeners are wanted.
const SMTP: &str = "[server.listener.smtp]";
const SSH: &str = "[server.listener.ssh]";

impl Around {
    fn start(lab: &Lab, handoff: &str, listeners: &[&str]) -> Result<Self> {
        let haproxy = page::block(PAGE, AROUND, "haproxy.cfg")?;
        let haproxy =
            Haproxy::start_as_written(&lab.fresh_dir("haproxy-page")?, &format!("{HEAD}{haproxy}"))?;
        lab.watch("haproxy-page", haproxy.log());
        let mut text = String::new();
        for block in page::blocks(PAGE, AROUND, "toml") {
            if !block.contains("[server.listener.")
                || listeners.iter().any(|listener| block.contains(*listener))
            {
                text.push_str(&block);
            }
        }
        text.push_str(&page::block(PAGE, &format!("`{handoff}`"), "toml")?);
        text.push_str("[log]\nformat = \"json\"\n");
        let (first, port) = if listeners.contains(&SMTP) { ("smtp", 2525) } else { ("ssh", 2222) };
        let at = SocketAddr::from(([0_u16; 8], port));
        let dir = lab.fresh_dir("truepeer-page")?;
        let truepeer = Truepeer::start_as_written(lab.program()?, &dir, &text, (first, at))?;
        lab.watch("truepeer-page", truepeer.log());
        // `truepeer check`, as the page says.
        let checked = truepeer.command(&["check"])?;
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        let lacks =
            said.lines().find(|line| line.contains("this host lacks") || line.contains("may not load"));
        ensure(checked.status.success() && lacks.is_none(), || said.clone())?;
        Ok(Self { truepeer, _haproxy: haproxy })
    }
}

/// The clients from outside, each with the balancer's address of its family.
fn outside(port: u16) -> [(IpAddr, SocketAddr); 2] {
    [(OUTSIDE_V4.into(), (GATE_V4, port).into()), (OUTSIDE_V6.into(), (GATE_V6, port).into())]
}

fn xclient(lab: &Lab) -> Result {
    lab.outside()?;
    let postfix = lab.postfix()?;
    let around = Around::start(lab, "xclient", &[SMTP])?;
    around.truepeer.wait_event(Mark::default(), "backend_proved", "\"postfix\"")?;
    mail(lab, postfix.log().mark())
}

/// Each client sends mail to elsewhere, which only `mynetworks` may: Postfix logs it, and refuses.
fn mail(lab: &Lab, mark: Mark) -> Result {
    let postfix = lab.postfix()?;
    for (ip, gate) in outside(25) {
        let mut client = Client::dial(Place::Outside(lab.outside()?, ip), gate)?;
        client.expect_reply("220")?;
        client.smtp("EHLO client.interop.test", "250")?;
        let told = client.addr();
        may_not_relay(&mut client, postfix, mark, told)?;
        client.smtp("QUIT", "221")?;
    }
    // The last word: no recipient was refused, or admitted, to anybody on this host.
    let us =
        |line: &String| line.contains("RCPT from unknown[127.") || line.contains("RCPT from unknown[::1]");
    let us = postfix.log().lines(mark).into_iter().find(us);
    ensure(us.is_none(), || format!("a client appears as us: {us:?}"))
}

fn both(lab: &Lab, handoff: &str, proved: &str) -> Result {
    lab.outside()?;
    let postfix = lab.postfix()?;
    let sshd = Sshd::start_at_22(&lab.fresh_dir("sshd-22")?)?;
    lab.watch("sshd-22", sshd.log());
    let around = Around::start(lab, handoff, &[SMTP, SSH])?;
    let addresses: &[&str] = match handoff {
        "transparent" => &["127.0.0.1:25", "[::1]:25", "127.0.0.1:22", "[::1]:22"],
        _ => &["[::1]:25", "[::1]:22"],
    };
    for address in addresses {
        around.truepeer.wait_event(Mark::default(), proved, &format!("\"{address}\""))?;
    }
    mail(lab, postfix.log().mark())?;
    shell(lab, sshd.log(), "Connection from ", " on ")
}

/// Each client says something that is no SSH, and sshd logs whom it heard.
fn shell(lab: &Lab, log: &Feed, before: &str, behind: &str) -> Result {
    let mark = log.mark();
    for (ip, gate) in outside(2022) {
        let mut client = Client::dial(Place::Outside(lab.outside()?, ip), gate)?;
        client.send(b"no SSH\r\n")?;
        let greeting = client.line("sshd's greeting")?;
        ensure(greeting.starts_with("SSH-2.0-OpenSSH"), || greeting)?;
        let whom = format!("{before}{ip} port {}{behind}", client.addr().port());
        log.wait_line(mark, &format!("sshd logs `{whom}`"), |line| line.contains(&whom))?;
    }
    let us = |line: &String| {
        ["127.", "::1 ", "192.0.2.10 "].iter().any(|us| line.contains(&format!("{before}{us}")))
    };
    let us = log.lines(mark).into_iter().find(us);
    ensure(us.is_none(), || format!("a client appears as us: {us:?}"))
}

fn exec(lab: &Lab) -> Result {
    possible()?;
    lab.outside()?;
    need_root("sshd -i")?;
    if !std::path::Path::new("/usr/sbin/sshd").exists() {
        return failed("there is no /usr/sbin/sshd");
    }
    std::fs::create_dir_all("/run/sshd").during("make /run/sshd")?;
    let around = Around::start(lab, "exec", &[SSH])?;
    around.truepeer.wait_event(Mark::default(), "backend_unproven", "\"sshd\"")?;
    shell(lab, around.truepeer.log(), "banner exchange: Connection from ", ": invalid format")
}
