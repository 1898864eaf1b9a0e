//! Servers that read no header: they log and decide by the client, and no client is ever taken for truepeer.
//!
//! Called by `cases`. Postfix's `mynetworks` holds truepeer's address: whoever is taken for it may send mail anywhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;

use super::{Case, PROXY, case, told_client, told_destination};
use crate::client::{Client, Place};
use crate::feed::Mark;
use crate::header;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::dovecot::{Dovecot, PASSWORD, words};
use crate::servers::haproxy::{Frontend, Haproxy};
use crate::servers::postfix::Postfix;
use crate::servers::sshd::Sshd;
use crate::servers::truepeer::{Backend, Listener, Truepeer};
use crate::servers::{Front, ask, find};
use crate::space::{GATE_V4, GATE_V6, OUTSIDE_V4, OUTSIDE_V6};
use crate::verdict::{During, Result, ensure};

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("xclient_postfix_logs_and_decides_by_the_client", xclient_v4),
        case("xclient_postfix_logs_and_decides_by_an_ipv6_client", xclient_v6),
        case("xclient_postfix_greets_a_client_once_and_takes_what_it_pipelines", xclient_pipelined),
        case("xclient_postfix_lets_no_client_say_who_it_is", xclient_of_a_client),
        case("xclient_postfix_turns_a_client_away_in_its_own_words", xclient_turned_away),
        case("xclient_postfix_without_smtpd_authorized_xclient_hosts_is_found_out_at_start", xclient_refused),
        case("transparent_postfix_logs_and_decides_by_the_client", transparent),
        case("transparent_sshd_behind_haproxy_logs_the_clients_from_outside", transparent_sshd),
        case("imap_id_dovecot_logs_and_decides_by_the_client", id_v4),
        case("imap_id_dovecot_logs_and_decides_by_an_ipv6_client", id_v6),
        case("imap_id_dovecot_lets_no_client_say_who_it_is", id_of_a_client),
        case("imap_id_dovecot_without_login_trusted_networks_is_found_out_at_start", id_refused),
    ]
}

/// A truepeer in front of one port of Postfix, told by XCLIENT.
fn truepeer(lab: &Lab, addr: SocketAddr) -> Result<Truepeer> {
    let listener = Listener { id: "door", ip: PROXY.ip(), protocol: "smtp", backend: "server", lines: "" };
    let backend = Backend { id: "server", kind: "postfix", handoff: Some("xclient"), addr };
    lab.start_truepeer("truepeer-xclient", &[listener], &[backend])
}

/// A truepeer in front of one port of Dovecot, told by `handoff`.
pub(super) fn truepeer_for_imap(lab: &Lab, handoff: &str, addr: SocketAddr) -> Result<Truepeer> {
    let listener = Listener { id: "door", ip: PROXY.ip(), protocol: "imap", backend: "server", lines: "" };
    let backend = Backend { id: "server", kind: "dovecot", handoff: Some(handoff), addr };
    lab.start_truepeer("truepeer-id", &[listener], &[backend])
}

/// A Dovecot that believes, and a truepeer in front of it that has found that out.
fn believed(lab: &Lab) -> Result<(Dovecot, Truepeer)> {
    let dovecot = lab.start_believing_dovecot()?;
    let handoff = if dovecot.confirms() { "imap-id" } else { "imap-id-unconfirmed" };
    let truepeer = truepeer_for_imap(lab, handoff, dovecot.plain_port())?;
    lab.wait_until_served(truepeer.port("door")?)?;
    Ok((dovecot, truepeer))
}

/// A truepeer whose Postfix is proved.
fn served(lab: &Lab, addr: SocketAddr) -> Result<Truepeer> {
    let truepeer = truepeer(lab, addr)?;
    lab.wait_until_served(truepeer.port("door")?)?;
    Ok(truepeer)
}

/// A client of the proxy in front of `truepeer`.
pub(super) fn client(truepeer: &Truepeer, told: SocketAddr, to: SocketAddr) -> Result<Client> {
    let mut client = Client::dial(PROXY, truepeer.port("door")?)?;
    client.send(&header::v1(told, to))?;
    Ok(client)
}

/// Sends mail to elsewhere, which only `mynetworks` may; Postfix must refuse, and log whom.
pub(super) fn may_not_relay(client: &mut Client, postfix: &Postfix, mark: Mark, told: SocketAddr) -> Result {
    client.smtp("MAIL FROM:<a@interop.test>", "250")?;
    // 454 with Postfix's standard setting, 554 with the older one.
    client.smtp("RCPT TO:<b@elsewhere.example>", "")?;
    let whom = format!("RCPT from unknown[{}]:{}: ", told.ip(), told.port());
    let what = format!("Postfix refuses {told} to relay");
    let line = postfix.log().wait_line(mark, &what, |line| line.contains(&whom))?;
    let is_right =
        line.contains("Relay access denied") && line.contains("proto=ESMTP helo=<client.interop.test>");
    ensure(is_right, || line)
}

fn logs_and_decides(lab: &Lab, told: SocketAddr, to: SocketAddr) -> Result {
    let postfix = lab.postfix()?;
    let truepeer = served(lab, postfix.xclient_port())?;
    let (mark, before) = (postfix.log().mark(), truepeer.log().mark());
    let mut client = client(&truepeer, told, to)?;
    client.expect_reply("220")?;
    client.smtp("EHLO client.interop.test", "250")?;
    may_not_relay(&mut client, postfix, mark, told)?;
    client.smtp("QUIT", "221")?;
    drop(client);
    let record = truepeer.record_of(before, told)?;
    ensure(record.text("outcome") == "done" && record.text("handoff") == "xclient", || format!("{record:?}"))
}

fn xclient_v4(lab: &Lab) -> Result {
    logs_and_decides(lab, told_client(4740), told_destination())
}

fn xclient_v6(lab: &Lab) -> Result {
    let net = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
    logs_and_decides(lab, (net(0x99), 4741).into(), (net(0x25), 25).into())
}

fn xclient_pipelined(lab: &Lab) -> Result {
    let postfix = lab.postfix()?;
    let truepeer = served(lab, postfix.xclient_port())?;
    let mut client = client(&truepeer, told_client(4742), told_destination())?;
    let greeting = client.expect_reply("220")?;
    ensure(greeting.contains("postfix.interop.test"), || greeting)?;
    let abilities = client.smtp("EHLO client.interop.test", "250")?;
    ensure(abilities.contains("PIPELINING") && !abilities.contains("XCLIENT"), || abilities)?;
    client.send(b"MAIL FROM:<a@interop.test>\r\nRCPT TO:<b@interop.test>\r\nDATA\r\n")?;
    for code in ["250", "250", "354"] {
        client.expect_reply(code)?;
    }
    client.send(b"Subject: x\r\n\r\n220 not a greeting\r\n.\r\nQUIT\r\n")?;
    for code in ["250", "221"] {
        client.expect_reply(code)?;
    }
    let rest = client.rest("Postfix closes")?;
    ensure(rest.is_empty(), || rest)
}

fn xclient_of_a_client(lab: &Lab) -> Result {
    let postfix = lab.postfix()?;
    let truepeer = served(lab, postfix.xclient_port())?;
    let mark = postfix.log().mark();
    let told = told_client(4743);
    let mut client = client(&truepeer, told, told_destination())?;
    client.expect_reply("220")?;
    client.smtp("XCLIENT NAME=localhost ADDR=127.0.0.1", "550")?;
    client.smtp("EHLO client.interop.test", "250")?;
    may_not_relay(&mut client, postfix, mark, told)
}

fn xclient_turned_away(lab: &Lab) -> Result {
    let postfix = lab.postfix()?;
    let truepeer = served(lab, postfix.choosy_port())?;
    let told = SocketAddr::from((Ipv4Addr::new(203, 0, 113, 66), 4744));
    let before = truepeer.log().mark();
    let mut away = client(&truepeer, told, told_destination())?;
    let words = away.expect_reply("554")?;
    ensure(words.contains("203.0.113.66") && words.contains("Client host rejected"), || words)?;
    let rest = away.rest("truepeer closes")?;
    ensure(rest.is_empty(), || rest)?;
    let record = truepeer.record_of(before, told)?;
    ensure(record.text("outcome") == "backend_turns_away", || format!("{record:?}"))?;
    // Its neighbour is served.
    client(&truepeer, told_client(4745), told_destination())?.expect_reply("220").map(|_| ())
}

fn xclient_refused(lab: &Lab) -> Result {
    let postfix = lab.postfix()?;
    let mark = postfix.log().mark();
    let truepeer = truepeer(lab, postfix.plain_port())?;
    let event =
        truepeer.wait_event(Mark::default(), "backend_refuses_handoff", "does not offer XCLIENT to us")?;
    ensure(event.contains("smtpd_authorized_xclient_hosts"), || event)?;
    client(&truepeer, told_client(4746), told_destination())?.expect_reply("421")?;
    let mut direct = Client::dial(Place::Here(lab.fresh_source()), truepeer.port("door")?)?;
    direct.expect_reply("421")?;
    let mails = postfix.log().lines(mark);
    let mail = mails.into_iter().find(|line| line.contains("plain/smtpd") && line.contains("from=<"));
    ensure(mail.is_none(), || format!("a client reached it: {mail:?}"))
}

/// Makes the host as `truepeer snippet transparent` says; what is changed is a namespace of the harness.
pub(super) fn follow_the_snippet(lab: &Lab) -> Result {
    lab.outside()?;
    let snippet = Command::new(lab.program()?).args(["snippet", "transparent"]).output();
    let snippet = String::from_utf8_lossy(&snippet.during("ask for the snippet")?.stdout).into_owned();
    let commands = snippet.lines().skip(1).take_while(|line| !line.is_empty());
    for command in commands.filter(|line| !line.starts_with("setcap")) {
        let program = if command.starts_with("ip ") { "ip" } else { "sysctl" };
        let words: Vec<_> = command.split(' ').skip(1).collect();
        ask(&find(program)?, &words)?;
    }
    Ok(())
}

fn transparent(lab: &Lab) -> Result {
    follow_the_snippet(lab)?;
    shown_to_postfix(lab, "transparent")
}

/// A Postfix without any setting.
pub(super) fn shown_to_postfix(lab: &Lab, handoff: &str) -> Result {
    let postfix = lab.postfix()?;
    let listener = Listener { id: "door", ip: PROXY.ip(), protocol: "smtp", backend: "server", lines: "" };
    let addr = postfix.plain_port();
    let backend = Backend { id: "server", kind: "postfix", handoff: Some(handoff), addr };
    let truepeer = lab.start_truepeer(&format!("truepeer-{handoff}"), &[listener], &[backend])?;
    lab.wait_until_served(truepeer.port("door")?)?;
    let (mark, before, told) = (postfix.log().mark(), truepeer.log().mark(), told_client(4760));
    let mut client = client(&truepeer, told, told_destination())?;
    client.expect_reply("220")?;
    client.smtp("EHLO client.interop.test", "250")?;
    let connected = format!("connect from unknown[{}]:{}", told.ip(), told.port());
    postfix.log().wait_line(mark, "Postfix logs the client", |line| {
        line.contains("plain/smtpd[") && line.ends_with(&connected)
    })?;
    may_not_relay(&mut client, postfix, mark, told)?;
    client.smtp("QUIT", "221")?;
    drop(client);
    let record = truepeer.record_of(before, told)?;
    ensure(record.text("handoff") == handoff && record.text("substituted").is_empty(), || {
        format!("{record:?}")
    })
}

fn transparent_sshd(lab: &Lab) -> Result {
    follow_the_snippet(lab)?;
    shown_to_sshd(lab, "transparent")
}

/// An sshd without any setting, behind a real HAProxy, for a client from outside in each family.
pub(super) fn shown_to_sshd(lab: &Lab, handoff: &str) -> Result {
    let outside = lab.outside()?;
    let sshd = Sshd::start(&lab.fresh_dir("sshd")?)?;
    lab.watch("sshd", sshd.log());
    let listener = |id, backend| Listener { id, ip: PROXY.ip(), protocol: "tcp", backend, lines: "" };
    let backend = |id, addr| Backend { id, kind: "other", handoff: Some(handoff), addr };
    let [v4, v6] = sshd.addrs();
    let truepeer = lab.start_truepeer(
        "truepeer-sshd",
        &[listener("ssh4", "v4"), listener("ssh6", "v6")],
        &[backend("v4", v4), backend("v6", v6)],
    )?;
    let (gate4, gate6) = (Port::free(IpAddr::V4(GATE_V4))?, Port::free(IpAddr::V6(GATE_V6))?);
    let front = |name: &str, gate: &Port| -> Result<Frontend> {
        Ok(Frontend {
            name: name.to_owned(),
            front: Front { listen: gate.addr(), to: truepeer.port(name)? },
            bind: String::new(),
            server: "send-proxy-v2".to_owned(),
            lines: String::new(),
        })
    };
    let fronts = [front("ssh4", &gate4)?, front("ssh6", &gate6)?];
    let haproxy = Haproxy::start(&lab.fresh_dir("haproxy-sshd")?, &fronts)?;
    lab.watch("haproxy-sshd", haproxy.log());
    for (gate, ip) in [(gate4, IpAddr::V4(OUTSIDE_V4)), (gate6, IpAddr::V6(OUTSIDE_V6))] {
        let mark = sshd.log().mark();
        let mut client = Client::dial(Place::Outside(outside, ip), gate.addr())?;
        client.send(b"SSH-2.0-interop\r\n")?;
        let greeting = client.line("sshd's greeting")?;
        ensure(greeting.starts_with("SSH-2.0-OpenSSH"), || greeting)?;
        let whom = format!("Connection from {} port {} on ", ip, client.addr().port());
        sshd.log().wait_line(mark, &format!("sshd logs `{whom}`"), |line| line.contains(&whom))?;
        // The last word: nobody is taken for truepeer, but truepeer's own questions are.
        let is_us =
            |line: &String| line.contains("Connection from 127.") || line.contains("Connection from ::1");
        let us = sshd.log().lines(mark).into_iter().find(is_us);
        ensure(us.is_none(), || format!("a client appears as us: {us:?}"))?;
    }
    Ok(())
}

fn id_logs_and_decides(lab: &Lab, told: SocketAddr, to: SocketAddr) -> Result {
    let (dovecot, truepeer) = believed(lab)?;
    let before = truepeer.log().mark();
    let mut user = client(&truepeer, told, to)?;
    let greeting = user.line("an IMAP greeting")?;
    ensure(greeting.starts_with("* OK [CAPABILITY "), || greeting)?;
    // Only clients from there may log in; truepeer itself may not.
    let answer = user.imap("a1", &format!("LOGIN user {PASSWORD}"))?;
    ensure(answer.contains("a1 OK"), || answer)?;
    let whom = words(told);
    dovecot.log().wait_line(Mark::default(), &format!("Dovecot logs {whom}"), |line| {
        line.contains("Login: ") && line.contains(&whom)
    })?;
    user.imap("a2", "LOGOUT")?;
    drop(user);
    let record = truepeer.record_of(before, told)?;
    ensure(record.text("handoff").starts_with("imap-id"), || format!("{record:?}"))
}

fn id_v4(lab: &Lab) -> Result {
    id_logs_and_decides(lab, told_client(4750), told_destination())
}

fn id_v6(lab: &Lab) -> Result {
    let net = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
    id_logs_and_decides(lab, (net(0x99), 4751).into(), (net(0x25), 143).into())
}

fn id_of_a_client(lab: &Lab) -> Result {
    let (dovecot, truepeer) = believed(lab)?;
    let told = SocketAddr::from((Ipv4Addr::new(198, 51, 100, 9), 4752));
    let mut liar = client(&truepeer, told, told_destination())?;
    liar.line("an IMAP greeting")?;
    for tag in ["a1", "a2"] {
        let answer =
            liar.imap(tag, "ID (\"x-originating-ip\" \"203.0.113.9\" \"x-originating-port\" \"1\")")?;
        ensure(answer.contains(&format!("{tag} OK")), || answer)?;
    }
    let answer = liar.imap("a3", &format!("LOGIN user {PASSWORD}"))?;
    ensure(answer.contains("a3 NO"), || answer)?;
    liar.imap("a4", "LOGOUT")?;
    let whom = words(told);
    let what = format!("Dovecot logs the failed login of {whom}");
    dovecot.log().wait_line(Mark::default(), &what, |line| line.contains(&whom)).map(|_| ())
}

fn id_refused(lab: &Lab) -> Result {
    let truepeer = truepeer_for_imap(lab, "imap-id", lab.dovecot()?.plain_port())?;
    let reason = "does not say that it believes us";
    let event = truepeer.wait_event(Mark::default(), "backend_refuses_handoff", reason)?;
    ensure(event.contains("login_trusted_networks"), || event)?;
    let mut client = client(&truepeer, told_client(4753), told_destination())?;
    let heard = client.line("a refusal")?;
    ensure(heard.starts_with("* BYE"), || heard)
}
