//! What each known sender does: which headers it writes, when, and what stands in them. Rows of data; nothing here
//! decides anything.
//!
//! Observed on loopback with the versions named, and held against what was recorded of them.

use truepeer_proto::Version;

use crate::Product;

mod table;

use table::SENDERS;

/// When a header leaves for the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leaves {
    /// As soon as the client has connected.
    AtOnce,
    /// When the client has asked for something.
    WithRequest,
    /// When the client's TLS handshake is over.
    AfterTls,
    /// When the client has logged in.
    AfterLogin,
}

/// What is sent for a connection that has no client with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Own {
    /// LOCAL in version 2, UNKNOWN in version 1.
    Unnamed,
    /// LOCAL in version 2, in version 1 the sender's own address and port.
    LocalOrItself,
    /// The address that connected to it, as if that were the client.
    Peer,
    /// It was not tried, or cannot be.
    Untold,
}

/// What an IPv4 client of a listener for both families becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mapped {
    /// An IPv6 address that has the IPv4 address in it.
    AsIpv6,
    /// Itself.
    AsIpv4,
    /// It was not tried.
    Untold,
}

/// What a form of health check sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckSends {
    /// A header: [`Own::LocalOrItself`].
    Header,
    /// No header, but what the check asks.
    NoHeader,
    /// Not a byte.
    Nothing,
    /// Nothing, and it always fails.
    Fails,
}

/// One form of health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckKind {
    /// Its lines, in the sender's configuration.
    pub form: &'static str,
    /// What comes.
    pub sends: CheckSends,
}

/// One sender.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Sender {
    /// The product.
    pub product: Product,
    /// Its name, with the part of it that sends.
    pub title: &'static str,
    /// The word in its configuration that makes it send; empty if none does.
    pub setting: &'static str,
    /// The versions that it can send.
    pub versions: &'static [Version],
    /// When the header leaves.
    pub leaves: Leaves,
    /// What makes it wait for the client's first bytes, which a client of SMTP, IMAP or POP3 does not send; empty if
    /// nothing does.
    pub waits: &'static str,
    /// The longest header that was recorded, in bytes.
    pub longest: usize,
    /// What can stand in it besides addresses, by the names of the specification.
    pub tlvs: &'static [&'static str],
    /// Whether it tells ports and the destination.
    pub tells_ports: bool,
    /// What it sends for a client of a UNIX socket.
    pub unix_client: Own,
    /// What it makes of LOCAL or UNKNOWN that it received.
    pub own_received: Own,
    /// Whether TLVs that it received go on.
    pub passes_tlvs: &'static str,
    /// What it makes of an IPv4 client of a listener for both families.
    pub mapped: Mapped,
    /// Its health checks.
    pub checks: &'static [CheckKind],
    /// How long it waits for a header that it is to read itself.
    pub patience: &'static str,
    /// Where all this was observed.
    pub seen: &'static str,
}

impl Sender {
    /// The first row of a product: the part of it that carries any TCP connection, where it has one.
    #[must_use]
    pub fn of(product: Product) -> Option<&'static Self> {
        SENDERS.iter().find(|sender| sender.product == product)
    }

    /// Whether it can send that version.
    #[must_use]
    pub fn sends(&self, version: Version) -> bool {
        self.versions.contains(&version)
    }
}

#[cfg(test)]
mod tests;
