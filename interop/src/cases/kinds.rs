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
use crate::servers::haproxy::{HEAD, Haproxy};
use crate::servers::nginx::{Chained, Nginx, StreamServer};
use crate::servers::truepeer::Truepeer;
use crate::verdict::Result;

const AUTHORITY: u8 = 0x02;
const UNIQUE_ID: u8 = 0x05;

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("haproxy_behind_truepeer_reads_client_host_name_and_id", haproxy),
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
    served(lab, &truepeer, 4719, &[(AUTHORITY, &[b'n'; 200])])?;
    truepeer.wait_event(Mark::default(), "tlvs_dropped", "107 bytes")?;
    drop(nginx);
    Ok(())
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
    lab.wait_until_served(door)?;
    Ok(truepeer)
}
