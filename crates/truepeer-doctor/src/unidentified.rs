//! A trusted peer that could not be identified, from the receiver's side: what of its bytes to show in a record, and
//! what would mend it.
//!
//! For truepeer's own front door and for servers that use the library. A remedy is given only where what was seen
//! supports it; settings in backquotes that begin with `proxy.` are those of truepeer.

use std::borrow::Cow;

use truepeer::{IdentifyError, IdentifyReason, Likely, Seen};
use truepeer_proto::{V1_MAX_LEN, V2_SIGNATURE};

use crate::fault;

/// Whose words come first in a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstSpeaker {
    /// The server greets: SMTP, IMAP, POP3.
    Server,
    /// The client begins, or either may.
    Client,
}

/// The piece of `received` to show: the beginning, of a version 1 line up to the fault, of a version 2 header with the
/// bytes around it. Escaped. What the client sent behind a header is never shown.
#[must_use]
pub fn excerpt(error: &IdentifyError, received: &[u8]) -> String {
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

/// What would mend it; `None` where nothing is to be mended, or nothing is known.
#[must_use]
pub fn remedy(error: &IdentifyError, received: &[u8], first: FirstSpeaker) -> Option<Cow<'static, str>> {
    let likely = error.seen().likely();
    let text = match error.reason() {
        IdentifyReason::Empty | IdentifyReason::Truncated => return None,
        IdentifyReason::Timeout if likely == Likely::Nothing => match first {
            FirstSpeaker::Server => SEND_FIRST,
            FirstSpeaker::Client => SEND,
        },
        IdentifyReason::Timeout => "find what delays the proxy, or raise `proxy.header-timeout`",
        IdentifyReason::NotAHeader(wrong) => match likely {
            Likely::TlsClientHello => TLS_THROUGH,
            Likely::Sip => SIP,
            Likely::Rtsp => RTSP,
            Likely::HttpRequest => HTTP,
            _ => return Some(fault::of(wrong, received).map_or(SWITCH_ON.into(), said)),
        },
        IdentifyReason::Version(_) => "send a version that `proxy.versions` names, or name this one there",
        IdentifyReason::Implausible(_) => IMPLAUSIBLE,
        IdentifyReason::TooLong(wrong)
        | IdentifyReason::Checksum(wrong)
        | IdentifyReason::Malformed(wrong) => {
            return Some(fault::of(wrong, received).map_or(WRONG.into(), said));
        }
        _ => WRONG,
    };
    Some(text.into())
}

fn said(fault: &fault::Fault) -> Cow<'static, str> {
    format!("{}: {}", fault.cause, fault.change).into()
}

/// A trusted peer sent nothing.
const SEND: &str = "make the proxy send a header to this port (HAProxy: `send-proxy-v2` on the server line, nginx: `proxy_protocol on;`)";
const SEND_FIRST: &str = "make the proxy send a header to this port (HAProxy: `send-proxy-v2` on the server line, nginx: `proxy_protocol on;`); if it waits for the client's first bytes, switch its protocol sniffing off: this protocol's server speaks first";
const TLS_THROUGH: &str = "the proxy passes TLS through without a header: switch its PROXY protocol on for this port (the header goes before the TLS bytes)";
const SWITCH_ON: &str = "switch the PROXY protocol on at the proxy for this port, or take the peer out of `proxy.trusted-networks` if it is no proxy";
const SIP: &str =
    "these are SIP requests: no header stands before them; switch it on at the proxy for this port";
const RTSP: &str =
    "these are RTSP requests: no header stands before them; switch it on at the proxy for this port";
const HTTP: &str = "if this is a balancer's health check, point it at the listener's `health-bind`; otherwise switch the PROXY protocol on at the proxy for this port, or take the peer out of `proxy.trusted-networks` if it is no proxy";
const IMPLAUSIBLE: &str = "find out who sent this header: the proxy takes it from a peer that it must not believe, or its own client address is wrong";
const WRONG: &str = "the proxy's header is wrong: update the proxy, or report this line to its maintainers";

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
    fn a_remedy_says_more_only_where_the_bytes_support_it() {
        let v2 = |rest: &[u8]| [&V2_SIGNATURE[..], rest].concat();
        let mixed = v2(&[&[0x21, 0x21, 0, 24][..], &[1; 24]].concat());
        for (received, expected) in [
            (&b"PROXY TCP4 203.0.113.7 2001:db8::1 4711 25\r\n"[..], "mixes IPv4 and IPv6"),
            (b"PROXY TCP6 fe80::1%eth0 2001:db8::1 4711 25\r\n", "scope id"),
            (b"PROXY TCP4 203.0.113.777 192.0.2.1 4711 25\r\n", "header is wrong"),
            (b"PROXY TCP4 203.0.113.x 192.0.2.1 4711 25\r\n", "header is wrong"),
            (b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 25\r\n", "disagree"),
            (b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 25\n", "LF alone"),
            (b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 x\r\n", "header is wrong"),
            (&mixed, "one IPv4 and one IPv6"),
            (b"OPTIONS sip:a@b SIP/2.0\r\n", "SIP"),
            (b"DESCRIBE rtsp://a RTSP/1.0\r\n", "RTSP"),
            (b"GET /healthz HTTP/1.1\r\n", "health-bind"),
            (b"EHLO mail.example\r\n", "switch the PROXY protocol on"),
            (b"\x16\x03\x01\x02\x00\x01", "passes TLS through"),
        ] {
            let remedy = remedy(&error(received), received, FirstSpeaker::Server).unwrap();
            assert!(remedy.contains(expected), "{remedy} for {}", received.escape_ascii());
        }
    }

    #[test]
    fn who_speaks_first_decides_what_is_said_of_silence() {
        let peer = PeerAddress::tcp(([192, 0, 2, 1], 4711).into());
        let silent = HeaderReader::new(HeaderRules::default(), peer, Instant::now()).expired(b"");
        let said = |first| remedy(&silent, b"", first).unwrap();
        assert!(said(FirstSpeaker::Server).contains("sniffing"));
        assert!(!said(FirstSpeaker::Client).contains("sniffing"));
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
