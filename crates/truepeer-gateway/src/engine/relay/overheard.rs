//! What a backend says first, for those who have to judge whether it has read our header.
//!
//! A copy of bytes that the relay moves; a relay without it does nothing for it.

use std::cell::RefCell;

use crate::engine::spare;

/// The first bytes of a backend, at most [`Overheard::MAX`] of its first second.
#[derive(Debug, Default)]
pub struct Overheard(RefCell<Vec<u8>>);

impl Overheard {
    /// No server needs more to refuse what it does not understand.
    pub const MAX: usize = 256;

    /// Asks `what` of what was heard so far.
    pub fn ask<T>(&self, what: impl FnOnce(&[u8]) -> T) -> T {
        what(&self.0.borrow())
    }

    /// What was heard, in a buffer that may be given back.
    #[must_use]
    pub fn heard(self) -> Vec<u8> {
        self.0.into_inner()
    }

    /// Hears what is moved next.
    pub(super) fn hear(&self, bytes: &[u8]) {
        let mut heard = self.0.borrow_mut();
        if heard.capacity() == 0 {
            *heard = spare();
        }
        let room = Self::MAX.saturating_sub(heard.len());
        heard.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }
}
