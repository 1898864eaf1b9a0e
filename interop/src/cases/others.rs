//! The programs of `docs/neighbours/others.md`, by the lines of that page: what each tells of a client arrives, and what it
//! cannot tell is missed where the page says so.
//!
//! Called by `cases`.

use super::{Case, PROXY, case, kinds, row, told_client, told_destination};
use crate::client::{Client, Place};
use crate::header;
use crate::lab::Lab;
use crate::page;
use crate::port::Port;
use crate::servers::dovecot::{PASSWORD, words};
use crate::servers::others::Other;
use crate::verdict::{Result, ensure};

const PAGE: &str = include_str!("../../../docs/neighbours/others.md");
/// TLS facts that say that there was TLS, and no certificate.
const SSL_TLV: (u8, &[u8]) = (0x20, &[0x01, 0, 0, 0, 0]);

/// A program that ends TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    HitchV2,
    HitchV1,
    Stunnel,
}

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    vec![
        row(
            "hitch_tells_the_client_and_its_tls_so_that_dovecot_takes_a_password".to_owned(),
            Ends::HitchV2,
            tls,
        ),
        row("hitch_tells_no_tls_in_version_1_and_dovecot_takes_no_password".to_owned(), Ends::HitchV1, tls),
        row(
            "stunnel_tells_the_client_and_no_tls_and_dovecot_takes_no_password".to_owned(),
            Ends::Stunnel,
            tls,
        ),
        case("varnish_on_both_sides_tells_and_reads_the_client", varnish),
        case("dnsdist_on_both_sides_tells_and_reads_the_client", dnsdist),
    ]
}

/// IMAP through TLS that ends in front of truepeer.
fn tls(lab: &Lab, ends: &Ends) -> Result {
    let (front, pair) = (Port::free(PROXY.ip())?, lab.pair()?.display().to_string());
    let imap = lab.truepeer()?.port("imap4")?;
    let dir = lab.fresh_dir("tls-ends")?;
    let (language, pem) = match ends {
        Ends::HitchV1 | Ends::HitchV2 => ("hitch", "/etc/hitch/mail.pem"),
        Ends::Stunnel => ("stunnel", "/etc/stunnel/mail.pem"),
    };
    let lines = page::block(PAGE, "", language)?
        .replace("[192.0.2.10]:993", &format!("[{}]:{}", front.addr().ip(), front.addr().port()))
        .replace("[192.0.2.20]:143", &format!("[{}]:{}", imap.ip(), imap.port()))
        .replace("192.0.2.10:993", &front.addr().to_string())
        .replace("192.0.2.20:143", &imap.to_string())
        .replace(pem, &pair);
    let program = match ends {
        Ends::HitchV2 => Other::hitch(&dir, &lines)?,
        Ends::HitchV1 => Other::hitch(&dir, &lines.replace("write-proxy-v2", "write-proxy-v1"))?,
        Ends::Stunnel => Other::stunnel(&dir, &lines)?,
    };
    lab.watch("tls-ends", program.log());

    let (ours, theirs) = (lab.truepeer()?.log().mark(), lab.dovecot()?.log().mark());
    let mut client = Client::dial_tls(Place::Here(lab.fresh_source()), front.addr())?;
    let greeting = client.line("an IMAP greeting")?;
    ensure(greeting.starts_with("* OK"), || format!("expected `* OK`, got `{greeting}`"))?;
    let answer = client.imap("a1", &format!("LOGIN user {PASSWORD}"))?;
    let expected = if *ends == Ends::HitchV2 { "a1 OK" } else { "a1 NO [PRIVACYREQUIRED]" };
    ensure(answer.contains(expected), || format!("expected `{expected}`, got `{answer}`"))?;
    client.imap("a2", "LOGOUT")?;
    let addr = client.addr();
    drop(client);
    let whom = words(addr);
    lab.dovecot()?.log().wait_line(theirs, &format!("Dovecot logs {whom}"), |line| line.contains(&whom))?;
    let record = lab.truepeer()?.record_of(ours, addr)?;
    let source = if *ends == Ends::HitchV2 { "v2" } else { "v1" };
    ensure(record.text("source") == source, || format!("another version: {record:?}"))
}

/// A request goes from Varnish through truepeer to a socket of the same Varnish that reads headers, which answers whom it
/// has seen.
fn varnish(lab: &Lab) -> Result {
    let [front, behind] = [Port::free(PROXY.ip())?, Port::free(PROXY.ip())?];
    let (door, truepeer_lines) = (Port::free(PROXY.ip())?.addr(), "kind = \"varnish\"\n");
    let lines = page::block(PAGE, "", "vcl")?
        .replace("192.0.2.20", &door.ip().to_string())
        .replace("\"80\"", &format!("\"{}\"", door.port()));
    let sends_v1 = lines
        .replace("backend truepeer", "backend truepeer_v1")
        .replace(".proxy_header = 2", ".proxy_header = 1");
    let program = format!(
        "\
vcl 4.1;
import std;
import proxy;
{lines}{sends_v1}
sub vcl_recv {{
  if (local.socket == \"behind\") {{
    return (synth(200, \"you are \" + client.ip + \" port \" + std.port(client.ip) + \" at \" + server.ip + \", secure: \"
      + proxy.is_ssl()));
  }}
  if (req.url == \"/v1\") {{ set req.backend_hint = truepeer_v1; }} else {{ set req.backend_hint = truepeer; }}
  return (pass);
}}
"
    );
    let sockets = [format!("front={}", front.addr()), format!("behind={},PROXY", behind.addr())];
    let varnish = Other::varnish(&lab.fresh_dir("varnish")?, &program, &sockets)?;
    lab.watch("varnish", varnish.log());
    let truepeer = kinds::start_at(lab, "truepeer-of-others", "http", truepeer_lines, door, behind.addr())?;

    for (path, source) in [("/v2", "v2"), ("/v1", "v1")] {
        let mark = truepeer.log().mark();
        let client = Client::dial(Place::Here(lab.fresh_source()), front.addr())?;
        let addr = client.addr();
        get(client, path, &format!("you are {} port {} at ", addr.ip(), addr.port()), "secure: false")?;
        let record = truepeer.record_of(mark, addr)?;
        ensure(record.text("source") == source, || format!("another version: {record:?}"))?;
    }
    // By a header made by hand, TLS facts and the destination arrive as well.
    let mut proxy = Client::dial(PROXY, door)?;
    proxy.send(&header::v2(told_client(4791), told_destination(), &[SSL_TLV]))?;
    get(proxy, "/", "you are 203.0.113.9 port 4791 at 198.51.100.25", "secure: true")
}

fn get(mut client: Client, path: &str, who: &str, secure: &str) -> Result {
    client.send(format!("GET {path} HTTP/1.0\r\nHost: varnish.interop.test\r\n\r\n").as_bytes())?;
    let heard = client.rest("Varnish answers")?;
    ensure(heard.contains(who) && heard.contains(secure), || format!("expected `{who}`, `{secure}`: {heard}"))
}

/// A question over TCP goes from one dnsdist through truepeer to another, which logs who asks.
fn dnsdist(lab: &Lab) -> Result {
    let [front, behind] = [Port::free(PROXY.ip())?, Port::free(PROXY.ip())?];
    let door = Port::free(PROXY.ip())?.addr();
    let sends =
        page::block(PAGE, "In front of truepeer", "dnsdist")?.replace("192.0.2.20:53", &door.to_string());
    let reads = page::block(PAGE, "Behind truepeer", "dnsdist")?;
    // Asked over UDP whether they are there, they would have to say no.
    let sends = format!("{sends}getServer(0):setUp()\n");
    let reads = format!(
        "{reads}setACL(\"0.0.0.0/0\")\nnewServer(\"{door}\")\ngetServer(0):setUp()\naddAction(AllRule(), LogAction(\"\", \
         false, true, false, false))\naddAction(AllRule(), SpoofAction(\"192.0.2.53\"))\n"
    );
    let second = Other::dnsdist(&lab.fresh_dir("dnsdist-behind")?, behind.addr(), &reads)?;
    lab.watch("dnsdist-behind", second.log());
    let first = Other::dnsdist(&lab.fresh_dir("dnsdist-front")?, front.addr(), &sends)?;
    lab.watch("dnsdist-front", first.log());
    let truepeer =
        kinds::start_at(lab, "truepeer-of-others", "tcp", "handoff = \"proxy-v2\"\n", door, behind.addr())?;

    let (ours, theirs) = (truepeer.log().mark(), second.log().mark());
    let mut client = Client::dial(Place::Here(lab.fresh_source()), front.addr())?;
    client.send(QUESTION)?;
    let answer = client.bytes(2, "the answer's length")?;
    let length = <[u8; 2]>::try_from(answer).map_or(0, u16::from_be_bytes);
    let answer = client.bytes(length.into(), "the answer")?;
    ensure(answer.ends_with(&[192, 0, 2, 53]), || format!("another answer: {answer:?}"))?;
    let addr = client.addr();
    drop(client);
    let asked = format!("Packet from {addr} for interop.test. A");
    second.log().wait_line(theirs, &format!("dnsdist logs `{asked}`"), |line| line.contains(&asked))?;
    drop(first);
    let record = truepeer.record_of(ours, addr)?;
    ensure(record.text("source") == "v2", || format!("another version: {record:?}"))
}

/// For the address of interop.test, with its length in front.
const QUESTION: &[u8] =
    b"\x00\x1e\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07interop\x04test\x00\x00\x01\x00\x01";
