//! Memory that is used again: what every connection needs, each thread keeps some of; buffers first of all, of which nearly
//! every connection needs one for a moment and never again.
//!
//! Giving one back is a courtesy and never a duty.

use std::cell::RefCell;
use std::fmt;

/// Of one kind, those that nobody needs now. Bound: `KEPT`.
pub struct Free<T, const KEPT: usize = 64>(RefCell<Vec<T>>);

impl<T, const KEPT: usize> Free<T, KEPT> {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// One of them, if there is one.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        self.0.borrow_mut().pop()
    }

    /// Nobody needs `one` any more.
    pub fn keep(&self, one: T) {
        let mut free = self.0.borrow_mut();
        if free.len() < KEPT {
            return free.push(one);
        }
        // Whatever it holds may be kept itself.
        drop(free);
        drop(one);
    }
}

impl<T, const KEPT: usize> Default for Free<T, KEPT> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const KEPT: usize> fmt::Debug for Free<T, KEPT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Free").finish_non_exhaustive()
    }
}

/// Buffers of at most so many bytes are kept.
const LARGEST: usize = 8 * 1024;

thread_local! {
    static SPARE: Free<Vec<u8>> = const { Free::new() };
}

/// An empty buffer, with room if one is left.
#[must_use]
pub fn spare() -> Vec<u8> {
    SPARE.with(Free::take).unwrap_or_default()
}

/// Nobody needs it any more.
pub fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > LARGEST {
        return;
    }
    buffer.clear();
    SPARE.with(|spare| spare.keep(buffer));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_empty_and_bounded() {
        assert_eq!(spare().capacity(), 0);
        let room = |buffer: &Vec<u8>| buffer.capacity();
        give_back(vec![1; 100]);
        let again = spare();
        assert_eq!((again.len(), room(&again)), (0, 100));
        give_back(vec![1; LARGEST + 1]);
        assert_eq!(room(&spare()), 0, "what is large is not kept");
        const KEPT: usize = 64;
        (0..KEPT + 10).for_each(|_| give_back(vec![1; 10]));
        assert_eq!((0..KEPT + 10).filter(|_| room(&spare()) > 0).count(), KEPT);
    }
}
