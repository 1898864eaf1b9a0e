//! The claims of "do you need it?": what happens without truepeer in the path, next to what happens with it.
//!
//! Called by `cases`. A `without_` case that stops holding means that a server has learned something, and that the
//! claim must go.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::{Case, PROXY, case, hello, nobody_reached_postfix, told_client, told_destination};
use crate::client::{Client, Place};
use crate::header;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::Front;
use crate::servers::nginx::{Chained, Nginx, StreamServer};
use crate::verdict::{Result, ensure};

/// A TLV type that every receiver is to skip.
const NOOP: u8 = 0x04;

/// All pairs.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("without_truepeer_a_direct_client_on_the_header_port_gets_no_service", without_direct),
        case("with_truepeer_direct_and_proxied_clients_share_a_port", with_direct),
        case("without_truepeer_anybody_is_believed", without_trust),
        case("with_truepeer_only_listed_peers_are_believed", with_trust),
        case("without_truepeer_a_split_header_is_refused", without_split),
        case("with_truepeer_a_split_header_passes", with_split),
        case("without_truepeer_the_mixed_family_line_of_nginx_is_refused", without_mixed),
        case("with_truepeer_the_mixed_family_line_of_nginx_is_refused_and_explained", with_mixed),
        case(
            "with_truepeer_the_mixed_family_line_of_nginx_passes_where_it_is_asked_for",
            with_mixed_accepted,
        ),
        case("without_truepeer_a_header_over_536_bytes_is_refused", without_oversize),
        case("with_truepeer_a_header_over_536_bytes_passes", with_oversize),
        case("without_truepeer_a_local_connection_relays_as_the_proxy", without_local),
    ]
}

fn without_direct(lab: &Lab) -> Result {
    let postfix = lab.postfix()?;
    let mark = postfix.log().mark();
    // A client that waits for the greeting, as it should, while Postfix waits for a header.
    let mut client = Client::dial(Place::Here(lab.fresh_source()), postfix.header_port())?;
    client.expect_reply("421")?;
    let is_it = |line: &str| line.contains("haproxy read: timeout");
    postfix.log().wait_line(mark, "Postfix misses the header", is_it).map(|_| ())
}

fn with_direct(lab: &Lab) -> Result {
    let (truepeer, postfix) = (lab.truepeer()?, lab.postfix()?);
    let mark = postfix.log().mark();
    let port = truepeer.port("smtp4")?;
    let mut direct = Client::dial(Place::Here(lab.fresh_source()), port)?;
    let mut proxied = Client::dial(PROXY, port)?;
    proxied.send(&header::v2(told_client(4721), told_destination(), &[]))?;
    hello(&mut direct)?;
    hello(&mut proxied)?;
    postfix.wait_connect(mark, direct.addr())?;
    postfix.wait_connect(mark, told_client(4721))
}

fn without_trust(lab: &Lab) -> Result {
    let postfix = lab.postfix()?;
    let mark = postfix.log().mark();
    let mut stranger = Client::dial(Place::Here(lab.fresh_source()), postfix.header_port())?;
    stranger.send(&header::v1(told_client(4722), told_destination()))?;
    hello(&mut stranger)?;
    postfix.wait_connect(mark, told_client(4722))
}

fn with_trust(lab: &Lab) -> Result {
    let (truepeer, postfix) = (lab.truepeer()?, lab.postfix()?);
    let (before, mark) = (truepeer.log().mark(), postfix.log().mark());
    let mut stranger = Client::dial(Place::Here(lab.fresh_source()), truepeer.port("smtp4")?)?;
    stranger.send(&header::v1(told_client(4722), told_destination()))?;
    stranger.rest("truepeer closes")?;
    let addr = stranger.addr();
    truepeer.record(before, "the refusal of a forged header", |record| {
        record.is_at("peer", addr) && record.text("outcome") == "untrusted_header"
    })?;
    // The same bytes from the listed proxy are believed.
    let mut proxied = Client::dial(PROXY, truepeer.port("smtp4")?)?;
    proxied.send(&header::v1(told_client(4723), told_destination()))?;
    hello(&mut proxied)?;
    postfix.wait_connect(mark, told_client(4723))?;
    let forged = postfix.connects(mark).into_iter().find(|line| line.ends_with("[203.0.113.9]:4722"));
    ensure(forged.is_none(), || format!("a stranger was believed: {forged:?}"))
}

fn without_split(lab: &Lab) -> Result {
    let postfix = lab.postfix()?;
    let mark = postfix.log().mark();
    let mut client = Client::dial(PROXY, postfix.header_port())?;
    let bytes = header::v1(told_client(4724), told_destination());
    // Postfix judges by the first piece alone; by the time the second one could leave, it has closed.
    client.send(bytes.get(..5).unwrap_or_default())?;
    client.expect_reply("421")?;
    let is_it = |line: &str| line.contains("haproxy read: short protocol header: PROXY");
    postfix.log().wait_line(mark, "Postfix refuses the piece", is_it).map(|_| ())
}

fn with_split(lab: &Lab) -> Result {
    let postfix = lab.postfix()?;
    let mark = postfix.log().mark();
    let mut client = Client::dial(PROXY, lab.truepeer()?.port("smtp4")?)?;
    client.send_split(&header::v1(told_client(4725), told_destination()))?;
    hello(&mut client)?;
    postfix.wait_connect(mark, told_client(4725))
}

/// An NGINX behind another proxy, on an IPv6 port with an IPv4 client, in front of `to`.
fn mixing_nginx(lab: &Lab, to: SocketAddr) -> Result<(Nginx, Port)> {
    lab.ipv6()?;
    let port = Port::free(IpAddr::V6(Ipv6Addr::LOCALHOST))?;
    let server = StreamServer { front: Front { listen: port.addr(), to }, chained: Chained::BehindProxy };
    let nginx = Nginx::start(&lab.fresh_dir("nginx-mixed")?, &[server])?;
    lab.watch("nginx-mixed", nginx.log());
    Ok((nginx, port))
}

fn dial_mixing(port: &Port) -> Result<Client> {
    let mut client = Client::dial(Place::Here(IpAddr::V6(Ipv6Addr::LOCALHOST)), port.addr())?;
    client.send(&header::v1(told_client(4726), told_destination()))?;
    Ok(client)
}

fn without_mixed(lab: &Lab) -> Result {
    let postfix = lab.postfix()?;
    let (_nginx, port) = mixing_nginx(lab, postfix.header_port())?;
    let mark = postfix.log().mark();
    let mut client = dial_mixing(&port)?;
    client.expect_reply("421")?;
    let is_it = |line: &str| line.contains("bad or missing server address: PROXY TCP4 203.0.113.9 ::1 ");
    postfix.log().wait_line(mark, "Postfix refuses the line", is_it).map(|_| ())
}

fn with_mixed(lab: &Lab) -> Result {
    let truepeer = lab.truepeer()?;
    let (_nginx, port) = mixing_nginx(lab, truepeer.port("smtp4")?)?;
    let (before, mark) = (truepeer.log().mark(), lab.postfix()?.log().mark());
    let mut client = dial_mixing(&port)?;
    let heard = client.rest("truepeer closes")?;
    // Sessions that have just ended may leave theirs behind the mark: records gather for a moment.
    let what = format!("the record of the mixed line, whose client heard `{heard}`");
    truepeer.record(before, &what, |record| record.text("outcome") == "header_malformed")?;
    nobody_reached_postfix(lab, mark)
}

fn with_mixed_accepted(lab: &Lab) -> Result {
    let (truepeer, postfix) = (lab.truepeer()?, lab.postfix()?);
    let (_nginx, port) = mixing_nginx(lab, truepeer.port("smtp-mixed")?)?;
    let mark = postfix.log().mark();
    let mut client = dial_mixing(&port)?;
    hello(&mut client)?;
    postfix.wait_connect(mark, told_client(4726))
}

/// One byte more than Postfix reads.
fn oversize(port: u16) -> Vec<u8> {
    const OVER: usize = 537;
    let bare = header::v2(told_client(port), told_destination(), &[(NOOP, &[])]).len();
    header::v2(told_client(port), told_destination(), &[(NOOP, &vec![0; OVER.saturating_sub(bare)])])
}

fn without_oversize(lab: &Lab) -> Result {
    let postfix = lab.postfix()?;
    let mark = postfix.log().mark();
    let mut client = Client::dial(PROXY, postfix.header_port())?;
    client.send(&oversize(4727))?;
    client.expect_reply("421")?;
    let is_it = |line: &str| line.contains("haproxy read: short version 2 protocol header");
    postfix.log().wait_line(mark, "Postfix refuses the header", is_it).map(|_| ())
}

fn with_oversize(lab: &Lab) -> Result {
    let postfix = lab.postfix()?;
    let mark = postfix.log().mark();
    let mut client = Client::dial(PROXY, lab.truepeer()?.port("smtp4")?)?;
    client.send(&oversize(4728))?;
    hello(&mut client)?;
    postfix.wait_connect(mark, told_client(4728))
}

/// Its counterparts are the cases about connections without a client, in `relay`.
fn without_local(lab: &Lab) -> Result {
    let postfix = lab.postfix()?;
    let mut client = Client::dial(PROXY, postfix.header_port())?;
    client.send(&header::v2_local())?;
    client.expect_reply("220")?;
    client.smtp("EHLO client.interop.test", "250")?;
    client.smtp("MAIL FROM:<a@interop.test>", "250")?;
    client.smtp("RCPT TO:<b@elsewhere.example>", "250").map(|_| ())
}
