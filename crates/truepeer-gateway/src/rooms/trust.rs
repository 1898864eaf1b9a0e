//! Proxies that are trusted by name: what each name stands for now, and what a look-up changes about that.
//!
//! Written by the keeper's thread, which looks names up; read by every connection to a listener that trusts names.
//! Decisions only: it must not know sockets, clocks or resolvers.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use truepeer::{IpNet, TrustedNetworks};

use crate::facts::address::is_near;

/// Addresses that one name may stand for. An answer with more is not used.
pub const MAX_ADDRESSES: usize = 64;

/// A name whose present addresses are trusted; shared by its listeners, and kept across configurations.
#[derive(Debug)]
pub struct Named {
    /// The host name.
    pub name: Arc<str>,
    meaning: ArcSwap<Meaning>,
}

/// What a name stands for.
#[derive(Debug, Clone, Default)]
pub struct Meaning {
    /// The last good answer, in order; nobody before there was one.
    pub addresses: Vec<IpAddr>,
    /// The same, to be asked.
    pub networks: TrustedNetworks,
    /// Since when it stands for these.
    pub since: Option<SystemTime>,
    /// Why the latest look-up had no good answer; `None` if it had one, or none was made yet.
    pub failing: Option<String>,
    /// What is surprising about the addresses.
    pub surprises: Vec<Surprise>,
}

/// An address that a proxy hardly has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surprise {
    /// This machine itself.
    Loopback(IpAddr),
    /// No address at all.
    Unspecified(IpAddr),
    /// Where everybody is forwarded from who comes from outside.
    Gateway(IpAddr),
    /// Somewhere on the internet.
    Public(IpAddr),
}

/// What an answer has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// Addresses that are trusted from now on.
    pub added: Vec<IpAddr>,
    /// Addresses that are trusted no more.
    pub removed: Vec<IpAddr>,
    /// Why look-ups fail since now.
    pub fails: Option<String>,
    /// Whether they succeed again.
    pub recovered: bool,
    /// What is surprising about the new addresses.
    pub surprises: Vec<Surprise>,
}

impl Named {
    /// A name that was not looked up yet: it stands for nobody.
    #[must_use]
    pub fn new(name: Arc<str>) -> Self {
        Self { name, meaning: ArcSwap::default() }
    }

    /// Takes the answer of a look-up made at `at`. A bad one changes nothing but that it failed. `gateways`: the
    /// default gateways of this machine.
    pub fn take(&self, answer: Result<Vec<IpAddr>, String>, at: SystemTime, gateways: &[IpAddr]) -> News {
        let before = self.meaning.load_full();
        let addresses = match answer.and_then(judge) {
            Ok(addresses) => addresses,
            Err(why) => {
                let fails = before.failing.is_none().then(|| why.clone());
                self.meaning.store(Arc::new(Meaning { failing: Some(why), ..(*before).clone() }));
                return News { fails, ..News::default() };
            }
        };
        let without = |all: &[IpAddr], others: &[IpAddr]| -> Vec<IpAddr> {
            all.iter().copied().filter(|addr| !others.contains(addr)).collect()
        };
        let (added, removed) =
            (without(&addresses, &before.addresses), without(&before.addresses, &addresses));
        let changed = !added.is_empty() || !removed.is_empty();
        let surprising =
            |addrs: &[IpAddr]| addrs.iter().filter_map(|addr| surprise(*addr, gateways)).collect();
        let news = News {
            surprises: surprising(&added),
            added,
            removed,
            fails: None,
            recovered: before.failing.is_some(),
        };
        if changed || news.recovered {
            self.meaning.store(Arc::new(Meaning {
                networks: addresses.iter().copied().map(IpNet::from).collect(),
                surprises: surprising(&addresses),
                addresses,
                since: if changed { Some(at) } else { before.since },
                failing: None,
            }));
        }
        news
    }

    /// What it stands for now.
    #[must_use]
    pub fn meaning(&self) -> Arc<Meaning> {
        self.meaning.load_full()
    }

    /// Whether it stands for `peer` now, among others.
    #[must_use]
    pub fn holds(&self, peer: IpAddr) -> bool {
        self.meaning.load().networks.contains(peer)
    }
}

/// The addresses of an answer, each once and in order.
fn judge(mut addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, String> {
    addresses.iter_mut().for_each(|addr| *addr = addr.to_canonical());
    addresses.sort_unstable();
    addresses.dedup();
    match addresses.len() {
        0 => Err("the name has no address".to_owned()),
        1..=MAX_ADDRESSES => Ok(addresses),
        many => Err(format!("the answer has {many} addresses, more than {MAX_ADDRESSES}, and is not used")),
    }
}

/// What is surprising about an address that a proxy's name stands for.
#[must_use]
pub fn surprise(addr: IpAddr, gateways: &[IpAddr]) -> Option<Surprise> {
    if addr.is_unspecified() {
        Some(Surprise::Unspecified(addr))
    } else if addr.is_loopback() {
        Some(Surprise::Loopback(addr))
    } else if gateways.iter().any(|gateway| gateway.to_canonical() == addr) {
        Some(Surprise::Gateway(addr))
    } else {
        (!is_near(addr)).then_some(Surprise::Public(addr))
    }
}

impl fmt::Display for Surprise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(addr) => write!(
                f,
                "{addr} is loopback: every process on this machine can claim to be any client; if a proxy here is meant, write its address"
            ),
            Self::Unspecified(addr) => {
                write!(f, "{addr} is no host's address: a filter answers instead of the name server")
            }
            Self::Gateway(addr) => write!(
                f,
                "{addr} is a default gateway of this machine: in a container, everybody whom the host forwards arrives from it and can claim to be any client"
            ),
            Self::Public(addr) => write!(
                f,
                "{addr} is on the internet: anyone who can answer for this name can name any address; if the proxy is there, write its address"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn addrs(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn a_name_stands_for_nobody_before_it_has_an_answer() {
        let named = Named::new("traefik".into());
        assert!(!named.holds("172.18.0.5".parse().unwrap()));
        let news = named.take(Err("no answer".to_owned()), at(1), &[]);
        assert_eq!(news, News { fails: Some("no answer".to_owned()), ..News::default() });
        let meaning = named.meaning();
        assert_eq!((meaning.addresses.len(), meaning.since), (0, None));
        assert_eq!(meaning.failing.as_deref(), Some("no answer"));
    }

    #[test]
    fn each_change_is_told_and_the_last_good_answer_is_kept_while_there_is_none() {
        let named = Named::new("traefik".into());
        let first = named.take(Ok(addrs(&["172.18.0.6", "172.18.0.5", "172.18.0.6"])), at(1), &[]);
        assert_eq!(first.added, addrs(&["172.18.0.5", "172.18.0.6"]));
        // The same in another order is no news, and not newer.
        let same = named.take(Ok(addrs(&["::ffff:172.18.0.6", "172.18.0.5"])), at(2), &[]);
        assert_eq!(same, News::default());
        assert_eq!(named.meaning().since, Some(at(1)));
        for (answer, fails) in [
            (Err("no answer".to_owned()), Some("no answer".to_owned())),
            (Ok(Vec::new()), None),
            (Ok((0..=64).map(|last| IpAddr::from([10, 0, 0, last])).collect()), None),
        ] {
            let news = named.take(answer, at(3), &[]);
            // Said once until it succeeds again.
            assert_eq!(news, News { fails, ..News::default() });
            assert!(named.holds("172.18.0.5".parse().unwrap()));
        }
        assert!(named.meaning().failing.as_ref().unwrap().contains("65 addresses"));
        let moved = named.take(Ok(addrs(&["172.18.0.9"])), at(4), &[]);
        assert_eq!(moved.added, addrs(&["172.18.0.9"]));
        assert_eq!(moved.removed, addrs(&["172.18.0.5", "172.18.0.6"]));
        assert!(moved.recovered);
        assert!(!named.holds("172.18.0.5".parse().unwrap()) && named.holds("172.18.0.9".parse().unwrap()));
        assert_eq!(named.meaning().since, Some(at(4)));
        assert_eq!(named.meaning().failing, None);
    }

    #[test]
    fn the_same_answer_after_a_failure_only_ends_the_failure() {
        let named = Named::new("traefik".into());
        named.take(Ok(addrs(&["172.18.0.5"])), at(1), &[]);
        named.take(Err("no answer".to_owned()), at(2), &[]);
        let news = named.take(Ok(addrs(&["172.18.0.5"])), at(3), &[]);
        assert_eq!(news, News { recovered: true, ..News::default() });
        assert_eq!((named.meaning().since, named.meaning().failing.clone()), (Some(at(1)), None));
    }

    #[test]
    fn sixty_four_addresses_are_taken() {
        let named = Named::new("many".into());
        let news = named.take(Ok((0..64).map(|last| IpAddr::from([10, 0, 0, last])).collect()), at(1), &[]);
        assert_eq!((news.added.len(), news.fails), (64, None));
    }

    #[test]
    fn addresses_that_a_proxy_hardly_has_are_named() {
        let gateways = addrs(&["172.18.0.1", "fe80::1"]);
        let [loopback, loopback6, nobody, gateway, gateway6, public, public6] =
            ["127.0.0.1", "::1", "0.0.0.0", "172.18.0.1", "fe80::1", "203.0.113.7", "2001:db8::7"]
                .map(|text| text.parse::<IpAddr>().unwrap());
        for (addr, expected) in [
            (loopback, Some(Surprise::Loopback(loopback))),
            (loopback6, Some(Surprise::Loopback(loopback6))),
            (nobody, Some(Surprise::Unspecified(nobody))),
            (gateway, Some(Surprise::Gateway(gateway))),
            (gateway6, Some(Surprise::Gateway(gateway6))),
            (public, Some(Surprise::Public(public))),
            (public6, Some(Surprise::Public(public6))),
            ("172.18.0.5".parse().unwrap(), None),
            ("fd00::5".parse().unwrap(), None),
        ] {
            assert_eq!(surprise(addr, &gateways), expected, "{addr}");
        }
        let named = Named::new("traefik".into());
        let news = named.take(Ok(vec![gateway, public, nobody]), at(1), &gateways);
        assert_eq!(news.surprises.len(), 3);
        assert_eq!(named.meaning().surprises.len(), 3);
        // Said when they come, and shown as long as they are there.
        let news = named.take(Ok(vec![gateway, public]), at(2), &gateways);
        assert_eq!((news.surprises.len(), named.meaning().surprises.len()), (0, 2));
    }
}
