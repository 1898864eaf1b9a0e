//! This machine's own addresses and default gateways, from the kernel's tables of routes and addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The most addresses that are kept of one table.
const MAX_ADDRESSES: usize = 1024;

/// The addresses of this machine in `/proc/net/fib_trie`, loopback included.
#[must_use]
pub fn own_v4(fib_trie: &str) -> Vec<IpAddr> {
    let (mut found, mut last) = (Vec::new(), None);
    for line in fib_trie.lines().map(str::trim) {
        if let Some(ip) = line.strip_prefix("|-- ") {
            last = ip.parse::<Ipv4Addr>().ok();
        } else if let Some(ip) = last.filter(|_| line == "/32 host LOCAL") {
            // It stands in the table of this machine's own and in the main one.
            if !found.contains(&IpAddr::V4(ip)) && found.len() < MAX_ADDRESSES {
                found.push(ip.into());
            }
        }
    }
    found
}

/// The addresses of this machine in `/proc/net/if_inet6`, loopback included.
#[must_use]
pub fn own_v6(if_inet6: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let digits = line.split_ascii_whitespace().next().filter(|digits| digits.len() == 32)?;
        Some(Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?).into())
    };
    if_inet6.lines().filter_map(address).take(MAX_ADDRESSES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_told_from_networks_and_broadcasts() {
        let trie = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 172.18.0.0/16 2 0 2
        |-- 172.18.0.0
           /16 link UNICAST
        |-- 172.18.0.2
           /32 host LOCAL
Local:
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 172.18.0.2
        /32 host LOCAL
     |-- 172.18.255.255
        /32 link BROADCAST
";
        let found: Vec<_> = own_v4(trie).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["172.18.0.2", "127.0.0.1"]);
        let table = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     fe80000000000000000000fffe000001 02 40 20 80     eth0\nx\n";
        let found: Vec<_> = own_v6(table).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["::1", "fe80::ff:fe00:1"]);
    }
}
