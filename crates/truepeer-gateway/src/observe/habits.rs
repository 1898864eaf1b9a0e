//! What peers do again and again, so that a wrong list of proxies shows while the front door runs.
//!
//! Three habits are worth a remark: an unlisted peer that sends headers, a trusted one that never sends any, and a
//! private address from which nearly everybody comes. Told of each connection at its end; pure, the clock is not needed.
//! Whoever says a remark chooses the words' place: the log says one when it first holds and at each tenfold count, the
//! status says all that hold.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use truepeer::{IdentitySource, PeerAddress};

use crate::facts::address::is_near;
use crate::facts::outcome::Outcome;

/// What a peer did in one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// It is trusted, and sent a header.
    SentHeader,
    /// It is trusted, and sent something else, or nothing in time.
    SentNone,
    /// It is not trusted, and sent a header.
    SentUnlisted,
    /// It came as a client.
    CameItself,
}

impl Did {
    /// What a peer did whose connection ended so; `source` is how its client was known, if one was, and `presumed`
    /// whether that was for want of a header. `None` where nothing can be said, such as of a check without a byte.
    #[must_use]
    pub fn of(outcome: Outcome, source: Option<IdentitySource>, presumed: bool, own: bool) -> Option<Self> {
        match (outcome, source) {
            (Outcome::UntrustedHeader | Outcome::HeaderRedundant, _) if !presumed => Some(Self::SentUnlisted),
            // One that came too late, from a peer that may send none.
            (Outcome::UntrustedHeader, _) => None,
            (Outcome::HeaderMissing | Outcome::HeaderTimeout, _) => Some(Self::SentNone),
            (_, Some(IdentitySource::Header(_))) => Some(Self::SentHeader),
            _ if own => Some(Self::SentHeader),
            (_, Some(IdentitySource::Direct)) if presumed => Some(Self::SentNone),
            (_, Some(IdentitySource::Direct)) => Some(Self::CameItself),
            _ => None,
        }
    }
}

/// A habit that the operator should know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Who.
    pub peer: IpAddr,
    /// Where.
    pub listener: Arc<str>,
    /// Which.
    pub habit: Habit,
    /// In how many connections.
    pub count: u64,
}

/// What is worth a remark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// It sends headers, and is not trusted.
    UnlistedHeaders,
    /// It is trusted, and never sent a header.
    NeverAHeader,
    /// Nearly all clients come from this one private address.
    HidesClients,
}

impl Habit {
    /// The stable name.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnlistedHeaders => "unlisted_headers",
            Self::NeverAHeader => "never_a_header",
            Self::HidesClients => "hides_clients",
        }
    }
}

impl Remark {
    /// What it means.
    #[must_use]
    pub fn cause(&self) -> String {
        let Self { peer, listener, count, .. } = self;
        match self.habit {
            Habit::UnlistedHeaders => {
                format!(
                    "{peer} is not trusted at {listener} and sent headers in {count} connections, which were refused"
                )
            }
            Habit::NeverAHeader => {
                format!("{peer} is trusted at {listener} and sent no header in any of {count} connections")
            }
            Habit::HidesClients => format!(
                "{count} connections at {listener}, nearly all, are clients from {peer}: a proxy that is not listed, or a gateway that hides who connects"
            ),
        }
    }

    /// What to change, and where.
    #[must_use]
    pub fn remedy(&self) -> String {
        let Self { peer, listener, .. } = self;
        match self.habit {
            Habit::UnlistedHeaders if is_near(*peer) => format!(
                "if {peer} is your proxy, add it: server.listener.{listener}.proxy.trusted-networks = [\"{peer}\"]"
            ),
            // Whoever is on the internet chooses its address: no line to paste.
            Habit::UnlistedHeaders => {
                "if it is your proxy, with a new address, list that; otherwise nothing: anyone on the internet can do this".to_owned()
            }
            Habit::NeverAHeader => format!(
                "if it is a proxy, switch its header on (`truepeer snippet` has the line); if its connections are its own, take {peer} out of proxy.trusted-networks, or point its checks at health-bind"
            ),
            Habit::HidesClients => format!(
                "if {peer} is a proxy, let it send a header and list it; if it is a gateway (Docker's bridge), let clients reach truepeer without it (network_mode: host), or set limits and bans with it in mind"
            ),
        }
    }
}

/// The habits of the peers of all listeners.
///
/// Memory: at most [`Habits::PEERS`] near or trusted peers and as many strangers for each listener, about 80 bytes each.
#[derive(Debug, Default)]
pub struct Habits {
    listeners: HashMap<Arc<str>, Listener>,
}

#[derive(Debug, Default)]
struct Listener {
    /// Connections of which it is known what their peer did.
    all: u64,
    /// Counts up with each of them, so that it is known who was silent longest.
    turn: u64,
    known: HashMap<IpAddr, Counts>,
    strangers: HashMap<IpAddr, Counts>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    headers: u64,
    none: u64,
    unlisted: u64,
    itself: u64,
    last_turn: u64,
}

impl Habits {
    /// Peers that are remembered for one listener, strangers and others each; the one that was silent longest is
    /// forgotten for a new one. They are kept apart, so that strangers do not make the operator's proxies forgotten.
    pub const PEERS: usize = 256;
    /// From so many connections on it is a habit to send none.
    pub const SILENT: u64 = 10;
    /// From so many connections on it is remarkable that nearly all come from one address.
    pub const MANY: u64 = 100;

    /// Notes what `peer` did at `listener`; the remark is there when it is due for the log.
    pub fn note(&mut self, listener: &Arc<str>, peer: PeerAddress, did: Did) -> Option<Remark> {
        let peer = peer.ip()?.to_canonical();
        let at = match self.listeners.get_mut(listener) {
            Some(at) => at,
            None => self.listeners.entry(Arc::clone(listener)).or_default(),
        };
        at.all = at.all.saturating_add(1);
        at.turn = at.turn.saturating_add(1);
        // Clients from everywhere are nobody's habit.
        if did == Did::CameItself && !is_near(peer) {
            return None;
        }
        let all = at.all;
        let counts = at.counts(peer, did);
        let remark = counts.remark(peer, all)?;
        let due = match did {
            Did::SentUnlisted => remark.0 == Habit::UnlistedHeaders,
            Did::SentNone => remark.0 == Habit::NeverAHeader,
            Did::CameItself => remark.0 == Habit::HidesClients,
            Did::SentHeader => false,
        };
        let (habit, count) = remark;
        (due && is_power_of_ten(count)).then(|| Remark { peer, listener: Arc::clone(listener), habit, count })
    }

    /// Every habit that holds now, those with most connections first.
    #[must_use]
    pub fn remarks(&self) -> Vec<Remark> {
        let mut found: Vec<_> = self
            .listeners
            .iter()
            .flat_map(|(listener, at)| {
                at.known.iter().chain(&at.strangers).filter_map(|(peer, counts)| {
                    let (habit, count) = counts.remark(*peer, at.all)?;
                    Some(Remark { peer: *peer, listener: Arc::clone(listener), habit, count })
                })
            })
            .collect();
        found.sort_by(|a, b| (b.count, &a.listener, a.peer).cmp(&(a.count, &b.listener, b.peer)));
        found
    }
}

impl Listener {
    fn counts(&mut self, peer: IpAddr, did: Did) -> &Counts {
        let turn = self.turn;
        let peers = match did == Did::SentUnlisted && !is_near(peer) {
            true => &mut self.strangers,
            false => &mut self.known,
        };
        if peers.len() >= Habits::PEERS && !peers.contains_key(&peer) {
            let silent = peers.iter().min_by_key(|(_, counts)| counts.last_turn).map(|(peer, _)| *peer);
            silent.map(|silent| peers.remove(&silent));
        }
        let counts = peers.entry(peer).or_default();
        counts.last_turn = turn;
        let count = match did {
            Did::SentHeader => &mut counts.headers,
            Did::SentNone => &mut counts.none,
            Did::SentUnlisted => &mut counts.unlisted,
            Did::CameItself => &mut counts.itself,
        };
        *count = count.saturating_add(1);
        counts
    }
}

impl Counts {
    /// The habit that these counts show, of `all` connections at the listener.
    fn remark(&self, peer: IpAddr, all: u64) -> Option<(Habit, u64)> {
        let most = all.saturating_sub(all / 10);
        if self.unlisted > 0 {
            Some((Habit::UnlistedHeaders, self.unlisted))
        } else if self.none >= Habits::SILENT && self.headers == 0 {
            Some((Habit::NeverAHeader, self.none))
        } else if self.itself >= Habits::MANY && self.itself >= most && !peer.is_loopback() {
            Some((Habit::HidesClients, self.itself))
        } else {
            None
        }
    }
}

fn is_power_of_ten(count: u64) -> bool {
    count.checked_ilog10().is_some_and(|digits| 10_u64.checked_pow(digits) == Some(count))
}

#[cfg(test)]
mod tests {
    use truepeer::proto::Version;

    use super::*;

    const DIRECT: Option<IdentitySource> = Some(IdentitySource::Direct);

    fn peer(ip: &str) -> PeerAddress {
        PeerAddress::Tcp(format!("{ip}:4711").parse().unwrap())
    }

    /// Says when each remark was made, and which hold at the end.
    fn after(events: impl IntoIterator<Item = (&'static str, Did)>) -> (Vec<String>, Vec<String>) {
        let (listener, mut habits) = (Arc::from("smtp"), Habits::default());
        let shown = |remark: &Remark| format!("{} {} {}", remark.peer, remark.habit.code(), remark.count);
        let said = events.into_iter().filter_map(|(ip, did)| habits.note(&listener, peer(ip), did));
        let said = said.map(|remark| shown(&remark)).collect();
        (said, habits.remarks().iter().map(shown).collect())
    }

    fn times(count: usize, ip: &'static str, did: Did) -> impl Iterator<Item = (&'static str, Did)> {
        std::iter::repeat_n((ip, did), count)
    }

    #[test]
    fn an_unlisted_sender_is_said_at_once_and_at_each_tenfold_count() {
        let (said, held) = after(times(120, "10.0.0.5", Did::SentUnlisted));
        assert_eq!(said, ["1", "10", "100"].map(|count| format!("10.0.0.5 unlisted_headers {count}")));
        assert_eq!(held, ["10.0.0.5 unlisted_headers 120"]);
    }

    #[test]
    fn a_trusted_peer_that_never_sends_is_said_after_ten_and_one_that_does_is_not() {
        let (said, held) = after(times(12, "10.0.0.5", Did::SentNone));
        assert_eq!(
            (said, held),
            (vec!["10.0.0.5 never_a_header 10".to_owned()], vec!["10.0.0.5 never_a_header 12".to_owned()])
        );
        let sends = times(1, "10.0.0.5", Did::SentHeader).chain(times(50, "10.0.0.5", Did::SentNone));
        assert_eq!(after(sends), (Vec::new(), Vec::new()));
    }

    #[test]
    fn a_private_address_is_remarkable_where_nearly_everybody_comes_from_it() {
        let crowd = || times(100, "172.18.0.1", Did::CameItself);
        assert_eq!(after(crowd()).0, ["172.18.0.1 hides_clients 100"]);
        // A monitor beside clients from everywhere, or beside proxies.
        let beside = times(40, "203.0.113.7", Did::CameItself);
        assert_eq!(after(beside.chain(crowd())), (Vec::new(), Vec::new()));
        let beside = times(40, "10.0.0.5", Did::SentHeader);
        assert_eq!(after(beside.chain(crowd())), (Vec::new(), Vec::new()));
        for other in ["127.0.0.1", "203.0.113.7"] {
            assert_eq!(after(times(500, other, Did::CameItself)), (Vec::new(), Vec::new()), "{other}");
        }
    }

    #[test]
    fn strangers_do_not_make_a_proxy_forgotten_and_there_is_a_bound() {
        let (listener, mut habits) = (Arc::from("smtp"), Habits::default());
        for _ in 0..Habits::SILENT {
            habits.note(&listener, peer("10.0.0.5"), Did::SentNone);
        }
        for number in 0..10_000_u32 {
            let ip = std::net::Ipv4Addr::from(0x0b00_0000 + number).to_string();
            habits.note(&listener, peer(&ip), Did::SentUnlisted);
        }
        let remarks = habits.remarks();
        assert_eq!(remarks.len(), Habits::PEERS + 1);
        assert_eq!(remarks.first().map(|remark| remark.habit), Some(Habit::NeverAHeader));
    }

    #[test]
    fn what_a_connection_shows_of_its_peer() {
        let header = Some(IdentitySource::Header(Version::V2));
        for (outcome, source, presumed, own, expected) in [
            (Outcome::Done, header, false, false, Some(Did::SentHeader)),
            (Outcome::AccessDenied, header, false, false, Some(Did::SentHeader)),
            (Outcome::OwnAnswered, None, false, true, Some(Did::SentHeader)),
            (Outcome::HeaderMissing, None, false, false, Some(Did::SentNone)),
            (Outcome::HeaderTimeout, None, false, false, Some(Did::SentNone)),
            (Outcome::Done, DIRECT, true, false, Some(Did::SentNone)),
            (Outcome::UntrustedHeader, DIRECT, false, false, Some(Did::SentUnlisted)),
            (Outcome::Done, DIRECT, false, false, Some(Did::CameItself)),
            (Outcome::HeaderEmpty, None, false, false, None),
            (Outcome::HeaderMalformed, None, false, false, None),
            (Outcome::UntrustedHeader, DIRECT, true, false, None),
        ] {
            assert_eq!(Did::of(outcome, source, presumed, own), expected, "{outcome:?}");
        }
    }

    #[test]
    fn only_a_near_peer_is_offered_a_line_to_paste() {
        let remark = |ip: &str, habit| Remark {
            peer: ip.parse().unwrap(),
            listener: Arc::from("smtp"),
            habit,
            count: 10,
        };
        assert!(
            remark("10.0.0.5", Habit::UnlistedHeaders).remedy().contains("trusted-networks = [\"10.0.0.5\"]")
        );
        assert!(!remark("203.0.113.7", Habit::UnlistedHeaders).remedy().contains("203.0.113.7"));
        for habit in [Habit::NeverAHeader, Habit::HidesClients] {
            assert!(remark("10.0.0.5", habit).cause().contains("10 connections"));
            assert!(remark("10.0.0.5", habit).remedy().contains("10.0.0.5"));
        }
    }
}
