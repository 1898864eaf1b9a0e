//! What a configuration cannot say itself, read from the system: its name, its default gateways, who started us.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use crate::rooms::access::{ListFile, ListFileError};

/// What a configuration cannot say itself.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The name of this system.
    pub hostname: String,
    /// The default gateways of this machine; a trusted network that holds one draws advice.
    pub default_gateways: Vec<IpAddr>,
    /// Where the configuration's relative paths count from.
    pub directory: PathBuf,
    /// The users of this machine, as in /etc/passwd.
    pub users: String,
    /// How its list files are read.
    pub read_list: fn(&Path) -> Result<ListFile, ListFileError>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            hostname: String::new(),
            default_gateways: Vec::new(),
            directory: PathBuf::new(),
            users: String::new(),
            read_list: ListFile::read,
        }
    }
}

/// A route that goes through a gateway (RTF_GATEWAY).
const THROUGH_GATEWAY: u32 = 2;

/// Reads them. What the system does not tell stays empty, and then draws no advice.
#[must_use]
pub fn read() -> Surroundings {
    let table = |path| fs::read_to_string(path).unwrap_or_default();
    let default_gateways =
        default_gateways(&table("/proc/self/net/route"), &table("/proc/self/net/ipv6_route"));
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    Surroundings { hostname, default_gateways, users, ..Surroundings::default() }
}

/// Whether a service manager started this process, or it is PID 1: then nobody sits in front of it.
#[must_use]
pub fn is_supervised() -> bool {
    let pid = std::process::id();
    let exec_pid = std::env::var("SYSTEMD_EXEC_PID").ok().and_then(|text| text.parse().ok());
    let of_manager = |name| std::env::var_os(name).is_some();
    // Older managers set only what every shell below them inherits; but then they are our parent.
    let child_of_manager = || rustix::process::getppid().is_some_and(rustix::process::Pid::is_init);
    pid == 1
        || exec_pid == Some(pid)
        || of_manager("NOTIFY_SOCKET")
        || (of_manager("INVOCATION_ID") && child_of_manager())
}

/// The default gateways in the kernel's tables of routes, `/proc/net/route` and `/proc/net/ipv6_route`.
#[must_use]
pub fn default_gateways(route: &str, ipv6_route: &str) -> Vec<IpAddr> {
    let mut found = default_gateways_v4(route);
    found.extend(default_gateways_v6(ipv6_route));
    found
}

/// Gateways of default routes in the form of `/proc/net/route`: addresses as hexadecimal words in memory order.
fn default_gateways_v4(table: &str) -> Vec<IpAddr> {
    let gateway = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "00000000", gateway, flags, _, _, _, "00000000", ..] = fields.as_slice() else { return None };
        let through = u32::from_str_radix(flags, 16).ok()? & THROUGH_GATEWAY != 0;
        let addr = Ipv4Addr::from(u32::from_str_radix(gateway, 16).ok()?.to_ne_bytes());
        through.then_some(addr.into())
    };
    table.lines().filter_map(gateway).collect()
}

/// Gateways of default routes in the form of `/proc/net/ipv6_route`: addresses as 32 hexadecimal digits.
fn default_gateways_v6(table: &str) -> Vec<IpAddr> {
    let gateway = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [network, "00", _, _, gateway, _, _, _, flags, ..] = fields.as_slice() else { return None };
        let everywhere = network.bytes().all(|digit| digit == b'0');
        let through = u32::from_str_radix(flags, 16).ok()? & THROUGH_GATEWAY != 0;
        let addr = Ipv6Addr::from(u128::from_str_radix(gateway, 16).ok()?);
        (everywhere && through).then_some(addr.into())
    };
    table.lines().filter_map(gateway).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_gateway_of_a_container_is_found() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
                     ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(default_gateways_v4(table), ["172.18.0.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn the_gateway_of_ipv6_is_found() {
        let none = "00000000000000000000000000000000";
        let table = format!(
            "20010db8000000000000000000000000 40 {none} 00 {none} 00000100 00000001 00000000 00000001 eth0\n\
             {none} 00 {none} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n\
             {none} 00 {none} 00 {none} ffffffff 00000001 00000000 00200200 lo\n"
        );
        assert_eq!(default_gateways_v6(&table), ["fe80::1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn odd_tables_hold_no_gateway() {
        for table in ["", "\n", "x", "eth0 00000000 zz 0003 0 0 0 00000000", "a b c d e f g h i j"] {
            assert!(default_gateways_v4(table).is_empty(), "{table:?}");
            assert!(default_gateways_v6(table).is_empty(), "{table:?}");
        }
    }
}
