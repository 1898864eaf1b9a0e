//! Which TCP addresses of this machine somebody listens on, from `/proc/net`. Nothing is connected to.

use std::fs;
use std::net::SocketAddr;

use truepeer_doctor::survey::{State, sockets};

/// The addresses that are listened on in this network namespace; empty where the system does not tell.
#[must_use]
pub fn listening() -> Vec<SocketAddr> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    tables.iter().flat_map(|table| addresses(&fs::read_to_string(table).unwrap_or_default())).collect()
}

/// Those of `listening` at which a connection to `to` would arrive, widest first.
#[must_use]
pub fn reached(listening: &[SocketAddr], to: SocketAddr) -> Vec<SocketAddr> {
    let takes = |at: &SocketAddr| {
        at.port() == to.port()
            && (at.ip() == to.ip() || at.ip().is_unspecified() && (at.is_ipv6() || to.is_ipv4()))
    };
    let mut found: Vec<SocketAddr> = listening.iter().copied().filter(takes).collect();
    found.sort_by_key(|at| !at.ip().is_unspecified());
    found
}

fn addresses(table: &str) -> Vec<SocketAddr> {
    let listening = sockets(table).into_iter().filter(|socket| socket.state == State::Listening);
    listening.map(|socket| socket.local).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn listening_sockets_are_read_and_open_connections_are_not() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
             0: 00000000:0019 00000000:0000 0A 0:0 0:0 0 0 0 1\n\
             1: 0100007F:2729 00000000:0000 0A 0:0 0:0 0 0 0 1\n\
             2: 0100007F:2729 0100007F:C001 01 0:0 0:0 0 0 0 1\n";
        let found = addresses(table);
        assert_eq!(found, ["0.0.0.0:25".parse().unwrap(), "127.0.0.1:10025".parse::<SocketAddr>().unwrap()]);
        let six = "  1: 00000000000000000000000001000000:0019 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 1\n";
        assert_eq!(addresses(six), ["[::1]:25".parse::<SocketAddr>().unwrap()]);
    }

    #[test]
    fn a_wildcard_takes_connections_of_its_families() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let all = [at("127.0.0.1:25"), at("0.0.0.0:25"), at("[::]:26"), at("10.0.0.1:25")];
        assert_eq!(reached(&all, at("127.0.0.1:25")), [at("0.0.0.0:25"), at("127.0.0.1:25")]);
        assert_eq!(reached(&all, at("127.0.0.1:26")), [at("[::]:26")]);
        assert!(reached(&all, at("[::1]:25")).is_empty());
    }
}
