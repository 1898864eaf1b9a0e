//! The room where a trusted peer's header is read: who is the client?
//!
//! The library decides; this drives it over the engine, within one deadline, one cap and one bound on unfinished
//! headers. Bytes behind the header are the client's and are returned untouched.

mod acquaintances;
pub mod habit;
mod missing;
mod recent;

use std::net::IpAddr;
use std::sync::Arc;

use truepeer::{ClientIdentity, HeaderReader, IdentifyError, Progress, Seen};

use crate::engine::{Looked, Pending, Reading, Received, Socket, look, receive_as, spare};

pub use acquaintances::{Acquaintances, Known, Sender};
pub use missing::{Begins, MissingHeader, begins, doubt};
pub use recent::{HeaderFacts, Headers, PeerReport, RecentPeers};

/// Proxies that may stand in a row behind the peer. Each header of a loop among them would name the next.
pub const MAX_HOPS: usize = 8;

/// `proxy.unsafe-accept-implausible-clients`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ImplausibleClients {
    /// They end as `client_implausible`.
    #[default]
    Refuse,
    /// They are believed.
    UnsafeAccept,
    /// These are believed, others not.
    UnsafeAcceptOnly(Arc<[IpAddr]>),
}

impl ImplausibleClients {
    /// Whether the client of `identity` is believed, whatever its address.
    #[must_use]
    pub fn believes(&self, identity: &ClientIdentity) -> bool {
        match self {
            Self::Refuse => false,
            Self::UnsafeAccept => true,
            Self::UnsafeAcceptOnly(these) => {
                identity.client().is_some_and(|client| these.contains(&client.ip))
            }
        }
    }
}

/// Why there is no identity.
#[derive(Debug)]
pub enum Unidentified {
    /// The peer's fault, with the library's explanation and the bytes that it is about, at most the header's cap.
    Error(IdentifyError, Vec<u8>),
    /// Too many unfinished headers: this one was the oldest.
    Evicted(Seen),
}

/// Reads one header, of which `received` is here already; returns the identity and what came behind the header: the
/// client's bytes, or the next header of a chain. With [`Reading::Exactly`] these are still in the socket as well.
///
/// # Errors
/// [`Unidentified`].
pub async fn read(
    client: &Socket,
    reading: Reading,
    reader: &HeaderReader,
    unfinished: &Pending,
    received: Vec<u8>,
) -> Result<(ClientIdentity, Vec<u8>), Unidentified> {
    finish(client, reading, reader, Some(unfinished), received).await
}

/// As [`read`], for a header where none may come, with the bytes that are already here.
///
/// It is not counted as unfinished: anyone who sends it need not be trusted, and must not push out those who are. Its
/// bounds are the deadline and the number of connections.
///
/// # Errors
/// [`Unidentified`].
pub async fn read_on(
    client: &Socket,
    reading: Reading,
    reader: &HeaderReader,
    received: Vec<u8>,
) -> Result<(ClientIdentity, Vec<u8>), Unidentified> {
    finish(client, reading, reader, None, received).await
}

async fn finish(
    client: &Socket,
    reading: Reading,
    reader: &HeaderReader,
    unfinished: Option<&Pending>,
    mut received: Vec<u8>,
) -> Result<(ClientIdentity, Vec<u8>), Unidentified> {
    if received.is_empty() && reading == Reading::Ahead {
        let whole = |came: &[u8]| match reader.advance(came) {
            Ok(Progress::Done { identity, header_len }) => {
                let mut early = Vec::new();
                if let Some(rest @ [_, ..]) = came.get(header_len..) {
                    early = spare();
                    early.extend_from_slice(rest);
                }
                Some((identity, early))
            }
            _ => None,
        };
        match look(client, reader.deadline(), unfinished, whole).await {
            Looked::Enough(found) => return Ok(found),
            Looked::Kept(came) => received = came,
            Looked::Nothing(why) => return Err(nothing_more(why, reader, received)),
        }
    }
    loop {
        let progress = match reader.advance(&received) {
            Ok(progress) => progress,
            Err(error) => return Err(Unidentified::Error(error, received)),
        };
        match progress {
            Progress::Done { identity, header_len } => {
                let early = received.split_off(header_len.min(received.len()));
                // It was there, so this fails only on a connection that broke since.
                if reading == Reading::Exactly && client.discard(received.len()).is_err() {
                    return Err(Unidentified::Error(reader.ended(&received), received));
                }
                return Ok((identity, early));
            }
            Progress::NeedMore { .. } => {}
        }
        match receive_as(reading, client, &mut received, reader.deadline(), unfinished).await {
            Received::Bytes(_) => {}
            why => return Err(nothing_more(why, reader, received)),
        }
    }
}

/// What it means that nothing came behind what was `received`.
fn nothing_more(why: Received, reader: &HeaderReader, received: Vec<u8>) -> Unidentified {
    match why {
        Received::Expired => Unidentified::Error(reader.expired(&received), received),
        Received::Evicted => Unidentified::Evicted(Seen::new(&received)),
        // A reset is as much an end as a close: what matters is how far the header got.
        Received::Bytes(_) | Received::Ended | Received::Failed(_) => {
            Unidentified::Error(reader.ended(&received), received)
        }
    }
}
