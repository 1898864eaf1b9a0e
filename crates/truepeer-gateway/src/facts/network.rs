//! Networks as people write them: one address or network in, a folded network or the reason out.
//!
//! The one place where such a text is read: for settings, list files, bans, commands and the admin socket, so that all
//! take the same text for the same network. What to write instead is said by the caller, who knows where the text
//! stands. Knows no file, no list and no policy.

use core::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// Reads `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/32` and the like.
///
/// Host bits are cut off (`192.0.2.77/24` is `192.0.2.0/24`) and v4-mapped IPv6 becomes IPv4, as everywhere.
///
/// # Errors
/// [`NetworkError`], the closest reason: host names, ranges, netmasks and zone ids are not networks.
pub fn parse_network(text: &str) -> Result<IpNet, NetworkError> {
    parse_written(text).map(|written| written.trunc())
}

/// As [`parse_network`], with the bits behind the prefix as they were written: they may be a mistake.
///
/// # Errors
/// As [`parse_network`].
pub fn parse_written(text: &str) -> Result<IpNet, NetworkError> {
    let (addr, len) = match text.split_once('/') {
        Some((addr, len)) => (addr, Some(len)),
        None => (text, None),
    };
    let addr: IpAddr = addr.parse().map_err(|_| NetworkError::NotAnAddress)?;
    let widest = if addr.is_ipv4() { 32 } else { 128 };
    let len = match len {
        None => widest,
        // `u8::from_str` would take a sign.
        Some(len) if len.bytes().all(|byte| byte.is_ascii_digit()) => {
            len.parse().map_err(|_| NetworkError::PrefixLength { most: widest })?
        }
        Some(_) => return Err(NetworkError::PrefixLength { most: widest }),
    };
    let network = IpNet::new(addr, len).map_err(|_| NetworkError::PrefixLength { most: widest })?;
    Ok(fold_written(network))
}

/// Cuts off host bits and turns a v4-mapped IPv6 network into the IPv4 network that it means.
#[must_use]
pub fn fold(network: IpNet) -> IpNet {
    fold_written(network.trunc())
}

fn fold_written(network: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let IpNet::V6(v6) = network else { return network };
    let (Some(v4), Some(len)) =
        (Ipv6Addr::to_ipv4_mapped(&v6.addr()), v6.prefix_len().checked_sub(MAPPED_BITS))
    else {
        return network;
    };
    Ipv4Net::new(v4, len).map_or(network, IpNet::V4)
}

/// Whether a folded network is so wide that a machine must not shut it out: wider than /8 (IPv4) or /16 (IPv6).
///
/// One such line in a feed locks out half the world; what an operator writes into the configuration is not asked.
#[must_use]
pub fn is_too_wide(network: IpNet) -> bool {
    match network {
        IpNet::V4(net) => net.prefix_len() < WIDEST_V4,
        IpNet::V6(net) => net.prefix_len() < WIDEST_V6,
    }
}

/// Why a text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkError {
    /// The part before the slash is no IP address.
    NotAnAddress,
    /// The part behind the slash is no prefix length of this family.
    PrefixLength {
        /// The longest prefix: 32 or 128.
        most: u8,
    },
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnAddress => f.write_str("not an IP address or network"),
            Self::PrefixLength { most } => write!(f, "the prefix length must be a number from 0 to {most}"),
        }
    }
}

impl std::error::Error for NetworkError {}

/// The widest IPv4 network that a machine may shut out.
pub const WIDEST_V4: u8 = 8;
/// The widest IPv6 network that a machine may shut out.
pub const WIDEST_V6: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_as_people_write_them() {
        for (text, network) in [
            ("192.0.2.1", "192.0.2.1/32"),
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("192.0.2.0/024", "192.0.2.0/24"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("2001:DB8:ffff::/32", "2001:db8::/32"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:0:0/95", "::fffe:0:0/95"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(parse_network(text), Ok(network.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_no_network_says_why() {
        let address = Err(NetworkError::NotAnAddress);
        let v4 = Err(NetworkError::PrefixLength { most: 32 });
        let v6 = Err(NetworkError::PrefixLength { most: 128 });
        for (text, expected) in [
            ("", address),
            ("/24", address),
            ("mail.example.org", address),
            ("192.0.2", address),
            ("192.0.2.01", address),
            ("192.0.2.256", address),
            ("192.0.2.1-192.0.2.9", address),
            ("192.0.2.1:25", address),
            ("[2001:db8::1]", address),
            ("fe80::1%eth0", address),
            ("192.0.2.1,spam", address),
            ("192.0.2.0/33", v4),
            ("192.0.2.0/", v4),
            ("192.0.2.0/+8", v4),
            ("192.0.2.0/-1", v4),
            ("192.0.2.0/256", v4),
            ("192.0.2.0/255.255.255.0", v4),
            ("192.0.2.0/24/24", v4),
            ("2001:db8::/129", v6),
        ] {
            assert_eq!(parse_network(text), expected, "{text}");
        }
    }

    #[test]
    fn too_wide_begins_above_8_and_16() {
        for (text, too_wide) in [
            ("10.0.0.0/8", false),
            ("10.0.0.0/7", true),
            ("0.0.0.0/0", true),
            ("::ffff:0:0/96", true),
            ("2001::/16", false),
            ("2000::/15", true),
        ] {
            assert_eq!(is_too_wide(parse_network(text).unwrap()), too_wide, "{text}");
        }
    }
}
