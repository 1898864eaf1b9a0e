//! Stalwart behind truepeer: by the program that `STALWART` names, or by what 0.15.5 was recorded to do.
//!
//! Called by `cases`.

use std::net::SocketAddr;

use super::{Case, PROXY, case, told_client, told_destination};
use crate::client::Client;
use crate::feed::Mark;
use crate::header;
use crate::lab::Lab;
use crate::servers::stalwart::{Stalwart, Trusts};
use crate::servers::truepeer::{Backend, Listener, Truepeer};
use crate::verdict::{Result, ensure};

/// TLS facts: with TLS, and without.
const SECURE: (u8, &[u8]) = (0x20, &[0x01, 0, 0, 0, 0]);
const CLEAR: (u8, &[u8]) = (0x20, &[0x00, 0, 0, 0, 0]);

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("stalwart_learns_the_client_and_whether_it_used_tls", learns),
        case("stalwart_never_sees_a_connection_that_is_the_proxys_own", own),
        case("a_stalwart_named_by_its_path_is_run_by_the_lines_of_its_page", by_path),
        case("a_stalwart_that_does_not_trust_truepeer_is_found_out", untrusted),
    ]
}

fn learns(lab: &Lab) -> Result {
    learns_from(Stalwart::start(&lab.fresh_dir("stalwart")?, Trusts::Truepeer)?, lab)
}

/// The same by a program that takes the real one's words, so that whoever names a real one meets no surprise of ours.
fn by_path(lab: &Lab) -> Result {
    learns_from(Stalwart::start_understudy(&lab.fresh_dir("stalwart-by-path")?, Trusts::Truepeer)?, lab)?;
    is_found_out(Stalwart::start_understudy(&lab.fresh_dir("stalwart-by-path")?, Trusts::Nobody)?, lab)
}

fn learns_from(stalwart: Stalwart, lab: &Lab) -> Result {
    let truepeer = before(&stalwart, lab)?;
    truepeer.wait_event(Mark::default(), "backend_proved", "stalwart")?;
    let mapped: SocketAddr = "[::ffff:203.0.113.9]:4753".parse().unwrap_or_else(|_| told_client(4753));
    let v6: SocketAddr = "[2001:db8::7]:4754".parse().unwrap_or_else(|_| told_client(4754));
    let to = told_destination();
    let to_v6: SocketAddr = "[2001:db8::25]:587".parse().unwrap_or(to);
    for (bytes, client, secure) in [
        (header::v1(told_client(4751), to), told_client(4751), false),
        (header::v2(told_client(4752), to, &[SECURE]), told_client(4752), true),
        (header::v2(mapped, to_v6, &[CLEAR]), told_client(4753), false),
        (header::v2(v6, to_v6, &[SECURE, (0xE0, b"a stranger's")]), v6, true),
    ] {
        let mark = stalwart.log().mark();
        let mut proxy = Client::dial(PROXY, truepeer.port("submission")?)?;
        proxy.send(&bytes)?;
        proxy.expect_reply("220")?;
        let offered = proxy.smtp("EHLO client.interop.test", "250")?;
        proxy.smtp("QUIT", "221")?;
        let (starttls, plain) = (offered.contains("STARTTLS"), offered.contains("AUTH PLAIN"));
        ensure(starttls != secure && plain == secure, || format!("TLS: {secure}, and it offers {offered}"))?;
        let words = format!("remoteIp = {}", client.ip());
        let logged = |line: &str| line.contains(&words) && line.contains(&client.port().to_string());
        stalwart.log().wait_line(mark, &format!("Stalwart logs `{words}`"), logged)?;
    }
    Ok(())
}

/// It would believe the TLS facts of a LOCAL header, and take the proxy for the client.
fn own(lab: &Lab) -> Result {
    let stalwart = Stalwart::start(&lab.fresh_dir("stalwart")?, Trusts::Truepeer)?;
    let truepeer = before(&stalwart, lab)?;
    truepeer.wait_event(Mark::default(), "backend_proved", "stalwart")?;
    let mark = stalwart.log().mark();
    for bytes in [header::v2_local(), header::V1_UNKNOWN.to_vec(), header::v2_unspec()] {
        let mut proxy = Client::dial(PROXY, truepeer.port("submission")?)?;
        proxy.send(&bytes)?;
        proxy.expect_reply("220")?;
        proxy.smtp("QUIT", "221")?;
    }
    // A client that comes now is the first that it has seen.
    let mut proxy = Client::dial(PROXY, truepeer.port("submission")?)?;
    proxy.send(&header::v2(told_client(4755), told_destination(), &[]))?;
    proxy.expect_reply("220")?;
    proxy.smtp("QUIT", "221")?;
    let is_it = |line: &str| line.contains("remoteIp = ");
    let first = stalwart.log().wait_line(mark, "Stalwart sees a client", is_it)?;
    ensure(first.contains("203.0.113.9"), || format!("somebody else came before: {first}"))
}

/// It takes the header for commands: `500` three times, and the QUIT in it.
fn untrusted(lab: &Lab) -> Result {
    is_found_out(Stalwart::start(&lab.fresh_dir("stalwart")?, Trusts::Nobody)?, lab)
}

fn is_found_out(stalwart: Stalwart, lab: &Lab) -> Result {
    let truepeer = before(&stalwart, lab)?;
    truepeer.wait_event(Mark::default(), "backend_ignores_header", "stalwart")?;
    let mut proxy = Client::dial(PROXY, truepeer.port("submission")?)?;
    proxy.send(&header::v2(told_client(4756), told_destination(), &[]))?;
    proxy.expect_reply("421").map(|_| ())
}

/// A truepeer in front of it.
fn before(stalwart: &Stalwart, lab: &Lab) -> Result<Truepeer> {
    lab.watch("stalwart", stalwart.log());
    let listener =
        Listener { id: "submission", ip: PROXY.ip(), protocol: "submission", backend: "stalwart", lines: "" };
    let backend = Backend { id: "stalwart", kind: "stalwart", handoff: None, addr: stalwart.addr() };
    lab.start_truepeer("truepeer-stalwart", &[listener], &[backend])
}
