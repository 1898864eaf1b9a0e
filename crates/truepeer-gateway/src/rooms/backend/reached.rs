//! Where a connection was handed to, as its record says and as others may see it.

use std::sync::Arc;

use crate::engine::program::Life;

/// Whom a connection was handed to. All that came to one address of a backend share it.
#[derive(Debug)]
pub struct Reached {
    /// `backend.<id>`
    pub backend: Arc<str>,
    /// Which of its addresses.
    pub address: Arc<str>,
    /// The life of the program that the connection was given to, where it is one.
    pub program: Option<Arc<Life>>,
}

impl Reached {
    /// The address of that name of a backend.
    #[must_use]
    pub fn new(backend: &Arc<str>, address: impl Into<Arc<str>>) -> Arc<Self> {
        Arc::new(Self { backend: Arc::clone(backend), address: address.into(), program: None })
    }
}
