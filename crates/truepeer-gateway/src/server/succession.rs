//! Another process takes this one's place, or this one takes another's: listening sockets change hands, and nobody who
//! connects meanwhile is refused.
//!
//! The old side stands still (nothing is shut or opened), offers what it listens on, and gives up what was taken. The new
//! side does everything that a start does, and asks once more just before it accepts the first connection.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Server;
use super::held::{For, HeldAddress};
use crate::engine::{Offer, later};
use crate::rooms::bans::Ban;
use crate::server::worker::PortCommand;

/// How long backends may take to prove themselves to a successor: meanwhile the process before serves all clients.
pub(super) const PROOF_TIME: Duration = Duration::from_secs(30);
/// How long workers may take to have shut or opened what they were told to.
const SETTLING: Duration = Duration::from_secs(2);
/// How often that is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Asked before the first connection is accepted, with the listeners whose clients would not be served yet; the bans of
/// the process before come back, or why its place cannot be taken.
pub struct Succeed(pub Box<Asking>);

/// The listeners whose clients would not be served in, the bans out.
type Asking = dyn FnOnce(Vec<Arc<str>>) -> Result<Vec<Ban>, String> + Send;

impl fmt::Debug for Succeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Succeed").finish_non_exhaustive()
    }
}

impl Server {
    /// Shuts and opens nothing more; [`Server::go_on`] takes it back.
    pub fn stand_still(&self) {
        self.keepers.shut(Vec::new());
        // Who is asked for the state of a socket finds it as it was told to be.
        let until = later(Instant::now(), SETTLING);
        let workers = self.posts.len();
        while self.listening.iter().any(|held| !held.is_settled(workers)) && Instant::now() < until {
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }

    /// As before [`Server::stand_still`].
    pub fn go_on(&self) {
        let held = self.listening.iter().chain(&self.health);
        self.keepers.shut(held.filter_map(HeldAddress::shuttered).collect());
    }

    /// What is listened on here, but for what the service manager gave.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn offers(&self) -> io::Result<Vec<Offer>> {
        self.listening.iter().chain(&self.health).map(HeldAddress::offer).collect()
    }

    /// Gives up those of the offers that `taken` says, by their places in [`Server::offers`], and what the service manager
    /// gave; who waits in their queues is the successor's. What it did not take is drained as at any end.
    pub fn hand_over(&mut self, taken: impl Fn(usize) -> bool) {
        for (number, held) in self.listening.iter_mut().chain(&mut self.health).enumerate() {
            if taken(number) || held.is_given() {
                held.tell.send_replace(PortCommand::HandOver);
                if let Some(listening) = held.listening.take() {
                    listening.leave_to_successor();
                }
            }
        }
    }

    /// Open connections may go on for so long once a drain has begun.
    pub fn drain_within(&mut self, limit: Duration) {
        self.drain_timeout = limit;
    }

    /// How long they may go on if another process takes this one's place.
    #[must_use]
    pub fn upgrade_drain_timeout(&self) -> Duration {
        self.upgrade_drain_timeout
    }
}

impl HeldAddress {
    fn is_given(&self) -> bool {
        self.listening.as_ref().is_some_and(|listening| listening.given)
    }

    /// Whether every worker has done what it was told.
    fn is_settled(&self, workers: usize) -> bool {
        let open = usize::try_from(self.open.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        match *self.tell.borrow() {
            PortCommand::Listen => open >= workers,
            PortCommand::Shut => open == 0,
            PortCommand::Leave | PortCommand::HandOver => true,
        }
    }

    fn offer(&self) -> io::Result<Offer> {
        let setting = match self.whom {
            For::Clients => "bind",
            For::HealthChecks => "health-bind",
        };
        Ok(Offer {
            key: format!("server.listener.{}.{setting}", self.bound.listener),
            bind: self.bind.to_string(),
            sockets: match &self.listening {
                Some(listening) => listening.to_hand_on()?,
                None => Vec::new(),
            },
        })
    }
}
