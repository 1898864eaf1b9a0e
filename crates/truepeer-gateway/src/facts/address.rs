//! What an address alone says.

use std::net::IpAddr;

/// Private, loopback and link-local addresses: what a proxy of one's own usually has.
#[must_use]
pub fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}
