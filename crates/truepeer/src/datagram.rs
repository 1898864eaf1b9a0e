//! A header in front of a datagram: the whole of it and the payload in one, and another header in the next.
//!
//! Trust is asked first, for each datagram: an address is easily forged where there is no handshake, so a network of
//! proxies that others can write into the source of a packet is no protection. Pure: bytes in, an identity out.

use core::fmt;
use std::io;
use std::time::Instant;

use crate::{Arrival, ClientIdentity, HeaderReader, HeaderRules, IdentifyError, PeerAddress};
use crate::{TrustDecision, TrustPolicy};

/// Who sent this datagram, and what is in it.
///
/// A peer that `policy` trusts must have put a version 2 header in front, as dnsdist does; another is the client itself,
/// or refused. The answer goes to the **peer**, without a header: the proxy knows whose it is.
///
/// What the header names as the destination is where the client sent it. Proxies that put a header into the first
/// datagram of a flow only (Sozu) cannot be served by this: nothing tells a later one from a forged one.
///
/// ```
/// use truepeer::{Arrival, HeaderRules, PeerAddress, TrustPolicy, TrustedNetworks, read_datagram};
///
/// let policy = TrustPolicy::from(TrustedNetworks::parse(["192.0.2.10"])?);
/// let arrival = Arrival::new(PeerAddress::tcp("192.0.2.10:5300".parse()?), Some("192.0.2.1:53".parse()?));
/// let received = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\xcb\0\x71\x05\xc6\x33\x64\x02\x9c\x40\0\x35query";
/// let (identity, payload) = read_datagram(&policy, &HeaderRules::new(), arrival, received)?;
/// assert_eq!(identity.client().unwrap().to_string(), "203.0.113.5:40000");
/// assert_eq!(payload, b"query");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`DatagramError`]: the datagram is to be dropped, without an answer.
///
/// Source: PROXY protocol 2, datagrams.
pub fn read_datagram<'a>(
    policy: &TrustPolicy,
    rules: &HeaderRules,
    arrival: Arrival,
    datagram: &'a [u8],
) -> Result<(ClientIdentity, &'a [u8]), DatagramError> {
    let Arrival { peer, reached } = arrival;
    match policy.decide(peer) {
        // There is nothing to wait for.
        TrustDecision::ExpectHeader => {
            Ok(HeaderReader::new(rules.clone(), peer, Instant::now()).whole(datagram)?)
        }
        TrustDecision::Direct => match ClientIdentity::direct(peer, reached) {
            Some(identity) => Ok((identity, datagram)),
            None => Err(DatagramError::Unlisted(peer)),
        },
        TrustDecision::Refuse => Err(DatagramError::Unlisted(peer)),
    }
}

/// Why a datagram has no identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatagramError {
    /// The policy has no place for this peer.
    Unlisted(PeerAddress),
    /// A trusted peer without a good header. One that ends inside its header is
    /// [`Truncated`](crate::IdentifyReason::Truncated): nothing more will come.
    Header(IdentifyError),
}

impl fmt::Display for DatagramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlisted(peer) => write!(f, "{peer} is in no trusted network, and only proxies are served"),
            Self::Header(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for DatagramError {}

impl From<IdentifyError> for DatagramError {
    fn from(error: IdentifyError) -> Self {
        Self::Header(error)
    }
}

impl From<DatagramError> for io::Error {
    fn from(error: DatagramError) -> Self {
        match error {
            DatagramError::Unlisted(_) => Self::new(io::ErrorKind::PermissionDenied, error),
            DatagramError::Header(error) => error.into(),
        }
    }
}
