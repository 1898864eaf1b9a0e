//! A header that is none, or is broken: the piece to show, and what would mend it as far as the bytes tell.
//!
//! Pure knowledge, asked by `misfit`. A hint is given only where what was seen supports it.

use std::net::IpAddr;

use truepeer::proto::{DecodeError, DecodeErrorKind, V1_MAX_LEN, V2_SIGNATURE};
use truepeer::{IdentifyError, IdentifyReason, Likely, Seen};

/// The piece of `received` to show: the beginning, of a version 1 line up to the fault, of a version 2 header with the
/// bytes around it. Escaped. What the client sent behind a header is never shown.
pub(super) fn excerpt(error: &IdentifyError, received: &[u8]) -> String {
    let at = match error.reason() {
        IdentifyReason::Malformed(error) => error.at(),
        _ => return error.seen().to_string(),
    };
    let beyond = at.saturating_add(1);
    if received.starts_with(b"PROXY ") {
        let shown = received.get(..beyond.clamp(Seen::MAX, V1_MAX_LEN)).unwrap_or(received);
        let end =
            shown.iter().position(|byte| *byte == b'\n').map_or(shown.len(), |end| end.saturating_add(1));
        return shown.get(..end.max(beyond)).unwrap_or(shown).escape_ascii().to_string();
    }
    if !received.starts_with(&V2_SIGNATURE) || beyond <= Seen::MAX {
        return error.seen().to_string();
    }
    const FIXED: usize = 16;
    let from = at.saturating_sub(FIXED / 2).max(FIXED);
    let (first, around) = (received.get(..FIXED), received.get(from..beyond.min(received.len())));
    let escape = |piece: Option<&[u8]>| piece.unwrap_or_default().escape_ascii().to_string();
    format!("{} ... byte {from}: {}", escape(first), escape(around))
}

/// What the bytes say about the fault, where they say more than the error; `None` leaves it at the usual remedy.
pub(super) fn hint(error: &IdentifyError, received: &[u8]) -> Option<&'static str> {
    match error.reason() {
        IdentifyReason::Malformed(wrong) => malformed(wrong, received),
        IdentifyReason::NotAHeader(_) => other_protocol(error.seen().likely()),
        _ => None,
    }
}

fn malformed(wrong: &DecodeError, received: &[u8]) -> Option<&'static str> {
    match wrong.kind() {
        DecodeErrorKind::V1Address => v1_address(received),
        DecodeErrorKind::V1Eol if wrong.seen() == Some(u16::from(b'\n')) => Some(
            "the line ends in LF alone, which is mostly a check written by hand: end it with \\r\\n (`printf 'PROXY ... 25\\r\\n'`)",
        ),
        _ if is_mixed_v2(received) => Some(
            "the header has one IPv4 and one IPv6 address: give the proxy a listener of each family, since no family of version 2 holds both",
        ),
        _ => None,
    }
}

fn v1_address(received: &[u8]) -> Option<&'static str> {
    let line = received.split(|byte| *byte == b'\r').next()?;
    let words: Vec<_> = std::str::from_utf8(line).ok()?.split(' ').collect();
    let [_, family, source, destination, ..] = words[..] else { return None };
    if source.contains('%') || destination.contains('%') {
        return Some(
            "a scope id such as `%eth0` is no part of the protocol: give the proxy an address that is not link-local, or have it leave the scope out",
        );
    }
    let (source, destination) = (source.parse::<IpAddr>().ok()?, destination.parse::<IpAddr>().ok()?);
    if source.is_ipv4() != destination.is_ipv4() {
        return Some(
            "the line mixes IPv4 and IPv6 (nginx writes that after `set_real_ip_from`): give nginx a listener of each family, or set `proxy.mixed-families = \"accept\"`",
        );
    }
    (source.is_ipv4() != (family == "TCP4")).then_some(
        "the family and the addresses of the line disagree: TCP4 has IPv4 addresses, TCP6 IPv6 ones",
    )
}

/// Room for exactly one address of each family and two ports.
fn is_mixed_v2(received: &[u8]) -> bool {
    const MIXED: [u8; 2] = [0, 4 + 16 + 2 + 2];
    let inet = matches!(received.get(13), Some(0x11 | 0x12 | 0x21 | 0x22));
    inet && received.get(14..16) == Some(&MIXED)
}

fn other_protocol(likely: Likely) -> Option<&'static str> {
    Some(match likely {
        Likely::Sip => {
            "these are SIP requests: no header stands before them; switch it on at the proxy for this port"
        }
        Likely::Rtsp => {
            "these are RTSP requests: no header stands before them; switch it on at the proxy for this port"
        }
        Likely::HttpRequest => {
            "if this is a balancer's health check, point it at the listener's `health-bind`; otherwise switch the PROXY protocol on at the proxy for this port, or take the peer out of `proxy.trusted-networks` if it is no proxy"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use truepeer::{HeaderReader, HeaderRules, PeerAddress};

    use super::*;

    fn error(received: &[u8]) -> IdentifyError {
        let peer = PeerAddress::tcp(([192, 0, 2, 1], 4711).into());
        let reader = HeaderReader::new(HeaderRules::default(), peer, Instant::now());
        reader.advance(received).unwrap_err()
    }

    #[test]
    fn a_hint_is_given_only_where_the_bytes_support_it() {
        let v2 = |rest: &[u8]| [&V2_SIGNATURE[..], rest].concat();
        let mixed = v2(&[&[0x21, 0x21, 0, 24][..], &[1; 24]].concat());
        for (received, expected) in [
            (&b"PROXY TCP4 203.0.113.7 2001:db8::1 4711 25\r\n"[..], Some("mixes IPv4 and IPv6")),
            (b"PROXY TCP6 fe80::1%eth0 2001:db8::1 4711 25\r\n", Some("scope id")),
            (b"PROXY TCP4 203.0.113.777 192.0.2.1 4711 25\r\n", None),
            (b"PROXY TCP4 203.0.113.x 192.0.2.1 4711 25\r\n", None),
            (b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 25\r\n", Some("disagree")),
            (b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 25\n", Some("LF alone")),
            (b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 x\r\n", None),
            (&mixed, Some("one IPv4 and one IPv6")),
            (b"OPTIONS sip:a@b SIP/2.0\r\n", Some("SIP")),
            (b"DESCRIBE rtsp://a RTSP/1.0\r\n", Some("RTSP")),
            (b"GET /healthz HTTP/1.1\r\n", Some("health-bind")),
            (b"EHLO mail.example\r\n", None),
        ] {
            let hint = hint(&error(received), received);
            match expected {
                Some(words) => {
                    assert!(hint.is_some_and(|hint| hint.contains(words)), "{hint:?} for {received:?}");
                }
                None => assert_eq!(hint, None, "{}", received.escape_ascii()),
            }
        }
    }

    #[test]
    fn what_is_shown_reaches_the_fault_and_nothing_behind_the_header() {
        let line = b"PROXY TCP4 203.0.113.107 198.51.100.225 47111 2x\r\nEHLO secret\r\n";
        assert_eq!(excerpt(&error(line), line), "PROXY TCP4 203.0.113.107 198.51.100.225 47111 2x");
        let short = b"PROXY TCP4 1.2.3.4 1.2.3.x 1 2\r\nEHLO secret\r\n";
        let shown = excerpt(&error(short), short);
        assert!(shown.starts_with("PROXY TCP4 1.2.3.4 1.2.3.x") && !shown.contains("EHLO"), "{shown}");
        // A TLV at byte 28 that says it is longer than the header.
        let header =
            [&V2_SIGNATURE[..], &[0x21, 0x11, 0, 21], &[1; 12], &[0xea, 0, 1, 7], &[0x02, 0, 9, 1, 1]]
                .concat();
        let shown = excerpt(&error(&header), &header);
        assert!(shown.contains("... byte ") && shown.len() < 160, "{shown}");
    }
}
