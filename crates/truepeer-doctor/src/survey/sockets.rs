//! The kernel's tables of TCP sockets, `/proc/net/tcp` and `/proc/net/tcp6`: who listens where, and who is connected.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// The most sockets that are read of one table.
pub const MAX_SOCKETS: usize = 65_536;

/// A TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Socket {
    /// Its own end; an IPv4 address in IPv6 form is folded.
    pub local: SocketAddr,
    /// The other end, likewise; unspecified while it listens.
    pub peer: SocketAddr,
    /// What it does.
    pub state: State,
    /// The user who opened it.
    pub uid: u32,
    /// Its number, by which the processes that hold it are found; 0 where nobody does any more.
    pub inode: u64,
}

/// What a socket does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It takes connections.
    Listening,
    /// It is a connection, or was one a moment ago.
    Connected,
}

/// The sockets of `table`, in either form; lines that are none are passed over.
///
/// Bound: [`MAX_SOCKETS`]; of a longer table the first ones, which are those that listen.
#[must_use]
pub fn sockets(table: &str) -> Vec<Socket> {
    table.lines().filter_map(socket).take(MAX_SOCKETS).collect()
}

fn socket(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace();
    let _slot = fields.next()?;
    let (local, peer) = (end(fields.next()?)?, end(fields.next()?)?);
    let state = match fields.next()? {
        "0A" => State::Listening,
        // Established, or closing in any way; what is only being opened has told nobody anything.
        "01" | "04" | "05" | "06" | "08" | "09" | "0B" => State::Connected,
        _ => return None,
    };
    // Queues, timer and retransmissions stand between.
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(Socket { local, peer, state, uid, inode })
}

/// An address and a port in base 16, the address in words of the machine's own byte order.
fn end(text: &str) -> Option<SocketAddr> {
    let (addr, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    if addr.len() == 8 {
        return Some((Ipv4Addr::from(word(addr)?), port).into());
    }
    let mut octets = [0; 16];
    if addr.len() != octets.len().saturating_mul(2) {
        return None;
    }
    let (words, _) = octets.as_chunks_mut::<4>();
    for (at, four) in words.iter_mut().enumerate() {
        let from = at.saturating_mul(8);
        *four = word(addr.get(from..from.saturating_add(8))?)?;
    }
    Some((Ipv6Addr::from(octets).to_canonical(), port).into())
}

fn word(digits: &str) -> Option<[u8; 4]> {
    Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2729 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 4711 1 0000000000000000 100 0 0 10 0
   1: 020012AC:2729 010012AC:9C40 01 00000000:00000000 02:00000000 00000000     0        0 4712 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:9C42 0100007F:2729 02 00000001:00000000 01:00000000 00000000     0        0 4713 1 0000000000000000
";
    const V6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:03E1 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 815 1 0000000000000000 100 0 0 10 0
   1: 0000000000000000FFFF0000020012AC:03E1 0000000000000000FFFF0000010012AC:9C40 06 00000000:00000000 03:00000000 00000000     0        0 0 1 0000000000000000
   2: B80D0120000000000000000001000000:0019 B80D0120000000000000000007000000:9C40 01 00000000:00000000 00:00000000 00000000     0        0 816 1 0000000000000000
";

    fn shown(table: &str) -> Vec<String> {
        sockets(table)
            .iter()
            .map(|s| format!("{} {} {:?} {} {}", s.local, s.peer, s.state, s.uid, s.inode))
            .collect()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn listeners_and_connections_of_both_families_are_read() {
        assert_eq!(
            shown(V4),
            [
                "127.0.0.1:10025 0.0.0.0:0 Listening 101 4711",
                "172.18.0.2:10025 172.18.0.1:40000 Connected 0 4712",
            ]
        );
        assert_eq!(
            shown(V6),
            [
                "[::]:993 [::]:0 Listening 0 815",
                // An IPv4 peer of a socket for both families.
                "172.18.0.2:993 172.18.0.1:40000 Connected 0 0",
                "[2001:db8::1]:25 [2001:db8::7]:40000 Connected 0 816",
            ]
        );
    }

    #[test]
    fn odd_tables_hold_no_sockets() {
        for table in [
            "",
            "x",
            "0: 0100007F 00000000:0000 0A 0:0 0:0 0 0 0 1",
            "0: 0100007F:GGGG 00000000:0000 0A 0:0 0:0 0 0 0 1",
            "0: 0100007:0019 00000000:0000 0A 0:0 0:0 0 0 0 1",
            "0: 0100007F:0019 00000000:0000 0A 0:0 0:0 0 x 0 1",
            "0: 0100007F:0019 00000000:0000 0A",
            "0: \u{e4}\u{e4}\u{e4}\u{e4}:0019 00000000:0000 0A 0:0 0:0 0 0 0 1",
        ] {
            assert_eq!(shown(table), [""; 0], "{table:?}");
        }
        let long =
            "0: 0100007F:0019 00000000:0000 0A 0:0 0:0 0 0 0 1\n".repeat(MAX_SOCKETS.saturating_add(9));
        assert_eq!(sockets(&long).len(), MAX_SOCKETS);
    }
}
