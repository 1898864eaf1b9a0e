//! What delays a header: proxies that look at their client's first bytes have no connection to the server meanwhile, and
//! the header is the first thing on it. So no wait for a header has to be as long as theirs.
//!
//! Called by `cases`. The server is the harness itself.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

use super::bulk::accept_one;
use super::{Case, PROXY, row};
use crate::client::Client;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::haproxy::{HEAD, Haproxy};
use crate::servers::nginx::Nginx;
use crate::verdict::{During, Result, ensure, failed};

/// A proxy that waits for its client's first bytes.
#[derive(Clone, Copy, Debug)]
struct Sniffer {
    /// Starts it from there to there.
    start: fn(&Lab, SocketAddr, SocketAddr) -> Result<Box<dyn core::any::Any>>,
    /// How its header begins.
    begins: &'static [u8],
}

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let named = |name, sniffer| row(format!("inspection_by_{name}_delays_no_header"), sniffer, delays_none);
    vec![
        named("haproxy", Sniffer { start: haproxy, begins: b"\r\n\r\n\0\r\nQUIT\n" }),
        named("nginx", Sniffer { start: nginx, begins: b"PROXY TCP4 " }),
    ]
}

fn haproxy(lab: &Lab, from: SocketAddr, to: SocketAddr) -> Result<Box<dyn core::any::Any>> {
    let text = format!(
        "{HEAD}listen sniffer\n  bind {from}\n  tcp-request inspect-delay 500ms\n  tcp-request content accept if {{ \
         req.len gt 0 }}\n  tcp-request content reject\n  server behind {to} send-proxy-v2\n"
    );
    Ok(Box::new(Haproxy::start_as_written(&lab.fresh_dir("sniffer")?, &text)?))
}

fn nginx(lab: &Lab, from: SocketAddr, to: SocketAddr) -> Result<Box<dyn core::any::Any>> {
    let text = format!(
        "stream {{\n  server {{\n    listen {from};\n    ssl_preread on;\n    preread_timeout 1s;\n    proxy_pass {to};\n    \
         proxy_protocol on;\n  }}\n}}\n"
    );
    Ok(Box::new(Nginx::start_as_written(&lab.fresh_dir("sniffer")?, &text)?))
}

fn delays_none(lab: &Lab, sniffer: &Sniffer) -> Result {
    let behind = TcpListener::bind((PROXY.ip(), 0)).during("listen")?;
    let to = behind.local_addr().during("see the address")?;
    let door = Port::free(PROXY.ip())?;
    let _running = (sniffer.start)(lab, door.addr(), to)?;
    // A client that says nothing is sent away in the end, and until then nobody connected.
    let mut silent = Client::dial(PROXY, door.addr())?;
    silent.rest("the proxy gives up")?;
    behind.set_nonblocking(true).during("ask without waiting")?;
    match behind.accept() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        other => return failed(format!("there was a connection before the client said anything: {other:?}")),
    }
    let mut speaking = Client::dial(PROXY, door.addr())?;
    speaking.send(b"anything at all, in more bytes than a record of TLS begins with\r\n")?;
    let mut connection = accept_one(&behind, Instant::now())?;
    let mut begun = vec![0; sniffer.begins.len()];
    connection.read_exact(&mut begun).during("read what comes first")?;
    ensure(begun == sniffer.begins, || format!("something else comes first: {}", begun.escape_ascii()))
}
