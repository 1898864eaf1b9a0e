//! A decoded header, borrowing the received bytes.
//!
//! Made by the decoders only, so that anyone who holds one knows that its rules were checked
//! (all of them after `decode`, all but the TLVs' after `frame`).
use core::fmt;

use crate::{Addresses, Ssl, TlvType, Tlvs};

/// Version of the header. Source: PROXY protocol 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// The line of text. Source: PROXY protocol 2.1.
    V1,
    /// The binary block. Source: PROXY protocol 2.2.
    V2,
}

/// On whose behalf the connection was made. Source: PROXY protocol 2.2, byte 12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// The proxy speaks for itself: the socket's own addresses count.
    Local,
    /// The proxy speaks for a client.
    Proxy,
}

/// Kind of socket, by its number on the wire. Source: PROXY protocol 2.2, byte 13, low four bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Not told: LOCAL, UNKNOWN, UNSPEC.
    Unspecified = 0,
    /// TCP or a UNIX stream.
    Stream = 1,
    /// UDP or UNIX datagrams.
    Datagram = 2,
}

/// One checked header.
///
/// Holds about 120 bytes and borrows the rest.
/// `{:?}` shows what it says, and of TLVs types and lengths only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    pub(crate) raw: &'a [u8],
    pub(crate) version: Version,
    pub(crate) command: Command,
    pub(crate) transport: Transport,
    pub(crate) addresses: Addresses<'a>,
    pub(crate) tlvs: &'a [u8],
}

impl<'a> Header<'a> {
    /// Which of the two formats it came in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// v1 UNKNOWN is `Proxy` with `Addresses::Unspecified`.
    pub fn command(&self) -> Command {
        self.command
    }

    /// `Stream` for v1 with addresses, `Unspecified` wherever there are none.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// `Unspecified` under LOCAL whatever block came with it.
    pub fn addresses(&self) -> Addresses<'a> {
        self.addresses
    }

    /// Checked; empty for v1 and for an opaque LOCAL block.
    pub fn tlvs(&self) -> Tlvs<'a> {
        Tlvs::new(self.tlvs)
    }

    /// First SSL TLV; always `None` under LOCAL.
    pub fn ssl(&self) -> Option<Ssl<'a>> {
        match self.command {
            Command::Local => None,
            Command::Proxy => self.tlvs().find(TlvType::SSL).and_then(Ssl::new),
        }
    }

    /// The TLV area as received, for keeping.
    pub fn tlv_bytes(&self) -> &'a [u8] {
        self.tlvs
    }

    /// The whole header as received.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }
}

impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("len", &self.raw.len())
            .field("version", &self.version)
            .field("command", &self.command)
            .field("transport", &self.transport)
            .field("addresses", &self.addresses)
            .field("tlvs", &self.tlvs())
            .finish()
    }
}
