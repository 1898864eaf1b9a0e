//! TCP segments become the starts of streams: in order, without repetitions, bounded.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;

use super::Segment;

/// Says of the bytes so far whether more of them would tell anything.
pub type Enough = fn(&[u8]) -> bool;

/// The start of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Who connected.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// What it sent first, in order.
    pub bytes: Vec<u8>,
    /// Whether the connection's first packet is in the capture; without it, this is the first that was seen.
    pub from_the_beginning: bool,
}

/// The streams of a capture.
#[derive(Debug)]
pub struct Streams {
    enough: Enough,
    open: HashMap<Key, Open>,
    /// In the order in which they were opened.
    order: VecDeque<Key>,
    /// Of which enough was told already, or which is the other direction.
    done: HashSet<Key>,
}

type Key = (SocketAddr, SocketAddr);

#[derive(Debug)]
struct Open {
    /// The sequence number of the next byte.
    next: u32,
    bytes: Vec<u8>,
    /// Segments that came before their time.
    early: Vec<(u32, Vec<u8>)>,
    from_the_beginning: bool,
}

impl Streams {
    /// So many unfinished starts at once; then the oldest is told as it is.
    pub const OPEN_MAX: usize = 4096;
    /// The most that is kept of a start: the longest header that truepeer takes, and a little of what follows.
    pub const START_MAX: usize = 4096 + 16 + 128;
    /// Segments that are kept until those before them come.
    const EARLY_MAX: usize = 8;
    /// Streams that are remembered as told.
    const DONE_MAX: usize = 65_536;

    /// No streams yet.
    #[must_use]
    pub fn new(enough: Enough) -> Self {
        Self { enough, open: HashMap::new(), order: VecDeque::new(), done: HashSet::new() }
    }

    /// Takes a segment.
    pub fn take(&mut self, segment: &Segment<'_>, tell: &mut impl FnMut(Start)) {
        let key = (segment.from, segment.to);
        if segment.syn {
            if segment.ack {
                self.note_done(key);
            } else {
                // The same ports again are another connection.
                self.close(key, tell);
                self.done.remove(&key);
                self.begin(key, segment.sequence.wrapping_add(1), true, tell);
            }
        }
        if !segment.payload.is_empty()
            && !self.open.contains_key(&key)
            && !self.done.contains(&key)
            && !self.open.contains_key(&(key.1, key.0))
        {
            // The side that speaks first in a connection that began before the capture may be either side.
            self.note_done((key.1, key.0));
            self.begin(key, segment.sequence, false, tell);
        }
        if let Some(open) = self.open.get_mut(&key) {
            open.add(segment.sequence.wrapping_add(u32::from(segment.syn)), segment.payload);
            let full = open.bytes.len() >= Self::START_MAX;
            if segment.end || full || (!open.bytes.is_empty() && (self.enough)(&open.bytes)) {
                self.close(key, tell);
            }
        }
    }

    /// The capture ends.
    pub fn finish(&mut self, tell: &mut impl FnMut(Start)) {
        while let Some(key) = self.order.pop_front() {
            self.close(key, tell);
        }
    }

    fn begin(&mut self, key: Key, next: u32, from_the_beginning: bool, tell: &mut impl FnMut(Start)) {
        if self.open.len() >= Self::OPEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.close(oldest, tell);
        }
        self.order.push_back(key);
        let open = Open { next, bytes: Vec::new(), early: Vec::new(), from_the_beginning };
        self.open.insert(key, open);
        // Those that were told stay in the order until they come to its front.
        while self.order.len() > Self::OPEN_MAX.saturating_mul(2) {
            let Some(front) = self.order.pop_front() else { break };
            if self.open.contains_key(&front) {
                self.order.push_back(front);
            }
        }
    }

    fn close(&mut self, key: Key, tell: &mut impl FnMut(Start)) {
        let Some(open) = self.open.remove(&key) else { return };
        self.note_done(key);
        let Open { bytes, from_the_beginning, .. } = open;
        tell(Start { from: key.0, to: key.1, bytes, from_the_beginning });
    }

    fn note_done(&mut self, key: Key) {
        if self.done.len() >= Self::DONE_MAX {
            self.done.clear();
        }
        self.done.insert(key);
    }
}

impl Open {
    fn add(&mut self, sequence: u32, payload: &[u8]) {
        self.append(sequence, payload);
        while let Some(at) = self.early.iter().position(|(early, _)| !is_behind(*early, self.next)) {
            let (early, payload) = self.early.swap_remove(at);
            self.append(early, &payload);
        }
    }

    fn append(&mut self, sequence: u32, payload: &[u8]) {
        if payload.is_empty() {
            return;
        }
        if is_behind(sequence, self.next) {
            if self.early.len() < Streams::EARLY_MAX {
                let kept = payload.get(..Streams::START_MAX).unwrap_or(payload);
                self.early.push((sequence, kept.to_vec()));
            }
            return;
        }
        // What was sent again is skipped.
        let repeated = usize::try_from(self.next.wrapping_sub(sequence)).unwrap_or(usize::MAX);
        let Some(new) = payload.get(repeated..) else { return };
        let room = Streams::START_MAX.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(new.get(..room).unwrap_or(new));
        self.next = self.next.wrapping_add(u32::try_from(new.len()).unwrap_or(0));
    }
}

/// Whether `sequence` is further on than `next`, around the end of the numbers.
fn is_behind(sequence: u32, next: u32) -> bool {
    let distance = sequence.wrapping_sub(next);
    distance != 0 && distance < u32::MAX / 2
}
