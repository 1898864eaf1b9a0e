//! What was found in a log, folded: each kind of finding once, with how often and where.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use truepeer_proto::Version;

use super::address;
use super::table::{Row, rows};
use crate::change::READ;
use crate::disguise::{Reading, reads_none};
use crate::{Class, Confidence, Finding, Opening, Product, Side, excerpt};

/// What a text means.
#[derive(Debug)]
pub(super) enum Meaning {
    /// It is known.
    Row {
        row: &'static Row,
        /// What came where a header was due, if the text quotes it.
        came: Option<(Opening, Vec<u8>)>,
    },
    /// It contains a header.
    Disguise { version: Version, reading: Reading, product: Option<Product> },
}

/// A finding of a log: how often, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Noted {
    /// What it is; `seen` is the first text.
    pub finding: Finding,
    /// The stable name of the text that was known, `header-in-text` and the like for a header in disguise.
    pub id: &'static str,
    /// How many texts say it.
    pub count: u64,
    /// The line of the first, counted from 1.
    pub first_line: u64,
    /// The line of the last.
    pub last_line: u64,
}

/// What was found in a log.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct LogReport {
    /// The findings, best first, and of equal ones that which was seen first.
    pub findings: Vec<Noted>,
    /// How many lines were read.
    pub lines: u64,
    /// How many of them were longer than [`LogReader::LINE_MAX`](super::LogReader::LINE_MAX) and read up to there.
    pub cut_lines: u64,
    folded: BTreeMap<Key, usize>,
}

/// An SMTP server did not know a command.
const COMMAND: &str = "smtp-500";
/// It did not know three, and the session ended.
const V2_COMMANDS: &str = "smtp-500-v2";

/// What says less than another that stands in the same log: Envoy's reader of TLS complains first, and its listener
/// then says what came of it.
const EXPLAINED: &[(&str, &str)] = &[("tls-version", "envoy-chain")];

/// By what findings are folded: a closed set, so that a log of any length makes a bounded report.
type Key = (&'static str, Option<&'static str>, Option<Product>);

impl LogReport {
    pub(super) fn note(&mut self, meaning: Meaning, text: &[u8], line: u64) {
        let key = key(&meaning);
        if let Some(noted) = self.folded.get(&key).and_then(|at| self.findings.get_mut(*at)) {
            noted.count = noted.count.saturating_add(1);
            noted.last_line = line;
            return;
        }
        self.folded.insert(key, self.findings.len());
        self.findings.push(Noted {
            id: key.0,
            finding: finding(meaning, text),
            count: 1,
            first_line: line,
            last_line: line,
        });
    }

    /// Draws what only the whole log tells, and puts the best first.
    pub(super) fn settle(&mut self) {
        // Three in a row are the lines of a version 2 header, whose QUIT then ends the session.
        let ends = self.findings.iter().any(|noted| noted.id == V2_COMMANDS);
        if ends {
            self.findings.retain(|noted| noted.id != COMMAND);
        }
        for noted in self.findings.iter_mut().filter(|noted| noted.id == COMMAND && noted.count >= 3) {
            if let Some(row) = rows().find(|row| row.id == V2_COMMANDS) {
                let seen = std::mem::take(&mut noted.finding.seen);
                noted.finding = Finding { seen, ..finding(Meaning::Row { row, came: None }, &[]) };
                noted.id = row.id;
            }
        }
        let ids: Vec<&str> = self.findings.iter().map(|noted| noted.id).collect();
        let is_explained = |id: &str| EXPLAINED.iter().any(|(known, by)| *known == id && ids.contains(by));
        self.findings.sort_by_key(|noted| (noted.finding.confidence, is_explained(noted.id)));
    }
}

fn key(meaning: &Meaning) -> Key {
    match meaning {
        Meaning::Row { row, came, .. } => (row.id, came.as_ref().map(|(opening, _)| opening.name()), None),
        Meaning::Disguise { version, reading, product } => {
            let id = match reading {
                Reading::Text => "header-in-text",
                Reading::Number => "header-as-number",
                Reading::Hexadecimal
                | Reading::Decimal
                | Reading::Octal
                | Reading::Binary
                | Reading::Base64 => "header-in-bytes",
            };
            let version = match version {
                Version::V1 => "1",
                Version::V2 => "2",
            };
            (id, Some(version), *product)
        }
    }
}

fn finding(meaning: Meaning, text: &[u8]) -> Finding {
    match meaning {
        Meaning::Row { row, came } => {
            let peer = address::of(text);
            let mut finding = Finding {
                class: row.class,
                side: row.side,
                product: row.product.map(|product| by_text(product, text)),
                seen: excerpt(text),
                cause: with_peer(row.cause, peer),
                change: with_peer(row.change, peer),
                confidence: row.confidence,
            };
            if let Some((opening, bytes)) = came
                && !matches!(opening, Opening::Unknown | Opening::Header)
                && let Some(meant) = opening.finding(&bytes)
            {
                finding = Finding { product: finding.product, seen: finding.seen, ..meant };
            }
            finding
        }
        Meaning::Disguise { version, reading, product } => disguised(version, reading, product, text),
    }
}

fn disguised(version: Version, reading: Reading, product: Option<Product>, text: &[u8]) -> Finding {
    let version = match version {
        Version::V1 => 1,
        Version::V2 => 2,
    };
    let front = product.is_some_and(reads_none);
    Finding {
        class: Class::Unex,
        side: if front { Side::Front } else { Side::Back },
        product,
        seen: excerpt(text),
        cause: format!(
            "the beginning of a PROXY header, version {version}, stands here {reading}: it was taken for the client's own protocol"
        )
        .into(),
        change: if front {
            "this program reads no header: take `send-proxy`, `send-proxy-v2` or `proxy_protocol on;` away at the proxy for this port, or put a program that reads it in between".into()
        } else {
            READ.into()
        },
        confidence: if reading == Reading::Number { Confidence::Possible } else { Confidence::Likely },
    }
}

/// Two services of one program, told apart by the text.
fn by_text(product: Product, text: &[u8]) -> Product {
    let is_postscreen = product == Product::Postfix && memchr::memmem::find(text, b"postscreen").is_some();
    if is_postscreen { Product::Postscreen } else { product }
}

fn with_peer(text: &'static str, peer: Option<IpAddr>) -> Cow<'static, str> {
    if !text.contains("{peer}") {
        return text.into();
    }
    let name = peer.map_or_else(|| "ADDRESS-OF-THE-PROXY".to_owned(), |peer| peer.to_string());
    text.replace("{peer}", &name).into()
}
