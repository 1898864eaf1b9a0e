//! What is asked: one kind of header each.

use std::net::SocketAddr;

use truepeer::ClientPair;
use truepeer::proto::{Transport, V2_SIGNATURE};

use crate::doctor::header::{Checksum, Extras, OwnedTlv, Wanted, nobodys};

/// One question, one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Question {
    /// What happens to somebody who sends no header?
    NoHeader,
    /// A version 1 line.
    V1,
    /// A version 2 header.
    V2,
    /// The same, saying that the client used TLS.
    V2Ssl,
    /// The proxy's own connection, version 2.
    Local,
    /// The proxy's own connection, version 1.
    Unknown,
    /// A version 2 header in two pieces.
    Split,
    /// More bytes than Exim takes.
    Over232,
    /// More bytes than Postfix takes.
    Over536,
    /// More bytes than Dovecot takes.
    Over1500,
    /// A version 2 signature with nonsense behind it.
    Garbage,
}

impl Question {
    /// Every question, in the order in which they are asked.
    pub const ALL: [Self; 11] = [
        Self::NoHeader,
        Self::V2,
        Self::V1,
        Self::V2Ssl,
        Self::Local,
        Self::Unknown,
        Self::Split,
        Self::Over232,
        Self::Over536,
        Self::Over1500,
        Self::Garbage,
    ];

    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoHeader => "no-header",
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V2Ssl => "v2-ssl",
            Self::Local => "local",
            Self::Unknown => "unknown",
            Self::Split => "split",
            Self::Over232 => "over-232",
            Self::Over536 => "over-536",
            Self::Over1500 => "over-1500",
            Self::Garbage => "garbage",
        }
    }

    /// What it is, for a person.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::NoHeader => "no header",
            Self::V1 => "version 1",
            Self::V2 => "version 2",
            Self::V2Ssl => "version 2, client over TLS",
            Self::Local => "version 2 LOCAL",
            Self::Unknown => "version 1 UNKNOWN",
            Self::Split => "version 2 in two pieces",
            Self::Over232 => "version 2, 233 bytes",
            Self::Over536 => "version 2, 537 bytes",
            Self::Over1500 => "version 2, 1501 bytes",
            Self::Garbage => "a signature and nonsense",
        }
    }

    /// How long the header is, where that is asked.
    pub(super) fn length(self) -> Option<usize> {
        match self {
            Self::Over232 => Some(233),
            Self::Over536 => Some(537),
            Self::Over1500 => Some(1501),
            _ => None,
        }
    }

    /// The bytes that go out first, to the server that was reached: all of them name a client that is nobody.
    #[must_use]
    pub fn header(self, reached: SocketAddr) -> Vec<u8> {
        let pair = ClientPair { client: nobodys(reached), destination: reached };
        let v2 = |tlvs: Vec<OwnedTlv>| {
            Wanted::V2(pair, Transport::Stream, Extras { tlvs, checksum: Checksum::None })
        };
        let wanted = match self {
            Self::NoHeader => Wanted::None,
            Self::V1 => Wanted::V1(pair),
            Self::V2 | Self::Split => v2(Vec::new()),
            Self::V2Ssl => v2("ssl=TLSv1.3,cipher=TLS_AES_128_GCM_SHA256".parse().into_iter().collect()),
            Self::Local => Wanted::V2Local(Extras::default()),
            Self::Unknown => Wanted::V1Unknown,
            Self::Over232 | Self::Over536 | Self::Over1500 => {
                const ITEM: usize = 3;
                let bare = v2(Vec::new()).to_bytes().map_or(0, |bytes| bytes.len());
                let length = self.length().unwrap_or_default();
                let padding = length.saturating_sub(bare).saturating_sub(ITEM);
                v2(format!("noop={padding}").parse().into_iter().collect())
            }
            // A command that no version has, and no bytes that an answer could be waited for.
            Self::Garbage => Wanted::Raw([V2_SIGNATURE.as_slice(), &[0x2f, 0x11, 0, 0]].concat()),
        };
        // Nothing of it can be too long or missing.
        wanted.to_bytes().unwrap_or_default()
    }

    /// Before which bytes the header is cut.
    pub(super) fn cuts(self) -> Vec<usize> {
        if self == Self::Split { vec![5] } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_the_length_that_they_are_named_after() {
        for reached in ["192.0.2.2:25", "[2001:db8::2]:25"] {
            for question in Question::ALL {
                let len = question.header(reached.parse().unwrap()).len();
                match question.length() {
                    Some(length) => assert_eq!(len, length, "{question:?}"),
                    None => assert_eq!(len == 0, question == Question::NoHeader, "{question:?}"),
                }
            }
        }
    }
}
