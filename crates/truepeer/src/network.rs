//! Sets of networks: who is in the list?
//!
//! Used for trusted networks, access lists and "is this one of our own addresses?".
//! Knows nothing of peers, headers or policy.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr};
use std::io;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

/// An immutable set of IP networks.
///
/// Overlapping and touching networks are merged into sorted ranges, so that a look-up is one binary search.
/// IPv4-mapped IPv6 networks and addresses are folded to IPv4: `::ffff:192.0.2.0/120` is `192.0.2.0/24`.
/// A network wider than the mapped range (such as `::/0`) holds IPv6 addresses only.
///
/// It is shown as its networks: `192.0.2.10/32, 2001:db8:7::/64`, or `nobody`.
///
/// Memory: 8 bytes for each IPv4 range, 32 for each IPv6 range.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct NetworkSet {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl NetworkSet {
    /// Reads addresses (`192.0.2.10`) and networks (`10.1.0.0/16`) as people write them. Any are taken, everybody too:
    /// whom to trust is [`TrustedNetworks::parse`].
    ///
    /// # Errors
    /// The first entry that is neither.
    pub fn parse<T: AsRef<str>>(entries: impl IntoIterator<Item = T>) -> Result<Self, NetworkError> {
        entries.into_iter().map(|entry| parse(entry.as_ref())).collect()
    }

    /// Whether `addr` lies in one of the networks; a v4-mapped IPv6 address counts as IPv4.
    #[must_use]
    pub fn contains(&self, addr: IpAddr) -> bool {
        match addr.to_canonical() {
            IpAddr::V4(addr) => holds(&self.v4, addr.to_bits()),
            IpAddr::V6(addr) => holds(&self.v6, addr.to_bits()),
        }
    }

    /// Whether an address of `network` lies in one of the networks.
    #[must_use]
    pub fn overlaps(&self, network: IpNet) -> bool {
        match fold(network) {
            IpNet::V4(net) => meets(&self.v4, net.network().to_bits(), net.broadcast().to_bits()),
            IpNet::V6(net) => meets(&self.v6, net.network().to_bits(), net.broadcast().to_bits()),
        }
    }

    /// The fewest networks that hold exactly these addresses, in order, IPv4 first.
    ///
    /// Two that touch come out as one where one network is both: `192.0.2.0/25` and `192.0.2.128/25` are
    /// `192.0.2.0/24`.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> + '_ {
        let v4 =
            self.v4.iter().flat_map(|(first, last)| Ipv4Subnets::new((*first).into(), (*last).into(), 0));
        let v6 =
            self.v6.iter().flat_map(|(first, last)| Ipv6Subnets::new((*first).into(), (*last).into(), 0));
        v4.map(IpNet::V4).chain(v6.map(IpNet::V6))
    }

    /// Whether the set holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Number of ranges after merging; what the memory figure counts.
    #[must_use]
    pub fn ranges(&self) -> usize {
        self.v4.len().saturating_add(self.v6.len())
    }

    /// Whether the internet of one family is in it, or nearly so: three quarters of the addresses that hosts have. Of
    /// IPv4 these are 1.0.0.0 to 223.255.255.255, of IPv6 the block that all registries were given theirs from. Holes
    /// for private or for a few other networks make no list of proxies of it.
    fn holds_everybody(&self) -> bool {
        const V4: (u32, u32) = (0x0100_0000, 0xDFFF_FFFF);
        const V6: (u128, u128) = (0x2000 << 112, (0x3000 << 112) - 1);
        let v4 = self
            .v4
            .iter()
            .map(|(first, last)| u128::from((*last).min(V4.1).saturating_sub((*first).max(V4.0))));
        let v6 = self.v6.iter().map(|(first, last)| (*last).min(V6.1).saturating_sub((*first).max(V6.0)));
        // The ends are not counted, which is one address for each range.
        let most =
            |held: u128, first: u128, last: u128| held >= (last.saturating_sub(first) / 4).saturating_mul(3);
        most(v4.sum(), V4.0.into(), V4.1.into()) || most(v6.sum(), V6.0, V6.1)
    }
}

impl FromIterator<IpNet> for NetworkSet {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for network in networks {
            match fold(network) {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        Self { v4: merge(v4, |last| last.checked_add(1)), v6: merge(v6, |last| last.checked_add(1)) }
    }
}

impl fmt::Display for NetworkSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nobody");
        }
        for (at, network) in self.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            network.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for NetworkSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetworkSet({self})")
    }
}

/// The networks whose peers may send a header. They are shown as a [`NetworkSet`] is.
///
/// Empty means nobody: there is no value of this type that means "everybody by accident".
///
/// ```
/// use truepeer::TrustedNetworks;
///
/// let trusted = TrustedNetworks::parse(["192.0.2.10", "2001:db8:7::/64"])?;
/// assert!(trusted.contains("192.0.2.10".parse()?));
/// assert!(!trusted.contains("192.0.2.11".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TrustedNetworks(NetworkSet);

impl TrustedNetworks {
    /// Nobody is trusted.
    #[must_use]
    pub fn nobody() -> Self {
        Self::default()
    }

    /// Reads addresses (`192.0.2.10`) and networks (`10.1.0.0/16`) as people write them.
    ///
    /// # Errors
    /// The first entry that is neither, or the entries that mean everybody or nearly so, alone (`0.0.0.0/0`) or
    /// together (`0.0.0.0/1`, `128.0.0.0/2` and `192.0.0.0/3`): three quarters of the internet belong to no proxy.
    pub fn parse<T: AsRef<str>>(entries: impl IntoIterator<Item = T>) -> Result<Self, NetworkError> {
        let mut said = Vec::new();
        for entry in entries {
            let network = parse(entry.as_ref())?;
            if one(network).holds_everybody() {
                return Err(NetworkError { entry: entry.as_ref().to_owned(), everybody: true });
            }
            said.push((entry, network));
        }
        let networks: NetworkSet = said.iter().map(|(_, network)| *network).collect();
        if networks.holds_everybody() {
            let entries: Vec<&str> = said.iter().map(|(entry, _)| entry.as_ref()).collect();
            return Err(NetworkError { entry: entries.join(", "), everybody: true });
        }
        Ok(Self(networks))
    }

    /// Everybody is trusted: anyone who can reach this port can claim to be anybody.
    ///
    /// Right only where something else makes sure that proxies alone reach it, and then their addresses are better.
    #[must_use]
    pub fn unsafe_everybody() -> Self {
        [IpNet::V4(ipnet::Ipv4Net::default()), IpNet::V6(ipnet::Ipv6Net::default())].into_iter().collect()
    }

    /// Whether a peer at `addr` may speak for others.
    #[must_use]
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.0.contains(addr)
    }

    /// Whether a peer at an address of `network` may speak for others.
    #[must_use]
    pub fn overlaps(&self, network: IpNet) -> bool {
        self.0.overlaps(network)
    }

    /// The fewest networks that hold exactly the trusted addresses, in order, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.0.iter()
    }

    /// Whether nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for TrustedNetworks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for TrustedNetworks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustedNetworks({self})")
    }
}

impl FromIterator<IpNet> for TrustedNetworks {
    /// For networks that were judged before, by a configuration of your own: nothing is refused here, `/0` neither.
    /// What people wrote goes through [`TrustedNetworks::parse`].
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

/// An entry that is no network, or too much of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkError {
    entry: String,
    everybody: bool,
}

impl NetworkError {
    /// The entry as it was written, or the list of them if only together they are wrong.
    #[must_use]
    pub fn entry(&self) -> &str {
        &self.entry
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = &self.entry;
        if self.everybody {
            write!(f, "\"{entry}\" would let everybody speak for everybody; write your proxies' addresses")
        } else {
            write!(f, "\"{entry}\" is no address such as 192.0.2.10 and no network such as 192.0.2.0/24")
        }
    }
}

impl core::error::Error for NetworkError {}

impl From<NetworkError> for io::Error {
    fn from(error: NetworkError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

fn parse(entry: &str) -> Result<IpNet, NetworkError> {
    let text = entry.trim();
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| NetworkError { entry: entry.to_owned(), everybody: false })
}

fn one(network: IpNet) -> NetworkSet {
    [network].into_iter().collect()
}

/// The network that `contains` really compares with: v4-mapped IPv6 becomes IPv4.
fn fold(network: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let IpNet::V6(v6) = network else { return network };
    let (Some(v4), Some(len)) =
        (Ipv6Addr::to_ipv4_mapped(&v6.addr()), v6.prefix_len().checked_sub(MAPPED_BITS))
    else {
        return network;
    };
    ipnet::Ipv4Net::new(v4, len).map_or(network, IpNet::V4)
}

fn holds<T: Ord + Copy>(ranges: &[(T, T)], addr: T) -> bool {
    meets(ranges, addr, addr)
}

/// Whether a range shares an address with `first..=last`: the last one that begins in time does, or none.
fn meets<T: Ord + Copy>(ranges: &[(T, T)], first: T, last: T) -> bool {
    let after = ranges.partition_point(|(begin, _)| *begin <= last);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, end)| first <= *end)
}

/// Sorted ranges that neither overlap nor touch. `after`: the next address, if there is one.
fn merge<T: Ord + Copy>(mut ranges: Vec<(T, T)>, after: impl Fn(T) -> Option<T>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(open) if after(open.1).is_none_or(|next| first <= next) => open.1 = open.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged.into_boxed_slice()
}

#[cfg(test)]
mod tests;
