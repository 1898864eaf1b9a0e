//! What an address that is listened on is called: in the log, in reports, and for the command that started the server.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::Listener;
use crate::engine::Listening;

/// One address that a listener listens on, or all ports of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The listener.
    pub listener: Arc<str>,
    /// The address, with the port that the system chose.
    pub address: String,
    /// The same as a value, for TCP; of a range the first port.
    pub tcp: Option<SocketAddr>,
}

impl Bound {
    /// Of what `listener` listens on.
    pub(super) fn of(listening: &Listening, listener: &Listener) -> Self {
        let id = Arc::clone(&listener.id);
        match listening.tcp.and_then(|addr| listener.range_of(addr)) {
            Some(range) => Self { listener: id, address: range.to_string(), tcp: Some(range.first()) },
            None => Self { listener: id, address: listening.address.clone(), tcp: listening.tcp },
        }
    }
}

/// All of them, each range once: its ports stand behind each other.
pub(super) fn named_once<'b>(all: impl Iterator<Item = &'b Bound>) -> Vec<Bound> {
    let mut all: Vec<Bound> = all.cloned().collect();
    all.dedup();
    all
}
