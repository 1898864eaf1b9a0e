//! Bans that end by themselves: whom an operator or a program keeps out for a while, without a reload.
//!
//! Changed over the admin socket (`truepeer deny`, `undeny`), asked by the walk of a connection for clients that no
//! access list admits, kept across restarts by [`state`]. Knows no socket and no clock: the time is an argument,
//! wall time, because a ban outlives the process. Cutting the connections of a banned client is the caller's work.
//! [`clock`] keeps jumps of that wall clock away from them.
//!
//! A network that holds a trusted proxy cannot be banned: the ban would shut out everybody behind it.

pub mod clock;
pub mod denied;
pub mod feed;
pub mod journal;
mod mark;
mod nodes;
mod order;
mod reasons;
pub mod shared;
pub mod state;
mod table;

use core::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use truepeer::TrustedNetworks;

use crate::facts::address::ClientIp;
use crate::facts::network::{WIDEST_V4, WIDEST_V6, fold, is_too_wide};

pub use nodes::NodeName;
pub use order::{BanChange, BanDuration, BanDurationError, BanOrder, BanReason};

use nodes::{NodeNumber, Nodes};
use reasons::Reasons;
use table::{HeldBan, Table};

/// The bans of this server.
///
/// Memory: at most [`MAX_BANS`] entries, each about 95 bytes (IPv4) or 130 bytes (IPv6), and its reason of at most
/// [`BanReason::MAX_LEN`] bytes, which bans of the same one share: 95 MB for a full table of IPv4 bans without reasons, 245 MB at worst.
#[derive(Debug, Clone, Default)]
pub struct Bans {
    v4: Table<u32>,
    v6: Table<u128>,
    nodes: Nodes,
    reasons: Reasons,
}

/// One ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Whom, without host bits, v4-mapped IPv6 folded to IPv4.
    pub network: IpNet,
    /// When it was ordered, in whole seconds.
    pub since: SystemTime,
    /// When it ends, in whole seconds.
    pub until: SystemTime,
    /// Why.
    pub reason: BanReason,
    /// The node that ordered it; `None` for this one.
    pub node: Option<NodeName>,
}

/// Trusted networks that no ban may touch, and the list they are written in.
#[derive(Debug, Clone, Copy)]
pub struct Protected<'a> {
    /// The key in the configuration: `server.listener.smtp.proxy.trusted-networks`.
    pub list: &'a str,
    /// Its networks.
    pub networks: &'a TrustedNetworks,
}

/// What an order did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// The network was not banned before.
    New(Ban),
    /// The network was banned already; the new end and reason hold, be the end sooner or later.
    Replaced(Ban),
}

impl Added {
    /// The ban that holds now.
    #[must_use]
    pub fn ban(&self) -> &Ban {
        match self {
            Self::New(ban) | Self::Replaced(ban) => ban,
        }
    }
}

/// What came of a [`BanChange`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// A ban is set.
    Added(Added),
    /// A ban was to be lifted.
    Removed(Lifted),
}

/// What an order to lift a ban found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifted {
    /// What the order named.
    pub network: IpNet,
    /// The ban of exactly this network, now gone.
    pub ban: Option<Ban>,
    /// A ban of a wider network, which still keeps this one out.
    pub still: Option<Ban>,
}

/// Why a ban is not set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BanError {
    /// Trusted proxies are in the network.
    Trusted {
        /// Whom the order named.
        network: IpNet,
        /// The list that they are written in.
        list: String,
    },
    /// The network is wider than /8 (IPv4) or /16 (IPv6).
    TooWide {
        /// Whom the order named.
        network: IpNet,
    },
    /// [`MAX_BANS`] are set.
    Full,
    /// Another process makes the changes from now on.
    HandedOver,
}

impl Bans {
    /// Takes over the bans of a state file. Those that ended are dropped in silence; none lasts longer from now on
    /// than it was ordered for, nor than [`BanDuration::MAX`], whatever the clock said when it was written.
    ///
    /// Returns with it the bans that the table refuses, each with its reason.
    #[must_use]
    pub fn restore(
        bans: impl IntoIterator<Item = Ban>,
        protected: &[Protected<'_>],
        now: SystemTime,
    ) -> (Self, Vec<(Ban, BanError)>) {
        let mut restored = Self::default();
        let mut refused = Vec::new();
        for ban in bans {
            if let Err(error) = restored.hold(&ban, protected, now) {
                refused.push((ban, error));
            }
        }
        (restored, refused)
    }

    /// Takes over a ban that was ordered elsewhere or before, unless it has ended. It lasts no longer from now on than
    /// it was ordered for, nor than [`BanDuration::MAX`], whatever its times say.
    ///
    /// Returns what held before.
    ///
    /// # Errors
    /// [`BanError`]; nothing changes then.
    pub fn hold(
        &mut self,
        ban: &Ban,
        protected: &[Protected<'_>],
        now: SystemTime,
    ) -> Result<Option<Ban>, BanError> {
        let (since, until) = (secs(ban.since), secs(ban.until));
        let longest = until.saturating_sub(since).min(BanDuration::MAX.as_secs());
        let until = until.min(secs(now).saturating_add(longest));
        if until <= secs(now) {
            return Ok(None);
        }
        let held = HeldBan::new(
            (since, until),
            self.nodes.number(ban.node.as_ref()),
            self.reasons.once(&ban.reason),
        );
        let before = self.put(ban.network, held, protected, secs(now))?;
        Ok(before.filter(|old| old.until > secs(now)).map(|old| self.ban(ban.network, &old)))
    }

    /// The ban of exactly this network.
    #[must_use]
    pub fn get(&self, network: IpNet, now: SystemTime) -> Option<Ban> {
        let held = match network {
            IpNet::V4(net) => self.v4.get(net.network().to_bits(), net.prefix_len()),
            IpNet::V6(net) => self.v6.get(net.network().to_bits(), net.prefix_len()),
        };
        held.filter(|held| held.until > secs(now)).map(|held| self.ban(network, held))
    }

    /// The networks of every ban, those included that have ended.
    pub fn networks(&self) -> impl Iterator<Item = IpNet> + '_ {
        let v4 = self.v4.iter().map(|(first, len, _)| (IpAddr::V4(first.into()), len));
        let v6 = self.v6.iter().map(|(first, len, _)| (IpAddr::V6(first.into()), len));
        v4.chain(v6).filter_map(|(first, len)| IpNet::new(first, len).ok())
    }

    /// Keeps a network out from now on. The latest order for a network holds.
    ///
    /// # Errors
    /// [`BanError`]; nothing changes then.
    pub fn add(
        &mut self,
        order: &BanOrder,
        protected: &[Protected<'_>],
        now: SystemTime,
    ) -> Result<Added, BanError> {
        // A second that has begun counts as a whole one: a ban never ends too soon.
        let end = now.checked_add(ALMOST_A_SECOND).map_or(secs(now), secs);
        let until = end.saturating_add(order.lasts.as_secs());
        let held = HeldBan::new((secs(now), until), NodeNumber::OWN, self.reasons.once(&order.reason));
        let network = fold(order.network);
        let ban = self.ban(network, &held);
        let before = self.put(network, held, protected, secs(now))?;
        Ok(if before.is_some_and(|old| old.until > secs(now)) {
            Added::Replaced(ban)
        } else {
            Added::New(ban)
        })
    }

    /// Lifts the ban of exactly this network.
    pub fn remove(&mut self, network: IpNet, now: SystemTime) -> Lifted {
        let network = fold(network);
        let held = match network {
            IpNet::V4(net) => self.v4.remove(net.network().to_bits(), net.prefix_len()),
            IpNet::V6(net) => self.v6.remove(net.network().to_bits(), net.prefix_len()),
        };
        let lifted = held.filter(|held| held.until > secs(now)).map(|held| self.ban(network, &held));
        let still = self.find_within(network.addr(), network.prefix_len(), now);
        Lifted { network, ban: lifted, still }
    }

    /// Drops what has ended; returns how many. To be called now and then: a lookup skips them anyway.
    pub fn purge(&mut self, now: SystemTime) -> usize {
        self.v4.purge(secs(now)).saturating_add(self.v6.purge(secs(now)))
    }

    /// Lifts the bans that touch `protected`: for a reload that brings new trusted networks.
    pub fn release(&mut self, protected: &[Protected<'_>]) -> Vec<(Ban, BanError)> {
        let mut released = Vec::new();
        let nodes = &self.nodes;
        let mut keep = |first, len, held: &HeldBan| {
            let Ok(network) = IpNet::new(first, len) else { return false };
            let Some(error) = touches(network, protected) else { return true };
            released.push((ban(nodes, network, held), error));
            false
        };
        self.v4.retain(|first, len, held| keep(IpAddr::V4(first.into()), len, held));
        self.v6.retain(|first, len, held| keep(IpAddr::V6(first.into()), len, held));
        released
    }

    /// The most specific ban that keeps `client` out. Allocates nothing; costs one search for each prefix length
    /// that is in use.
    #[must_use]
    pub fn find(&self, client: impl Into<ClientIp>, now: SystemTime) -> Option<Ban> {
        self.find_within(client.into().ip(), u8::MAX, now)
    }

    /// Every ban that has not ended, in the order of addresses, IPv4 first.
    #[must_use]
    pub fn list(&self, now: SystemTime) -> Vec<Ban> {
        let now = secs(now);
        let v4 = self.v4.iter().map(|(first, len, held)| (IpAddr::V4(first.into()), len, held));
        let v6 = self.v6.iter().map(|(first, len, held)| (IpAddr::V6(first.into()), len, held));
        v4.chain(v6)
            .filter(|(_, _, held)| held.until > now)
            .filter_map(|(first, len, held)| Some(self.ban(IpNet::new(first, len).ok()?, held)))
            .collect()
    }

    /// How many have not ended.
    #[must_use]
    pub fn count(&self, now: SystemTime) -> usize {
        self.v4.count(secs(now)).saturating_add(self.v6.count(secs(now)))
    }

    /// How many are kept, those included that ended and were not purged yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len().saturating_add(self.v6.len())
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks, makes room, stores; returns what held before.
    fn put(
        &mut self,
        network: IpNet,
        held: HeldBan,
        protected: &[Protected<'_>],
        now: u64,
    ) -> Result<Option<HeldBan>, BanError> {
        let network = fold(network);
        if is_too_wide(network) {
            return Err(BanError::TooWide { network });
        }
        if let Some(error) = touches(network, protected) {
            return Err(error);
        }
        if self.len() >= MAX_BANS {
            self.v4.purge(now);
            self.v6.purge(now);
        }
        let full = self.len() >= MAX_BANS;
        match network {
            IpNet::V4(net) => self.v4.put(net.network().to_bits(), net.prefix_len(), held, full),
            IpNet::V6(net) => self.v6.put(net.network().to_bits(), net.prefix_len(), held, full),
        }
        .map_err(|table::NoRoom| BanError::Full)
    }

    fn ban(&self, network: IpNet, held: &HeldBan) -> Ban {
        ban(&self.nodes, network, held)
    }

    /// The most specific ban of at most `longest` prefix bits that holds `addr`.
    fn find_within(&self, addr: IpAddr, longest: u8, now: SystemTime) -> Option<Ban> {
        match addr {
            IpAddr::V4(addr) => {
                let (first, len, held) = self.v4.find(addr.to_bits(), longest, secs(now))?;
                Some(self.ban(IpNet::new(IpAddr::V4(first.into()), len).ok()?, held))
            }
            IpAddr::V6(addr) => {
                let (first, len, held) = self.v6.find(addr.to_bits(), longest, secs(now))?;
                Some(self.ban(IpNet::new(IpAddr::V6(first.into()), len).ok()?, held))
            }
        }
    }
}

/// `ban 192.0.2.0/24 until 2026-01-31T12:00:00Z (fail2ban sshd)`: what records say; behind the reason the node, if it
/// was another one.
impl fmt::Display for Ban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = humantime::format_rfc3339_seconds(self.until);
        write!(f, "ban {} until {until} ({}", self.network, self.reason)?;
        match &self.node {
            Some(node) => write!(f, ", by {node})"),
            None => f.write_str(")"),
        }
    }
}

/// What is said of an order that came to a process whose place another one takes.
pub const HANDED_OVER: &str = "an upgrade is under way: ask again";

impl fmt::Display for BanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trusted { network, list } => write!(
                f,
                "{network} holds a trusted proxy of {list}: a ban would keep out every client behind it; ban the client, or take the proxy off that list"
            ),
            Self::TooWide { network } => write!(
                f,
                "{network} is wider than /{WIDEST_V4} (IPv4) or /{WIDEST_V6} (IPv6); what is meant to keep out so many belongs into access.deny"
            ),
            Self::Full => {
                write!(f, "{MAX_BANS} bans are set, which is the most; lift some, or use access.deny-files")
            }
            Self::HandedOver => f.write_str(HANDED_OVER),
        }
    }
}

impl std::error::Error for BanError {}

fn touches(network: IpNet, protected: &[Protected<'_>]) -> Option<BanError> {
    let trusting = protected.iter().find(|protected| protected.networks.overlaps(network))?;
    Some(BanError::Trusted { network, list: trusting.list.to_owned() })
}

fn ban(nodes: &Nodes, network: IpNet, held: &HeldBan) -> Ban {
    Ban {
        network,
        since: time(held.since()),
        until: time(held.until),
        reason: held.reason.clone(),
        node: nodes.name(held.node),
    }
}

/// Whole seconds since 1970; times before count as its beginning.
fn secs(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The inverse. What no clock can show is cut; the table never holds it.
fn time(secs: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_secs(secs.min(LAST_SECOND))).unwrap_or(UNIX_EPOCH)
}

/// Bans that can be set at once.
pub const MAX_BANS: usize = 1_000_000;

/// Added before cutting to whole seconds, it rounds up.
const ALMOST_A_SECOND: Duration = Duration::from_nanos(999_999_999);

/// The last second of the year 9999, the last that RFC 3339 can write.
const LAST_SECOND: u64 = 253_402_300_799;

#[cfg(test)]
mod tests;
