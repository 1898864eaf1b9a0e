//! Fake backends for the gateway's own tests: they keep a promise, break one, or say nothing, and report what they got.
//!
//! Used by integration tests only. Each binds a loopback port that the system chooses, runs on threads of its own
//! (so the paused clock or a busy runtime of the program under test cannot slow it), and ends when it is dropped.
//! They share no code with the product: the header is read by `header`, which knows nothing but the wire.
//! Every wait ends after [`WAIT`], with a panic that says what was waited for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a fake that is wrong should fall over in the test that uses it"
)]

mod header;
mod header_backend;
mod inbox;
mod mail;
mod misbehave;
mod server;

use std::time::Duration;

pub use header::{FakeHeader, read_header};
pub use header_backend::{Afterwards, HeaderBackend, Refused};
pub use inbox::Inbox;
pub use mail::{MailLanguage, PlainMailServer};
pub use misbehave::{HalfClosingServer, ResetWhen, ResettingServer, SilentServer};
pub use server::{End, Loopback, Session};

/// How long anything here waits for anybody.
pub const WAIT: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests;
