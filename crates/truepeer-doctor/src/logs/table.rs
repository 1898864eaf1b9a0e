//! What the logs of other programs mean: the rows, and what a row is.
//!
//! Only data. A row holds for a text that has, of each of its `needs`, one spelling; rows that ask for more come first.

use crate::{Class, Confidence, Product, Side};

pub(super) use any::NOT_A_HEADER;

mod any;
mod dovecot;
mod exim;
mod go;
mod haproxy;
mod kubernetes;
mod mail;
mod nginx;
mod opensmtpd;
mod own;
mod postfix;
mod proxies;
mod servers;
mod stalwart;
mod tls;
mod web;

/// One text of some program.
#[derive(Debug)]
pub(super) struct Row {
    /// Stable name, for tests.
    pub(super) id: &'static str,
    pub(super) product: Option<Product>,
    pub(super) class: Class,
    pub(super) side: Side,
    pub(super) confidence: Confidence,
    /// Stable parts of the text, in capitals or not unless all of a list have them: of each list one. The first list has the rarest words, since a text
    /// without one of them is not looked at further.
    pub(super) needs: &'static [&'static [&'static str]],
    /// About which address it must be.
    pub(super) only: Only,
    /// Behind one of these stand, in quotes or not, the bytes that came where a header was due.
    pub(super) quote: &'static [&'static str],
    /// `{peer}` stands for the address in the text.
    pub(super) cause: &'static str,
    /// As `cause`.
    pub(super) change: &'static str,
}

/// Which address a text must have so that its row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Only {
    /// Any, or none.
    Any,
    /// A private or loopback one.
    Near,
    /// A private or loopback one, or the text names none: strangers on the internet cause such texts every day.
    NearOrUnsaid,
    /// A private one that ends in .1, as gateways of containers do.
    Gateway,
}

/// Every row, in the order in which they are tried.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    GROUPS.iter().copied().flatten()
}

const GROUPS: &[&[Row]] = &[
    postfix::ROWS,
    dovecot::ROWS,
    exim::ROWS,
    opensmtpd::ROWS,
    nginx::ROWS,
    haproxy::ROWS,
    go::ROWS,
    proxies::ROWS,
    servers::ROWS,
    tls::ROWS,
    stalwart::ROWS,
    mail::ROWS,
    kubernetes::ROWS,
    web::ROWS,
    own::ROWS,
    // Whoever wrote it: asked last.
    any::ROWS,
];
