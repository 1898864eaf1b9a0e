//! A range of ports at one address, as listeners have them for FTP's passive data connections.
//!
//! Written once for each side, `192.0.2.1:50000-50100`; the first port of a listener is handed to the first port of its
//! backend, the second to the second, and so on.

use std::fmt;
use std::net::SocketAddr;

/// The ports from that of `first` up to `last`; at least one, at most [`PortRange::MOST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortRange {
    first: SocketAddr,
    last: u16,
}

impl PortRange {
    /// The most ports of one range: each is a listening socket for each worker.
    pub const MOST: u16 = 1024;

    /// The ports from that of `first` up to `last`; `None` if that is no port, or more than [`PortRange::MOST`].
    #[must_use]
    pub fn new(first: SocketAddr, last: u16) -> Option<Self> {
        let further = last.checked_sub(first.port())?;
        (first.port() != 0 && further < Self::MOST).then_some(Self { first, last })
    }

    /// Its address with the first port.
    #[must_use]
    pub const fn first(&self) -> SocketAddr {
        self.first
    }

    /// How many ports it has.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub const fn len(&self) -> u16 {
        self.last.saturating_sub(self.first.port()).saturating_add(1)
    }

    /// Its address with each port in turn.
    pub fn addrs(self) -> impl Iterator<Item = SocketAddr> {
        (self.first.port()..=self.last).map(move |port| SocketAddr::new(self.first.ip(), port))
    }

    /// Which of its ports a client at `addr` has reached, counted from 0.
    #[must_use]
    pub fn lane(&self, addr: SocketAddr) -> Option<u16> {
        let is_here = self.first.ip().is_unspecified() || self.first.ip() == addr.ip();
        let lane = addr.port().checked_sub(self.first.port())?;
        (is_here && addr.port() <= self.last).then_some(lane)
    }

    /// Whether both have a port in common, wherever they are.
    #[must_use]
    pub const fn meets(&self, other: &Self) -> bool {
        self.first.port() <= other.last && other.first.port() <= self.last
    }
}

impl fmt::Display for PortRange {
    /// As it is written in the configuration; one port is written as an address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        if self.last == self.first.port() { Ok(()) } else { write!(f, "-{}", self.last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: &str, last: u16) -> PortRange {
        PortRange::new(first.parse().unwrap(), last).unwrap()
    }

    #[test]
    fn a_range_is_bounded_and_never_empty() {
        let first = |port| SocketAddr::from(([192, 0, 2, 1], port));
        for (from, last) in [(0, 5), (5, 4), (1, 1 + PortRange::MOST), (1, u16::MAX)] {
            assert_eq!(PortRange::new(first(from), last), None, "{from}-{last}");
        }
        assert_eq!(PortRange::new(first(1), PortRange::MOST).unwrap().len(), PortRange::MOST);
        let last = PortRange::new(first(u16::MAX), u16::MAX).unwrap();
        assert_eq!((last.len(), last.addrs().count()), (1, 1));
        assert_eq!(last.to_string(), "192.0.2.1:65535");
    }

    #[test]
    fn the_lane_is_the_place_of_the_port_in_its_range() {
        let at = |text: &str| text.parse().unwrap();
        let here = range("192.0.2.1:50000", 50_100);
        assert_eq!(here.to_string(), "192.0.2.1:50000-50100");
        assert_eq!(here.lane(at("192.0.2.1:50000")), Some(0));
        assert_eq!(here.lane(at("192.0.2.1:50100")), Some(100));
        for other in ["192.0.2.1:49999", "192.0.2.1:50101", "192.0.2.2:50000"] {
            assert_eq!(here.lane(at(other)), None, "{other}");
        }
        assert_eq!(range("[::]:50000", 50_100).lane(at("192.0.2.9:50007")), Some(7));
    }

    #[test]
    fn ranges_meet_at_their_ends() {
        let one = range("192.0.2.1:10", 20);
        assert!(one.meets(&range("[::]:20", 30)) && range("[::]:1", 10).meets(&one));
        assert!(!one.meets(&range("[::]:21", 30)) && !range("[::]:1", 9).meets(&one));
    }
}
