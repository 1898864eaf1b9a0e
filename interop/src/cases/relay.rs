//! Nobody outside relays: neither as a client, nor over the proxy's own connections.
//!
//! Called by `cases`. Postfix's `mynetworks` holds loopback and the proxy's address, so whoever is taken for one of
//! them may send mail anywhere.

use std::net::IpAddr;

use super::chains::{Chains, Gate, Sender, Service};
use super::{Case, PROXY, case, nobody_reached_postfix, row, told_client, told_destination};
use crate::client::{Client, Place};
use crate::header;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::Front;
use crate::servers::haproxy::{Frontend, Haproxy};
use crate::servers::truepeer::Record;
use crate::space::{GATE_V4, OUTSIDE_V4};
use crate::verdict::{Result, ensure};

/// The bytes of a header.
struct Header(Vec<u8>);

/// Everybody who may try.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("a_client_in_mynetworks_may_relay", client_in_mynetworks),
        case("relay_is_refused_to_a_client_that_a_header_names", client_by_header),
        case("relay_is_refused_through_a_proxy_with_an_address_in_mynetworks", through_proxy_in_mynetworks),
    ];
    for (name, sender, gate) in [
        ("haproxy_v2", Sender::HaproxyV2, Gate::Outside4),
        ("haproxy_v2_over_ipv6", Sender::HaproxyV2, Gate::Outside6),
        ("nginx_v1", Sender::NginxV1, Gate::Outside4),
    ] {
        let name = format!("relay_is_refused_to_a_client_outside_through_{name}");
        cases.push(row(name, (sender, gate), client_outside));
    }
    for (name, bytes) in own_connections() {
        cases.push(row(
            format!("{name}_is_answered_by_truepeer_and_never_relays"),
            Header(bytes),
            own_connection,
        ));
    }
    cases
}

/// The headers of connections that carry no client.
fn own_connections() -> [(&'static str, Vec<u8>); 3] {
    [
        ("v2_local", header::v2_local()),
        ("v1_unknown", header::V1_UNKNOWN.to_vec()),
        ("v2_unspec", header::v2_unspec()),
    ]
}

/// Without this the refusals would prove nothing.
fn client_in_mynetworks(lab: &Lab) -> Result {
    lab.truepeer()?;
    let port = Chains::port(lab, Sender::HaproxyV2, Service::Smtp, Gate::Here4)?;
    let mut client = Client::dial(Place::Here(lab.fresh_source()), port)?;
    client.expect_reply("220")?;
    ask_to_relay(&mut client)?;
    client.expect_reply("250").map(|_| ())
}

fn client_by_header(lab: &Lab) -> Result {
    let mut client = Client::dial(PROXY, lab.truepeer()?.port("smtp4")?)?;
    client.send(&header::v2(told_client(4711), told_destination(), &[]))?;
    is_refused(lab, &mut client, told_client(4711).ip())
}

fn client_outside(lab: &Lab, (sender, gate): &(Sender, Gate)) -> Result {
    let place = gate.place(lab)?;
    lab.truepeer()?;
    let mut client = Client::dial(place, Chains::port(lab, *sender, Service::Smtp, *gate)?)?;
    is_refused(lab, &mut client, place.ip())
}

fn through_proxy_in_mynetworks(lab: &Lab) -> Result {
    let place = Place::Outside(lab.outside()?, IpAddr::V4(OUTSIDE_V4));
    let to = lab.truepeer()?.port("smtp-net")?;
    let gate = Port::free(IpAddr::V4(GATE_V4))?;
    let frontend = Frontend {
        name: "net".to_owned(),
        front: Front { listen: gate.addr(), to },
        bind: String::new(),
        server: format!("source {} send-proxy-v2", to.ip()),
        lines: String::new(),
    };
    let haproxy = Haproxy::start(&lab.fresh_dir("haproxy-net")?, &[frontend])?;
    lab.watch("haproxy-net", haproxy.log());
    let mut client = Client::dial(place, gate.addr())?;
    is_refused(lab, &mut client, place.ip())
}

fn own_connection(lab: &Lab, header: &Header) -> Result {
    let truepeer = lab.truepeer()?;
    let (mark, ours) = (lab.postfix()?.log().mark(), truepeer.log().mark());
    let mut client = Client::dial(PROXY, truepeer.port("smtp4")?)?;
    let proxy = client.addr();
    client.send(&header.0)?;
    client.expect_reply("220")?;
    for command in ["EHLO check.interop.test", "MAIL FROM:<a@interop.test>", "RCPT TO:<b@elsewhere.example>"]
    {
        // What truepeer says to each is its own affair; that it takes no recipient is not.
        client.send(format!("{command}\r\n").as_bytes())?;
        let answer = client.expect_reply("")?;
        ensure(!(command.starts_with("RCPT") && answer.starts_with('2')), || {
            format!("a recipient was taken from a connection without a client: {answer}")
        })?;
    }
    client.smtp("QUIT", "221")?;
    drop(client);
    // Mail is no check, and that is said; waited for, so that no later case takes it for a check's.
    let is_it = |record: &Record| record.is_at("peer", proxy) && record.text("outcome") == "own_no_check";
    truepeer.record(ours, "mail from the proxy's own connection", is_it)?;
    nobody_reached_postfix(lab, mark)
}

fn ask_to_relay(client: &mut Client) -> Result {
    client.smtp("EHLO client.interop.test", "250")?;
    client.smtp("MAIL FROM:<a@interop.test>", "250")?;
    client.send(b"RCPT TO:<b@elsewhere.example>\r\n")
}

fn is_refused(lab: &Lab, client: &mut Client, ip: IpAddr) -> Result {
    let mark = lab.postfix()?.log().mark();
    client.expect_reply("220")?;
    ask_to_relay(client)?;
    client.expect_reply("554 5.7.1")?;
    let words = format!("reject: RCPT from unknown[{ip}]:");
    let is_it = |line: &str| line.contains(&words) && line.contains("Relay access denied");
    lab.postfix()?.log().wait_line(mark, "Postfix refuses to relay for the client", is_it).map(|_| ())
}
