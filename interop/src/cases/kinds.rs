//! Kinds of backend other than mail servers: a proxy behind truepeer reads what it is told, and is never told too much.
//!
//! Called by `cases`. Postfix stands behind that proxy, so that the whole way is shown.

use std::net::SocketAddr;

use super::{Case, PROXY, case, hello, told_client, told_destination};
use crate::client::Client;
use crate::feed::Mark;
use crate::header;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::Front;
use crate::servers::exim::Exim;
use crate::servers::haproxy::{HEAD, Haproxy};
use crate::servers::nginx::{Chained, Nginx, StreamServer};
use crate::servers::truepeer::Truepeer;
use crate::verdict::{Result, ensure};

const AUTHORITY: u8 = 0x02;
const UNIQUE_ID: u8 = 0x05;

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("haproxy_behind_truepeer_reads_client_host_name_and_id", haproxy),
        case("exim_behind_truepeer_is_proved_and_told_the_client", exim),
        case("an_exim_that_greets_late_is_not_taken_for_one_that_ignores_the_header", late_exim),
        case("nginx_behind_truepeer_is_never_told_more_than_it_reads", nginx),
    ]
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

/// A truepeer in front of the backend at `addr`, whose section has these lines.
fn start(lab: &Lab, name: &str, lines: &str, addr: SocketAddr) -> Result<Truepeer> {
    let door = Port::free(PROXY.ip())?.addr();
    let text = format!(
        "\
[server.proxy]
trusted-networks = [\"127.0.0.1\"]
[log]
format = \"json\"
[server.listener.door]
bind = \"{door}\"
protocol = \"smtp\"
backend = \"behind\"
[backend.behind]
{lines}address = \"{addr}\"
"
    );
    let dir = lab.fresh_dir(name)?;
    let truepeer = Truepeer::start_as_written(lab.program()?, &dir, &text, ("door", door))?;
    lab.watch("truepeer", truepeer.log());
    Ok(truepeer)
}
