//! Trusted peers without a header, where their address carries direct traffic, too: a container gateway.
//!
//! Anyone who comes from there may be the proxy or anybody. The first bytes decide, or silence; what a header may say
//! is narrowed to what harms least. The decision is pure; one function waits for bytes over the engine.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use truepeer::{FirstBytes, HeaderReader, NetworkSet, OwnHeader, Seen, Verdict};

use super::Unidentified;
use crate::engine::{Pending, Reading, Received, Socket, receive_as};
use crate::facts::address::is_near;

/// `proxy.missing-header`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingHeader {
    /// A trusted peer must send one.
    #[default]
    Refuse,
    /// A peer whose first bytes are none, or that sends nothing for so long, is the client itself.
    UnsafeClientIsPeer {
        /// `proxy.missing-header-wait`, from accept on.
        wait: Duration,
    },
}

/// What a peer begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// The signature of a header: the rest of it is due.
    Header,
    /// Something else, or nothing in time.
    NoHeader,
}

/// Waits until it is known whether `client` begins with a header, at most until `until`; what came is in `received`.
///
/// A signature that is not whole by then is none: the rest of it would come too late to be believed.
///
/// # Errors
/// [`Unidentified`]: a peer that closes without a byte, breaks, or has to make room.
pub async fn begins(
    client: &Socket,
    reading: Reading,
    reader: &HeaderReader,
    until: Instant,
    unfinished: &Pending,
    received: &mut Vec<u8>,
) -> Result<Begins, Unidentified> {
    let mut first = FirstBytes::new(OwnHeader::Absent, until);
    loop {
        match first.inspect(received, Instant::now()) {
            Verdict::Header(_) => return Ok(Begins::Header),
            Verdict::Pass => return Ok(Begins::NoHeader),
            Verdict::Hold => {}
        }
        match receive_as(reading, client, received, until, Some(unfinished)).await {
            Received::Bytes(_) => {}
            Received::Expired => return Ok(Begins::NoHeader),
            Received::Ended if !received.is_empty() => return Ok(Begins::NoHeader),
            Received::Evicted => return Err(Unidentified::Evicted(Seen::new(received))),
            Received::Ended | Received::Failed(_) => {
                return Err(Unidentified::Error(reader.ended(received), std::mem::take(received)));
            }
        }
    }
}

/// Why a header from such a peer is not believed about `client`, if it is not: backends and firewalls grant rights to
/// these addresses, and anybody may have written it. `own`: this machine's addresses and the backends'.
#[must_use]
pub fn doubt(client: IpAddr, own: &NetworkSet) -> Option<&'static str> {
    if is_near(client) || is_shared(client) {
        Some(
            "is private or loopback, which is never believed where `missing-header` lets anybody send a header",
        )
    } else if own.contains(client) {
        Some(
            "is this machine's or a backend's, which is never believed where `missing-header` lets anybody send a header",
        )
    } else {
        None
    }
}

/// RFC 6598: private networks of providers and overlays.
fn is_shared(client: IpAddr) -> bool {
    matches!(client, IpAddr::V4(client) if matches!(client.octets(), [100, 64..=127, ..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clients_on_the_internet_are_believed() {
        let own =
            ["198.51.100.1/32".parse().unwrap(), "2001:db8::1/128".parse().unwrap()].into_iter().collect();
        for near in [
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "::1",
            "fd00::1",
            "fe80::1",
            "198.51.100.1",
            "2001:db8::1",
        ] {
            assert!(doubt(near.parse().unwrap(), &own).is_some(), "{near}");
        }
        for far in ["203.0.113.7", "172.15.0.1", "172.32.0.1", "100.63.255.255", "100.128.0.1", "2001:db8::7"]
        {
            assert_eq!(doubt(far.parse().unwrap(), &own), None, "{far}");
        }
    }
}
