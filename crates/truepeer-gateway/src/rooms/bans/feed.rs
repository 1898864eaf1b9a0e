//! The lines of a feed: bans set and lifted by another program, one a line.
//!
//! Read by `truepeer deny --feed` from its standard input. Pure: a line in, an order out.
//!
//! ```text
//! +ADDRESS|NETWORK DURATION [REASON]     set a ban: +192.0.2.7 4h crowdsec ssh-bf
//! -ADDRESS|NETWORK                       lift it:   -192.0.2.7
//! # comment                              and blank lines say nothing
//! ```
//!
//! A line that is wrong concerns that line only: the feed goes on.

use core::fmt;

use super::order::{BanChange, BanDuration, BanDurationError, BanOrder, BanReason};
use crate::facts::network::{NetworkError, parse_network};

/// Why a line of a feed is no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeedError {
    /// It begins with neither `+` nor `-`.
    Sign,
    /// What follows the sign is no address or network.
    Network(NetworkError),
    /// The duration of a ban is missing.
    NoDuration,
    /// The second word is no duration.
    Duration(BanDurationError),
    /// Something follows the network that is to be let in again.
    Trailing,
}

/// Reads one line, with or without its line end; `None` if it says nothing.
///
/// # Errors
/// [`FeedError`].
pub fn parse_line(line: &str) -> Result<Option<BanChange>, FeedError> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let mut chars = line.chars();
    match chars.next() {
        Some('+') => parse_add(chars.as_str()).map(|order| Some(BanChange::Add(order))),
        Some('-') => match next_word(chars.as_str()) {
            (network, "") => {
                parse_network(network).map(|net| Some(BanChange::Remove(net))).map_err(FeedError::Network)
            }
            _ => Err(FeedError::Trailing),
        },
        _ => Err(FeedError::Sign),
    }
}

fn parse_add(text: &str) -> Result<BanOrder, FeedError> {
    let (network, rest) = next_word(text);
    let network = parse_network(network).map_err(FeedError::Network)?;
    let (lasts, reason) = next_word(rest);
    if lasts.is_empty() {
        return Err(FeedError::NoDuration);
    }
    let lasts: BanDuration = lasts.parse().map_err(FeedError::Duration)?;
    Ok(BanOrder { network, lasts, reason: BanReason::new(reason) })
}

/// Cuts off the first word; both parts without space around them.
fn next_word(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim()),
        None => (text, ""),
    }
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sign => f.write_str("a line of a feed begins with + (set a ban) or - (lift it)"),
            Self::Network(reason) => reason.fmt(f),
            Self::NoDuration => f.write_str("a duration must follow the network: +192.0.2.7 4h reason"),
            Self::Duration(reason) => reason.fmt(f),
            Self::Trailing => f.write_str("nothing may follow the network of a - line"),
        }
    }
}

impl std::error::Error for FeedError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(network: &str, lasts: &str, reason: &str) -> Result<Option<BanChange>, FeedError> {
        Ok(Some(BanChange::Add(BanOrder {
            network: network.parse().unwrap(),
            lasts: lasts.parse().unwrap(),
            reason: BanReason::new(reason),
        })))
    }

    fn remove(network: &str) -> Result<Option<BanChange>, FeedError> {
        Ok(Some(BanChange::Remove(network.parse().unwrap())))
    }

    #[test]
    fn lines_of_a_feed() {
        let address = Err(FeedError::Network(NetworkError::NotAnAddress));
        let syntax = Err(FeedError::Duration(BanDurationError::Syntax));
        for (line, expected) in [
            ("", Ok(None)),
            (" \r\n", Ok(None)),
            ("# comment", Ok(None)),
            ("+192.0.2.7 4h crowdsec ssh-bf\n", add("192.0.2.7/32", "4h", "crowdsec ssh-bf")),
            ("+192.0.2.7 3600s\r\n", add("192.0.2.7/32", "1h", "")),
            ("  +192.0.2.77/24\t 10m \t a  b ", add("192.0.2.0/24", "10m", "a  b")),
            ("+::ffff:192.0.2.7 1h x", add("192.0.2.7/32", "1h", "x")),
            ("+2001:db8::1/64 3h59m58s x", add("2001:db8::/64", "3h59m58s", "x")),
            ("-192.0.2.7", remove("192.0.2.7/32")),
            ("-2001:db8::/64\n", remove("2001:db8::/64")),
            ("192.0.2.7 4h", Err(FeedError::Sign)),
            ("\u{e9}192.0.2.7 4h", Err(FeedError::Sign)),
            ("+", address.clone()),
            ("-", address.clone()),
            ("+ 192.0.2.7 4h", address.clone()),
            ("+mail.example.org 4h", address),
            ("+192.0.2.7", Err(FeedError::NoDuration)),
            ("+192.0.2.7 ", Err(FeedError::NoDuration)),
            ("+192.0.2.7 3600 reason", syntax.clone()),
            ("+192.0.2.7 -4h reason", syntax),
            ("+192.0.2.7 400d reason", Err(FeedError::Duration(BanDurationError::Range))),
            ("-192.0.2.7 4h", Err(FeedError::Trailing)),
        ] {
            assert_eq!(parse_line(line), expected, "{line:?}");
        }
    }
}
