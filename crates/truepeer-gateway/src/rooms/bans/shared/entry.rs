//! One entry of the store: text in, a checked change or the reason out.
//!
//! ```text
//! 192.0.2.7/32  1700000000123<TAB>1700003600123<TAB>3600<TAB>mx1<TAB>fail2ban sshd
//! ```
//!
//! The network is the key; then when it was ordered and when it ends (milliseconds by the store's clock), for how many
//! seconds it was ordered (0 lifts the ban), the node, the reason.

use core::fmt;
use std::time::Duration;

use ipnet::IpNet;

use super::SharedChange;
use crate::facts::network::parse_network;
use crate::rooms::bans::nodes::NodeName;
use crate::rooms::bans::order::{BanDuration, BanReason};

/// The store's clock: milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct StoreTime(pub u64);

impl StoreTime {
    /// So much later.
    #[must_use]
    pub fn after(self, passed: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; nothing if it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Ban or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ordered {
    /// Keep the network out.
    Ban {
        /// For how long it was ordered.
        lasts: BanDuration,
        /// Why.
        reason: BanReason,
    },
    /// Lift its ban.
    Lift,
}

/// What the store holds about one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreEntry {
    /// Whom it is about.
    pub network: IpNet,
    /// When it was ordered.
    pub at: StoreTime,
    /// When it ends.
    pub until: StoreTime,
    /// Ban or not.
    pub what: Ordered,
    /// Who gave the order.
    pub node: NodeName,
}

/// Why an entry is no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is longer than any that is written.
    Long,
    /// It is not written as above.
    Text,
    /// Its key is no network.
    Network,
    /// It names no node.
    Node,
    /// It was ordered in the future, or lasts longer than it says or than a ban may.
    Time,
}

impl StoreEntry {
    /// Reads one.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn decode(network: &[u8], value: &[u8]) -> Result<Self, Unfit> {
        if network.len() > MAX_NETWORK || value.len() > MAX_VALUE {
            return Err(Unfit::Long);
        }
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Unfit::Text);
        let network = parse_network(text(network)?).map_err(|_| Unfit::Network)?;
        let mut fields = text(value)?.splitn(FIELDS, '\t');
        let (Some(at), Some(until), Some(lasts), Some(node), Some(reason)) =
            (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(Unfit::Text);
        };
        let number = |text: &str| text.parse::<u64>().map_err(|_| Unfit::Text);
        let (at, until) = (StoreTime(number(at)?), StoreTime(number(until)?));
        let what = match number(lasts)? {
            0 => Ordered::Lift,
            lasts => Ordered::Ban {
                lasts: BanDuration::from_duration(Duration::from_secs(lasts)).map_err(|_| Unfit::Time)?,
                reason: BanReason::new(reason),
            },
        };
        let node = NodeName::new(node).ok_or(Unfit::Node)?;
        Ok(Self { network, at, until, what, node })
    }

    /// What it means at `now` for the node called `own`; nothing if it has ended.
    ///
    /// # Errors
    /// [`Unfit::Time`].
    pub fn judge(self, now: StoreTime, own: &NodeName) -> Result<Option<SharedChange>, Unfit> {
        if self.at > now.after(TOLERANCE) {
            return Err(Unfit::Time);
        }
        let Self { network, at, until, what, node } = self;
        let (lasts, reason) = match what {
            Ordered::Lift => return Ok(Some(SharedChange::Lift { network, node })),
            Ordered::Ban { lasts, reason } => (lasts, reason),
        };
        if until > at.after(Duration::from_secs(lasts.as_secs()).saturating_add(ROUNDING)) {
            return Err(Unfit::Time);
        }
        let (age, left) = (now.since(at), until.since(now));
        let node = (node != *own).then_some(node);
        Ok((!left.is_zero()).then_some(SharedChange::Ban { network, age, left, reason, node }))
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Long => "longer than any entry that truepeer writes",
            Self::Text => "not written as truepeer writes entries",
            Self::Network => "its key is no network",
            Self::Node => "it names no node",
            Self::Time => "ordered in the future, or for longer than it says or a ban may last",
        })
    }
}

/// How far the store's clock may be behind what it said before: it may be another machine's by now.
const TOLERANCE: Duration = Duration::from_secs(120);

/// Whole seconds are rounded up on the way from node to node.
const ROUNDING: Duration = Duration::from_secs(60);

/// Longer than any network.
const MAX_NETWORK: usize = 64;

/// Longer than three numbers, a node and a reason.
const MAX_VALUE: usize = 512;

const FIELDS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: StoreTime = StoreTime(1_700_000_000_000);

    fn read(network: &str, value: &str) -> Result<Option<SharedChange>, Unfit> {
        StoreEntry::decode(network.as_bytes(), value.as_bytes())?.judge(NOW, &NodeName::new("mx1").unwrap())
    }

    fn value(age: i64, left: i64, lasts: u64, node: &str, reason: &str) -> String {
        let at = |shift| NOW.0.checked_add_signed(shift).unwrap();
        format!("{}\t{}\t{lasts}\t{node}\t{reason}", at(0_i64.saturating_sub(age)), at(left))
    }

    #[test]
    fn an_entry_is_a_ban_with_what_it_has_left() {
        let ban = |node: Option<&str>| SharedChange::Ban {
            network: "192.0.2.0/24".parse().unwrap(),
            age: Duration::from_secs(10),
            left: Duration::from_millis(3_590_000),
            reason: BanReason::new("fail2ban sshd"),
            node: node.map(|node| NodeName::new(node).unwrap()),
        };
        for (key, node, expected) in [
            ("192.0.2.0/24", "mx2", Some("mx2")),
            // Host bits are cut, and what this node said itself names nobody.
            ("192.0.2.77/24", "mx1", None),
        ] {
            let value = value(10_000, 3_590_000, 3600, node, "fail2ban sshd");
            assert_eq!(read(key, &value), Ok(Some(ban(expected))));
        }
        let lift = read("192.0.2.7/32", &value(5, 60_000, 0, "mx2", ""));
        let expected = (NodeName::new("mx2").unwrap(), "192.0.2.7/32".parse().unwrap());
        assert!(
            matches!(&lift, Ok(Some(SharedChange::Lift { network, node })) if (node, network) == (&expected.0, &expected.1)),
            "{lift:?}"
        );
        assert_eq!(read("192.0.2.7/32", &value(7_200_000, -1, 7200, "mx2", "")), Ok(None));
    }

    #[test]
    fn what_nobody_may_write_is_no_order() {
        let fits = value(1000, 3_000_000, 3600, "mx2", "test");
        let year = 366 * 24 * 3600;
        for (key, value, expected) in [
            ("mail.example.org", fits.clone(), Unfit::Network),
            ("", fits.clone(), Unfit::Network),
            (&"1".repeat(65), fits.clone(), Unfit::Long),
            ("192.0.2.7", "x".repeat(513), Unfit::Long),
            ("192.0.2.7", String::new(), Unfit::Text),
            ("192.0.2.7", "1\t2\t3\tmx2".to_owned(), Unfit::Text),
            ("192.0.2.7", "-1\t2\t3\tmx2\t".to_owned(), Unfit::Text),
            ("192.0.2.7", value(1000, 3_000_000, 3600, "", "test"), Unfit::Node),
            ("192.0.2.7", value(1000, 3_000_000, 3600, "a b", "test"), Unfit::Node),
            // From a future that no clock explains, longer than it says, longer than any ban.
            ("192.0.2.7", value(-200_000, 3_000_000, 3600, "mx2", "test"), Unfit::Time),
            ("192.0.2.7", value(1000, 3_700_000, 3600, "mx2", "test"), Unfit::Time),
            ("192.0.2.7", value(1000, 3_000_000, year, "mx2", "test"), Unfit::Time),
        ] {
            assert_eq!(read(key, &value), Err(expected), "{key:?} {value:?}");
        }
        // Text of strangers stays one visible line.
        let Ok(Some(SharedChange::Ban { reason, .. })) =
            read("192.0.2.7", &value(0, 60_000, 60, "mx2", "a\tb\u{1b}[31m"))
        else {
            panic!("no ban");
        };
        assert_eq!(reason.as_str(), "a\\tb\\u{1b}[31m");
    }
}
