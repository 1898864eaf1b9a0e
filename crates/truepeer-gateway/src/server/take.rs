//! Takes a new configuration: at the start, and at each reload.

use std::sync::Arc;
use std::time::Duration;

use super::bound::Bound;
use super::doors::{self, Common};
use super::held::{self, For, HeldAddress, Leaving};
use super::view::{Layout, ListeningAt};
use super::{Server, StartError, Succeed, shutters, succession};
use crate::config::{Config, Listener};
use crate::facts::bind::Bind;
use crate::server::worker::PortCommand;

/// How long backends may take to prove themselves before clients are accepted without them; a client whose backend is
/// not proved by then hears a temporary refusal.
const PROOF_TIME: Duration = Duration::from_secs(2);

impl Server {
    /// Takes a new configuration as a whole, or changes nothing.
    ///
    /// Open connections live on with what they came with. Addresses that stay keep their sockets and lose nothing;
    /// one that is gone is accepted from until its queue is empty, then closed. The numbers that descriptors and
    /// threads were sized by (`max-connections`, `max-pending`, `max-clients`, workers) stay as they were at start.
    ///
    /// # Errors
    /// [`StartError`]: an address that cannot be listened on; the old configuration goes on.
    pub fn take(&mut self, config: &Config) -> Result<Leaving, StartError> {
        self.take_beside(config, &[])
    }

    /// The same where others of this process give up the addresses `elsewhere`: what is bound there is bound beside them.
    ///
    /// # Errors
    /// As [`Server::take`].
    pub fn take_beside(&mut self, config: &Config, elsewhere: &[Bind]) -> Result<Leaving, StartError> {
        // Bind first: nothing else is touched if an address cannot be had.
        let leaving = [elsewhere, &self.leaving(config)].concat();
        let mut fresh = Vec::new();
        for listener in &config.listeners {
            for whom in [For::Clients, For::HealthChecks] {
                for address in whom.binds(listener) {
                    if !self.held(whom).iter().any(|held| held.is(address, &listener.id)) {
                        let listening = self.bind(listener, whom, address, &leaving)?;
                        fresh.push((whom, address.clone(), listening));
                    }
                }
            }
        }
        let pools = doors::pools(config, &self.layout.load().pools, &self.changed, &self.labels);
        let patience = if self.succeed.is_some() { succession::PROOF_TIME } else { PROOF_TIME };
        self.keepers.keep(pools.clone(), patience)?;

        // From here on nothing fails but to take another's place.
        let names = doors::names(config, &self.layout.load().names);
        // A proxy that comes before its name has an answer would be taken for a client.
        let named = self.keepers.name(names.clone(), doors::attending(config, &self.denied), patience);
        let _ = named.recv();
        self.keepers.shut(Vec::new());
        doors::ask_where_shown(config, &pools);
        let common = Common::new(
            config,
            &names,
            self.own_connections.clone(),
            self.keepers.own_addresses().clone(),
            Arc::clone(&self.limits),
            self.denied.clone(),
            self.acquaintances.clone(),
        );
        self.denied.take(doors::guarded(&config.listeners, &names));
        if let Some(Succeed(succeed)) = self.succeed.take() {
            let unready = |listener: &&Arc<Listener>| {
                !common.door(listener, &pools).is_some_and(|door| door.is_ready())
            };
            let unready =
                config.listeners.iter().filter(unready).map(|listener| listener.id.clone()).collect();
            self.denied.take_over(succeed(unready).map_err(StartError::NotSucceeded)?);
        }
        let mut held: Vec<HeldAddress> = std::mem::take(&mut self.listening);
        held.append(&mut self.health);
        for listener in &config.listeners {
            // Every series exists from the start, before a worker counts the first connection; the last shard is that
            // of health checks.
            for shard in 0..=self.posts.len() {
                let _ = self.metrics.shard(shard, &listener.id);
            }
            let Some(door) = common.door(listener, &pools).map(Arc::new) else { continue };
            for whom in [For::Clients, For::HealthChecks] {
                for address in whom.binds(listener) {
                    let is = |held: &HeldAddress| held.whom == whom && held.is(address, &listener.id);
                    if let Some(at) = held.iter().position(is) {
                        let mut kept = held.swap_remove(at);
                        kept.door.store(Arc::clone(&door));
                        if let Some(listening) = &kept.listening {
                            kept.bound = Bound::of(listening, listener);
                        }
                        if !whom.is_shut_without_backend(listener, address) {
                            let was = kept.tell.send_replace(PortCommand::Listen);
                            if was == PortCommand::Shut {
                                shutters::say_opened(&listener.id, &kept.bound.address);
                            }
                        }
                        self.hold(kept);
                    } else if let Some(at) =
                        fresh.iter().position(|(of, bind, _)| *of == whom && bind == address)
                    {
                        let (whom, bind, listening) = fresh.swap_remove(at);
                        self.post(whom, bind, listening, &door);
                    }
                }
            }
        }
        let leaving = Leaving(held);
        let held = self.listening.iter().chain(&self.health);
        self.keepers.shut(held.filter_map(HeldAddress::shuttered).collect());
        self.drain_timeout = config.server.drain_timeout;
        self.upgrade_drain_timeout = config.server.upgrade_drain_timeout;
        let mut listening: Vec<ListeningAt> = self.listening.iter().map(HeldAddress::view).collect();
        listening.dedup_by(|next, one| next.bound == one.bound);
        let health = self.health.iter().map(HeldAddress::view).collect();
        let advice = self.listening.iter().chain(&self.health).filter_map(HeldAddress::advice);
        let advice = config.advice.iter().cloned().chain(advice).collect();
        self.layout.store(Arc::new(Layout { pools, names, listening, health, advice }));
        Ok(leaving)
    }

    /// Addresses of ours that `config` does not have as they are.
    #[must_use]
    pub fn leaving(&self, config: &Config) -> Vec<Bind> {
        held::leaving(self.listening.iter().chain(&self.health), config)
    }
}
