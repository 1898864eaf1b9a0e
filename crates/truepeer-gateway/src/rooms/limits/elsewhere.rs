//! Clients at other front doors: what this one tells of its busiest, and what it hears of theirs.
//!
//! Approximate by intention: counts are half a second old, and clients with few connections are not told. Each limit
//! is asked of this process' own table, where what is open elsewhere stands beside what is open here.
//! Pure: text in and out, see [`encode`]. Bounded: [`MAX_TOLD`] clients of each node, [`MAX_NODES`] nodes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::Ipv6Addr;

use super::Limits;
use super::table::Key;

/// A client group at a listener, and how many connections it has open at one front door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    /// The listener's name.
    pub listener: String,
    /// The group's first address, IPv4 in its v4-mapped form.
    pub first: Ipv6Addr,
    /// Connections.
    pub open: u16,
}

/// What was heard of others, so that what is not said any more is taken back.
#[derive(Debug, Default)]
pub struct Elsewhere(HashMap<(String, Ipv6Addr), u16>);

impl Limits {
    /// The busiest clients, those with most connections first: at most [`MAX_TOLD`], and only those who have a part of
    /// their limit here that matters among so many `nodes`.
    #[must_use]
    pub fn busiest(&self, nodes: usize) -> Vec<Busy> {
        let nodes = u32::try_from(nodes.max(1)).unwrap_or(u32::MAX);
        let listeners = self.names();
        let mut busy = Vec::new();
        for (key, open) in self.table.open() {
            let Some((name, limit)) = listeners.get(&key.listener()) else { continue };
            // What all together do not tell is a quarter of the limit at most.
            let least = limit.checked_div(nodes.saturating_mul(PARTS)).unwrap_or(1).max(1);
            if *limit > 0 && open >= least {
                let open = u16::try_from(open).unwrap_or(u16::MAX);
                busy.push(Busy { listener: name.to_string(), first: key.first(), open });
            }
        }
        busy.sort_by_key(|busy| std::cmp::Reverse(busy.open));
        busy.truncate(MAX_TOLD);
        busy
    }

    /// Counts what others have said, in the place of what they said before.
    pub fn count_elsewhere(&self, before: &mut Elsewhere, said: &[Vec<Busy>]) {
        let mut sums: HashMap<(String, Ipv6Addr), u16> = HashMap::new();
        for busy in said.iter().take(MAX_NODES).flat_map(|node| node.iter().take(MAX_TOLD)) {
            let sum = sums.entry((busy.listener.clone(), busy.first)).or_default();
            *sum = sum.saturating_add(busy.open);
        }
        let numbers: HashMap<String, u32> =
            self.names().into_iter().map(|(number, (name, _))| (name.to_string(), number)).collect();
        let gone = before.0.keys().filter(|known| !sums.contains_key(*known)).map(|known| (known, 0));
        let new = sums.iter().map(|(client, sum)| (client, *sum));
        for ((listener, first), sum) in gone.chain(new) {
            if let Some(number) = numbers.get(listener) {
                self.table.count_elsewhere(Key::of(*first, *number), sum);
            }
        }
        before.0 = sums;
    }
}

/// `LISTENER<TAB>ADDRESS<TAB>COUNT`, a line each.
#[must_use]
pub fn encode(busy: &[Busy]) -> String {
    let mut text = String::new();
    for Busy { listener, first, open } in busy {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{listener}\t{first}\t{open}");
    }
    text
}

/// Reads what [`encode`] wrote; lines that are none are left out.
#[must_use]
pub fn decode(text: &str) -> Vec<Busy> {
    let line = |line: &str| {
        let mut fields = line.split('\t');
        let listener = fields.next().filter(|name| name.len() <= MAX_NAME)?.to_owned();
        let (first, open) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Busy { listener, first, open })
    };
    text.lines().take(MAX_TOLD).filter_map(line).collect()
}

/// Clients that one front door tells of.
pub const MAX_TOLD: usize = 1000;
/// Front doors that are listened to.
pub const MAX_NODES: usize = 64;
/// A client is told from this part of its share on.
const PARTS: u32 = 4;
/// The longest name of a listener.
const MAX_NAME: usize = 64;
