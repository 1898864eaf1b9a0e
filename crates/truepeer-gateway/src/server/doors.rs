//! From a configuration to doors and pools; what did not change stays the same object.

use std::iter;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use truepeer::NetworkSet;

use crate::config::{self, Config, Listener};
use crate::door::{Door, OwnAddresses, OwnCount};
use crate::engine::label::Labels;
use crate::engine::{Address, Bell};
use crate::facts::machine;
use crate::facts::protocol::ClientTls;
use crate::rooms::backend::{Backend, BackendAddress, Greeting, Pool, Target};
use crate::rooms::bans::denied::{Denied, Guarded};
use crate::rooms::identify::Acquaintances;
use crate::rooms::limits::Limits;
use crate::rooms::trust::Named;
use crate::server::names::{self, Attending};

/// One pool for each backend and language in which a listener hands clients to it, since that is the language in which
/// it is asked. `known` pools with the same settings are kept, with all that they know; new ones ring `changed`,
/// and have sockets named by `labels`.
pub(super) fn pools(config: &Config, known: &[Arc<Pool>], changed: &Bell, labels: &Labels) -> Vec<Arc<Pool>> {
    let mut pools: Vec<Arc<Pool>> = Vec::new();
    for listener in &config.listeners {
        for backend in of(listener) {
            if find(&pools, listener, backend).is_some() {
                continue;
            }
            let hostname = &*config.server.hostname;
            let kept = find(known, listener, backend)
                .filter(|pool| pool.backend == *backend && pool.calls_itself() == hostname);
            let new = || {
                let pool = Pool::new(Arc::clone(backend), listener.protocol, greeting(listener));
                // Those of an earlier configuration go on, and count.
                let same = pools.iter().chain(known).find(|pool| pool.backend.id == backend.id);
                let programs = same.map(|pool| Arc::clone(pool.programs())).unwrap_or_default();
                let pool = pool.counting_with(programs).labelling_with(labels.clone());
                let pool = pool.calling_itself_as(hostname.into());
                Arc::new(pool.ringing(changed.clone()))
            };
            pools.push(kept.map_or_else(new, Arc::clone));
        }
    }
    pools
}

/// Has each pool asked again and again whether it serves, where a listener of `config` shows that to balancers.
pub(super) fn ask_where_shown(config: &Config, pools: &[Arc<Pool>]) {
    for pool in pools {
        let shows = |listener: &Listener| {
            listener.shows_reachability()
                && of(listener).any(|backend| {
                    find(pools, listener, backend).is_some_and(|found| Arc::ptr_eq(found, pool))
                })
        };
        pool.ask_regularly(config.listeners.iter().any(|listener| shows(listener)));
    }
}

/// The backends of one listener.
fn of(listener: &Listener) -> impl Iterator<Item = &Arc<Backend>> {
    iter::once(&listener.backend).chain(&listener.backend_when_secure)
}

fn find<'a>(pools: &'a [Arc<Pool>], listener: &Listener, backend: &Backend) -> Option<&'a Arc<Pool>> {
    pools.iter().find(|pool| {
        pool.backend.id == backend.id
            && pool.protocol == listener.protocol
            && pool.greeting == greeting(listener)
    })
}

fn greeting(listener: &Listener) -> Greeting {
    match listener.tls {
        ClientTls::None => Greeting::Readable,
        ClientTls::Implicit => Greeting::NotReadable,
    }
}

/// What all doors of one configuration share.
#[derive(Debug, Clone)]
pub(super) struct Common {
    hostname: Arc<str>,
    own_connections: OwnCount,
    own_addresses: OwnAddresses,
    names: Vec<Arc<Named>>,
    limits: Arc<Limits>,
    denied: Denied,
    acquaintances: Acquaintances,
}

impl Common {
    /// All but the configuration live as long as the server, across configurations.
    pub(super) fn new(
        config: &Config,
        names: &[Arc<Named>],
        own_connections: OwnCount,
        own_addresses: OwnAddresses,
        limits: Arc<Limits>,
        denied: Denied,
        acquaintances: Acquaintances,
    ) -> Self {
        Self {
            hostname: config.server.hostname.as_str().into(),
            own_connections,
            own_addresses,
            names: names.to_vec(),
            limits,
            denied,
            acquaintances,
        }
    }

    /// The door of one listener; `None` if its backend has no pool, which `pools` rules out.
    pub(super) fn door(&self, listener: &Arc<Listener>, pools: &[Arc<Pool>]) -> Option<Door> {
        let pool = find(pools, listener, &listener.backend)?;
        let when_secure = match &listener.backend_when_secure {
            Some(backend) => Some(Arc::clone(find(pools, listener, backend)?)),
            None => None,
        };
        Some(Door {
            listener: Arc::clone(listener),
            proxies: proxies(listener),
            names: of_listener(listener, &self.names),
            pool: Arc::clone(pool),
            pool_when_secure: when_secure,
            hostname: Arc::clone(&self.hostname),
            denied: self.denied.clone(),
            gate: self.limits.gate(&listener.id, listener.limits.clone()),
            own_connections: self.own_connections.clone(),
            own_addresses: self.own_addresses.clone(),
            acquaintances: self.acquaintances.clone(),
        })
    }
}

/// The trusted networks of a listener that are one address.
fn proxies(listener: &Listener) -> NetworkSet {
    let networks = listener.trusted_lines.iter().map(|listed| listed.network);
    networks.filter(|network| network.prefix_len() == network.max_prefix_len()).collect()
}

/// This machine's addresses, and those of the backends that a configuration names by address.
#[must_use]
pub fn own_addresses<'a>(backends: impl IntoIterator<Item = &'a Arc<Backend>>) -> NetworkSet {
    let ip = |address: &BackendAddress| match address {
        BackendAddress::Socket(addr) => Some(addr.ip()),
        BackendAddress::Host { .. } | BackendAddress::Unix(_) | BackendAddress::Program(_) => None,
    };
    let backends: Vec<IpAddr> =
        backends.into_iter().flat_map(|backend| backend.addresses.iter().filter_map(ip)).collect();
    with_own(backends)
}

/// This machine's addresses, and those that the pools have now, names included.
pub(super) fn addresses_of<'a>(pools: impl Iterator<Item = &'a Arc<Pool>>) -> NetworkSet {
    let targets = pools.flat_map(|pool| pool.targets().to_vec());
    let ip = |target: Arc<Target>| match target.address {
        Address::Tcp(addr) => Some(addr.ip().to_canonical()),
        Address::Unix(_) | Address::Program(_) => None,
    };
    with_own(targets.filter_map(ip))
}

fn with_own(backends: impl IntoIterator<Item = IpAddr>) -> NetworkSet {
    machine::addresses().into_iter().chain(backends).map(IpNet::from).collect()
}

/// Every name that a listener trusts; those of `known` are kept.
pub(super) fn names(config: &Config, known: &[Arc<Named>]) -> Vec<Arc<Named>> {
    let wanted = config.listeners.iter().flat_map(|listener| listener.trusted_names.iter());
    names::named(wanted.map(|said| &said.name), known)
}

/// How these names are looked up.
pub(super) fn attending(config: &Config, denied: &Denied) -> Attending {
    Attending {
        refresh: config.server.names_refresh,
        patience: names::LOOKUP_TIMEOUT,
        gateways: config::read_surroundings().default_gateways,
        denied: denied.clone(),
    }
}

fn of_listener(listener: &Listener, names: &[Arc<Named>]) -> Vec<Arc<Named>> {
    let is_its = |named: &&Arc<Named>| listener.trusted_names.iter().any(|said| said.name == named.name);
    names.iter().filter(is_its).map(Arc::clone).collect()
}

/// What bans have to know of these listeners.
pub(super) fn guarded(listeners: &[Arc<Listener>], names: &[Arc<Named>]) -> Vec<Guarded> {
    let guarded = |listener: &Listener| Guarded {
        listener: Arc::clone(&listener.id),
        key: format!("server.listener.{}.proxy.trusted-networks", listener.id),
        trust: listener.trust.clone(),
        names: of_listener(listener, names),
        access: listener.access.clone(),
    };
    listeners.iter().map(|listener| guarded(listener)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::facts::protocol::Protocol;
    use crate::rooms::handoff::{Handoff, Kind, LabelSettings, OwnTlvs, TlvChoice};

    #[test]
    fn the_addresses_that_a_name_stands_for_now_are_no_clients() {
        let pool = Arc::new(Pool::new(
            Arc::new(Backend {
                id: "b".into(),
                kind: Kind::Other,
                handoff: Handoff::ProxyV2,
                tlvs: TlvChoice::Kind,
                own_tlvs: OwnTlvs::default(),
                addresses: vec![BackendAddress::Host { name: "mta.example".to_owned(), port: 25 }],
                ports: 1,
                connect_timeout: Duration::from_secs(5),
                proof_timeout: Duration::from_secs(5),
                label: LabelSettings::default(),
                check: None,
            }),
            Protocol::Smtp,
            Greeting::Readable,
        ));
        let ip = |last| IpAddr::from([203, 0, 113, last]);
        for (there, gone) in [(1, 2), (2, 1)] {
            pool.set_addresses(vec![Address::Tcp((ip(there), 25).into())]);
            let own = addresses_of([&pool].into_iter());
            assert!(own.contains(ip(there)) && !own.contains(ip(gone)));
        }
        // What the file alone says knows no name.
        assert!(!own_addresses([&pool.backend]).contains(ip(2)));
    }
}
