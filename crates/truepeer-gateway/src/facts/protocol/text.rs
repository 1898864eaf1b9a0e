//! What an operator adds to every refusal: where to read more, whom to ask.
//!
//! Checked once, when the configuration is read, so that it fits every protocol as it is.

use std::fmt;

use crate::facts::address::ClientIp;

/// Words behind our own in a refusal; the codes before them stay ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalText(String);

/// Why a text cannot stand in a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadText {
    /// A character that some protocol would take for something else.
    Character(char),
    /// So many characters, addresses counted at their longest.
    TooLong(usize),
}

impl fmt::Display for BadText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character('{' | '}') => {
                write!(f, "braces are for `{CLIENT}` only, which becomes the client's address")
            }
            Self::Character(c) => write!(
                f,
                "{c:?} cannot stand in every protocol's line: printable ASCII without quotes and backslashes can"
            ),
            Self::TooLong(len) => write!(
                f,
                "{len} characters, `{CLIENT}` counted as {LONGEST_ADDRESS}: at most {} fit into a line of SMTP",
                RefusalText::MAX
            ),
        }
    }
}

impl std::error::Error for BadText {}

impl RefusalText {
    /// The longest one, each address in it counted at its longest: with the longest host name, reply line and address
    /// before it, it still fits the 512 bytes of RFC 5321 4.5.3.1.5.
    pub const MAX: usize = 150;

    /// Reads what an operator wrote; `{client}` in it stands for the client's address.
    ///
    /// # Errors
    /// [`BadText`].
    pub fn parse(text: &str) -> Result<Self, BadText> {
        let plain = text.replace(CLIENT, "");
        let fits = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '{' | '}');
        if let Some(c) = plain.chars().find(|c| !fits(*c)) {
            return Err(BadText::Character(c));
        }
        let addresses = text.matches(CLIENT).count();
        let len = plain.len().saturating_add(addresses.saturating_mul(LONGEST_ADDRESS));
        if len > Self::MAX { Err(BadText::TooLong(len)) } else { Ok(Self(text.to_owned())) }
    }

    /// The text for one client.
    pub(super) fn spoken_to(&self, client: Option<ClientIp>) -> String {
        let client = client.map_or_else(|| "your address".to_owned(), |client| client.to_string());
        self.0.replace(CLIENT, &client)
    }
}

/// What stands for the client's address.
const CLIENT: &str = "{client}";
/// `ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff`
const LONGEST_ADDRESS: usize = 39;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_every_protocol_is_taken() {
        for text in [
            "",
            "see https://mx.example.org/why?ip={client}",
            "call +49 30 123456 (postmaster), {client} {client}",
        ] {
            assert!(RefusalText::parse(text).is_ok(), "{text}");
        }
        assert!(RefusalText::parse(&"x".repeat(RefusalText::MAX)).is_ok());
    }

    #[test]
    fn what_some_protocol_would_misread_is_named() {
        for (text, c) in [
            ("a\r\n250 ok", '\r'),
            ("a\nb", '\n'),
            ("a\0", '\0'),
            ("a\tb", '\t'),
            ("Größe", 'ö'),
            ("say \"hello\"", '"'),
            ("c:\\x", '\\'),
            ("{ip}", '{'),
            ("{client}}", '}'),
            ("\u{7f}", '\u{7f}'),
        ] {
            assert_eq!(RefusalText::parse(text), Err(BadText::Character(c)), "{text:?}");
        }
        assert_eq!(RefusalText::parse(&"x".repeat(151)), Err(BadText::TooLong(151)));
        assert_eq!(RefusalText::parse("{client}{client}{client}{client}"), Err(BadText::TooLong(156)));
    }
}
