//! The addresses that a server holds: for clients, and for health checks.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::bound::Bound;
use super::shutters::Shuttered;
use super::view;
use crate::config::{Advice, Config, Listener, StatusPage, WhenBackendDown};
use crate::door::Door;
use crate::engine::Listening;
use crate::facts::bind::Bind;
use crate::facts::machine;
use crate::facts::protocol::Protocol;
use crate::server::worker::PortCommand;

/// Who connects to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    Clients,
    HealthChecks,
}

impl For {
    /// The addresses of `listener` for them.
    pub(super) fn binds(self, listener: &Listener) -> &[Bind] {
        match self {
            Self::Clients => &listener.binds,
            Self::HealthChecks => &listener.health_binds,
        }
    }

    /// Whether `address` is shut while no backend can be reached.
    pub(super) fn is_shut_without_backend(self, listener: &Listener, address: &Bind) -> bool {
        // A check in a language without refusals can be told only so.
        let wanted = listener.when_backend_down == WhenBackendDown::CloseListener
            || (self == Self::HealthChecks && listener.protocol == Protocol::Tcp);
        // A UNIX socket could not come back; it answers, or closes at once.
        wanted && matches!(address, Bind::Tcp { .. })
    }
}

/// One bound address and what is behind it.
#[derive(Debug)]
pub(super) struct HeldAddress {
    /// Who connects to it.
    pub(super) whom: For,
    pub(super) bind: Bind,
    pub(super) bound: Bound,
    pub(super) door: Arc<ArcSwap<Door>>,
    pub(super) tell: watch::Sender<PortCommand>,
    /// Whether it was shut when it was made: then that it opens is said by the code that opens it.
    pub(super) was_shut: bool,
    /// How many workers listen there now.
    pub(super) open: Arc<AtomicU32>,
    /// Removes a UNIX path when it is dropped.
    pub(super) listening: Option<Listening>,
}

impl HeldAddress {
    /// Whether this is what `listener` binds as `address`. Where the system chose the port, only the same listener
    /// means the same address.
    pub(super) fn is(&self, address: &Bind, listener: &Arc<str>) -> bool {
        // Compared as configured: the bound address has the port that the system chose.
        let any_port = matches!(address, Bind::Tcp { addr, .. } if addr.port() == 0);
        self.bind == *address && (self.bound.listener == *listener || !any_port)
    }

    /// Where it is, unless the service manager holds it, too.
    fn own_place(&self) -> Option<Bind> {
        let own = self.listening.as_ref().filter(|listening| !listening.given);
        own.map(|listening| listening.place(&self.bind))
    }

    /// Whether it is shut while no backend can be reached: if its listener wants that, and it is ours alone.
    pub(super) fn is_shut_without_backend(&self) -> bool {
        let is_ours = self.listening.as_ref().is_some_and(|listening| !listening.given);
        is_ours && self.whom.is_shut_without_backend(&self.door.load().listener, &self.bind)
    }

    /// That it stays open, where its listener wants it shut while no backend can be reached.
    pub(super) fn advice(&self) -> Option<Advice> {
        let listener = &self.door.load().listener;
        let stays =
            self.whom.is_shut_without_backend(listener, &self.bind) && !self.is_shut_without_backend();
        let setting = match self.whom {
            For::Clients => "when-backend-down",
            For::HealthChecks => "health-bind",
        };
        stays.then(|| Advice {
            key: format!("server.listener.{}.{setting}", listener.id),
            line: None,
            text: format!(
                "the service manager gave the socket of {}, which is not ours to close: it stays open while no backend \
                 can be reached, and checks that only connect succeed; remove it from the socket unit, and restart",
                self.bound.address
            ),
        })
    }

    pub(super) fn view(&self) -> view::ListeningAt {
        view::ListeningAt {
            bound: self.bound.clone(),
            door: self.door.load_full(),
            told: self.tell.subscribe(),
        }
    }

    /// What shuts and opens it, if that is to be done.
    pub(super) fn shuttered(&self) -> Option<Shuttered> {
        let (Bind::Tcp { families, .. }, Some(addr)) = (&self.bind, self.bound.tcp) else { return None };
        self.is_shut_without_backend().then(|| Shuttered {
            door: self.door.load_full(),
            addr,
            families: *families,
            tell: self.tell.clone(),
            open: Arc::clone(&self.open),
        })
    }
}

/// Addresses that a reload gave up. Their sockets take connections until this is dropped, so that nobody is refused
/// while an address goes on in another place.
#[derive(Debug, Default)]
pub struct Leaving(pub(super) Vec<HeldAddress>);

impl Drop for Leaving {
    fn drop(&mut self) {
        for gone in &self.0 {
            // The workers may have given it up already.
            gone.tell.send_replace(PortCommand::Leave);
        }
    }
}

/// Those of `held` that `config` does not have as they are, where they are ours alone.
pub(super) fn leaving<'a>(held: impl Iterator<Item = &'a HeldAddress>, config: &Config) -> Vec<Bind> {
    let stays = |held: &HeldAddress| {
        config
            .listeners
            .iter()
            .any(|listener| held.whom.binds(listener).iter().any(|address| held.is(address, &listener.id)))
    };
    held.filter(|held| !stays(held)).filter_map(HeldAddress::own_place).collect()
}

/// What `config` listens on.
pub(super) fn sockets(config: &Config) -> machine::SocketCounts {
    let count = |of: For| config.listeners.iter().map(|listener| of.binds(listener).len()).sum();
    machine::SocketCounts {
        listeners: count(For::Clients),
        health_ports: count(For::HealthChecks),
        admin: config.admin.bind().into_iter().count(),
        status: config.status.binds.len(),
        pages: match config.status.page {
            StatusPage::None => 0,
            StatusPage::WithoutAddresses | StatusPage::WithAddresses => {
                machine::max_pages(machine::descriptors().max)
            }
        },
    }
}
