//! The "Simple Proxy Protocol" of UDP edges: 38 fixed bytes in front of every datagram.
//!
//! Not part of the PROXY protocol, but its neighbour on UDP ports: Cloudflare Spectrum and
//! Tencent EdgeOne speak it, in both directions. No version, no length, no checksum, and
//! therefore never recognised on a stream: [`decode`](crate::decode) refuses it.
//! Source: Cloudflare, Simple Proxy Protocol header.
use core::net::SocketAddrV6;

use crate::{Addresses, DecodeError, DecodeErrorKind, v2};

/// The two bytes that open every datagram.
pub const MAGIC: [u8; 2] = [0x56, 0xec];
/// Length of the header, always.
pub const LEN: usize = 38;

/// Both ends of the client's datagram; IPv4 comes v4-mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimpleHeader {
    /// The client's end.
    pub client: SocketAddrV6,
    /// The end that the client sent to.
    pub proxy: SocketAddrV6,
}

impl SimpleHeader {
    /// From the beginning of a whole datagram; what follows [`LEN`] bytes is payload.
    ///
    /// # Errors
    /// `BadSignature` for other magic bytes, `Truncated` for a shorter datagram.
    pub fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        if let Some(at) = MAGIC.iter().zip(datagram).position(|(expected, byte)| expected != byte) {
            return Err(DecodeError::new(DecodeErrorKind::BadSignature, at, datagram));
        }
        // Behind the magic bytes it is the block of AF_INET6.
        match datagram.get(MAGIC.len()..).and_then(v2::inet6) {
            Some((Addresses::Inet6 { source, destination }, _)) => {
                Ok(Self { client: source, proxy: destination })
            }
            _ => Err(DecodeError::new(DecodeErrorKind::Truncated, datagram.len(), datagram)),
        }
    }

    /// The bytes to put in front of a payload; answers carry the same header as their question.
    pub fn encode(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        let ([c0, c1], [p0, p1]) = (self.client.port().to_be_bytes(), self.proxy.port().to_be_bytes());
        let bytes = MAGIC.into_iter().chain(self.client.ip().octets()).chain(self.proxy.ip().octets());
        for (place, byte) in out.iter_mut().zip(bytes.chain([c0, c1, p0, p1])) {
            *place = byte;
        }
        out
    }
}
