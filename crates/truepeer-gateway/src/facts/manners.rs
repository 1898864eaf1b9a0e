//! How servers greet and take leave, in each language.
//!
//! For whoever asks a server what it makes of a header: the prober of backends, and the commands beside the front door.
//! Pure; what the front door itself says is in `rooms/own`.

use super::protocol::Protocol;

/// Which line is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What a server says first.
    Greeting,
    /// What it says to our goodbye.
    Answer,
}

/// Where the line that completes an answer ends, if it is there.
#[must_use]
pub fn complete_len(protocol: Protocol, part: Part, heard: &[u8]) -> Option<usize> {
    let mut len = 0_usize;
    for line in heard.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
        len = len.saturating_add(line.len());
        let completes = match (protocol, part) {
            // `220-` lines go on; capabilities end with a line that begins with OK.
            (Protocol::Smtp | Protocol::Submission | Protocol::Lmtp, _) => line.get(3) != Some(&b'-'),
            (Protocol::ManageSieve, Part::Greeting) => {
                ["OK", "NO", "BYE"].iter().any(|word| line.starts_with(word.as_bytes()))
            }
            _ => true,
        };
        if completes {
            return Some(len);
        }
    }
    None
}

/// Whether a server of that language greets so.
#[must_use]
pub fn is_greeting(protocol: Protocol, heard: &[u8]) -> bool {
    match protocol {
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => heard.starts_with(b"220"),
        Protocol::Imap => heard.starts_with(b"* OK") || heard.starts_with(b"* PREAUTH"),
        Protocol::Pop3 => heard.starts_with(b"+OK"),
        Protocol::ManageSieve => heard.starts_with(b"\"") || heard.starts_with(b"OK"),
        Protocol::Http | Protocol::Tcp => false,
    }
}

/// What a client says to end a session.
#[must_use]
pub fn goodbye(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Imap => b"a LOGOUT\r\n",
        Protocol::ManageSieve => b"LOGOUT\r\n",
        _ => b"QUIT\r\n",
    }
}

/// Whether a server of that language takes leave so.
#[must_use]
pub fn is_goodbye(protocol: Protocol, heard: &[u8]) -> bool {
    match protocol {
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => heard.starts_with(b"221"),
        Protocol::Imap => heard.starts_with(b"* BYE"),
        Protocol::Pop3 => heard.starts_with(b"+OK"),
        Protocol::ManageSieve => heard.starts_with(b"OK"),
        Protocol::Http | Protocol::Tcp => false,
    }
}

/// Whether a server of that language says so that it cannot make anything of a command. One that tags its answers takes
/// the first word of a version 1 header for the tag.
#[must_use]
pub fn is_complaint(protocol: Protocol, heard: &[u8]) -> bool {
    match protocol {
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => heard.starts_with(b"5"),
        Protocol::Imap => heard.starts_with(b"* BAD") || heard.starts_with(b"PROXY "),
        Protocol::Pop3 => heard.starts_with(b"-ERR"),
        Protocol::ManageSieve => heard.starts_with(b"NO"),
        Protocol::Http | Protocol::Tcp => false,
    }
}

/// The status of an answer that is HTTP/1.
#[must_use]
pub fn http_status(heard: &[u8]) -> Option<u16> {
    let rest = heard.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(rest.get(2..5)?).ok()?.parse().ok()
}

/// Whether a web server that answers so may have taken a header for a request: a broken one, or one with a method or a
/// version that it does not know.
#[must_use]
pub fn is_misread(status: u16) -> bool {
    matches!(status, HTTP_BROKEN | 501 | 505)
}

/// What a web server says to a request that it cannot read.
pub const HTTP_BROKEN: u16 = 400;
