//! Keeps what other nodes said in the state file, beside everything else: a disk that does not answer delays no ban.
//!
//! One write at a time; what changes meanwhile is written by the next one. When that is too much to name, the whole
//! file is written.

use ipnet::IpNet;
use tokio::task::JoinHandle;

use crate::rooms::bans::denied::{Denied, Persisted};

/// Networks that may wait to be written one by one.
const MAX_NOTED: usize = 100_000;

/// The state file, as far as others change it.
pub(super) struct Keeping {
    denied: Denied,
    noted: Vec<IpNet>,
    /// Whether the whole file is to be written.
    all: bool,
    writing: Option<JoinHandle<Persisted>>,
    /// Whether it was said that it cannot be written.
    complained: bool,
}

impl Keeping {
    pub(super) fn new(denied: Denied) -> Self {
        Self { denied, noted: Vec::new(), all: false, writing: None, complained: false }
    }

    /// These networks have changed.
    pub(super) fn note(&mut self, networks: Vec<IpNet>) {
        if self.noted.len().saturating_add(networks.len()) > MAX_NOTED {
            self.note_all();
        } else {
            self.noted.extend(networks);
        }
    }

    /// Everything may have changed.
    pub(super) fn note_all(&mut self) {
        (self.all, self.noted) = (true, Vec::new());
    }

    /// Begins to write if there is something to write and nothing is being written.
    pub(super) async fn step(&mut self) {
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return;
        }
        if let Some(written) = self.writing.take() {
            self.written(written.await.ok());
        }
        let denied = self.denied.clone();
        if std::mem::take(&mut self.all) {
            self.writing = Some(tokio::task::spawn_blocking(move || denied.keep_all()));
        } else if !self.noted.is_empty() {
            let networks = std::mem::take(&mut self.noted);
            self.writing = Some(tokio::task::spawn_blocking(move || denied.keep(&networks)));
        }
    }

    fn written(&mut self, kept: Option<Persisted>) {
        match kept {
            Some(Persisted::Failed(path, error)) => {
                if !std::mem::replace(&mut self.complained, true) {
                    let (path, cause) = (path.display().to_string(), error.to_string());
                    tracing::warn!(event = "bans_not_kept", path, cause);
                }
            }
            _ => self.complained = false,
        }
    }
}
