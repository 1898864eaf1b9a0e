//! What truepeer and its programs in the kernel tell each other: the bytes of a pending label, of its key, and of what
//! is kept beside a socket.
//!
//! Pure. Addresses are 16 bytes, IPv4 in the mapped form; ports are in network order; the rest is in this machine's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Label;

/// Bytes of a key: both ends of a connection, as the backend sees them.
pub(super) const KEY: usize = 36;
/// Bytes of a pending label.
pub(super) const PENDING: usize = 64;
/// Bytes of what is kept beside a socket: the beginning of a pending label.
pub(super) const KEPT: usize = 36;

/// Where things stand in a key.
pub(super) mod key {
    /// Our end's address.
    pub(crate) const OURS: i16 = 0;
    /// The backend's address.
    pub(crate) const BACKENDS: i16 = 16;
    /// Our end's port.
    pub(crate) const OUR_PORT: i16 = 32;
    /// The backend's port.
    pub(crate) const BACKENDS_PORT: i16 = 34;
}

/// Where things stand in a pending label; up to the ports, also in what is kept.
pub(super) mod pending {
    /// The client's address.
    pub(crate) const CLIENT: i16 = 0;
    /// Where the client wanted to go; zero if the backend is not told.
    pub(crate) const DESTINATION: i16 = 16;
    /// The client's port; 0 if it is not known: then the connection's own is shown.
    pub(crate) const CLIENT_PORT: i16 = 32;
    /// The destination's port; 0 if the backend is not told of the destination.
    pub(crate) const DESTINATION_PORT: i16 = 34;
    /// The IPv4 address that stands for a client of IPv6 where only IPv4 can be said; 0 if none does.
    pub(crate) const SUBSTITUTE: i16 = 36;
    /// Until when it may be taken, on the clock that never jumps, in nanoseconds.
    pub(crate) const DEADLINE: i16 = 40;
    /// The only network namespace in which it may be taken; 0 for any.
    pub(crate) const NETNS: i16 = 48;
    /// What became of it: the one field that the kernel's program writes.
    pub(crate) const STATE: i16 = 56;
}

/// What became of a pending label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody has taken it.
    Pending,
    /// The backend's socket has it.
    Taken,
    /// The backend's socket has it, with the substitute for the client's address.
    TakenAsSubstitute,
    /// The backend's socket cannot say an address of IPv6.
    Inexpressible,
    /// Its time was over.
    Late,
}

impl State {
    pub(super) const fn number(self) -> i32 {
        match self {
            Self::Pending => 0,
            Self::Taken => 1,
            Self::TakenAsSubstitute => 2,
            Self::Inexpressible => 3,
            Self::Late => 4,
        }
    }

    /// What a pending label says of itself; what it cannot say counts as not taken.
    pub(super) fn of(bytes: &[u8; PENDING]) -> Self {
        let (_, state) = bytes.split_at(STATE_AT);
        let state = state.first_chunk().map_or(0, |state| i32::from_ne_bytes(*state));
        let all = [Self::Taken, Self::TakenAsSubstitute, Self::Inexpressible, Self::Late];
        all.into_iter().find(|one| one.number() == state).unwrap_or(Self::Pending)
    }

    /// The deadline of a pending label.
    pub(super) fn deadline(bytes: &[u8; PENDING]) -> u64 {
        let (_, deadline) = bytes.split_at(DEADLINE_AT);
        deadline.first_chunk().map_or(0, |deadline| u64::from_ne_bytes(*deadline))
    }
}

const DEADLINE_AT: usize = 40;
const STATE_AT: usize = 56;

/// The key of a connection from `ours` to `backend`.
pub(super) fn key(ours: SocketAddr, backend: SocketAddr) -> [u8; KEY] {
    let mut bytes = [0; KEY];
    let parts = [
        &octets(ours.ip())[..],
        &octets(backend.ip()),
        &ours.port().to_be_bytes(),
        &backend.port().to_be_bytes(),
    ];
    fill(&mut bytes, &parts);
    bytes
}

/// A label that nobody has taken yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) client: SocketAddr,
    pub(super) destination: Option<SocketAddr>,
    pub(super) substitute: Option<Ipv4Addr>,
    pub(super) deadline: u64,
    pub(super) netns: u64,
}

impl Pending {
    pub(super) fn to_bytes(self) -> [u8; PENDING] {
        let mut bytes = [0; PENDING];
        let destination = self.destination.map_or([0; 16], |destination| octets(destination.ip()));
        let parts = [
            &octets(self.client.ip())[..],
            &destination,
            &self.client.port().to_be_bytes(),
            &self.destination.map_or(0, |destination| destination.port()).to_be_bytes(),
            &self.substitute.map_or([0; 4], |substitute| substitute.octets()),
            &self.deadline.to_ne_bytes(),
            &self.netns.to_ne_bytes(),
        ];
        fill(&mut bytes, &parts);
        bytes
    }
}

/// What is kept beside a socket that is to say `label`.
pub(super) fn kept(label: Label) -> [u8; KEPT] {
    let Label { client, destination, substitute } = label;
    let whole = Pending { client, destination, substitute, deadline: 0, netns: 0 }.to_bytes();
    whole.first_chunk().copied().unwrap_or([0; KEPT])
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn fill(bytes: &mut [u8], parts: &[&[u8]]) {
    for (byte, part) in bytes.iter_mut().zip(parts.iter().copied().flatten()) {
        *byte = *part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(bytes: &[u8], place: i16, len: usize) -> &[u8] {
        let place = usize::try_from(place).unwrap();
        &bytes[place..][..len]
    }

    #[test]
    fn a_pending_label_is_laid_out_as_its_program_reads_it() {
        let label = Pending {
            client: "203.0.113.7:4711".parse().unwrap(),
            destination: Some("[2001:db8::25]:25".parse().unwrap()),
            substitute: Some([192, 0, 2, 6].into()),
            deadline: 7,
            netns: 9,
        };
        let bytes = label.to_bytes();
        assert_eq!(at(&bytes, pending::CLIENT, 16), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 203, 0, 113, 7]);
        assert_eq!(at(&bytes, pending::DESTINATION, 4), [0x20, 0x01, 0x0d, 0xb8]);
        assert_eq!(at(&bytes, pending::CLIENT_PORT, 2), [0x12, 0x67]);
        assert_eq!(at(&bytes, pending::DESTINATION_PORT, 2), [0, 25]);
        assert_eq!(at(&bytes, pending::SUBSTITUTE, 4), [192, 0, 2, 6]);
        assert_eq!(at(&bytes, pending::DEADLINE, 8), 7_u64.to_ne_bytes());
        assert_eq!(State::deadline(&bytes), 7);
        assert_eq!(at(&bytes, pending::NETNS, 8), 9_u64.to_ne_bytes());
        assert_eq!(State::of(&bytes), State::Pending);
        assert_eq!(usize::try_from(pending::STATE).unwrap(), STATE_AT);
    }

    #[test]
    fn a_key_has_both_ends() {
        let bytes = key("127.0.0.1:1".parse().unwrap(), "[::1]:25".parse().unwrap());
        assert_eq!(at(&bytes, key::OURS, 16)[10..], [255, 255, 127, 0, 0, 1]);
        assert_eq!(at(&bytes, key::BACKENDS, 16)[15], 1);
        assert_eq!(
            (at(&bytes, key::OUR_PORT, 2), at(&bytes, key::BACKENDS_PORT, 2)),
            (&[0, 1][..], &[0, 25][..])
        );
    }

    #[test]
    fn what_was_not_taken_for_certain_was_not_taken() {
        let mut bytes = [0; PENDING];
        for (number, state) in [
            (0, State::Pending),
            (1, State::Taken),
            (2, State::TakenAsSubstitute),
            (3, State::Inexpressible),
            (4, State::Late),
            (5, State::Pending),
            (-1, State::Pending),
        ] {
            bytes[STATE_AT..STATE_AT + 4].copy_from_slice(&i32::to_ne_bytes(number));
            assert_eq!(State::of(&bytes), state, "{number}");
        }
    }
}
