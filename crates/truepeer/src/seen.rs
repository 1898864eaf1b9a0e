//! What stood where a header was due: a short, printable piece, and what it most likely is.
//!
//! Made by the reader for its errors; knows nothing of configuration or remedies.

use core::fmt;

/// The first bytes that a peer sent, at most [`Seen::MAX`], for a log line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    bytes: [u8; Self::MAX],
    len: u8,
    likely: Likely,
}

impl Seen {
    /// Payload and secrets are never logged; this much is the one exception, and only where no identity was reached.
    pub const MAX: usize = 32;

    /// Keeps the first bytes of `received`.
    #[must_use]
    pub fn new(received: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX];
        let mut len = 0_u8;
        for (slot, byte) in bytes.iter_mut().zip(received) {
            *slot = *byte;
            len = len.saturating_add(1);
        }
        Self { bytes, len, likely: Likely::of(received) }
    }

    /// The kept bytes as received.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// What the bytes that came, all of them, usually mean where a header was due.
    #[must_use]
    pub fn likely(&self) -> Likely {
        self.likely
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().escape_ascii().fmt(f)
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A guess in words; used for explanations only, never for decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Likely {
    /// Not one byte.
    Nothing,
    /// A TLS ClientHello record.
    TlsClientHello,
    /// An HTTP request line.
    HttpRequest,
    /// A SIP request or answer, whose methods partly are those of HTTP.
    Sip,
    /// An RTSP request, likewise.
    Rtsp,
    /// The HTTP/2 connection preface.
    Http2Preface,
    /// An SMTP or LMTP command.
    SmtpCommand,
    /// A tagged IMAP command.
    ImapCommand,
    /// A POP3 command.
    Pop3Command,
    /// An SSH identification string.
    Ssh,
    /// The beginning of a header that stopped early or goes wrong later.
    BrokenHeader,
    /// None of these.
    Unknown,
}

impl Likely {
    fn of(bytes: &[u8]) -> Self {
        const TLS_HANDSHAKE: &[u8] = &[0x16, 0x03];
        const HTTP: &[&[u8]] =
            &[b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"DELETE ", b"CONNECT ", b"PATCH "];
        const SMTP: &[&[u8]] =
            &[b"EHLO", b"HELO", b"LHLO", b"MAIL FROM", b"STARTTLS", b"NOOP", b"RSET", b"XCLIENT"];
        const POP3: &[&[u8]] = &[b"USER ", b"PASS ", b"CAPA", b"APOP "];
        let starts = |words: &[&[u8]]| {
            words.iter().any(|word| bytes.get(..word.len()).is_some_and(|b| b.eq_ignore_ascii_case(word)))
        };
        let first_line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        let names = |words: &[&[u8]]| {
            words.iter().any(|word| first_line.windows(word.len()).any(|window| window == *word))
        };
        if bytes.is_empty() {
            Self::Nothing
        } else if bytes.starts_with(TLS_HANDSHAKE) {
            Self::TlsClientHello
        } else if bytes.starts_with(b"PRI * HTTP/2") {
            Self::Http2Preface
        } else if names(&[b" sip:", b"SIP/2.0"]) {
            Self::Sip
        } else if names(&[b" rtsp:", b"RTSP/1.0"]) {
            Self::Rtsp
        } else if starts(HTTP) {
            Self::HttpRequest
        } else if starts(SMTP) {
            Self::SmtpCommand
        } else if starts(POP3) {
            Self::Pop3Command
        } else if bytes.starts_with(b"SSH-") {
            Self::Ssh
        } else if starts(&[b"PROXY", b"\r\n\r\n\0\r\nQUIT\n"]) {
            Self::BrokenHeader
        } else if looks_like_imap(bytes) {
            Self::ImapCommand
        } else {
            Self::Unknown
        }
    }
}

impl fmt::Display for Likely {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing at all",
            Self::TlsClientHello => "a TLS ClientHello",
            Self::HttpRequest => "an HTTP request",
            Self::Sip => "SIP",
            Self::Rtsp => "RTSP",
            Self::Http2Preface => "an HTTP/2 preface",
            Self::SmtpCommand => "an SMTP command",
            Self::ImapCommand => "an IMAP command",
            Self::Pop3Command => "a POP3 command",
            Self::Ssh => "an SSH greeting",
            Self::BrokenHeader => "a broken header",
            Self::Unknown => "bytes of no protocol known here",
        })
    }
}

/// A tag, a space and a command that clients send first.
fn looks_like_imap(bytes: &[u8]) -> bool {
    const FIRST: &[&[u8]] =
        &[b"CAPABILITY", b"LOGIN", b"STARTTLS", b"ID ", b"AUTHENTICATE", b"NOOP", b"LOGOUT"];
    let mut words = bytes.splitn(2, |byte| *byte == b' ');
    let (Some(tag), Some(rest)) = (words.next(), words.next()) else { return false };
    !tag.is_empty()
        && tag.iter().all(u8::is_ascii_alphanumeric)
        && FIRST.iter().any(|word| rest.get(..word.len()).is_some_and(|b| b.eq_ignore_ascii_case(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses() {
        for (bytes, likely) in [
            (&b""[..], Likely::Nothing),
            (b"\x16\x03\x01\x00\xc8\x01", Likely::TlsClientHello),
            (b"GET / HTTP/1.1\r\n", Likely::HttpRequest),
            (b"OPTIONS sip:a@example.org SIP/2.0\r\n", Likely::Sip),
            (b"INVITE tel:+15550100;phone-context=example.org SIP/2.0\r\n", Likely::Sip),
            (b"OPTIONS * RTSP/1.0\r\n", Likely::Rtsp),
            (b"GET / HTTP/1.1\r\nReferer: sip:a SIP/2.0\r\n", Likely::HttpRequest),
            (b"PRI * HTTP/2.0\r\n", Likely::Http2Preface),
            (b"ehlo mail.example\r\n", Likely::SmtpCommand),
            (b"a001 LOGIN user pass", Likely::ImapCommand),
            (b"USER bob\r\n", Likely::Pop3Command),
            (b"SSH-2.0-OpenSSH_9.2", Likely::Ssh),
            (b"proxy tcp4 192.0.2.1", Likely::BrokenHeader),
            (b"PROXY TCP4 300.", Likely::BrokenHeader),
            (b"\x00\x01\x02", Likely::Unknown),
            // A word and a word, and a command of IMAP behind what is no tag.
            (b"hello there", Likely::Unknown),
            (b"-- LOGIN user pass", Likely::Unknown),
        ] {
            assert_eq!(Seen::new(bytes).likely(), likely, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_shown_is_cut_and_escaped() {
        let seen = Seen::new(b"EHLO \x1b[31m\r\n0123456789012345678901234567890123456789");
        assert_eq!(seen.as_bytes().len(), Seen::MAX);
        assert_eq!(seen.to_string(), "EHLO \\x1b[31m\\r\\n01234567890123456789"[..].to_string());
    }
}
