//! `[limits]` and `server.listener.<id>.limits`: what holds for the clients of one listener, its own word or that of
//! all.

use std::num::NonZeroU32;
use std::sync::Arc;

use truepeer::NetworkSet;

use super::networks;
use super::read::Reader;
use super::settings::{
    CONNECTIONS_PER_CLIENT, EXEMPT, IPV4_PREFIX, IPV6_PREFIX, LIMITS_MAX_CONNECTIONS, LIMITS_MODE,
    MAX_CONNECTIONS, MODE, RATE_PER_CLIENT,
};
use super::tree::Owner;
use crate::facts::protocol::Protocol;
use crate::rooms::limits::{Mode, Policy, PrefixLengths, Prefixes, Rate};

/// What is said about limits; the outer `None` where nothing is.
#[derive(Debug, Clone, Default)]
pub(super) struct LimitWords {
    connections_per_client: Option<Option<NonZeroU32>>,
    rate_per_client: Option<Option<Rate>>,
    ipv4_prefix: Option<u8>,
    ipv6_prefix: Option<u8>,
    exempt: Option<Arc<NetworkSet>>,
    mode: Option<Mode>,
    /// Over all listeners.
    server_connections: Option<NonZeroU32>,
    /// On the one that said it.
    listener_connections: Option<NonZeroU32>,
}

impl LimitWords {
    /// What `[limits]` says.
    pub(super) fn of_all(reader: &mut Reader<'_>) -> Self {
        let mut words = Self::default().overridden(reader, Owner::Global);
        words.server_connections = words.listener_connections.take();
        if let Some(found) = reader.get(&LIMITS_MAX_CONNECTIONS, Owner::Global)
            && let Some(pausing) = reader.tree.get(&MAX_CONNECTIONS, Owner::Global)
            && let (Some(refusing), Some(all)) = (words.server_connections, pausing.integer())
            && u64::from(refusing.get()) >= all
        {
            let line = reader.lines.number(pausing.value.span().start);
            reader.advise(
                &found.key,
                &found.value.span(),
                format!(
                    "is never reached: accepting pauses at `server.max-connections = {all}` (line {line})"
                ),
            );
        }
        words
    }

    /// What `owner` says, and `self` where it is silent.
    pub(super) fn overridden(&self, reader: &mut Reader<'_>, owner: Owner<'_>) -> Self {
        let exempt = reader.get(&EXEMPT, owner).map(|found| {
            // A list that cannot be read has left a problem, so this value is never used.
            let networks = networks::clients(reader, found).unwrap_or_default();
            Arc::new(networks.into_iter().collect::<NetworkSet>())
        });
        let said = Self {
            connections_per_client: reader.count_or_off(reader.get(&CONNECTIONS_PER_CLIENT, owner)),
            rate_per_client: reader.rate(reader.get(&RATE_PER_CLIENT, owner)),
            ipv4_prefix: reader.prefix_length(reader.get(&IPV4_PREFIX, owner)),
            ipv6_prefix: reader.prefix_length(reader.get(&IPV6_PREFIX, owner)),
            exempt,
            mode: reader.word(reader.get(&MODE, owner), &LIMITS_MODE),
            server_connections: self.server_connections,
            listener_connections: reader.count_or_off(reader.get(&LIMITS_MAX_CONNECTIONS, owner)).flatten(),
        };
        let inherited = self.clone();
        Self {
            connections_per_client: said.connections_per_client.or(inherited.connections_per_client),
            rate_per_client: said.rate_per_client.or(inherited.rate_per_client),
            ipv4_prefix: said.ipv4_prefix.or(inherited.ipv4_prefix),
            ipv6_prefix: said.ipv6_prefix.or(inherited.ipv6_prefix),
            exempt: said.exempt.or(inherited.exempt),
            mode: said.mode.or(inherited.mode),
            ..said
        }
    }

    /// What holds for a listener of `protocol`.
    pub(super) fn policy(&self, protocol: Protocol) -> Policy {
        let default = Policy::default_for(protocol);
        let v4 = self.ipv4_prefix.unwrap_or(DEFAULT_PREFIXES.v4);
        let v6 = self.ipv6_prefix.unwrap_or(DEFAULT_PREFIXES.v6);
        Policy {
            mode: self.mode.unwrap_or(default.mode),
            prefixes: Prefixes::new(PrefixLengths { v4, v6 }).unwrap_or(default.prefixes),
            exempt: self.exempt.clone().unwrap_or(default.exempt),
            connections_per_client: self.connections_per_client.unwrap_or(default.connections_per_client),
            rate_per_client: self.rate_per_client.unwrap_or(default.rate_per_client),
            listener_connections: self.listener_connections,
            server_connections: self.server_connections,
        }
    }
}

/// As `Prefixes::DEFAULT`, which a test holds.
const DEFAULT_PREFIXES: PrefixLengths = PrefixLengths { v4: 32, v6: 64 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_is_the_default_of_the_protocol() {
        for protocol in Protocol::ALL {
            assert_eq!(LimitWords::default().policy(protocol), Policy::default_for(protocol));
        }
    }
}
