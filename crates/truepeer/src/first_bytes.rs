//! The guard in front of client bytes: no second header ever reaches a backend.
//!
//! Used wherever a client's bytes are about to be passed on: direct clients, identified clients, listeners without
//! trust. Pure: it sees the bytes that are held back and the time, and says what to do with them.

use std::time::{Duration, Instant};

use truepeer_proto::{V1_SIGNATURE, V2_SIGNATURE, Version};

/// What the first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They can still become a header: hold them back.
    Hold,
    /// They cannot be a header any more: pass everything on, and ask no longer.
    Pass,
    /// A whole signature: pass nothing on.
    Header(Version),
}

/// What becomes of bytes that are held when waiting ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// They go on to the backend.
    Release,
    /// The connection ends; nothing of them was passed on.
    End,
}

/// Whether our own header precedes the client's bytes on the way to the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnHeader {
    /// The backend reads ours first, so an incomplete prefix behind it is only client data.
    Precedes,
    /// The backend might be made to read the client's: an incomplete prefix is never released.
    Absent,
}

/// Holds back a client's first bytes while they can be the start of a header: usually 1 byte, at most 12.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstBytes {
    own_header: OwnHeader,
    deadline: Instant,
    held_since: Option<Instant>,
}

impl FirstBytes {
    /// How long a true prefix is held when our own header precedes it.
    pub const HOLD: Duration = Duration::from_secs(1);
    /// The most bytes that [`Verdict::Hold`] can be said of.
    pub const MAX_HELD: usize = V2_SIGNATURE.len() - 1;

    /// A guard for one connection; `deadline` is the header deadline of its listener.
    #[must_use]
    pub fn new(own_header: OwnHeader, deadline: Instant) -> Self {
        Self { own_header, deadline, held_since: None }
    }

    /// Judges `bytes`, everything that the client sent so far.
    pub fn inspect(&mut self, bytes: &[u8], now: Instant) -> Verdict {
        let verdict = judge(bytes);
        if verdict == Verdict::Hold && !bytes.is_empty() {
            self.held_since.get_or_insert(now);
        }
        verdict
    }

    /// When to call [`FirstBytes::expire`], while bytes are held.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        let since = self.held_since?;
        Some(match self.own_header {
            OwnHeader::Precedes => since.checked_add(Self::HOLD).unwrap_or(since),
            // Bytes that come late have as long as bytes behind our header.
            OwnHeader::Absent => self.deadline.max(since.checked_add(Self::HOLD).unwrap_or(since)),
        })
    }

    /// What becomes of the held bytes at [`FirstBytes::wake_at`].
    #[must_use]
    pub fn expire(&self) -> Held {
        match self.own_header {
            OwnHeader::Precedes => Held::Release,
            OwnHeader::Absent => Held::End,
        }
    }
}

fn judge(bytes: &[u8]) -> Verdict {
    for (signature, version) in
        [(V1_SIGNATURE.as_slice(), Version::V1), (V2_SIGNATURE.as_slice(), Version::V2)]
    {
        if bytes.starts_with(signature) {
            return Verdict::Header(version);
        }
        if signature.starts_with(bytes) {
            return Verdict::Hold;
        }
    }
    Verdict::Pass
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn guard(own: OwnHeader) -> (FirstBytes, Instant) {
        let now = Instant::now();
        (FirstBytes::new(own, now + Duration::from_secs(5)), now)
    }

    #[test]
    fn every_prefix_of_a_signature_is_held_and_the_whole_is_a_header() {
        let (mut guard, now) = guard(OwnHeader::Precedes);
        for (signature, version) in
            [(V1_SIGNATURE.as_slice(), Version::V1), (V2_SIGNATURE.as_slice(), Version::V2)]
        {
            for len in 0..signature.len() {
                assert_eq!(guard.inspect(&signature[..len], now), Verdict::Hold, "{len}");
                assert!(len <= FirstBytes::MAX_HELD);
            }
            assert_eq!(guard.inspect(signature, now), Verdict::Header(version));
            let mut more = signature.to_vec();
            more.extend_from_slice(b"TCP4");
            assert_eq!(guard.inspect(&more, now), Verdict::Header(version));
        }
    }

    #[test]
    fn ordinary_first_bytes_pass_at_the_first_byte_that_differs() {
        let (mut guard, now) = guard(OwnHeader::Absent);
        for bytes in [
            &b"E"[..],
            b"\x16",
            b"GET / HTTP/1.1\r\n",
            b"\r\nX",
            b"\r\n\r\nG",
            b"PROPFIND /",
            b"PROXYX",
            b"PROXY\t",
            b"a LOGIN",
        ] {
            assert_eq!(guard.inspect(bytes, now), Verdict::Pass, "{bytes:?}");
        }
        assert_eq!(guard.wake_at(), None);
    }

    #[test]
    fn a_prefix_behind_our_header_is_released_after_a_second() {
        let (mut guard, now) = guard(OwnHeader::Precedes);
        assert_eq!(guard.wake_at(), None);
        guard.inspect(b"PRO", now);
        guard.inspect(b"PROX", now + Duration::from_millis(900));
        assert_eq!(guard.wake_at(), Some(now + FirstBytes::HOLD));
        assert_eq!(guard.expire(), Held::Release);
    }

    #[test]
    fn a_prefix_without_our_header_is_never_released() {
        let (mut guard, now) = guard(OwnHeader::Absent);
        guard.inspect(b"\r\n", now);
        assert_eq!(guard.wake_at(), Some(now + Duration::from_secs(5)));
        assert_eq!(guard.expire(), Held::End);
    }
}
