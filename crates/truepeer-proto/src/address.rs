//! Addresses as a header carries them, exactly as sent: nothing is folded, resolved or judged here.
//!
//! Filled in by the decoders, read by the encoder and by callers who decide what they mean.
use core::fmt;
use core::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

/// A UNIX socket address: 108 bytes, NUL-padded; a leading NUL is a Linux abstract name.
///
/// Source: PROXY protocol 2.2, AF_UNIX.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UnixAddress<'a>(pub(crate) &'a [u8; 108]);

impl<'a> UnixAddress<'a> {
    /// From the 108 bytes of an address block.
    pub const fn new(bytes: &'a [u8; 108]) -> Self {
        Self(bytes)
    }

    /// The 108 bytes as they stand on the wire.
    pub const fn as_bytes(&self) -> &'a [u8; 108] {
        self.0
    }

    /// True where the name lives in Linux's abstract namespace rather than in the file system.
    pub fn is_abstract(&self) -> bool {
        self.0.first() == Some(&0) && !self.name().is_empty()
    }

    /// The path up to its NUL, or the abstract name without its leading NUL and its padding.
    ///
    /// Empty for an unnamed socket.
    pub fn name(&self) -> &'a [u8] {
        let bytes: &'a [u8] = self.0;
        match bytes.split_first() {
            Some((0, rest)) => {
                let padding = rest.iter().rev().take_while(|byte| **byte == 0).count();
                rest.get(..rest.len().saturating_sub(padding)).unwrap_or(rest)
            }
            _ => bytes.split(|byte| *byte == 0).next().unwrap_or(bytes),
        }
    }
}

impl fmt::Debug for UnixAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:{}{}", if self.is_abstract() { "@" } else { "" }, self.name().escape_ascii())
    }
}

/// Source and destination of a header, exactly as sent (v4-mapped IPv6 is not folded here).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses<'a> {
    /// None: LOCAL, v1 UNKNOWN, v2 UNSPEC.
    Unspecified,
    /// IPv4. Source: PROXY protocol 2.1 `TCP4`; 2.2, AF_INET.
    Inet {
        /// The client's end.
        source: SocketAddrV4,
        /// The end that the client connected to.
        destination: SocketAddrV4,
    },
    /// IPv6. Source: PROXY protocol 2.1 `TCP6`; 2.2, AF_INET6.
    /// With [`MixedFamilies::Accept`](crate::MixedFamilies) an IPv4 literal arrives v4-mapped.
    Inet6 {
        /// The client's end.
        source: SocketAddrV6,
        /// The end that the client connected to.
        destination: SocketAddrV6,
    },
    /// UNIX. Source: PROXY protocol 2.2, AF_UNIX.
    Unix {
        /// The client's end.
        source: UnixAddress<'a>,
        /// The end that the client connected to.
        destination: UnixAddress<'a>,
    },
}

impl Addresses<'_> {
    /// The client's address and port; `None` without addresses and for UNIX sockets.
    pub const fn source(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet { source, .. } => Some(SocketAddr::V4(*source)),
            Self::Inet6 { source, .. } => Some(SocketAddr::V6(*source)),
            Self::Unspecified | Self::Unix { .. } => None,
        }
    }

    /// The address and port that the client connected to; `None` as for [`source`](Self::source).
    pub const fn destination(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet { destination, .. } => Some(SocketAddr::V4(*destination)),
            Self::Inet6 { destination, .. } => Some(SocketAddr::V6(*destination)),
            Self::Unspecified | Self::Unix { .. } => None,
        }
    }
}
