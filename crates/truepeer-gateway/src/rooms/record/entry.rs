//! What others may see of a connection while it is open: the part of its record that is shared.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use truepeer::{Endpoint, PeerAddress};

use crate::engine::program::Life;
use crate::engine::{Traffic, Wake};
use crate::facts::protocol::Protocol;

/// One open connection.
#[derive(Debug)]
pub struct Entry {
    /// The connection's id, as in its record.
    pub id: String,
    /// Where it came in.
    pub listener: Arc<str>,
    /// The language there.
    pub protocol: Protocol,
    /// Our socket's other end.
    pub peer: PeerAddress,
    /// When it was accepted.
    pub since: SystemTime,
    /// Bytes so far.
    pub traffic: Traffic,
    found: Mutex<Found>,
    cut: Wake,
    /// The program that it was given to.
    program: OnceLock<Arc<Life>>,
}

/// What was found out on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Whether its header, if one was due, is complete.
    pub header: HeaderState,
    /// Whom it is for; `None` for a proxy's own connection, and while the header is awaited.
    pub client: Option<Endpoint>,
    /// The backend, and which of its addresses.
    pub backend: Option<(Arc<str>, String)>,
}

/// Whether it is known whom a connection is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HeaderState {
    /// Not yet.
    #[default]
    Awaited,
    /// It is.
    Known,
}

impl Entry {
    /// A connection that was accepted at `since`; nothing more is known of it.
    #[must_use]
    pub fn new(
        id: String,
        listener: Arc<str>,
        protocol: Protocol,
        peer: PeerAddress,
        since: SystemTime,
    ) -> Self {
        Self {
            id,
            listener,
            protocol,
            peer,
            since,
            traffic: Traffic::default(),
            found: Mutex::default(),
            cut: Wake::default(),
            program: OnceLock::new(),
        }
    }

    /// What was found out so far.
    #[must_use]
    pub fn found(&self) -> Found {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Rung when somebody cuts this connection.
    #[must_use]
    pub fn cut(&self) -> &Wake {
        &self.cut
    }

    /// Notes that a program has it, whose life this is.
    pub fn given_to(&self, life: Arc<Life>) {
        // There is one for each connection.
        let _ = self.program.set(life);
    }

    /// Asks the program that has it, if one has, to end.
    pub fn end_program(&self) {
        if let Some(life) = self.program.get() {
            life.end();
        }
    }

    /// Notes whom it is for.
    pub fn identified(&self, client: Option<Endpoint>) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.header = HeaderState::Known;
        found.client = client;
    }

    /// Notes which backend it reached.
    pub fn reached(&self, backend: Arc<str>, address: String) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).backend = Some((backend, address));
    }
}
