//! How servers greet and take leave, in each language.
//!
//! For code that asks a server what it makes of a header: the prober of backends, and the commands beside the front
//! door. Pure; what the front door itself says is in `rooms/own`.

use super::protocol::{Manners, Protocol};

pub use super::protocol::Part;

fn manners(protocol: Protocol) -> Option<Manners> {
    protocol.language().manners
}

/// Where the line that completes an answer ends, if it is there.
#[must_use]
pub fn complete_len(protocol: Protocol, part: Part, heard: &[u8]) -> Option<usize> {
    let mut len = 0_usize;
    for line in heard.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
        len = len.saturating_add(line.len());
        if ends(protocol, part, line) {
            return Some(len);
        }
    }
    None
}

/// Whether this line, or the beginning of it, is the last of an answer.
#[must_use]
pub fn ends(protocol: Protocol, part: Part, line: &[u8]) -> bool {
    // Where nobody is known to greet, any line is.
    manners(protocol).is_none_or(|manners| (manners.ends)(part, line))
}

/// Whether a server of that language greets so.
#[must_use]
pub fn is_greeting(protocol: Protocol, heard: &[u8]) -> bool {
    manners(protocol).is_some_and(|manners| (manners.is_greeting)(heard))
}

/// What a client says to end a session.
#[must_use]
pub fn goodbye(protocol: Protocol) -> &'static [u8] {
    manners(protocol).map_or(b"QUIT\r\n", |manners| manners.goodbye)
}

/// Whether a server of that language takes leave so.
#[must_use]
pub fn is_goodbye(protocol: Protocol, heard: &[u8]) -> bool {
    manners(protocol).is_some_and(|manners| (manners.is_goodbye)(heard))
}

/// Whether a server of that language says so that it cannot make anything of a command.
#[must_use]
pub fn is_complaint(protocol: Protocol, heard: &[u8]) -> bool {
    manners(protocol).is_some_and(|manners| (manners.is_complaint)(heard))
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
