//! What the first bytes of a connection are, where a header was due.
//!
//! Asked with bytes from a socket, a capture or a log line. Says what came; [`Opening::finding`] says what that means
//! for a port that expects a header.

use std::fmt;

use truepeer::{Likely, Seen};
use truepeer_proto::{Decode, V2_SIGNATURE, decode};

use crate::{Class, Confidence, Finding, Side, excerpt};

mod advice;

/// What a connection opens with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Opening {
    /// Not one byte.
    Nothing,
    /// A whole header.
    Header,
    /// The beginning of a header, right so far.
    HeaderPiece,
    /// A header that goes wrong.
    BrokenHeader,
    /// A TLS ClientHello.
    Tls,
    /// An HTTP request.
    Http,
    /// An HTTP request for a page that only checks ask for.
    HttpCheck,
    /// An HTTP/2 preface.
    Http2,
    /// An SMTP or LMTP command.
    Smtp,
    /// A server's greeting: the server's words where the client's were due.
    Greeting,
    /// An IMAP command.
    Imap,
    /// A POP3 command.
    Pop3,
    /// A ManageSieve command.
    ManageSieve,
    /// An SSH identification.
    Ssh,
    /// SIP.
    Sip,
    /// RTSP.
    Rtsp,
    /// An MQTT CONNECT packet.
    Mqtt,
    /// An AMQP protocol header.
    Amqp,
    /// A PostgreSQL startup, TLS or cancel request.
    Postgresql,
    /// A Redis command.
    Redis,
    /// A Minecraft handshake.
    Minecraft,
    /// An RDP connection request.
    Rdp,
    /// An LDAP request.
    Ldap,
    /// A SOCKS greeting.
    Socks,
    /// A MongoDB message.
    Mongodb,
    /// None of these.
    Unknown,
}

impl Opening {
    /// What `bytes`, the first that came, are.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match Seen::new(bytes).likely() {
            Likely::Nothing => Self::Nothing,
            Likely::TlsClientHello => Self::Tls,
            Likely::HttpRequest if is_check(bytes) => Self::HttpCheck,
            Likely::HttpRequest => Self::Http,
            Likely::Sip => Self::Sip,
            Likely::Rtsp => Self::Rtsp,
            Likely::Http2Preface => Self::Http2,
            Likely::SmtpCommand => Self::Smtp,
            Likely::ImapCommand => Self::Imap,
            Likely::Pop3Command => Self::Pop3,
            Likely::Ssh => Self::Ssh,
            _ => Self::of_header(bytes).unwrap_or_else(|| Self::of_binary(bytes)),
        }
    }

    fn of_header(bytes: &[u8]) -> Option<Self> {
        let begins = |whole: &[u8]| {
            let common = bytes.len().min(whole.len());
            bytes.get(..common) == whole.get(..common)
        };
        let looks = begins(b"PROXY ")
            || begins(&V2_SIGNATURE)
            || bytes.get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"PROXY"));
        looks.then(|| match decode(bytes) {
            Ok(Decode::Complete { .. }) => Self::Header,
            Ok(Decode::Incomplete { .. }) => Self::HeaderPiece,
            Err(_) => Self::BrokenHeader,
        })
    }

    fn of_binary(bytes: &[u8]) -> Self {
        let at = |index: usize| bytes.get(index).copied();
        let has = |from: usize, word: &[u8]| {
            bytes.get(from..).is_some_and(|rest| rest.get(..word.len()).is_some_and(|part| part == word))
        };
        let int = |from: usize| {
            let part = bytes.get(from..)?.first_chunk::<4>()?;
            Some(u32::from_be_bytes(*part))
        };
        // Protocol 3.0, the request for TLS, for GSSAPI, and the one to cancel. Source: PostgreSQL, message formats.
        let postgresql = matches!(int(4), Some(196_608 | 80_877_102..=80_877_104));
        if has(0, b"220 ") || has(0, b"220-") || has(0, b"* OK") || has(0, b"+OK") {
            Self::Greeting
        } else if has(0, b"AMQP") {
            Self::Amqp
        } else if postgresql {
            Self::Postgresql
        } else if at(0) == Some(0x10)
            && (2..6).any(|from| has(from, b"\0\x04MQTT") || has(from, b"\0\x06MQIsdp"))
        {
            Self::Mqtt
        } else if at(0) == Some(b'*') && at(1).is_some_and(|byte| byte.is_ascii_digit()) && has(2, b"\r\n$") {
            Self::Redis
        } else if has(0, b"\x03\0") && at(5) == Some(0xe0) {
            Self::Rdp
        } else if at(0) == Some(0x30) && at(2) == Some(0x02) && at(5).is_some_and(|byte| byte == 0x60) {
            Self::Ldap
        } else if at(0) == Some(5) && bytes.len() == usize::from(at(1).unwrap_or(0)).saturating_add(2) {
            Self::Socks
        } else if bytes.get(12..16).is_some_and(|op| op == [0xdd, 7, 0, 0] || op == [0xd4, 7, 0, 0]) {
            Self::Mongodb
        } else if is_minecraft(bytes) {
            Self::Minecraft
        } else if ["CAPABILITY", "AUTHENTICATE", "LOGOUT", "STARTTLS"]
            .iter()
            .any(|word| bytes.get(..word.len()).is_some_and(|b| b.eq_ignore_ascii_case(word.as_bytes())))
        {
            Self::ManageSieve
        } else {
            Self::Unknown
        }
    }

    /// What it is, in words for a person.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing at all",
            Self::Header => "a PROXY header",
            Self::HeaderPiece => "a piece of a PROXY header",
            Self::BrokenHeader => "a broken PROXY header",
            Self::Tls => "a TLS ClientHello",
            Self::Http => "an HTTP request",
            Self::HttpCheck => "an HTTP health check",
            Self::Http2 => "an HTTP/2 preface",
            Self::Smtp => "an SMTP command",
            Self::Greeting => "a server's greeting",
            Self::Imap => "an IMAP command",
            Self::Pop3 => "a POP3 command",
            Self::ManageSieve => "a ManageSieve command",
            Self::Ssh => "an SSH identification",
            Self::Sip => "a SIP message",
            Self::Rtsp => "an RTSP request",
            Self::Mqtt => "an MQTT CONNECT packet",
            Self::Amqp => "an AMQP header",
            Self::Postgresql => "a PostgreSQL startup",
            Self::Redis => "a Redis command",
            Self::Minecraft => "a Minecraft handshake",
            Self::Rdp => "an RDP request",
            Self::Ldap => "an LDAP request",
            Self::Socks => "a SOCKS greeting",
            Self::Mongodb => "a MongoDB message",
            Self::Unknown => "bytes of no protocol known here",
        }
    }

    /// What it means that `bytes` came where a header was due; nothing for a whole header.
    #[must_use]
    pub fn finding(self, bytes: &[u8]) -> Option<Finding> {
        let advice = advice::of(self, bytes)?;
        Some(Finding {
            class: advice.class,
            side: advice.side,
            product: None,
            seen: excerpt(bytes.get(..Seen::MAX.saturating_mul(2)).unwrap_or(bytes)),
            cause: advice.cause.into(),
            change: advice.change.into(),
            confidence: advice.confidence,
        })
    }
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What an opening means where a header was due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Advice {
    pub(crate) class: Class,
    pub(crate) side: Side,
    pub(crate) cause: &'static str,
    pub(crate) change: &'static str,
    pub(crate) confidence: Confidence,
}

/// A request that balancers, orchestrators and certificate clients make by themselves.
fn is_check(bytes: &[u8]) -> bool {
    const PAGES: &[&[u8]] = &[
        b"/health",
        b"/ready",
        b"/live",
        b"/ping",
        b"/status",
        b"/.well-known/acme-challenge",
        b"/-/healthy",
        b"ELB-HealthChecker",
        b"kube-probe",
        b"GoogleHC",
    ];
    let head = bytes.get(..bytes.len().min(256)).unwrap_or(bytes);
    PAGES.iter().any(|page| head.windows(page.len()).any(|window| window == *page))
}

/// A length, packet 0, a protocol number and a host name whose length fits.
fn is_minecraft(bytes: &[u8]) -> bool {
    let [len, 0, rest @ ..] = bytes else { return false };
    let behind = rest.iter().take(5).position(|byte| *byte < 0x80).map(|end| end.saturating_add(1));
    let name = behind.and_then(|from| rest.get(from)).copied().unwrap_or(0);
    *len > 6 && name > 0 && name < *len && usize::from(*len) < bytes.len().saturating_add(1)
}

#[cfg(test)]
mod tests;
