//! STARTTLS through a real proxy and truepeer, with more in it than a greeting: a letter all the way from SMTP to IMAP, and
//! a session that waits across a reload.
//!
//! Called by `cases`. The keys are the servers'; neither proxy nor truepeer sees more than that TLS begins.

use super::bulk::{start, text};
use super::{Case, PROXY, case};
use crate::client::{Client, Place};
use crate::feed::Mark;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::Front;
use crate::servers::dovecot::PASSWORD;
use crate::servers::haproxy::{Frontend, Haproxy};
use crate::verdict::{Result, ensure};

/// The size of the letter: many times any buffer.
const LETTER: usize = 1 << 20;
const USER: &str = "starttls@interop.test";

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    vec![case("starttls_carries_a_letter_from_smtp_to_an_imap_idle_across_a_reload", carries)]
}

fn carries(lab: &Lab) -> Result {
    let house = lab.house()?;
    let postfix = lab.start_postfix("postfix-with-starttls")?;
    let [smtpd, ..] = postfix.page_ports();
    let truepeer = start(
        lab,
        &[
            ("smtp", "postfix", smtpd, ""),
            // Postfix itself is its client, and sends no header.
            ("lmtp", "dovecot", house.lmtp()?, "proxy.trusted-networks = \"off\"\n"),
            ("imap", "dovecot", house.imap()?, ""),
        ],
    )?;
    postfix.deliver_by_lmtp_to(USER, truepeer.port("lmtp")?)?;
    let (smtp, imap) = (Port::free(PROXY.ip())?, Port::free(PROXY.ip())?);
    let front = |name: &str, port: &Port| -> Result<Frontend> {
        Ok(Frontend {
            name: name.to_owned(),
            front: Front { listen: port.addr(), to: truepeer.port(name)? },
            bind: String::new(),
            server: "send-proxy-v2".to_owned(),
            lines: String::new(),
        })
    };
    let haproxy = Haproxy::start(
        &lab.fresh_dir("haproxy-with-starttls")?,
        &[front("smtp", &smtp)?, front("imap", &imap)?],
    )?;
    lab.watch("haproxy-with-starttls", haproxy.log());

    // It waits before the letter comes, and a reload lies between.
    let mut waits = Client::dial_starttls(Place::Here(lab.fresh_source()), imap.addr(), "imap")?;
    let answer = waits.imap("a1", &format!("LOGIN {USER} {PASSWORD}"))?;
    ensure(answer.contains("a1 OK"), || format!("expected `a1 OK`, got `{answer}`"))?;
    waits.imap("a2", "SELECT INBOX")?;
    waits.send(b"a3 IDLE\r\n")?;
    while !waits.line("Dovecot begins to wait")?.starts_with('+') {}
    let output = truepeer.command(&["reload"])?;
    ensure(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())?;

    let letter = text(LETTER);
    let mut sends = Client::dial_starttls(Place::Here(lab.fresh_source()), smtp.addr(), "smtp")?;
    sends.send(b"EHLO client.interop.test\r\n")?;
    // openssl may show the last line of what it has read before.
    while !sends.expect_reply("250")?.contains("PIPELINING") {}
    sends.smtp("MAIL FROM:<a@interop.test>", "250")?;
    sends.smtp(&format!("RCPT TO:<{USER}>"), "250")?;
    sends.smtp("DATA", "354")?;
    sends.send(&letter)?;
    sends.smtp(".", "250")?;
    sends.smtp("QUIT", "221")?;
    let words = format!("to=<{USER}>");
    let is_it = |line: &str| line.contains(&words) && line.contains("status=");
    let line = postfix.log().wait_line(Mark::default(), "Postfix delivers the letter", is_it)?;
    ensure(line.contains("status=sent"), || line.clone())?;

    while !waits.line("Dovecot tells of the letter")?.ends_with(" EXISTS") {}
    waits.send(b"DONE\r\n")?;
    waits.expect_tagged("a3")?;
    waits.send(b"a4 FETCH * BODY.PEEK[TEXT]\r\n")?;
    // The header has grown on the way.
    let (_, body) = letter.split_at(b"Subject: letter\r\n\r\n".len());
    let size = format!("BODY[TEXT] {{{}}}", body.len());
    while !waits.line("Dovecot announces the letter")?.ends_with(&size) {}
    let back = waits.bytes(body.len(), "the whole letter")?;
    ensure(back == body, || "the letter came back changed".to_owned())?;
    let (sent, waited) = (sends.addr(), waits.addr());
    drop((sends, waits));
    for client in [sent, waited] {
        let record = truepeer.record_of(Mark::default(), client)?;
        ensure(record.text("outcome") == "done" && record.text("source") == "v2", || format!("{record:?}"))?;
    }
    Ok(())
}
