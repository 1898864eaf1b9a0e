//! Servers that embed the library stay up under a real balancer's health checks, and know their clients.
//!
//! Called by `cases`. Each server comes after its HAProxy, which says so: only a check that failed and then passes
//! leaves a line.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Case, PROXY, case};
use crate::client::{Client, Place};
use crate::feed::Mark;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::example::Example;
use crate::servers::haproxy::{HEAD, Haproxy};
use crate::verdict::{During, Result, ensure};

/// One case for each way in which a check speaks behind its LOCAL header.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("haproxy_checks_a_tls_server_of_the_library_and_it_is_up", tls),
        case("haproxy_checks_a_tonic_server_of_the_library_and_it_is_up", tonic),
    ]
}

/// A check is a LOCAL header and a TLS handshake.
fn tls(lab: &Lab) -> Result {
    let checked = Checked::start(lab, "tls", "", "send-proxy-v2 ssl verify none check")?;
    let mut client = Client::dial(Place::Here(lab.fresh_source()), checked.front)?;
    let hello = client.line("a greeting through TLS")?;
    let expected = format!("hello {}", client.addr());
    ensure(hello == expected, || format!("expected `{expected}`, got `{hello}`"))
}

/// A check is a LOCAL header and an HTTP/2 request.
fn tonic(lab: &Lab) -> Result {
    let lines = "  option httpchk\n  http-check send meth GET uri / ver HTTP/2 hdr host health.example\n";
    Checked::start(lab, "tonic", lines, "send-proxy-v2 check check-proto h2").map(|_| ())
}

/// An example that its HAProxy has found up, and where clients reach it.
struct Checked {
    front: SocketAddr,
    _haproxy: Haproxy,
    _example: Example,
}

impl Checked {
    /// `lines`: of the backend; `words`: of its server.
    fn start(lab: &Lab, name: &'static str, lines: &str, words: &str) -> Result<Self> {
        let (front, behind) = (Port::free(PROXY.ip())?, Port::free(PROXY.ip())?);
        let (front_addr, addr) = (front.addr(), behind.addr());
        let text = format!(
            "{HEAD}  default-server inter 100ms rise 2\n\
             frontend in\n  bind {front_addr}\n  default_backend servers\n\
             backend servers\n{lines}  server embedded {addr} {words}\n"
        );
        let haproxy = Haproxy::start_as_written(&lab.fresh_dir("haproxy-embedded")?, &text)?;
        lab.watch("haproxy-embedded", haproxy.log());
        let says = |mark: Mark, words: &str| {
            let is_it = |line: &str| line.contains(words);
            haproxy.log().wait_line(mark, &format!("HAProxy says `{words}`"), is_it)
        };
        says(Mark::default(), "Server servers/embedded is DOWN")?;
        let mark = haproxy.log().mark();
        drop((front, behind));
        let dir = lab.fresh_dir("example")?;
        for file in ["chain.pem", "key.pem"] {
            std::fs::copy(lab.pair()?, dir.join(file)).during("copy the certificate")?;
        }
        let example = Example::start(name, &path(lab, name), &dir, addr)?;
        lab.watch(name, example.log());
        let up = says(mark, "Server servers/embedded is UP")?;
        // By the check that was asked for, not by one that only connects.
        ensure(up.contains("check passed"), || up.clone())?;
        ensure(!up.contains("Layer4"), || up.clone())?;
        Ok(Self { front: front_addr, _haproxy: haproxy, _example: example })
    }
}

fn path(lab: &Lab, name: &str) -> PathBuf {
    lab.examples().join(name)
}
