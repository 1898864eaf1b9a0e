//! What each known receiver does with a header: kinds of receivers as rows of data, and one judge for all of them.
//!
//! Observed on loopback with the versions named; the limits are whole headers in bytes.

use std::fmt;

use serde::Serialize;
use truepeer_proto::{Addresses, Command, Header, TlvType, Transport, Version};

use crate::Product;

mod table;

pub(super) use table::RECEIVERS;

/// What a receiver does with one form of header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    /// It believes it.
    Takes,
    /// It takes the proxy for the client.
    Proxy,
    /// It takes a path or a word for the client.
    Path,
    /// It closes.
    Refuses,
    /// It waits for bytes that never come.
    Hangs,
}

/// One receiver.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) name: &'static str,
    pub(super) product: Product,
    pub(super) v1: Does,
    pub(super) v2: Does,
    /// `PROXY UNKNOWN` and the line end.
    pub(super) unknown: Does,
    /// `PROXY UNKNOWN` with anything behind.
    pub(super) unknown_more: Does,
    pub(super) local: Does,
    /// LOCAL with a block behind that are no TLVs.
    pub(super) local_block: Does,
    /// Version 2, PROXY, UNSPEC.
    pub(super) unspecified: Does,
    pub(super) unix: Does,
    pub(super) datagram: Does,
    pub(super) v1_port_zero: Does,
    /// A version 1 line with one address of each family.
    pub(super) v1_mixed: Does,
    pub(super) wrong_checksum: Does,
    /// A TLV that runs past the end.
    pub(super) wrong_tlv: Does,
    /// The longest version 2 header.
    pub(super) longest: usize,
    pub(super) longest_tlv: usize,
    pub(super) longest_authority: usize,
    /// What its users should know.
    pub(super) note: &'static str,
}

/// What a receiver does with this header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Taken {
    /// It believes the header.
    Accepted,
    /// It goes on with the proxy as the client.
    AcceptedAsProxy,
    /// It goes on with a path or a word as the client.
    AcceptedAsPath,
    /// It closes.
    Refused,
    /// It waits for more, in vain.
    Hangs,
}

impl Taken {
    /// In words for a person.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::AcceptedAsProxy => "accepted, the proxy is the client",
            Self::AcceptedAsPath => "accepted, a path is the client",
            Self::Refused => "refused",
            Self::Hangs => "waits for more, in vain",
        }
    }
}

/// A receiver and what it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Reception {
    /// Which receiver, with its versions where they differ.
    pub receiver: &'static str,
    /// The product.
    pub product: Product,
    /// What it does.
    pub does: Taken,
    /// Why, where it is not simply accepted; what its users should know, where it is.
    pub reason: String,
}

impl fmt::Display for Reception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.receiver, self.does.name())?;
        if self.does != Taken::Accepted && !self.reason.is_empty() {
            write!(f, " ({})", self.reason)?;
        }
        Ok(())
    }
}

/// What of a header decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) version: Version,
    pub(super) form: Form,
    pub(super) len: usize,
    pub(super) port_zero: bool,
    pub(super) mixed: bool,
    pub(super) checksum_wrong: bool,
    pub(super) tlv_wrong: bool,
    pub(super) longest_tlv: usize,
    pub(super) authority: usize,
    pub(super) authority_is_text: bool,
}

/// The form of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Addresses,
    Unknown,
    UnknownMore,
    Local,
    LocalBlock,
    Unspecified,
    Unix,
    Datagram,
}

impl Facts {
    pub(super) fn of(header: &Header<'_>) -> Self {
        let addresses = header.addresses();
        let raw = header.as_bytes();
        let form = match (header.command(), addresses, header.version()) {
            (Command::Local, ..) if raw.len() > 16 && header.tlv_bytes().is_empty() => Form::LocalBlock,
            (Command::Local, ..) => Form::Local,
            (_, Addresses::Unspecified, Version::V1) if raw.len() > b"PROXY UNKNOWN\r\n".len() => {
                Form::UnknownMore
            }
            (_, Addresses::Unspecified, Version::V1) => Form::Unknown,
            (_, Addresses::Unspecified, Version::V2) => Form::Unspecified,
            (_, Addresses::Unix { .. }, _) => Form::Unix,
            _ if header.transport() == Transport::Datagram => Form::Datagram,
            _ => Form::Addresses,
        };
        let zero = |addr: Option<std::net::SocketAddr>| addr.is_some_and(|addr| addr.port() == 0);
        let authority = header.tlvs().find(TlvType::AUTHORITY).unwrap_or_default();
        Self {
            version: header.version(),
            form,
            len: raw.len(),
            port_zero: zero(addresses.source()) || zero(addresses.destination()),
            mixed: false,
            checksum_wrong: false,
            tlv_wrong: false,
            longest_tlv: header.tlvs().map(|tlv| tlv.value.len()).max().unwrap_or(0),
            authority: authority.len(),
            authority_is_text: std::str::from_utf8(authority).is_ok(),
        }
    }
}

/// What every receiver does.
pub(super) fn of(facts: &Facts) -> Vec<Reception> {
    RECEIVERS.iter().map(|receiver| judge(receiver, facts)).collect()
}

fn judge(receiver: &Receiver, facts: &Facts) -> Reception {
    let (does, reason) = decide(receiver, facts);
    let does = match does {
        Does::Takes => Taken::Accepted,
        Does::Proxy => Taken::AcceptedAsProxy,
        Does::Path => Taken::AcceptedAsPath,
        Does::Refuses => Taken::Refused,
        Does::Hangs => Taken::Hangs,
    };
    let reason = if reason.is_empty() && does == Taken::Accepted { receiver.note.to_owned() } else { reason };
    Reception { receiver: receiver.name, product: receiver.product, does, reason }
}

fn decide(receiver: &Receiver, facts: &Facts) -> (Does, String) {
    let v2 = facts.version == Version::V2;
    let reads = if v2 { receiver.v2 } else { receiver.v1 };
    let (form, form_reason) = form(receiver, facts.form);
    // From the first thing that a receiver looks at to the last.
    if reads != Does::Takes {
        // A line that is shorter than a version 2 header is waited for.
        let short = receiver.v1 == Does::Refuses && facts.form == Form::Unknown;
        let does = if short { Does::Hangs } else { reads };
        return (does, format!("reads version {} only", if v2 { 1 } else { 2 }));
    }
    if v2 && facts.len > receiver.longest {
        return (Does::Refuses, format!("too large, {} > {}", facts.len, receiver.longest));
    }
    if form != Does::Takes {
        return (form, form_reason.to_owned());
    }
    if v2 && facts.longest_tlv > receiver.longest_tlv {
        return (
            Does::Refuses,
            format!("a TLV is too large, {} > {}", facts.longest_tlv, receiver.longest_tlv),
        );
    }
    if facts.authority > receiver.longest_authority {
        return (
            Does::Refuses,
            format!("AUTHORITY is too large, {} > {}", facts.authority, receiver.longest_authority),
        );
    }
    if !facts.authority_is_text && receiver.product == Product::Dovecot {
        return (Does::Refuses, "AUTHORITY is no text".to_owned());
    }
    let wrong = [
        (facts.checksum_wrong, receiver.wrong_checksum, "checks the CRC32C"),
        (facts.tlv_wrong, receiver.wrong_tlv, "walks the TLVs"),
        (!v2 && facts.port_zero, receiver.v1_port_zero, "port 0"),
        (facts.mixed, receiver.v1_mixed, "one IPv4 and one IPv6 address"),
    ];
    for (holds, does, reason) in wrong {
        if holds && does != Does::Takes {
            return (does, reason.to_owned());
        }
    }
    (Does::Takes, String::new())
}

fn form(receiver: &Receiver, form: Form) -> (Does, &'static str) {
    match form {
        Form::Addresses => (Does::Takes, ""),
        Form::Unknown => (receiver.unknown, "UNKNOWN"),
        Form::UnknownMore => (receiver.unknown_more, "UNKNOWN with addresses"),
        Form::Local => (receiver.local, "LOCAL"),
        Form::LocalBlock => (receiver.local_block, "LOCAL with a block behind it"),
        Form::Unspecified => (receiver.unspecified, "no address (UNSPEC)"),
        Form::Unix => (receiver.unix, "a UNIX address"),
        Form::Datagram => (receiver.datagram, "a datagram family"),
    }
}
