//! Every proxy in front of every server, by the lines of `docs/neighbours/`: one cell is one client's connection, and
//! the server's own log or reply says whom it has seen.
//!
//! Called by `cases` and `main`. Client, proxy and truepeer have three different addresses, and the servers believe
//! truepeer alone. A run has a part of the cells, in which each proxy, each server and each form is several times; with
//! `--all` it has all of them.

mod dialogue;
mod house;
pub(crate) mod report;
mod senders;

use core::fmt;
use std::net::IpAddr;

use self::dialogue::talk;
pub(crate) use self::house::House;
use super::Case;
use crate::client::{Client, Place};
use crate::lab::Lab;
use crate::servers::truepeer::Record;
use crate::space::{OUTSIDE_V4, OUTSIDE_V6, SENDER_V4, SENDER_V6};
use crate::verdict::{Result, ensure};

/// How many cells there are from one to the next of an ordinary run. It shares no factor with the number of forms, so
/// that all of them come.
const STEP: usize = 11;

/// A proxy, and the version that it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    HaproxyV1,
    HaproxyV2,
    NginxV1,
    TraefikV1,
    TraefikV2,
    EnvoyV1,
    EnvoyV2,
    CaddyV1,
    CaddyV2,
}

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receiver {
    Postfix,
    Postscreen,
    Imap,
    Pop3,
    Sieve,
    Submission,
    Lmtp,
    Exim,
    Opensmtpd,
    Stalwart,
    Http,
}

/// The header that truepeer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handoff {
    V1,
    V2,
}

/// The client's family, and that of truepeer's listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// What passes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Clear text.
    Clear,
    /// TLS between client and server: from the first byte where the server has a port for that, after STARTTLS
    /// elsewhere.
    Tls,
}

/// One connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    pub(crate) handoff: Handoff,
    pub(crate) family: Family,
    pub(crate) content: Content,
}

impl Sender {
    pub(crate) const ALL: [Self; 9] = [
        Self::HaproxyV1,
        Self::HaproxyV2,
        Self::NginxV1,
        Self::TraefikV1,
        Self::TraefikV2,
        Self::EnvoyV1,
        Self::EnvoyV2,
        Self::CaddyV1,
        Self::CaddyV2,
    ];

    /// Its name in a case's, and its title.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::HaproxyV1 => ("haproxy_v1", "HAProxy, v1"),
            Self::HaproxyV2 => ("haproxy_v2", "HAProxy, v2"),
            Self::NginxV1 => ("nginx_v1", "NGINX stream, v1"),
            Self::TraefikV1 => ("traefik_v1", "Traefik, v1"),
            Self::TraefikV2 => ("traefik_v2", "Traefik, v2"),
            Self::EnvoyV1 => ("envoy_v1", "Envoy, v1"),
            Self::EnvoyV2 => ("envoy_v2", "Envoy, v2"),
            Self::CaddyV1 => ("caddy_v1", "Caddy HTTP, v1"),
            Self::CaddyV2 => ("caddy_v2", "Caddy HTTP, v2"),
        }
    }

    /// As truepeer's record has it.
    const fn version(self) -> &'static str {
        match self {
            Self::HaproxyV1 | Self::NginxV1 | Self::TraefikV1 | Self::EnvoyV1 | Self::CaddyV1 => "v1",
            Self::HaproxyV2 | Self::TraefikV2 | Self::EnvoyV2 | Self::CaddyV2 => "v2",
        }
    }

    /// Whether it passes on bytes rather than requests.
    const fn passes_bytes(self) -> bool {
        !matches!(self, Self::CaddyV1 | Self::CaddyV2)
    }
}

impl Receiver {
    pub(crate) const ALL: [Self; 11] = [
        Self::Postfix,
        Self::Postscreen,
        Self::Imap,
        Self::Pop3,
        Self::Sieve,
        Self::Submission,
        Self::Lmtp,
        Self::Exim,
        Self::Opensmtpd,
        Self::Stalwart,
        Self::Http,
    ];

    /// Its name in a case's, and its title.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Postfix => ("postfix", "Postfix smtpd"),
            Self::Postscreen => ("postscreen", "Postfix postscreen"),
            Self::Imap => ("dovecot_imap", "Dovecot IMAP"),
            Self::Pop3 => ("dovecot_pop3", "Dovecot POP3"),
            Self::Sieve => ("dovecot_managesieve", "Dovecot ManageSieve"),
            Self::Submission => ("dovecot_submission", "Dovecot submission"),
            Self::Lmtp => ("dovecot_lmtp", "Dovecot LMTP"),
            Self::Exim => ("exim", "Exim"),
            Self::Opensmtpd => ("opensmtpd", "OpenSMTPD"),
            Self::Stalwart => ("stalwart", "Stalwart"),
            Self::Http => ("nginx_http", "NGINX http"),
        }
    }
}

impl Cell {
    /// Why this cannot be, if it cannot.
    pub(crate) fn impossible(self) -> Option<&'static str> {
        match (self.sender, self.receiver) {
            (sender, receiver) if !sender.passes_bytes() && receiver != Receiver::Http => {
                Some("stock Caddy cannot carry mail")
            }
            (sender, _) if !sender.passes_bytes() && self.content == Content::Tls => {
                Some("Caddy passes on requests, and no TLS")
            }
            (_, Receiver::Opensmtpd) if self.handoff == Handoff::V1 => Some("OpenSMTPD reads version 2 only"),
            (_, Receiver::Stalwart)
                if std::env::var_os("STALWART").is_none() || self.content == Content::Tls =>
            {
                Some(
                    "Stalwart joins in clear, by `STALWART=/path/to/stalwart`; cases of its own play what was recorded",
                )
            }
            _ => None,
        }
    }

    /// Where its client sits.
    fn place(self, lab: &Lab) -> Result<Place<'_>> {
        let ip = match self.family {
            Family::V4 => IpAddr::V4(OUTSIDE_V4),
            Family::V6 => IpAddr::V6(OUTSIDE_V6),
        };
        Ok(Place::Outside(lab.outside()?, ip))
    }

    fn run(self, lab: &Lab) -> Result {
        let place = self.place(lab)?;
        let house = lab.house()?;
        let door = house.door(lab, self)?;
        let (ours, theirs) = (house.truepeer().log().mark(), house.mark(lab, self.receiver)?);
        let mut client = match (self.content, self.receiver.starttls()) {
            (Content::Clear, _) => Client::dial(place, door)?,
            (Content::Tls, None) => Client::dial_tls(place, door)?,
            (Content::Tls, Some(protocol)) => Client::dial_starttls(place, door, protocol)?,
        };
        let addr = client.addr();
        let heard = talk(&mut client, self)?;
        drop(client);
        house.witnesses(lab, self, theirs, addr, &heard)?;
        let what = format!("truepeer's record of client {addr}");
        let is_it = |record: &Record| match self.sender.passes_bytes() {
            true => record.is_at("client", addr),
            // Caddy tells no port.
            false => record.text("client").starts_with(&addr.ip().to_string()),
        };
        let record = house.truepeer().record(ours, &what, is_it)?;
        let proxy = match self.family {
            Family::V4 => IpAddr::V4(SENDER_V4),
            Family::V6 => IpAddr::V6(SENDER_V6),
        };
        ensure(record.is_from("peer", proxy), || format!("the peer is not the proxy {proxy}: {record:?}"))?;
        ensure(record.text("source") == self.sender.version(), || format!("another version: {record:?}"))?;
        let handoff = format!("proxy-{}", self.handoff);
        ensure(record.text("handoff") == handoff, || format!("another handoff: {record:?}"))
    }
}

impl fmt::Display for Handoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((sender, _), (receiver, _)) = (self.sender.names(), self.receiver.names());
        let family = if self.family == Family::V4 { "ipv4" } else { "ipv6" };
        let content = if self.content == Content::Clear { "in_clear" } else { "with_tls" };
        write!(f, "matrix_{sender}_to_{receiver}_told_in_{}_over_{family}_{content}", self.handoff)
    }
}

/// Every cell, those that cannot be included.
pub(crate) fn every() -> Vec<Cell> {
    let mut cells = Vec::new();
    for sender in Sender::ALL {
        for receiver in Receiver::ALL {
            for handoff in [Handoff::V1, Handoff::V2] {
                for family in [Family::V4, Family::V6] {
                    for content in [Content::Clear, Content::Tls] {
                        cells.push(Cell { sender, receiver, handoff, family, content });
                    }
                }
            }
        }
    }
    cells
}

/// The cells of an ordinary run.
fn part() -> Vec<Cell> {
    let possible = every().into_iter().filter(|cell| cell.impossible().is_none());
    let few = |cell: &Cell| !cell.sender.passes_bytes() || cell.receiver == Receiver::Opensmtpd;
    let (rare, many): (Vec<_>, Vec<_>) = possible.partition(few);
    // Of each four two, so that both families come.
    let half = rare.into_iter().enumerate().filter(|(at, _)| matches!(at % 4, 0 | 3)).map(|(_, cell)| cell);
    many.into_iter().step_by(STEP).chain(half).collect()
}

/// One case for each cell of this run.
pub(super) fn cases(all: bool) -> Vec<Case> {
    let cells = if all { every() } else { part() };
    let possible = cells.into_iter().filter(|cell| cell.impossible().is_none());
    possible.map(|cell| Case { name: cell.to_string(), run: Box::new(move |lab| cell.run(lab)) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_run_has_each_proxy_server_and_form_at_least_twice() {
        let cells = part();
        let count = |is_it: &dyn Fn(&Cell) -> bool| cells.iter().filter(|cell| is_it(cell)).count();
        for sender in Sender::ALL {
            assert!(count(&|cell| cell.sender == sender) >= 2, "{sender:?}");
        }
        for receiver in Receiver::ALL.into_iter().filter(|receiver| *receiver != Receiver::Stalwart) {
            assert!(count(&|cell| cell.receiver == receiver) >= 2, "{receiver:?}");
            for family in [Family::V4, Family::V6] {
                assert!(
                    count(&|cell| cell.receiver == receiver && cell.family == family) >= 1,
                    "{receiver:?} {family:?}"
                );
            }
            for content in [Content::Clear, Content::Tls] {
                let seen = count(&|cell| cell.receiver == receiver && cell.content == content);
                assert!(seen >= 1, "{receiver:?} {content:?}");
            }
            for handoff in [Handoff::V1, Handoff::V2] {
                let possible = receiver != Receiver::Opensmtpd || handoff == Handoff::V2;
                let seen = count(&|cell| cell.receiver == receiver && cell.handoff == handoff);
                assert_eq!(seen >= 1, possible, "{receiver:?} {handoff:?}");
            }
        }
        // Each is a connection and its witness; a run has few minutes left.
        assert!(cells.len() < 80, "{}", cells.len());
    }

    #[test]
    fn every_cell_has_a_name_of_its_own() {
        let mut names: Vec<_> = every().iter().map(Cell::to_string).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
