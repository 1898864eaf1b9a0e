//! Connections that have heard their last words and are read a little longer, so that the words arrive.
//!
//! They hold a place among all connections. Without a bound of their own a host that is turned away, and opens new
//! connections without closing the old ones, fills every place and keeps good clients waiting. The oldest makes room:
//! it has had the most time to read.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::{Pending, PendingHeaders};

/// The lingering connections of one worker, counted over all workers.
#[derive(Debug, Clone)]
pub struct Lingering(PendingHeaders);

impl Lingering {
    /// One of so many connections may linger ...
    const SHARE: u32 = 8;
    /// ... but at least so many, and at most so many, whatever their number.
    const LEAST: u32 = 16;
    const MOST: u32 = 1024;

    /// `total` is shared by all workers of a server that takes `max_connections`.
    #[must_use]
    pub fn new(max_connections: u32, total: Arc<AtomicU32>) -> Self {
        let most = (max_connections / Self::SHARE).clamp(Self::LEAST, Self::MOST);
        Self(PendingHeaders::new(most, total))
    }

    /// Counts one more; this worker's oldest makes room if there are too many.
    #[must_use]
    pub(super) fn enter(&self) -> Pending {
        self.0.enter()
    }
}
