//! Peers that no list holds: they are themselves, and never somebody else.
//!
//! Called by `cases`.

use std::net::SocketAddr;

use super::{Case, case, hello, imap_hello, row, told_client, told_destination};
use crate::client::{Client, Place};
use crate::feed::Mark;
use crate::header;
use crate::lab::Lab;
use crate::servers::dovecot;
use crate::verdict::{Result, ensure};

/// Honest and lying peers.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("a_direct_client_reaches_postfix_as_itself", direct_to_postfix),
        case("a_direct_client_reaches_dovecot_as_itself", direct_to_dovecot),
    ];
    for (name, bytes) in [
        ("v1", header::v1(told_client(4712), told_destination())),
        ("v2", header::v2(told_client(4712), told_destination(), &[])),
        ("v2_local", header::v2_local()),
    ] {
        for listener in ["smtp4", "imap4"] {
            let name = format!("an_unlisted_peer_with_a_{name}_header_is_refused_on_{listener}");
            cases.push(row(name, (listener, bytes.clone()), forged));
        }
    }
    cases
}

fn direct_to_postfix(lab: &Lab) -> Result {
    let (truepeer, postfix) = (lab.truepeer()?, lab.postfix()?);
    let (mark, before) = (postfix.log().mark(), truepeer.log().mark());
    let mut client = Client::dial(Place::Here(lab.fresh_source()), truepeer.port("smtp4")?)?;
    hello(&mut client)?;
    let addr = client.addr();
    postfix.wait_connect(mark, addr)?;
    // The record is written when both sides have closed.
    drop(client);
    let record = truepeer.record_of(before, addr)?;
    ensure(record.is_at("peer", addr), || format!("a direct client is its own peer: {record:?}"))
}

fn direct_to_dovecot(lab: &Lab) -> Result {
    let (truepeer, dovecot) = (lab.truepeer()?, lab.dovecot()?);
    let mark = dovecot.log().mark();
    let mut client = Client::dial(Place::Here(lab.fresh_source()), truepeer.port("imap4")?)?;
    imap_hello(&mut client)?;
    let words = dovecot::words(client.addr());
    dovecot.log().wait_line(mark, "Dovecot logs the direct client", |line| line.contains(&words)).map(|_| ())
}

/// The peer's own connection may have been handed on before it lied; not one of its bytes may follow.
fn forged(lab: &Lab, (listener, bytes): &(&str, Vec<u8>)) -> Result {
    let (truepeer, postfix, dovecot) = (lab.truepeer()?, lab.postfix()?, lab.dovecot()?);
    let (before, mark, imap_mark) = (truepeer.log().mark(), postfix.log().mark(), dovecot.log().mark());
    let mut peer = Client::dial(Place::Here(lab.fresh_source()), truepeer.port(listener)?)?;
    peer.send(bytes)?;
    let heard = peer.rest("truepeer closes")?;
    let addr = peer.addr();
    drop(peer);
    let record =
        truepeer.record(before, "a record of the refused peer", |record| record.is_at("peer", addr))?;
    ensure(record.text("outcome") == "untrusted_header", || {
        format!("expected the outcome untrusted_header, got {record:?}; the peer heard `{heard}`")
    })?;
    // The next client's line marks the place up to which the server's log is complete.
    let mut next = Client::dial(Place::Here(lab.fresh_source()), truepeer.port(listener)?)?;
    if *listener == "smtp4" {
        hello(&mut next)?;
        postfix.wait_connect(mark, next.addr())?;
        postfix_heard_nothing(lab, mark, addr)?;
    } else {
        imap_hello(&mut next)?;
        let words = dovecot::words(next.addr());
        dovecot.log().wait_line(imap_mark, "Dovecot logs the next client", |line| line.contains(&words))?;
    }
    for line in postfix.log().lines(mark).into_iter().chain(dovecot.log().lines(imap_mark)) {
        let traces = ["203.0.113.9", "198.51.100.25", "PROXY", "pipelining", "unknown=", "invalid command"];
        ensure(!traces.iter().any(|words| line.contains(words)), || {
            format!("the server saw the refused peer's bytes: {line}")
        })?;
    }
    Ok(())
}

/// If the peer itself had reached Postfix before it lied, it must have left again without a command.
fn postfix_heard_nothing(lab: &Lab, mark: Mark, peer: SocketAddr) -> Result {
    let postfix = lab.postfix()?;
    let from = format!(" from unknown[{}]:{}", peer.ip(), peer.port());
    if !postfix.connects(mark).iter().any(|line| line.ends_with(&from)) {
        return Ok(());
    }
    let left = format!("disconnect{from} ");
    let line = postfix.log().wait_line(mark, "Postfix logs the peer's end", |line| line.contains(&left))?;
    ensure(line.ends_with(" commands=0/0"), || format!("Postfix heard the refused peer: {line}"))
}
