//! The address that a log line is about.

use std::net::IpAddr;

/// Words behind which a line names who connected, the most telling first.
const KEYS: &[&str] = &[
    "rip=",
    "client: ",
    "peer=",
    "remoteip",
    "remote_ip",
    "[client ",
    "h=[",
    "host: '",
    "from unknown[",
    "accepted from ",
    "from [",
    "from ",
    "address=",
    "host '",
    " ban ",
];
/// How far behind such a word an address may begin.
const NEAR: usize = 8;

/// Who connected, if the line says it; the first address otherwise.
pub(super) fn of(line: &[u8]) -> Option<IpAddr> {
    let lower = line.to_ascii_lowercase();
    KEYS.iter()
        .find_map(|key| {
            let at = memchr::memmem::find(&lower, key.as_bytes())?;
            let behind = line.get(at.saturating_add(key.len())..)?;
            let begin = (0..NEAR).find(|at| match behind.get(*at..) {
                Some([b':', b':', ..]) => true,
                Some([byte, ..]) => byte.is_ascii_hexdigit(),
                _ => false,
            })?;
            first(behind.get(begin..)?.split(|byte| !is_part(*byte)).next()?)
        })
        .or_else(|| line.split(|byte| !is_part(*byte)).find_map(first))
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':')
}

/// An address, perhaps with a port behind.
fn first(word: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(word).ok()?.trim_end_matches([':', '.']);
    let text = text.strip_prefix(':').filter(|rest| !rest.starts_with(':')).unwrap_or(text);
    if text.len() < 3 || !text.contains(['.', ':']) {
        return None;
    }
    let without_port = || text.rsplit_once(':').and_then(|(addr, _)| addr.parse::<std::net::Ipv4Addr>().ok());
    text.parse::<IpAddr>().ok().or_else(|| without_port().map(IpAddr::V4)).map(|addr| addr.to_canonical())
}

/// In private space or on this machine.
pub(super) fn is_near(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// As gateways of containers are: private, ending in .1.
pub(super) fn is_gateway(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => v4.is_private() && v4.octets()[3] == 1,
        IpAddr::V6(v6) => v6.is_unique_local() && v6.segments()[7] == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_about_whoever_connected() {
        for (line, expected) in [
            ("imap-login: x: user=<>, lip=198.51.100.25, rip=10.0.0.9, lport=1", Some("10.0.0.9")),
            ("server: 0.0.0.0:443, client: 10.42.1.0, x", Some("10.42.1.0")),
            ("2026-11-23 13:44:30 x H=[127.0.0.1]:51234 I=[127.0.0.2]:2526", Some("127.0.0.1")),
            ("{\"remoteIp\":\"172.18.0.1\",\"remotePort\":1}", Some("172.18.0.1")),
            ("remoteIp = 172.18.0.1, x", Some("172.18.0.1")),
            ("from TCP client 127.0.0.1:40174", Some("127.0.0.1")),
            ("connect from unknown[2001:db8::7]", Some("2001:db8::7")),
            ("not accepted from ::ffff:192.0.2.1", Some("192.0.2.1")),
            ("Nov 23 13:50:27 postfix: 12:34:56 nothing", None),
        ] {
            assert_eq!(of(line.as_bytes()), expected.map(|addr| addr.parse().unwrap()), "{line}");
        }
    }
}
