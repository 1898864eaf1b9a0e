//! Binds addresses, and gives each to those who accept there.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::bound::Bound;
use super::held::{For, HeldAddress};
use super::{Server, StartError, shutters};
use crate::config::Listener;
use crate::door::Door;
use crate::engine::{Binding, Listening, bind};
use crate::facts::bind::Bind;
use crate::server::health;
use crate::server::worker::{PortCommand, Post};

impl Server {
    pub(super) fn held(&self, whom: For) -> &[HeldAddress] {
        match whom {
            For::Clients => &self.listening,
            For::HealthChecks => &self.health,
        }
    }

    pub(super) fn hold(&mut self, held: HeldAddress) {
        match held.whom {
            For::Clients => self.listening.push(held),
            For::HealthChecks => self.health.push(held),
        }
    }

    /// Binds what is not held yet, beside those of `leaving` that have it now.
    pub(super) fn bind(
        &self,
        listener: &Listener,
        whom: For,
        address: &Bind,
        leaving: &[Bind],
    ) -> Result<Listening, StartError> {
        let (setting, sockets) = match whom {
            For::Clients => ("bind", self.posts.len()),
            For::HealthChecks => ("health-bind", 1),
        };
        let binding = if leaving.iter().any(|gone| gone.overlaps(address)) {
            Binding::Beside
        } else if whom.is_shut_without_backend(listener, address) {
            Binding::Reserves
        } else {
            Binding::Listens
        };
        let listener = listener.id.clone();
        let key = format!("server.listener.{listener}.{setting}");
        bind(address, &key, sockets, binding, &self.given).map_err(|error| StartError::Listen {
            listener,
            setting,
            error,
        })
    }

    /// Gives each worker its share of a bound address, or the keepers' thread a health port.
    pub(super) fn post(&mut self, whom: For, bind: Bind, mut listening: Listening, door: &Arc<Door>) {
        // What the service manager gives is not ours to shut: clients would wait there unanswered.
        let may_shut = whom.is_shut_without_backend(&door.listener, &bind) && !listening.given;
        let shut = may_shut && !door.is_reachable();
        if shut {
            // Here, since it happens once: the shutter begins anew with each reload.
            shutters::say_shut(&door.listener.id, &listening.address);
        }
        // Listened to here, so that it is once this returns. Somebody may have taken the port since it was reserved:
        // then it waits like one that has to be opened. Where that is done by nobody, those who accept there try again.
        let first = match if shut { Ok(()) } else { listening.listen() } {
            Ok(()) if !shut => PortCommand::Listen,
            Err(_) if !may_shut => PortCommand::Listen,
            Ok(()) | Err(_) => PortCommand::Shut,
        };
        let (tell, told) = watch::channel(first);
        let open = Arc::default();
        let current = Arc::new(ArcSwap::new(Arc::clone(door)));
        let shares = listening.shares();
        let mut share = || Post {
            listening: listening.share(),
            door: Arc::clone(&current),
            told: told.clone(),
            open: Arc::clone(&open),
        };
        match whom {
            For::Clients => {
                // All of them: a process before may have had more workers than there are now.
                for worker in self.posts.iter().cycle().take(shares) {
                    // A worker that is gone has panicked and said so; the others go on.
                    let _ = worker.blocking_send(share());
                }
            }
            For::HealthChecks => {
                for _ in 0..shares {
                    let (stop, metrics) = (self.stop.subscribe(), Arc::clone(&self.metrics));
                    let desk = health::HealthContext { stop, metrics, shard: self.posts.len() };
                    self.keepers.check(share(), desk);
                }
            }
        }
        let bound = Bound::of(&listening, &door.listener);
        self.hold(HeldAddress {
            whom,
            bind,
            bound,
            door: current,
            tell,
            was_shut: first == PortCommand::Shut,
            open,
            listening: Some(listening),
        });
    }
}
