//! One table of networks, each of which leads back to the place where it was written.
//!
//! [`AccessScope`](super::AccessScope) keeps two of them; `ListFile` and the configuration fill [`RuleList`]s.
//! Knows neither allow nor deny, and no file: a place is a name and a number here.

use core::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::facts::network::fold;

use crate::facts::address::ClientIp;

/// Where a list was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListSource {
    /// In the configuration, under this key; entries are counted from 1.
    Inline(Arc<str>),
    /// In a file; lines are counted from 1.
    File(Arc<Path>),
}

/// The networks of one source, on their way into a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleList {
    source: ListSource,
    v4: Vec<Entry<u32>>,
    v6: Vec<Entry<u128>>,
}

/// One network of a list, and where it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule<'a> {
    /// Whether it lets in or keeps out.
    pub kind: ListKind,
    /// The network, without host bits, v4-mapped IPv6 folded to IPv4.
    pub network: IpNet,
    /// The list that it stands in.
    pub source: &'a ListSource,
    /// The line of a file, or the entry of a list in the configuration; both counted from 1.
    pub position: u32,
}

/// What a list is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// Clients in it may enter, whatever else is said.
    Allow,
    /// Clients in it may not.
    Deny,
}

/// More entries than a table may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyEntries {
    /// How many the lists have together.
    pub entries: usize,
}

/// Sorted networks of any number of lists; the most specific one that holds an address is found.
///
/// Networks are nested or apart, never half over each other. So the entry found by one binary search (the last one
/// that begins at or before the address) or one of the networks around it holds the address, or none does; each
/// entry knows the network around it. A network that is listed again is kept once, at its first place.
///
/// Memory: 16 bytes for each IPv4 network, 32 for each IPv6 network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RuleTable {
    kind: ListKind,
    sources: Box<[ListSource]>,
    v4: Box<[Entry<u32>]>,
    v6: Box<[Entry<u128>]>,
}

/// One network. The order of its fields leaves no gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry<T> {
    /// The first address.
    first: T,
    /// The line or entry, from 1.
    position: u32,
    /// Index of the network around this one, or [`NO_OUTER`].
    outer: u32,
    /// Index of the source.
    source: u16,
    /// The prefix length.
    len: u8,
}

impl RuleList {
    /// The list that the configuration holds under `key`, entry by entry.
    #[must_use]
    pub fn inline(key: &str, networks: &[IpNet]) -> Self {
        let mut list = Self::empty(ListSource::Inline(key.into()));
        for (position, network) in (1..).zip(networks) {
            list.push(*network, position);
        }
        list
    }

    /// A list without entries.
    pub(super) fn empty(source: ListSource) -> Self {
        Self { source, v4: Vec::new(), v6: Vec::new() }
    }

    /// Appends the network that stands at `position`.
    pub(super) fn push(&mut self, network: IpNet, position: u32) {
        match fold(network) {
            IpNet::V4(net) => {
                self.v4.push(Entry::new(net.network().to_bits(), net.prefix_len(), position));
            }
            IpNet::V6(net) => {
                self.v6.push(Entry::new(net.network().to_bits(), net.prefix_len(), position));
            }
        }
    }

    /// How many networks were listed, repeated ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len().saturating_add(self.v6.len())
    }

    /// Whether nothing was listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where it was written.
    #[must_use]
    pub fn source(&self) -> &ListSource {
        &self.source
    }
}

impl RuleTable {
    /// Sorts `lists` into one table. The first list is moved, not copied: a single large file costs its size once.
    pub(super) fn new(kind: ListKind, lists: Vec<RuleList>) -> Result<Self, TooManyEntries> {
        let entries = lists.iter().map(RuleList::len).fold(0, usize::saturating_add);
        if entries > MAX_ENTRIES || lists.len() > MAX_SOURCES {
            return Err(TooManyEntries { entries });
        }
        let mut sources = Vec::with_capacity(lists.len());
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (source, list) in (0..).zip(lists) {
            sources.push(list.source);
            append(&mut v4, list.v4, source);
            append(&mut v6, list.v6, source);
        }
        Ok(Self { kind, sources: sources.into_boxed_slice(), v4: nest(v4), v6: nest(v6) })
    }

    /// The most specific network that holds `client`.
    ///
    /// The first of [`RuleTable::holding`], written out: this one runs for every connection.
    pub(super) fn find(&self, client: ClientIp) -> Option<Rule<'_>> {
        match client.ip() {
            IpAddr::V4(addr) => self.rule(Holding::of(&self.v4, addr.to_bits()).next()?),
            IpAddr::V6(addr) => self.rule(Holding::of(&self.v6, addr.to_bits()).next()?),
        }
    }

    /// Every network that holds `client`, the most specific first.
    pub(super) fn holding(&self, client: ClientIp) -> Vec<Rule<'_>> {
        match client.ip() {
            IpAddr::V4(addr) => {
                Holding::of(&self.v4, addr.to_bits()).filter_map(|entry| self.rule(entry)).collect()
            }
            IpAddr::V6(addr) => {
                Holding::of(&self.v6, addr.to_bits()).filter_map(|entry| self.rule(entry)).collect()
            }
        }
    }

    /// How many different networks it holds.
    pub(super) fn len(&self) -> usize {
        self.v4.len().saturating_add(self.v6.len())
    }

    /// What the entries occupy, in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.v4).saturating_add(size_of_val(&*self.v6))
    }

    fn rule<T: Address>(&self, entry: &Entry<T>) -> Option<Rule<'_>> {
        let source = self.sources.get(usize::from(entry.source))?;
        let network = entry.first.network(entry.len)?;
        Some(Rule { kind: self.kind, network, source, position: entry.position })
    }
}

impl<T: Address> Entry<T> {
    fn new(first: T, len: u8, position: u32) -> Self {
        Self { first, position, outer: NO_OUTER, source: 0, len }
    }

    fn holds(&self, addr: T) -> bool {
        self.first.common_bits(addr) >= u32::from(self.len)
    }
}

impl fmt::Display for ListSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(key) => f.write_str(key),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// `deny 198.51.100.0/24 (/etc/truepeer/deny.txt, line 17)`
impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.source {
            ListSource::Inline(_) => "entry",
            ListSource::File(_) => "line",
        };
        write!(f, "{} {} ({}, {unit} {})", self.kind, self.network, self.source, self.position)
    }
}

impl fmt::Display for ListKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

impl fmt::Display for TooManyEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entries } = self;
        write!(
            f,
            "the lists have {entries} entries together; at most {MAX_ENTRIES} in {MAX_SOURCES} lists fit"
        )
    }
}

impl std::error::Error for TooManyEntries {}

/// The bits of an IP address.
trait Address: Copy + Ord {
    /// How many leading bits two addresses share.
    fn common_bits(self, other: Self) -> u32;

    /// The network of this first address and a prefix length; `None` if there is no such length.
    fn network(self, len: u8) -> Option<IpNet>;
}

impl Address for u32 {
    fn common_bits(self, other: Self) -> u32 {
        (self ^ other).leading_zeros()
    }

    fn network(self, len: u8) -> Option<IpNet> {
        Ipv4Net::new(self.into(), len).ok().map(IpNet::V4)
    }
}

impl Address for u128 {
    fn common_bits(self, other: Self) -> u32 {
        (self ^ other).leading_zeros()
    }

    fn network(self, len: u8) -> Option<IpNet> {
        Ipv6Net::new(self.into(), len).ok().map(IpNet::V6)
    }
}

/// Walks from an entry outwards over those that hold an address.
struct Holding<'a, T> {
    entries: &'a [Entry<T>],
    at: Option<usize>,
    addr: T,
}

impl<'a, T: Address> Holding<'a, T> {
    fn of(entries: &'a [Entry<T>], addr: T) -> Self {
        let after = entries.partition_point(|entry| entry.first <= addr);
        Self { entries, at: after.checked_sub(1), addr }
    }
}

impl<'a, T: Address> Iterator for Holding<'a, T> {
    type Item = &'a Entry<T>;

    /// At most one step for each prefix length, because repeated networks are kept once.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = self.entries.get(self.at?)?;
            // `NO_OUTER` is no index: a table has fewer entries.
            self.at = usize::try_from(entry.outer).ok();
            if entry.holds(self.addr) {
                return Some(entry);
            }
        }
    }
}

fn append<T>(entries: &mut Vec<Entry<T>>, mut more: Vec<Entry<T>>, source: u16) {
    for entry in &mut more {
        entry.source = source;
    }
    if entries.is_empty() {
        *entries = more;
    } else {
        entries.append(&mut more);
    }
}

/// Sorts, keeps the first of repeated networks, and tells each network which one is around it.
fn nest<T: Address>(mut entries: Vec<Entry<T>>) -> Box<[Entry<T>]> {
    entries.sort_unstable_by_key(|entry| (entry.first, entry.len, entry.source, entry.position));
    entries.dedup_by_key(|entry| (entry.first, entry.len));
    // The networks around the current one, the widest first: never more than there are prefix lengths.
    let mut around: Vec<(u32, Entry<T>)> = Vec::new();
    for (index, entry) in (0..).zip(&mut entries) {
        while around.last().is_some_and(|(_, outer)| !outer.holds(entry.first)) {
            around.pop();
        }
        entry.outer = around.last().map_or(NO_OUTER, |(outer, _)| *outer);
        around.push((index, *entry));
    }
    entries.into_boxed_slice()
}

/// Entries that one table may hold: 64 MiB of IPv4, 128 MiB of IPv6.
pub const MAX_ENTRIES: usize = 4 << 20;

/// Lists that one table may be made of; the source is kept in 16 bits.
pub const MAX_SOURCES: usize = u16::MAX as usize;

/// No network is around this one.
const NO_OUTER: u32 = u32::MAX;

// What a million entries cost is a promise: see the table's memory note.
const _: () = assert!(size_of::<Entry<u32>>() == 16 && size_of::<Entry<u128>>() == 32);

#[cfg(test)]
mod tests;
