//! A trusted peer that could not be identified, from the receiver's side: what of its bytes to show in a record, and
//! what would mend it.
//!
//! For truepeer's own front door and for servers that use the library. A remedy is given only where what was seen
//! supports it; settings in backquotes that begin with `proxy.` are those of truepeer.

use std::borrow::Cow;
use std::time::Duration;

use truepeer::{IdentifyError, IdentifyReason, Likely, Seen};
use truepeer_proto::{V1_MAX_LEN, V2_SIGNATURE};

use crate::{checker, fault};

/// Whose words come first in a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstSpeaker {
    /// The server greets: SMTP, IMAP, POP3.
    Server,
    /// The client begins, or either may.
    Client,
}

/// What is known of a peer beside what it sent this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Past {
    /// Whether a header of it came to this port before.
    pub headers: Headers,
    /// How far apart the times are when it came without one, if they are equally far apart.
    pub rhythm: Option<Duration>,
}

/// Whether a header of a peer came to this port before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Headers {
    /// Nobody remembers: peers without an address, and readers without a memory.
    #[default]
    Unknown,
    /// None, as long as anybody remembers.
    Never,
    /// At least one.
    Sent,
}

/// Whether an error says that something else came than a header, or nothing in time; not that one is wrong, or that the
/// peer left at once.
#[must_use]
pub fn is_without(error: &IdentifyError) -> bool {
    match error.reason() {
        IdentifyReason::NotAHeader(_) => error.seen().likely() != Likely::BrokenHeader,
        IdentifyReason::Timeout => error.seen().likely() == Likely::Nothing,
        _ => false,
    }
}

/// What the past of a peer that sent no header tells of it, in words that go on with "it"; `None` where nothing is
/// known.
#[must_use]
pub fn circumstances(error: &IdentifyError, received: &[u8], past: &Past) -> Option<String> {
    if !is_without(error) {
        return None;
    }
    if let Some(who) = checker::of(received) {
        return Some(format!("it is a health check of {who}"));
    }
    let headers = match past.headers {
        Headers::Sent => "it has sent headers here before",
        Headers::Never => "no header of it came here before",
        Headers::Unknown => return None,
    };
    Some(match past.rhythm {
        Some(rhythm) => {
            format!("{headers}, and without one it comes every {} s, as health checks do", rhythm.as_secs())
        }
        None => headers.to_owned(),
    })
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
pub fn remedy(
    error: &IdentifyError,
    received: &[u8],
    first: FirstSpeaker,
    past: &Past,
) -> Option<Cow<'static, str>> {
    if is_without(error) {
        if checker::of(received).is_some() {
            return Some(CHECK.into());
        }
        let otherwise = match (past.headers, error.seen().likely(), first) {
            (Headers::Sent, Likely::Nothing, FirstSpeaker::Server) => Some(HELD_BACK),
            (Headers::Sent, Likely::Nothing, FirstSpeaker::Client) => Some(HELD_BACK_OR_SILENT),
            (Headers::Sent, ..) => Some(OTHER_WAY),
            (Headers::Never | Headers::Unknown, ..) => None,
        };
        let otherwise = otherwise.map(Cow::Borrowed).or_else(|| of_bytes(error, received, first));
        return match (past.rhythm, otherwise) {
            (Some(_), Some(otherwise)) => {
                Some(format!("if this is a health check, {CHECK}; otherwise {otherwise}").into())
            }
            (_, otherwise) => otherwise,
        };
    }
    of_bytes(error, received, first)
}

/// What the bytes alone say.
fn of_bytes(error: &IdentifyError, received: &[u8], first: FirstSpeaker) -> Option<Cow<'static, str>> {
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

/// A check that cannot send a header.
const CHECK: &str = "point it at the listener's `health-bind`, where no header is due, or let it send one (HAProxy: `check-send-proxy`)";
/// A proxy that sends headers sent nothing, where the server speaks first.
const HELD_BACK: &str = "if the proxy waits for its client's first bytes before it sends the header (sniffing of protocols or TLS names), switch that off: this protocol's server speaks first; if this is the proxy's health check, point it at the listener's `health-bind`; if another line of its configuration, or another program there, connects here, make that send a header, too (HAProxy: `send-proxy-v2`)";
/// The same where the client speaks first.
const HELD_BACK_OR_SILENT: &str = "nothing, if the proxy sends its header with its client's first bytes and this client said nothing; if this is the proxy's health check, point it at the listener's `health-bind`; if another line of its configuration, or another program there, connects here, make that send a header, too (HAProxy: `send-proxy-v2`)";
/// A proxy that sends headers came without one.
const OTHER_WAY: &str = "one way from this peer to this port has no header: look for a second line, backend or program on its host that connects here, and make that send one, too (HAProxy: `send-proxy-v2`); if it is a health check, point it at the listener's `health-bind`";
/// A trusted peer sent nothing.
const SEND: &str = "make the proxy send a header to this port (HAProxy: `send-proxy-v2` on the server line, nginx: `proxy_protocol on;`)";
const SEND_FIRST: &str = "make the proxy send a header to this port (HAProxy: `send-proxy-v2` on the server line, nginx: `proxy_protocol on;`); if it waits for the client's first bytes, switch its protocol sniffing off: this protocol's server speaks first";
const TLS_THROUGH: &str = "the proxy passes TLS through without a header: switch its PROXY protocol on for this port (the header goes before the TLS bytes), or take the peer out of `proxy.trusted-networks` if it is no proxy";
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
            let remedy = remedy(&error(received), received, FirstSpeaker::Server, &Past::default()).unwrap();
            assert!(remedy.contains(expected), "{remedy} for {}", received.escape_ascii());
        }
    }

    #[test]
    fn who_speaks_first_decides_what_is_said_of_silence() {
        let peer = PeerAddress::tcp(([192, 0, 2, 1], 4711).into());
        let silent = HeaderReader::new(HeaderRules::default(), peer, Instant::now()).expired(b"");
        let said = |first| remedy(&silent, b"", first, &Past::default()).unwrap();
        assert!(said(FirstSpeaker::Server).contains("sniffing"));
        assert!(!said(FirstSpeaker::Client).contains("sniffing"));
    }

    #[test]
    fn what_a_peer_did_before_tells_what_it_is() {
        let peer = PeerAddress::tcp(([192, 0, 2, 1], 4711).into());
        let silent = HeaderReader::new(HeaderRules::default(), peer, Instant::now()).expired(b"");
        let past = |headers, seconds: Option<u64>| Past { headers, rhythm: seconds.map(Duration::from_secs) };
        let elb = b"GET / HTTP/1.1\r\nUser-Agent: ELB-HealthChecker/2.0\r\n\r\n";
        let (ehlo, get, tls) = (&b"EHLO a\r\n"[..], &b"GET / HTTP/1.1\r\n\r\n"[..], &b"\x16\x03\x01"[..]);
        use FirstSpeaker::{Client, Server};
        use Headers::{Never, Sent, Unknown};
        for (received, first, past, cause, remedies) in [
            (
                &b""[..],
                Server,
                past(Sent, None),
                Some("sent headers here before"),
                &["first bytes", "health-bind"][..],
            ),
            (b"", Client, past(Sent, None), Some("sent headers here before"), &["this client said nothing"]),
            (b"", Server, past(Never, None), Some("no header of it came"), &["send-proxy-v2"]),
            (
                b"",
                Server,
                past(Never, Some(10)),
                Some("every 10 s"),
                &["health-bind", "otherwise make the proxy"],
            ),
            (b"", Server, past(Unknown, None), None, &["send-proxy-v2"]),
            (elb, Client, past(Sent, None), Some("AWS Elastic"), &["health-bind"]),
            (ehlo, Server, past(Sent, None), Some("before"), &["one way from this peer"]),
            (ehlo, Server, past(Never, None), Some("no header"), &["if it is no proxy"]),
            (get, Client, past(Never, Some(5)), Some("every 5 s"), &["if this is a health check, point it"]),
            (tls, Client, past(Never, None), Some("no header"), &["if it is no proxy"]),
        ] {
            let error = if received.is_empty() { silent } else { error(received) };
            let said = circumstances(&error, received, &past);
            assert_eq!(said.is_some(), cause.is_some(), "{said:?}");
            assert!(said.unwrap_or_default().contains(cause.unwrap_or_default()));
            let remedy = remedy(&error, received, first, &past).unwrap();
            for part in remedies {
                assert!(remedy.contains(part), "{part} in {remedy}");
            }
        }
        // A header that is wrong is a header.
        let broken = b"PROXY TCP4 203.0.113.x 192.0.2.1 4711 25\r\n";
        assert_eq!(circumstances(&error(broken), broken, &past(Sent, None)), None);
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
