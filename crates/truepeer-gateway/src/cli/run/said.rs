//! What the log was told of a configuration, so that a reload says only what is new.

use crate::config::Advice;
use crate::control::Control;
use crate::server::{Bound, Server};

/// What was said and still holds.
#[derive(Debug, Default)]
pub(super) struct Said {
    advice: Vec<String>,
    listening: Vec<Bound>,
    health: Vec<Bound>,
    status: Vec<String>,
}

impl Said {
    /// Says advice that was not given before. A line that moved in the file makes it no other advice.
    pub(super) fn advice(&mut self, advice: &[Advice]) {
        for Advice { key, text, .. } in advice.iter().filter(|advice| !self.advice.contains(&advice.text)) {
            tracing::warn!(event = "advice", key, advice = text);
        }
        self.advice = advice.iter().map(|advice| advice.text.clone()).collect();
    }

    /// Says addresses that nobody was served at before; those that were shut at first are said when they open.
    pub(super) fn addresses(&mut self, server: &Server, control: &Control) {
        let [listening, health] = server.made_open();
        for bound in listening.iter().filter(|bound| !self.listening.contains(bound)) {
            let (listener, address) = (&*bound.listener, bound.address.as_str());
            tracing::info!(event = "listening", listener, address);
        }
        for bound in health.iter().filter(|bound| !self.health.contains(bound)) {
            let (listener, address) = (&*bound.listener, bound.address.as_str());
            tracing::info!(event = "health_served", listener, address);
        }
        let status: Vec<String> = control.status().map(str::to_owned).collect();
        for address in status.iter().filter(|address| !self.status.contains(address)) {
            tracing::info!(event = "status_served", address);
        }
        (self.listening, self.health, self.status) = (listening, health, status);
    }
}
