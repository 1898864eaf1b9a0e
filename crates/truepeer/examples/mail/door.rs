//! Who may enter, and how often at once: everything here is asked about the client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use truepeer::NetworkSet;

/// Open sessions of one client.
pub(crate) const MOST_OF_ONE: usize = 10;
/// Clients that are counted; beyond that, new ones are put off.
const MOST_CLIENTS: usize = 100_000;

/// The list and the counts.
#[derive(Debug)]
pub(crate) struct Door {
    denied: NetworkSet,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Why somebody may not enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// For good.
    Denied,
    /// For now.
    TooMany,
}

/// A session's place, which is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    holder: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Door {
    pub(crate) fn new(denied: NetworkSet) -> Self {
        Self { denied, open: Arc::default() }
    }

    pub(crate) fn enter(&self, client: IpAddr) -> Result<Place, Refusal> {
        if self.denied.contains(client) {
            return Err(Refusal::Denied);
        }
        let holder = holder(client);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let full = open.len() >= MOST_CLIENTS;
        match open.get_mut(&holder) {
            Some(count) if *count >= MOST_OF_ONE => return Err(Refusal::TooMany),
            Some(count) => *count = count.saturating_add(1),
            None if full => return Err(Refusal::TooMany),
            None => drop(open.insert(holder, 1)),
        }
        Ok(Place { holder, open: Arc::clone(&self.open) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.holder) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            _ => drop(open.remove(&self.holder)),
        }
    }
}

/// Whoever has a /64 of IPv6 has all of its addresses, so they count as one.
fn holder(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(ip) => IpAddr::from((ip.to_bits() >> 64 << 64).to_be_bytes()),
    }
}
