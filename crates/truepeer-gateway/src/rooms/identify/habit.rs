//! What peers do again and again, so that a wrong list of proxies shows while the front door runs.
//!
//! Three habits are worth a remark: an unlisted peer that sends headers, a trusted one that never sends any, and a
//! private address from which nearly everybody comes. Counted in `acquaintances`; the log says a remark when it first
//! holds and at each tenfold count, the status says all that hold.

use std::net::IpAddr;
use std::sync::Arc;

use truepeer::IdentitySource;
use truepeer_doctor::change;

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
    /// Writes it to the log.
    pub fn say(&self) {
        let (listener, peer) = (&*self.listener, self.peer.to_string());
        let (habit, count, cause, remedy) = (self.habit.code(), self.count, self.cause(), self.remedy());
        tracing::info!(event = "peer_habit", listener, peer, habit, count, cause, remedy);
    }

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
            Habit::UnlistedHeaders if is_near(*peer) => {
                format!("if {peer} is your proxy, {}", change::trust(listener, peer))
            }
            // Anyone who is on the internet chooses its address: no line to paste.
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

#[cfg(test)]
mod tests {
    use truepeer::proto::Version;

    use super::*;

    const DIRECT: Option<IdentitySource> = Some(IdentitySource::Direct);

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
        assert!(remark("10.0.0.5", Habit::UnlistedHeaders).remedy().contains("add 10.0.0.5 to"));
        assert!(!remark("203.0.113.7", Habit::UnlistedHeaders).remedy().contains("203.0.113.7"));
        for habit in [Habit::NeverAHeader, Habit::HidesClients] {
            assert!(remark("10.0.0.5", habit).cause().contains("10 connections"));
            assert!(remark("10.0.0.5", habit).remedy().contains("10.0.0.5"));
        }
    }
}
