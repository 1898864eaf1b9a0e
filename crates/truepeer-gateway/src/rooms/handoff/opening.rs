//! What a backend hears first: our header, and with it the client's first bytes where that changes nothing for it.
//!
//! A server that greets first judges clients that talk too soon, so that there our header goes alone. Elsewhere one
//! segment and one wake-up of the backend are saved. Called by the walk. Pure.

use std::time::Instant;

use truepeer::{FirstBytes, Verdict};

use crate::facts::protocol::{ClientTls, FirstSpeaker, Protocol};

/// What is written before the relay begins, and what is left for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Opening {
    /// To be written first, in one write.
    pub bytes: Vec<u8>,
    /// How many of these are the client's.
    pub rode: usize,
    /// The client's bytes that are not among these.
    pub left: Vec<u8>,
    /// Judges what is left; gone if the client's first bytes are judged.
    pub guard: Option<FirstBytes>,
}

impl Opening {
    /// Of `header` and the client's first bytes, which `guard` judges as it does in the relay.
    ///
    /// # Errors
    /// The client's bytes, if they are a header already: then no backend is to hear of this client.
    pub fn new(
        header: Vec<u8>,
        early: Vec<u8>,
        guard: FirstBytes,
        company: Company,
        now: Instant,
    ) -> Result<Self, Vec<u8>> {
        let mut bytes = header;
        // Judged by a copy: how long bytes are held counts from when the relay can look for what follows them, not from
        // before a backend was connected.
        let verdict = { guard }.inspect(&early, now);
        if let Verdict::Header(_) = verdict {
            return Err(early);
        }
        if company == Company::Alone || early.is_empty() || verdict != Verdict::Pass {
            return Ok(Self { bytes, rode: 0, left: early, guard: Some(guard) });
        }
        let rode = early.len();
        let mut left = early;
        bytes.extend_from_slice(&left);
        // Empty, with its room: another may use it.
        left.clear();
        Ok(Self { bytes, rode, left, guard: None })
    }
}

/// Whether a client's bytes may go in one write with our header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// The header goes alone.
    Alone,
    /// They may.
    Shared,
}

impl Company {
    /// What holds where clients speak `protocol`, in clear text or not.
    #[must_use]
    pub fn of(protocol: Protocol, tls: ClientTls) -> Self {
        match (tls, protocol.first_speaker()) {
            // In TLS the client always speaks first.
            (ClientTls::Implicit, _) | (ClientTls::None, FirstSpeaker::Client | FirstSpeaker::Unknown) => {
                Self::Shared
            }
            (ClientTls::None, FirstSpeaker::Server) => Self::Alone,
        }
    }
}

#[cfg(test)]
mod tests {
    use truepeer::OwnHeader;

    use super::*;

    fn opening(early: &[u8], company: Company) -> (Vec<u8>, usize, Vec<u8>, bool) {
        let now = Instant::now();
        let guard = FirstBytes::new(OwnHeader::Precedes, now);
        let Opening { bytes, rode, left, guard } =
            Opening::new(b"HEADER".to_vec(), early.to_vec(), guard, company, now).unwrap();
        (bytes, rode, left, guard.is_some())
    }

    #[test]
    fn what_can_be_no_header_goes_with_ours() {
        assert_eq!(opening(b"GET /", Company::Shared), (b"HEADERGET /".to_vec(), 5, Vec::new(), false));
    }

    #[test]
    fn what_may_become_a_header_stays_behind_and_guarded() {
        for early in [&b""[..], b"P", b"PROX", b"\r\n\r\n\0\r\nQUI"] {
            assert_eq!(opening(early, Company::Shared), (b"HEADER".to_vec(), 0, early.to_vec(), true));
        }
    }

    #[test]
    fn what_is_a_header_opens_nothing() {
        let now = Instant::now();
        let guard = FirstBytes::new(OwnHeader::Precedes, now);
        for early in [&b"PROXY TCP4 "[..], b"\r\n\r\n\0\r\nQUIT\n!"] {
            for company in [Company::Shared, Company::Alone] {
                let opening = Opening::new(b"HEADER".to_vec(), early.to_vec(), guard, company, now);
                assert_eq!(opening, Err(early.to_vec()));
            }
        }
    }

    #[test]
    fn bytes_are_held_from_when_the_relay_begins_however_long_connecting_takes() {
        let now = Instant::now();
        let guard = FirstBytes::new(OwnHeader::Precedes, now);
        for company in [Company::Shared, Company::Alone] {
            let opening = Opening::new(b"HEADER".to_vec(), b"PROX".to_vec(), guard, company, now);
            assert_eq!(opening.unwrap().guard.and_then(|guard| guard.wake_at()), None);
        }
    }

    #[test]
    fn where_the_server_greets_our_header_goes_alone() {
        assert_eq!(opening(b"EHLO x", Company::Alone), (b"HEADER".to_vec(), 0, b"EHLO x".to_vec(), true));
        let alone = |protocol: &Protocol| Company::of(*protocol, ClientTls::None) == Company::Alone;
        let alone: Vec<_> = Protocol::ALL.into_iter().filter(alone).map(Protocol::name).collect();
        assert_eq!(alone, ["smtp", "submission", "lmtp", "imap", "pop3", "managesieve"]);
        for protocol in Protocol::ALL {
            assert_eq!(Company::of(protocol, ClientTls::Implicit), Company::Shared);
        }
    }
}
