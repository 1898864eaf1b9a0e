//! Kinds of backend other than mail servers: a proxy behind truepeer reads what it is told, and is never told too much.
//!
//! Called by `cases`. Postfix stands behind that proxy, so that the whole way is shown.

use std::net::SocketAddr;

use super::words::client;
use super::{Case, PROXY, case, hello, told_client, told_destination};
use crate::client::{Client, Place};
use crate::feed::Mark;
use crate::header;
use crate::lab::Lab;
use crate::page;
use crate::port::Port;
use crate::servers::Front;
use crate::servers::dovecot::{Dovecot, PASSWORD, words};
use crate::servers::exim::Exim;
use crate::servers::haproxy::{HEAD, Haproxy};
use crate::servers::newer::Release;
use crate::servers::nginx::{Chained, Nginx, StreamServer};
use crate::servers::opensmtpd::Opensmtpd;
use crate::servers::truepeer::Truepeer;
use crate::verdict::{Result, ensure};

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const UNIQUE_ID: u8 = 0x05;
/// TLS facts that say that there was TLS, and no certificate.
const SSL_TLV: (u8, &[u8]) = (0x20, &[0x01, 0, 0, 0, 0]);

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("haproxy_behind_truepeer_reads_client_host_name_and_id", haproxy),
        case("exim_behind_truepeer_is_proved_and_told_the_client", exim),
        case("an_exim_that_greets_late_is_not_taken_for_one_that_ignores_the_header", late_exim),
        case("an_opensmtpd_made_for_openssl_1_is_told_the_client_and_has_no_tls", opensmtpd),
        case("dovecot_2_4_takes_a_password_with_tls_facts_alone_and_never_gets_names", dovecot),
        case("nginx_behind_truepeer_is_never_told_more_than_it_reads", nginx),
        case("nginx_and_haproxy_at_unix_sockets_are_told_the_client", at_unix_sockets),
    ]
}

/// By the lines of `docs/backends.md`.
fn at_unix_sockets(lab: &Lab) -> Result {
    let dir = lab.fresh_dir("unix")?;
    let lines = |language: &str| {
        let page = include_str!("../../../docs/backends.md");
        let found = page::blocks(page, "A backend at a UNIX socket", language).join("");
        found.replace("/run/mail/", &format!("{}/", dir.display()))
    };
    let haproxy =
        Haproxy::start_as_written(&lab.fresh_dir("haproxy")?, &format!("{HEAD}{}", lines("haproxy")))?;
    lab.watch("haproxy", haproxy.log());
    let text = format!("http {{\n  access_log off;\n{}}}\n", lines("nginx"));
    let nginx = Nginx::start_as_written(&lab.fresh_dir("nginx")?, &text)?;
    lab.watch("nginx", nginx.log());
    for (port, kind) in [(4780, "nginx"), (4781, "haproxy")] {
        let door = Port::free(PROXY.ip())?.addr();
        let text = format!("{}{}", front("http", door, kind), lines("toml"));
        let truepeer = start_as_written(lab, "truepeer-unix", door, &text)?;
        truepeer.wait_event(Mark::default(), "backend_proved", kind)?;
        let who = told_client(port);
        let mut client = client(&truepeer, who, told_destination())?;
        client.send(b"GET / HTTP/1.0\r\n\r\n")?;
        let answer = client.rest("the server's answer")?;
        let told = format!("you are {}", who.ip());
        ensure(answer.contains("200") && answer.contains(&told), || format!("{kind}: {answer}"))?;
    }
    Ok(())
}

/// HAProxy checks the checksum as well: it would refuse a wrong one.
fn haproxy(lab: &Lab) -> Result {
    let (port, postfix) = (Port::free(PROXY.ip())?, lab.postfix()?.header_port());
    let text = format!(
        "{HEAD}\
frontend behind
  bind {} accept-proxy
  log-format \"told %ci:%cp at %fi:%fp host=%[fc_pp_authority] id=%[fc_pp_unique_id]\"
  default_backend postfix
backend postfix
  server postfix {postfix} send-proxy
",
        port.addr()
    );
    let haproxy = Haproxy::start_as_written(&lab.fresh_dir("haproxy")?, &text)?;
    lab.watch("haproxy", haproxy.log());
    let truepeer = start(lab, "haproxy", "kind = \"haproxy\"\n", port.addr())?;
    lab.wait_until_served(truepeer.port("door")?)?;
    let mark = haproxy.log().mark();
    served(lab, &truepeer, 4718, &[(AUTHORITY, b"mail.interop.test"), (UNIQUE_ID, b"proxy-id")])?;
    let (client, at) = (told_client(4718), told_destination());
    let words = format!("told {client} at {at} host=mail.interop.test id=proxy-id");
    haproxy.log().wait_line(mark, &format!("HAProxy logs `{words}`"), |line| line.contains(&words))?;
    Ok(())
}

/// Its stream module up to 1.22 refuses a header of more than 107 bytes.
fn nginx(lab: &Lab) -> Result {
    let port = Port::free(PROXY.ip())?;
    let front = Front { listen: port.addr(), to: lab.postfix()?.header_port() };
    let server = StreamServer { front, chained: Chained::BehindProxy };
    let nginx = Nginx::start(&lab.fresh_dir("nginx")?, &[server])?;
    lab.watch("nginx", nginx.log());
    let truepeer = start(lab, "nginx", "kind = \"nginx\"\ntlvs = \"all\"\n", port.addr())?;
    lab.wait_until_served(truepeer.port("door")?)?;
    served(lab, &truepeer, 4719, &[(AUTHORITY, &[b'n'; 200])])?;
    truepeer.wait_event(Mark::default(), "tlvs_dropped", "107 bytes")?;
    drop(nginx);
    Ok(())
}

/// Exim says in its answer to EHLO whom it takes for the client.
fn exim(lab: &Lab) -> Result {
    for handoff in ["", "handoff = \"proxy-v1\"\n"] {
        let (exim, truepeer) = behind_exim(lab, "0s", handoff)?;
        says_hello(&truepeer, "TCP4 203.0.113.9 198.51.100.25 4720 25", "[203.0.113.9]")?;
        says_hello(&truepeer, "TCP6 2001:db8::7 2001:db8::25 4720 25", "[2001:db8::7]")?;
        // A port that was not told, which Exim refuses as 0 in a version 1 line.
        says_hello(&truepeer, "TCP4 203.0.113.10 198.51.100.25 0 25", "[203.0.113.10]")?;
        drop((truepeer, exim));
    }
    Ok(())
}

/// With `ssl = required`, as its page has it: without TLS facts a client is in clear and is offered STARTTLS, with them it
/// came over TLS and is not. A protocol's name in a header ends the session, and the proxy sends one.
fn dovecot(lab: &Lab) -> Result {
    let dovecot = Dovecot::start_newer(&lab.fresh_dir("dovecot-newer")?, lab.pair()?)?;
    lab.watch("dovecot-newer", dovecot.log());
    let text = "kind = \"dovecot\"\n";
    let truepeer = start_with(lab, "dovecot-newer", "imap", text, dovecot.header_port())?;
    truepeer.wait_event(Mark::default(), "backend_proved", "behind")?;
    let names: [(u8, &[u8]); 2] = [(ALPN, b"h2"), (AUTHORITY, b"mail.interop.test")];
    for (port, tls, answer) in [(4721, vec![], "a1 NO [PRIVACYREQUIRED]"), (4722, vec![SSL_TLV], "a1 OK")] {
        let is_secure = !tls.is_empty();
        let mark = dovecot.log().mark();
        let mut client = Client::dial(PROXY, truepeer.port("door")?)?;
        client.send(&header::v2(told_client(port), told_destination(), &[&names[..], &tls].concat()))?;
        let greeting = client.line("an IMAP greeting")?;
        ensure(greeting.contains("STARTTLS") != is_secure, || format!("TLS: {is_secure}, but: {greeting}"))?;
        let said = client.imap("a1", &format!("LOGIN user {PASSWORD}"))?;
        ensure(said.contains(answer), || format!("expected `{answer}`, got `{said}`"))?;
        client.imap("a2", "LOGOUT")?;
        let (whom, at) = (words(told_client(port)), told_destination());
        let is_it = |line: &str| {
            line.contains(&whom)
                && line.contains(&format!("lip={}, lport={}", at.ip(), at.port()))
                && line.contains(", TLS") == is_secure
        };
        dovecot.log().wait_line(mark, &format!("Dovecot logs {whom}, TLS: {is_secure}"), is_it)?;
    }
    if !dovecot.breaks_by_names() {
        return Ok(());
    }
    // This is what truepeer keeps from it.
    let mark = dovecot.log().mark();
    let mut direct = Client::dial(PROXY, dovecot.header_port())?;
    direct.send(&header::v2(told_client(4723), told_destination(), &[(ALPN, b"imap"), SSL_TLV]))?;
    direct.rest("Dovecot ends the session")?;
    let mismatch = "HAproxy application protocol mismatch";
    dovecot.log().wait_line(mark, &format!("Dovecot logs `{mismatch}`"), |line| line.contains(mismatch))?;
    Ok(())
}

/// Debian 12's: each connection with TLS ends by its own fault, as its page says; the matrix has a newer one.
fn opensmtpd(lab: &Lab) -> Result {
    let opensmtpd = Opensmtpd::start(Release::Ours, &lab.fresh_dir("opensmtpd")?, lab.pair()?)?;
    lab.watch("opensmtpd", opensmtpd.log());
    let truepeer = start(lab, "opensmtpd", "kind = \"opensmtpd\"\n", opensmtpd.port())?;
    truepeer.wait_event(Mark::default(), "backend_proved", "behind")?;
    says_hello(&truepeer, "TCP4 203.0.113.9 198.51.100.25 4720 25", "[203.0.113.9]")?;
    says_hello(&truepeer, "TCP6 2001:db8::7 2001:db8::25 4720 25", "[2001:db8::7]")?;
    let said = opensmtpd.log().lines(Mark::default());
    if !said.iter().any(|line| line.contains("OpenSMTPD 6.")) {
        return Ok(());
    }
    let mark = opensmtpd.log().mark();
    // No proxy, so it needs no header.
    let _client = Client::dial_starttls(Place::Here(lab.fresh_source()), truepeer.port("door")?, "smtp")?;
    let words = "io-error: error:0A080006:SSL routines::EVP lib";
    opensmtpd.log().wait_line(mark, &format!("OpenSMTPD logs `{words}`"), |line| line.contains(words))?;
    Ok(())
}

/// With a header it greets after four seconds, and without one after three more, to refuse all that follows.
fn late_exim(lab: &Lab) -> Result {
    let (exim, truepeer) = behind_exim(lab, "4s", "")?;
    let blamed = |line: &String| line.contains("_ignores_header") || line.contains("_refuses_header");
    let wrong: Vec<_> = truepeer.log().lines(Mark::default()).into_iter().filter(blamed).collect();
    drop(exim);
    ensure(wrong.is_empty(), || format!("a port that reads headers was blamed: {wrong:#?}"))
}

fn behind_exim(lab: &Lab, pause: &str, handoff: &str) -> Result<(Exim, Truepeer)> {
    let port = Port::free(PROXY.ip())?.addr();
    let exim = Exim::start(&lab.fresh_dir("exim")?, port, pause)?;
    lab.watch("exim", exim.log());
    let truepeer = start(lab, "exim", &format!("kind = \"exim\"\n{handoff}"), port)?;
    truepeer.wait_event(Mark::default(), "backend_proved", "behind")?;
    Ok((exim, truepeer))
}

/// A client with this header line is one that Exim calls `words`.
fn says_hello(truepeer: &Truepeer, line: &str, words: &str) -> Result {
    let mut client = Client::dial(PROXY, truepeer.port("door")?)?;
    client.send(format!("PROXY {line}\r\n").as_bytes())?;
    client.expect_reply("220")?;
    let hello = client.smtp("EHLO client.interop.test", "250")?;
    client.smtp("QUIT", "221")?;
    ensure(hello.contains(words), || format!("Exim must say {words}: {hello}"))
}

/// A client with these TLVs is served, and Postfix logs it.
fn served(lab: &Lab, truepeer: &Truepeer, port: u16, tlvs: &[(u8, &[u8])]) -> Result {
    let mark = lab.postfix()?.log().mark();
    let mut client = Client::dial(PROXY, truepeer.port("door")?)?;
    client.send(&header::v2(told_client(port), told_destination(), tlvs))?;
    hello(&mut client)?;
    drop(client);
    lab.postfix()?.wait_connect(mark, told_client(port))
}

/// A truepeer for SMTP in front of the backend at `addr`, whose section has these lines.
fn start(lab: &Lab, name: &str, lines: &str, addr: SocketAddr) -> Result<Truepeer> {
    start_with(lab, name, "smtp", lines, addr)
}

fn start_with(lab: &Lab, name: &str, protocol: &str, lines: &str, addr: SocketAddr) -> Result<Truepeer> {
    start_at(lab, name, protocol, lines, Port::free(PROXY.ip())?.addr(), addr)
}

/// The same at `door`, for clients of `protocol`.
pub(super) fn start_at(
    lab: &Lab,
    name: &str,
    protocol: &str,
    lines: &str,
    door: SocketAddr,
    addr: SocketAddr,
) -> Result<Truepeer> {
    let text = format!("{}[backend.behind]\n{lines}address = \"{addr}\"\n", front(protocol, door, "behind"));
    start_as_written(lab, name, door, &text)
}

/// The lines of a truepeer at `door`, but for those of its `backend`.
fn front(protocol: &str, door: SocketAddr, backend: &str) -> String {
    format!(
        "\
[server.proxy]
trusted-networks = [\"127.0.0.1\"]
[log]
format = \"json\"
[server.listener.door]
bind = \"{door}\"
protocol = \"{protocol}\"
backend = \"{backend}\"
"
    )
}

fn start_as_written(lab: &Lab, name: &str, door: SocketAddr, text: &str) -> Result<Truepeer> {
    let dir = lab.fresh_dir(name)?;
    let truepeer = Truepeer::start_as_written(lab.program()?, &dir, text, ("door", door))?;
    lab.watch("truepeer", truepeer.log());
    Ok(truepeer)
}
