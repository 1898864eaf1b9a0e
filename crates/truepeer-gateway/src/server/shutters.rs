//! Shuts and opens listening addresses as their backends go and come: one task for all of them, so that each change is
//! made and said once, however many workers listen there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use tokio::sync::watch;

use super::shutter::{Shutter, Step};
use super::supervised::begun_again;
use crate::door::Door;
use crate::engine::{Bell, prove_free};
use crate::facts::bind::Families;
use crate::server::worker::PortCommand;

/// One listening address that is shut while no backend of its listener can be reached.
#[derive(Debug)]
pub(super) struct Shuttered {
    /// What is behind it.
    pub(super) door: Arc<Door>,
    /// Where it is.
    pub(super) addr: SocketAddr,
    /// Which families it serves.
    pub(super) families: Families,
    /// What its workers are told.
    pub(super) tell: watch::Sender<PortCommand>,
    /// How many of them listen.
    pub(super) open: Arc<AtomicU32>,
}

/// The addresses as they are now, of which it was said already.
pub(super) fn begin(shuttered: Vec<Shuttered>) -> Vec<Attended> {
    let now = Instant::now();
    let attended = |at: Shuttered| {
        let shut = *at.tell.borrow() == PortCommand::Shut;
        let shutter = if shut { Shutter::shut_at(now) } else { Shutter::open() };
        Attended { at, shutter, is_blocked: false }
    };
    shuttered.into_iter().map(attended).collect()
}

/// Attends to `all` until it is dropped; `changed` rings when a backend may have come or gone.
///
/// # Cancel safety
/// Dropping the future leaves each address as it is.
pub(super) async fn attend(mut all: Vec<Attended>, changed: Bell) {
    let mut ear = changed.subscribe();
    begun_again("shutter", "listeners", async || {
        loop {
            let now = Instant::now();
            let wake_at = all.iter_mut().filter_map(|attended| attended.settle(now)).min();
            let due = async {
                match wake_at {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ear.heard() => {}
                () = due => {}
            }
        }
    })
    .await;
}

/// One of them, and what is remembered of it.
pub(super) struct Attended {
    at: Shuttered,
    shutter: Shutter,
    /// Whether it was said that another program has the address.
    is_blocked: bool,
}

impl Attended {
    /// Does what is to be done; returns when to look again, if that is before something changes.
    fn settle(&mut self, now: Instant) -> Option<Instant> {
        loop {
            match self.shutter.step(self.at.door.is_reachable(), now) {
                Step::Stay => return None,
                Step::StayUntil(at) => return Some(at),
                Step::Shut => {
                    self.at.tell.send_replace(PortCommand::Shut);
                    self.shutter.shut(now);
                    say_shut(&self.at.door.listener.id, &self.at.addr.to_string());
                }
                Step::Open => self.open(now),
            }
        }
    }

    fn open(&mut self, now: Instant) {
        let (listener, address) = (&*self.at.door.listener.id, self.at.addr.to_string());
        // While a worker of ours still listens, nobody else can have come.
        let free = match self.at.open.load(Ordering::Relaxed) {
            0 => prove_free(self.at.addr, self.at.families).map(|_| ()),
            _ => Ok(()),
        };
        match free {
            Ok(()) => {
                self.at.tell.send_replace(PortCommand::Listen);
                self.shutter.opened(now);
                self.is_blocked = false;
                tracing::info!(event = "listener_opened", listener, address, "a backend can be reached");
            }
            Err(error) => {
                self.shutter.blocked(now);
                if !std::mem::replace(&mut self.is_blocked, true) {
                    let cause = error.to_string();
                    let remedy = "end the program that took the address while no backend could be reached; it is \
                                  tried again, every 30 seconds at least";
                    tracing::error!(event = "listener_blocked", listener, address, cause, remedy);
                }
            }
        }
    }
}

/// `address` listens again, since its listener does not want it shut any more.
pub(super) fn say_opened(listener: &Arc<str>, address: &str) {
    let listener = &**listener;
    tracing::info!(
        event = "listener_opened",
        listener,
        address,
        "it is not closed without a backend any more"
    );
}

/// Nobody listens at `address` for now.
pub(super) fn say_shut(listener: &Arc<str>, address: &str) {
    let (listener, cause) = (&**listener, "none of its backends can be reached");
    let remedy = "start the backend, or correct its `address`; then truepeer listens on this address again";
    tracing::warn!(event = "listener_closed", listener, address, cause, remedy);
}
