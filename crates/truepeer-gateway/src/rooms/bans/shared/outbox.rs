//! What this node has ordered and the others may not know yet.
//!
//! An order waits here until it is read back from the store's list of changes: until then it beats what others said of
//! the same network, since it comes behind them there. One that was sent and not read back is sent again after every
//! break of the connection; the store sees from its age that it is none the newer for that.
//! Bounded by [`MAX_PENDING`] networks: when more change while the store is away, bans are found out by the comparison
//! that follows anyway, and what was lifted is not; it is counted.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use ipnet::IpNet;

/// An order that was taken out to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Whom it is about.
    pub network: IpNet,
    /// Which order of this node.
    pub number: u64,
    /// When it was given.
    pub given: Instant,
    /// When the ban would have ended that it lifted, if it lifted one.
    pub lifted_end: Option<Instant>,
}

/// The orders.
#[derive(Debug, Default)]
pub struct Outbox {
    pending: HashMap<IpNet, Pending>,
    /// To be sent, oldest first; a network stands here at most once.
    queue: VecDeque<IpNet>,
    /// Sent and accepted, with the place in the list of changes where each stands.
    announced: VecDeque<(u64, IpNet, u64)>,
    given: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Pending {
    number: u64,
    given: Instant,
    lifted_end: Option<Instant>,
    queued: bool,
}

impl Outbox {
    /// Notes an order that was given at `now`; the latest one for a network counts.
    pub fn note(&mut self, network: IpNet, lifted_end: Option<Instant>, now: Instant) {
        if self.pending.len() >= MAX_PENDING && !self.pending.contains_key(&network) {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.given = self.given.saturating_add(1);
        let new = Pending { number: self.given, given: now, lifted_end, queued: true };
        let before = self.pending.insert(network, new);
        if before.is_none_or(|before| !before.queued) {
            self.queue.push_back(network);
        }
    }

    /// Takes up to `most` orders out to be sent.
    pub fn take(&mut self, most: usize) -> Vec<Sent> {
        let mut sent = Vec::new();
        while sent.len() < most
            && let Some(network) = self.queue.pop_front()
        {
            if let Some(pending) = self.pending.get_mut(&network) {
                pending.queued = false;
                let Pending { number, given, lifted_end, .. } = *pending;
                sent.push(Sent { network, number, given, lifted_end });
            }
        }
        sent
    }

    /// The store has taken it, as the change of that number.
    pub fn accepted(&mut self, sent: &Sent, change: u64) {
        self.announced.push_back((change, sent.network, sent.number));
    }

    /// The store knows something newer, or there is nothing left to tell.
    pub fn settled(&mut self, sent: &Sent) {
        self.forget(sent.network, sent.number);
    }

    /// The list of changes was read up to and including that number.
    pub fn read_up_to(&mut self, change: u64) {
        while let Some((at, network, number)) = self.announced.front().copied()
            && at <= change
        {
            self.announced.pop_front();
            self.forget(network, number);
        }
    }

    /// Whether an order of this node about `network` is still on its way.
    #[must_use]
    pub fn holds(&self, network: IpNet) -> bool {
        self.pending.contains_key(&network)
    }

    /// A new connection: everything that was not read back is to be sent again.
    pub fn begin_again(&mut self) {
        self.announced.clear();
        for (network, pending) in &mut self.pending {
            if !pending.queued {
                pending.queued = true;
                self.queue.push_back(*network);
            }
        }
    }

    /// Nothing is shared any more.
    pub fn clear(&mut self) {
        *self = Self { given: self.given, dropped: self.dropped, ..Self::default() };
    }

    /// Orders on their way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Orders that found it full, since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn forget(&mut self, network: IpNet, number: u64) {
        if self.pending.get(&network).is_some_and(|pending| pending.number == number) {
            self.pending.remove(&network);
        }
    }
}

/// Networks whose orders may be on their way at once, at most 120 bytes each.
const MAX_PENDING: usize = super::super::MAX_BANS;

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn networks(sent: &[Sent]) -> Vec<String> {
        sent.iter().map(|sent| sent.network.to_string()).collect()
    }

    #[test]
    fn an_order_is_on_its_way_until_it_is_read_back() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.note(net("192.0.2.1/32"), None, now);
        outbox.note(net("192.0.2.2/32"), None, now);
        let sent = outbox.take(10);
        assert_eq!(networks(&sent), ["192.0.2.1/32", "192.0.2.2/32"]);
        assert_eq!(outbox.take(10), []);
        outbox.accepted(&sent[0], 7);
        outbox.accepted(&sent[1], 8);
        outbox.read_up_to(7);
        assert!(!outbox.holds(net("192.0.2.1/32")) && outbox.holds(net("192.0.2.2/32")));
        outbox.read_up_to(8);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_newer_order_is_not_taken_for_the_one_that_was_sent() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        let network = net("192.0.2.1/32");
        outbox.note(network, None, now);
        let first = outbox.take(1);
        outbox.note(network, Some(now), now);
        outbox.accepted(&first[0], 7);
        outbox.read_up_to(7);
        assert!(outbox.holds(network));
        let second = outbox.take(1);
        assert_eq!(second[0].lifted_end, Some(now));
        outbox.settled(&first[0]);
        assert!(outbox.holds(network));
        outbox.settled(&second[0]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn after_a_break_everything_that_was_not_read_back_is_sent_again_once() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        for network in ["192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32"] {
            outbox.note(net(network), None, now);
        }
        let sent = outbox.take(2);
        outbox.accepted(&sent[0], 7);
        outbox.begin_again();
        outbox.begin_again();
        let mut again = networks(&outbox.take(10));
        again.sort();
        assert_eq!(again, ["192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32"]);
        // A number of the connection before means nothing any more.
        outbox.read_up_to(7);
        assert_eq!(outbox.len(), 3);
    }

    #[test]
    fn it_is_bounded_and_counts_what_it_dropped() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        for number in 0..u32::try_from(MAX_PENDING).unwrap() {
            outbox.note(IpNet::from(std::net::IpAddr::V4(number.into())), None, now);
        }
        outbox.note(net("203.0.113.7/32"), None, now);
        outbox.note(net("0.0.0.7/32"), Some(now), now);
        assert_eq!((outbox.len(), outbox.dropped()), (MAX_PENDING, 1));
        assert_eq!(outbox.queue.len(), MAX_PENDING);
    }
}
