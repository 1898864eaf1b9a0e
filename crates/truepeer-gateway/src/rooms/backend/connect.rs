//! Connect: the next address of the backend, and the one after if it cannot be connected to.
//!
//! Fail-over is for connect errors and connect-timeout only: once our header was written, a loss is the client's to
//! see, since the backend may have acted on it.

use std::sync::Arc;

use crate::engine::{DialError, Socket, dial};
use crate::facts::outcome::Outcome;
use crate::rooms::backend::{Pool, Target};

/// Why a client could not be connected.
#[derive(Debug)]
pub struct NotConnected {
    /// How its connection ends.
    pub outcome: Outcome,
    /// What happened at the last address that was tried, or why none was.
    pub because: String,
}

/// Connects to the first address that accepts, and writes `header` to it.
///
/// # Errors
/// [`NotConnected`].
pub async fn to_backend(pool: &Pool, header: &[u8]) -> Result<(Socket, Arc<Target>), NotConnected> {
    let mut last = NotConnected { outcome: Outcome::BackendUnready, because: why_unready(pool) };
    for target in pool.next() {
        match dial(&target.address, header, pool.backend.connect_timeout).await {
            Ok(socket) => {
                target.note_reached();
                return Ok((socket, target));
            }
            Err(error) => {
                let because = format!("{}: {error}", target.address);
                let outcome = match error {
                    DialError::Send(_) => {
                        return Err(NotConnected { outcome: Outcome::HandoffFailed, because });
                    }
                    // No other address helps.
                    DialError::NoSocket(_) => {
                        return Err(NotConnected { outcome: Outcome::DescriptorsExhausted, because });
                    }
                    DialError::PortsExhausted(_) => Outcome::BackendPortsExhausted,
                    DialError::Connect(_) => Outcome::BackendRefused,
                    DialError::Timeout(_) => Outcome::BackendTimeout,
                };
                if !error.is_ours() {
                    pool.mark_unreachable(&target, error.to_string());
                }
                last = NotConnected { outcome, because };
            }
        }
    }
    Err(last)
}

fn why_unready(pool: &Pool) -> String {
    let targets = pool.targets();
    let words: Vec<_> = targets
        .iter()
        .map(|target| match &*target.readiness() {
            crate::rooms::backend::Readiness::Unready(why) => format!("{}: {why}", target.address),
            _ => format!("{}: not asked yet whether it reads our header", target.address),
        })
        .collect();
    if words.is_empty() { "no address is known yet".to_owned() } else { words.join("; ") }
}
