//! IPv4 clients behind a translator: NAT64 and SIIT write their addresses into IPv6 ones (RFC 6052).
//!
//! Pure; knows nothing of trust. Which prefixes a network's translators use is for the operator to say.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use ipnet::Ipv6Net;

/// One prefix of a translator, such as `64:ff9b::/96`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nat64Prefix(Ipv6Net);

impl Nat64Prefix {
    /// The lengths that RFC 6052 defines. Source: RFC 6052 2.2.
    pub const LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];

    /// The IPv4 address inside `addr`; `None` if `addr` is not in this prefix or holds none.
    ///
    /// Source: RFC 6052 2.2 and 2.3: bits 64 to 71 are zero and are skipped.
    #[must_use]
    pub fn embedded(&self, addr: Ipv6Addr) -> Option<Ipv4Addr> {
        const SKIPPED: usize = 8;
        if !self.0.contains(&addr) {
            return None;
        }
        let octets = addr.octets();
        let from = usize::from(self.0.prefix_len() / 8);
        if octets.get(SKIPPED) != Some(&0) {
            return None;
        }
        // For /96 the skipped octet is inside the prefix.
        let mut inside =
            octets.iter().enumerate().skip(from).filter(|(at, _)| *at != SKIPPED).map(|(_, octet)| *octet);
        Some(Ipv4Addr::new(inside.next()?, inside.next()?, inside.next()?, inside.next()?))
    }
}

/// Folds `ip` to the IPv4 address that a translator with one of `prefixes` wrote into it; others stay as they are.
#[must_use]
pub(crate) fn fold_nat64(ip: IpAddr, prefixes: &[Nat64Prefix]) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    prefixes.iter().find_map(|prefix| prefix.embedded(v6)).map_or(ip, IpAddr::V4)
}

/// Why a text is no prefix of a translator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Nat64PrefixError {
    /// It is no IPv6 network.
    NotIpv6,
    /// Its length is none of [`Nat64Prefix::LENGTHS`].
    Length(u8),
    /// It has bits behind its length, or in octet 8, which must be zero.
    Bits,
}

impl FromStr for Nat64Prefix {
    type Err = Nat64PrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let net: Ipv6Net = text.parse().map_err(|_| Nat64PrefixError::NotIpv6)?;
        if !Self::LENGTHS.contains(&net.prefix_len()) {
            return Err(Nat64PrefixError::Length(net.prefix_len()));
        }
        if net != net.trunc() || net.addr().octets().get(8) != Some(&0) {
            return Err(Nat64PrefixError::Bits);
        }
        Ok(Self(net))
    }
}

impl fmt::Display for Nat64Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Nat64PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotIpv6 => f.write_str("an IPv6 prefix such as 64:ff9b::/96 is needed"),
            Self::Length(seen) => {
                write!(f, "length {seen} is not defined; allowed: 32, 40, 48, 56, 64, 96 (RFC 6052)")
            }
            Self::Bits => f.write_str("the bits behind the prefix, and bits 64 to 71, are zero (RFC 6052)"),
        }
    }
}

impl core::error::Error for Nat64PrefixError {}

impl From<Nat64PrefixError> for std::io::Error {
    fn from(error: Nat64PrefixError) -> Self {
        Self::new(std::io::ErrorKind::InvalidInput, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of RFC 6052 2.4, for 192.0.2.33.
    #[test]
    fn addresses_of_the_rfc_are_read() {
        for (prefix, addr) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
        ] {
            let prefix: Nat64Prefix = prefix.parse().unwrap();
            let ip = addr.parse().unwrap();
            assert_eq!(fold_nat64(ip, &[prefix]), IpAddr::from([192, 0, 2, 33]), "{prefix} {addr}");
        }
    }

    #[test]
    fn what_is_elsewhere_stays() {
        let prefix: Nat64Prefix = "64:ff9b::/96".parse().unwrap();
        for ip in ["2001:db8::1", "64:ff9b:1::192.0.2.33", "192.0.2.33"] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(fold_nat64(ip, &[prefix]), ip);
            assert_eq!(fold_nat64(ip, &[]), ip);
        }
        // Octet 8 must be zero.
        let short: Nat64Prefix = "2001:db8::/32".parse().unwrap();
        let ip: IpAddr = "2001:db8:c000:221:100::".parse().unwrap();
        assert_eq!(fold_nat64(ip, &[short]), ip);
    }

    #[test]
    fn a_prefix_is_shown_as_it_is_written() {
        for text in ["64:ff9b::/96", "2001:db8::/32"] {
            assert_eq!(text.parse::<Nat64Prefix>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_prefix_says_why() {
        for (text, error) in [
            ("192.0.2.0/24", Nat64PrefixError::NotIpv6),
            ("64:ff9b::", Nat64PrefixError::NotIpv6),
            ("64:ff9b::/95", Nat64PrefixError::Length(95)),
            ("64:ff9b::1/96", Nat64PrefixError::Bits),
            ("2001:db8:0:0:100::/96", Nat64PrefixError::Bits),
        ] {
            assert_eq!(text.parse::<Nat64Prefix>(), Err(error), "{text}");
        }
    }
}
