//! The no of a protocol that we do not know: a close without a byte. Any text could be taken for the backend's data.

use super::Refusal;

/// Nothing to say.
pub(super) const fn refuse(_refusal: &Refusal<'_>) -> Option<Vec<u8>> {
    None
}
