//! The programs, step by step.
//!
//! `adopt` runs when a backend's connection is established, before its accept can return: it moves a pending label to
//! the connection's own storage. The others run when somebody asks a socket for a name: they answer with the label of
//! that very socket, if it has one. A socket without a label is left as it is by all of them.

use std::os::fd::RawFd;

use super::layout::{State, key, pending};
use crate::engine::bpf::{Assembler, Compare, NoSuchPlace, Register, Width, helper};

use Register::{R0, R1, R2, R3, R4, R6, R7, R8, R9, R10};
use Width::{Double, Half, Word};

/// Offsets in `struct bpf_sock_ops`.
mod operations {
    pub(super) const OPERATION: i16 = 0;
    pub(super) const FAMILY: i16 = 20;
    pub(super) const REMOTE_IP4: i16 = 24;
    pub(super) const LOCAL_IP4: i16 = 28;
    pub(super) const REMOTE_IP6: i16 = 32;
    pub(super) const LOCAL_IP6: i16 = 48;
    pub(super) const REMOTE_PORT: i16 = 64;
    pub(super) const LOCAL_PORT: i16 = 68;
    pub(super) const SOCKET: i16 = 184;
    /// A connection that came to a listening socket stands.
    pub(super) const PASSIVE_ESTABLISHED: i32 = 5;
}

/// Offsets in `struct bpf_sock_addr`.
mod name {
    pub(super) const IP4: i16 = 4;
    pub(super) const IP6: i16 = 8;
    pub(super) const PORT: i16 = 24;
    pub(super) const SOCKET: i16 = 64;
}

/// Where `adopt` puts the key, below the end of its stack.
const KEY_AT: i16 = -40;
const AF_INET: i32 = 2;
/// What an address holds at its bytes 8 to 12, if it is IPv4 in the mapped form.
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
/// The result that changes nothing but what the program has written.
const GO_ON: i32 = 1;

/// Which name of a socket is asked for, and of what family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// Who is at the other end.
    Client,
    /// Where it wanted to go.
    Destination,
}

/// The family of the socket that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// Moves what is pending for a new connection to the connection's storage, and notes that in what was pending.
pub(super) fn adopt(pending_map: RawFd, kept: RawFd) -> Result<Vec<u8>, NoSuchPlace> {
    let mut a = Assembler::default();
    let (v6, ports, here, store, fits, late, unfit, out) =
        (a.label(), a.label(), a.label(), a.label(), a.label(), a.label(), a.label(), a.label());
    a.copy(R6, R1);
    a.load(Word, R1, R6, operations::OPERATION);
    a.jump_if(R1, Compare::IsNot(operations::PASSIVE_ESTABLISHED), out);

    // The key: the other end is ours, the local end is the backend's.
    a.load(Word, R1, R6, operations::FAMILY);
    a.jump_if(R1, Compare::IsNot(AF_INET), v6);
    for (at, from) in [(key::OURS, operations::REMOTE_IP4), (key::BACKENDS, operations::LOCAL_IP4)] {
        let at = KEY_AT.wrapping_add(at);
        a.set(R1, 0);
        a.store(Double, R10, at, R1);
        a.set_word(R1, MAPPED);
        a.store(Word, R10, at.wrapping_add(8), R1);
        a.load(Word, R1, R6, from);
        a.store(Word, R10, at.wrapping_add(12), R1);
    }
    a.jump(ports);
    a.place(v6);
    for (at, from) in [(key::OURS, operations::REMOTE_IP6), (key::BACKENDS, operations::LOCAL_IP6)] {
        for word in [0, 4, 8, 12] {
            a.load(Word, R1, R6, from.wrapping_add(word));
            a.store(Word, R10, KEY_AT.wrapping_add(at).wrapping_add(word), R1);
        }
    }
    a.place(ports);
    // The remote port is in network order at the upper end of its word; the local one is in this machine's.
    a.load(Word, R1, R6, operations::REMOTE_PORT);
    a.swap_to_network(R1, Word);
    a.swap_to_network(R1, Half);
    a.store(Half, R10, KEY_AT.wrapping_add(key::OUR_PORT), R1);
    a.load(Word, R1, R6, operations::LOCAL_PORT);
    a.swap_to_network(R1, Half);
    a.store(Half, R10, KEY_AT.wrapping_add(key::BACKENDS_PORT), R1);

    // Is something pending that nobody has taken, in time, and for this namespace?
    a.load_map(R1, pending_map);
    a.copy(R2, R10);
    a.add(R2, KEY_AT.into());
    a.call(helper::MAP_LOOKUP);
    a.jump_if(R0, Compare::Is(0), out);
    a.copy(R7, R0);
    a.load(Word, R1, R7, pending::STATE);
    a.jump_if(R1, Compare::IsNot(State::Pending.number()), out);
    a.load(Double, R8, R7, pending::NETNS);
    a.jump_if(R8, Compare::Is(0), here);
    a.copy(R1, R6);
    a.call(helper::NETNS_COOKIE);
    a.jump_if(R0, Compare::Differs(R8), out);
    a.place(here);
    a.call(helper::KTIME);
    a.load(Double, R1, R7, pending::DEADLINE);
    a.jump_if(R0, Compare::Above(R1), late);

    // Can this socket say the client's address? One of IPv4 says IPv4 only.
    a.set(R9, State::Taken.number());
    a.load(Word, R1, R6, operations::FAMILY);
    a.jump_if(R1, Compare::IsNot(AF_INET), fits);
    a.load(Double, R1, R7, pending::CLIENT);
    let other = a.label();
    a.jump_if(R1, Compare::IsNot(0), other);
    a.load(Word, R1, R7, pending::CLIENT.wrapping_add(8));
    a.jump_if(R1, Compare::WordIsNot(MAPPED), other);
    a.jump(fits);
    a.place(other);
    a.load(Word, R1, R7, pending::SUBSTITUTE);
    a.jump_if(R1, Compare::Is(0), unfit);
    a.set(R9, State::TakenAsSubstitute.number());
    a.place(fits);

    // First the socket has it, then it is said to be taken.
    a.load(Double, R2, R6, operations::SOCKET);
    a.jump_if(R2, Compare::Is(0), out);
    a.load_map(R1, kept);
    a.set(R3, 0);
    a.set(R4, CREATE);
    a.call(helper::SOCKET_STORAGE);
    a.jump_if(R0, Compare::Is(0), out);
    for at in [0, 8, 16, 24] {
        a.load(Double, R1, R7, at);
        a.store(Double, R0, at, R1);
    }
    a.load(Word, R1, R7, pending::CLIENT_PORT);
    a.store(Word, R0, pending::CLIENT_PORT, R1);
    a.jump_if(R9, Compare::Is(State::Taken.number()), store);
    a.set(R1, 0);
    a.store(Double, R0, pending::CLIENT, R1);
    a.set_word(R1, MAPPED);
    a.store(Word, R0, pending::CLIENT.wrapping_add(8), R1);
    a.load(Word, R1, R7, pending::SUBSTITUTE);
    a.store(Word, R0, pending::CLIENT.wrapping_add(12), R1);
    a.place(store);
    a.store(Word, R7, pending::STATE, R9);
    a.jump(out);

    a.place(late);
    a.set(R1, State::Late.number());
    a.store(Word, R7, pending::STATE, R1);
    a.jump(out);
    a.place(unfit);
    a.set(R1, State::Inexpressible.number());
    a.store(Word, R7, pending::STATE, R1);
    a.place(out);
    a.end(GO_ON);
    a.finish()
}

/// Storage is made if there is none.
const CREATE: i32 = 1;

/// Answers with what is kept beside the socket that is asked, if it can be said in the socket's family.
pub(super) fn answer(kept: RawFd, asked: Name, family: Family) -> Result<Vec<u8>, NoSuchPlace> {
    let (ip, port) = match asked {
        Name::Client => (pending::CLIENT, pending::CLIENT_PORT),
        Name::Destination => (pending::DESTINATION, pending::DESTINATION_PORT),
    };
    let mut a = Assembler::default();
    let out = a.label();
    a.copy(R6, R1);
    a.load(Double, R2, R6, name::SOCKET);
    a.jump_if(R2, Compare::Is(0), out);
    a.load_map(R1, kept);
    a.set(R3, 0);
    a.set(R4, 0);
    a.call(helper::SOCKET_STORAGE);
    a.jump_if(R0, Compare::Is(0), out);
    a.load(Half, R7, R0, port);
    // A destination without a port was not told; a client without one keeps the connection's.
    if asked == Name::Destination {
        a.jump_if(R7, Compare::Is(0), out);
    }
    match family {
        Family::V4 => {
            a.load(Double, R1, R0, ip);
            a.jump_if(R1, Compare::IsNot(0), out);
            a.load(Word, R1, R0, ip.wrapping_add(8));
            a.jump_if(R1, Compare::WordIsNot(MAPPED), out);
            a.load(Word, R1, R0, ip.wrapping_add(12));
            a.store(Word, R6, name::IP4, R1);
        }
        Family::V6 => {
            for word in [0, 4, 8, 12] {
                a.load(Word, R1, R0, ip.wrapping_add(word));
                a.store(Word, R6, name::IP6.wrapping_add(word), R1);
            }
        }
    }
    a.jump_if(R7, Compare::Is(0), out);
    a.store(Word, R6, name::PORT, R7);
    a.place(out);
    a.end(GO_ON);
    a.finish()
}
