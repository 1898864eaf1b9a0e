//! Counts of clients, twice a second: this front door's busiest out, those of the others in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::StoreError;
use super::store::Store;
use crate::rooms::limits::Limits;
use crate::rooms::limits::elsewhere::{self, Elsewhere};

/// How old what is known of others is at most, while the store answers.
const EVERY: Duration = Duration::from_millis(500);

/// What is told and heard.
pub(super) struct Counts {
    limits: Arc<Limits>,
    heard: Elsewhere,
    /// Front doors that were heard last, this one included.
    nodes: usize,
    next: Instant,
}

impl Counts {
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        Self { limits, heard: Elsewhere::default(), nodes: 1, next: Instant::now() }
    }

    /// Tells and hears, if it is time.
    pub(super) async fn step(&mut self, store: &mut Store, node: &str) -> Result<(), StoreError> {
        let now = Instant::now();
        if now < self.next {
            return Ok(());
        }
        self.next = now.checked_add(EVERY).unwrap_or(now);
        let text = elsewhere::encode(&self.limits.busiest(self.nodes));
        let said = match store.counts(node, &text).await {
            // A full store has no room for counts either; they are of no use later.
            Err(error) if error.is_about_writing() => Vec::new(),
            said => said?,
        };
        self.nodes = said.len().saturating_add(1);
        let said: Vec<_> = said.iter().map(|text| elsewhere::decode(text)).collect();
        self.limits.count_elsewhere(&mut self.heard, &said);
        Ok(())
    }

    /// Nothing is heard any more: nobody is refused for what may have ended long ago.
    pub(super) fn forget(&mut self) {
        self.limits.count_elsewhere(&mut self.heard, &[]);
    }
}

impl Drop for Counts {
    fn drop(&mut self) {
        self.forget();
    }
}
