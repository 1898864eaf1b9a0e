//! A denial that is being thought about: whom, for how long; nothing happens before it is confirmed.

use ipnet::IpNet;

use crate::control::admin::network;
use crate::rooms::bans::{BanOrder, BanReason};

/// Whom, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denial {
    /// The address, or a network around it.
    pub(super) network: IpNet,
    narrow: IpNet,
    lasts: usize,
}

/// From which the operator chooses.
const LASTS: [&str; 6] = ["10m", "1h", "6h", "1d", "7d", "30d"];

impl Denial {
    /// Of `client`: an address, an address with a port, or a network.
    pub(super) fn of(client: &str) -> Option<Self> {
        let with_port =
            client.parse::<std::net::SocketAddr>().map(|addr| IpNet::from(addr.ip().to_canonical()));
        let network = with_port.ok().or_else(|| network(client).ok())?;
        Some(Self { network, narrow: network, lasts: 1 })
    }

    pub(super) fn lasts(&self) -> &'static str {
        LASTS.get(self.lasts).copied().unwrap_or("1h")
    }

    pub(super) fn longer(&mut self) {
        self.lasts = self.lasts.saturating_add(1).min(LASTS.len().saturating_sub(1));
    }

    pub(super) fn shorter(&mut self) {
        self.lasts = self.lasts.saturating_sub(1);
    }

    /// The network around the address, or the address alone again.
    pub(super) fn widen(&mut self) {
        let wider = match self.narrow {
            IpNet::V4(_) => 24,
            IpNet::V6(_) => 64,
        };
        let is_wide = self.network != self.narrow || self.narrow.prefix_len() <= wider;
        let wide = IpNet::new(self.narrow.addr(), wider).map(|network| network.trunc());
        self.network = if is_wide { self.narrow } else { wide.unwrap_or(self.narrow) };
    }

    /// The order; `None` only if a duration of ours is none.
    pub(super) fn order(&self) -> Option<BanOrder> {
        let lasts = self.lasts().parse().ok()?;
        Some(BanOrder { network: self.network, lasts, reason: BanReason::new("by hand, in truepeer top") })
    }

    /// Whom, as an operator writes it.
    pub(super) fn whom(&self) -> String {
        let network = self.network;
        if network.prefix_len() == network.max_prefix_len() {
            network.addr().to_string()
        } else {
            network.to_string()
        }
    }
}
