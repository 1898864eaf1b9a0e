//! What a server offers to whom, as far as TLS and logging in are concerned.

use crate::facts::manners::{Part, complete_len};
use crate::facts::protocol::Protocol;

/// What was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// Whether TLS can be begun.
    pub starttls: bool,
    /// The ways to log in, sorted.
    pub auth: Vec<String>,
}

/// Ways to log in that are kept.
const MAX_AUTH: usize = 16;
/// The longest name of one.
const MAX_NAME: usize = 24;

/// How a server is asked; `None` where the greeting says it.
pub(super) fn question(protocol: Protocol) -> Option<&'static [u8]> {
    match protocol {
        Protocol::Smtp | Protocol::Submission => Some(b"EHLO probe.invalid\r\n"),
        Protocol::Lmtp => Some(b"LHLO probe.invalid\r\n"),
        Protocol::Imap => Some(b"a CAPABILITY\r\n"),
        Protocol::Pop3 => Some(b"CAPA\r\n"),
        Protocol::ManageSieve | Protocol::Http | Protocol::Tcp => None,
    }
}

/// Whether the answer is all there.
pub(super) fn is_complete(protocol: Protocol, heard: &[u8]) -> bool {
    let lines = || heard.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    match protocol {
        Protocol::Imap => lines().any(|line| !line.starts_with(b"* ")),
        Protocol::Pop3 => lines().any(|line| line == b".\r\n" || line.starts_with(b"-ERR")),
        _ => complete_len(protocol, Part::Answer, heard).is_some(),
    }
}

/// Whether it answers the question, and nothing else that we may have said.
pub(super) fn is_answer(protocol: Protocol, heard: &[u8]) -> bool {
    match protocol {
        Protocol::Imap => {
            let answer = |line: &[u8]| line.starts_with(b"* CAPABILITY") || line.starts_with(b"a OK");
            is_complete(protocol, heard)
                && heard.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).all(answer)
        }
        Protocol::Pop3 => {
            is_complete(protocol, heard) && (heard.starts_with(b"+OK") || heard.starts_with(b"-ERR"))
        }
        _ => is_complete(protocol, heard) && heard.starts_with(b"250"),
    }
}

impl Abilities {
    /// What an answer, or a greeting, offers.
    pub(super) fn of(protocol: Protocol, heard: &[u8]) -> Self {
        let text = String::from_utf8_lossy(heard).to_ascii_uppercase();
        let words: Vec<&str> = text
            .split(|c: char| c.is_ascii_whitespace() || matches!(c, '"' | '[' | ']'))
            .filter(|word| !word.is_empty())
            .collect();
        let starttls = words.iter().any(|word| matches!(*word, "STARTTLS" | "STLS" | "250-STARTTLS"));
        // What stands behind a name at the head of a line, the reply's code apart.
        let behind = |name: &str| {
            let rest = text.lines().find_map(|line| {
                let line = line.strip_prefix("250").unwrap_or(line);
                line.trim_start_matches(['-', ' ', '"']).strip_prefix(name)
            });
            let words =
                rest.unwrap_or_default().split(|c: char| c.is_ascii_whitespace() || matches!(c, '"' | '='));
            words.filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let mut auth: Vec<String> = match protocol {
            Protocol::Imap => {
                words.iter().filter_map(|word| word.strip_prefix("AUTH=")).map(str::to_owned).collect()
            }
            Protocol::Pop3 | Protocol::ManageSieve => behind("SASL"),
            _ => behind("AUTH"),
        };
        auth.retain(|name| {
            name.len() <= MAX_NAME
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        });
        auth.sort();
        auth.dedup();
        auth.truncate(MAX_AUTH);
        Self { starttls, auth }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_read_in_each_language() {
        for (protocol, heard, starttls, auth) in [
            (
                Protocol::Smtp,
                "250-mx.example\r\n250-PIPELINING\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS\r\n",
                true,
                &["LOGIN", "PLAIN"][..],
            ),
            (Protocol::Smtp, "250-mx.example\r\n250 8BITMIME\r\n", false, &[]),
            (
                Protocol::Submission,
                "250-mx\r\n250-STARTTLS\r\n250 AUTH XOAUTH2 OAUTHBEARER\r\n",
                true,
                &["OAUTHBEARER", "XOAUTH2"],
            ),
            (
                Protocol::Imap,
                "* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN LOGINDISABLED\r\na OK done\r\n",
                true,
                &["PLAIN"],
            ),
            (Protocol::Pop3, "+OK\r\nSASL PLAIN LOGIN\r\nUSER\r\n.\r\n", false, &["LOGIN", "PLAIN"]),
            (Protocol::Pop3, "+OK\r\nSTLS\r\n.\r\n", true, &[]),
            (
                Protocol::ManageSieve,
                "\"SASL\" \"PLAIN LOGIN\"\r\n\"STARTTLS\"\r\nOK ready\r\n",
                true,
                &["LOGIN", "PLAIN"],
            ),
            (Protocol::Smtp, "250 AUTH \x1b[31m PLAIN\r\n", false, &["PLAIN"]),
        ] {
            let offered = Abilities::of(protocol, heard.as_bytes());
            assert_eq!(
                (offered.starttls, offered.auth.as_slice()),
                (starttls, auth.iter().map(|&name| name.to_owned()).collect::<Vec<_>>().as_slice()),
                "{heard}"
            );
        }
    }

    #[test]
    fn an_answer_to_our_header_is_no_answer_to_our_question() {
        assert!(is_answer(Protocol::Smtp, b"250-mx\r\n250 OK\r\n"));
        assert!(!is_answer(Protocol::Smtp, b"500 5.5.2 bad syntax\r\n"));
        assert!(is_answer(Protocol::Imap, b"* CAPABILITY IMAP4rev1\r\na OK done\r\n"));
        assert!(!is_answer(Protocol::Imap, b"* BAD what\r\n* CAPABILITY IMAP4rev1\r\na OK done\r\n"));
        assert!(!is_answer(Protocol::Imap, b"PROXY BAD unknown\r\n"));
        assert!(is_answer(Protocol::Pop3, b"-ERR not known\r\n"));
        assert!(!is_complete(Protocol::Pop3, b"+OK\r\nSTLS\r\n"));
    }
}
