//! What will be written, before it is text.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::note::{Note, NoteKind, Section};
use truepeer_doctor::stalwart::Position;

/// Our configuration, in parts.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    pub(super) hostname: Option<String>,
    pub(super) trusted: Option<Trust>,
    pub(super) listeners: Vec<Listener>,
    pub(super) deny: Vec<IpNet>,
    pub(super) allow: Vec<IpNet>,
    pub(super) notes: Vec<Note>,
    /// What has to change in Stalwart.
    pub(super) stalwart: Vec<String>,
}

/// `proxy.trusted-networks`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trust {
    Networks(Vec<IpNet>),
    Off,
}

/// One port of a listener over there.
#[derive(Debug, Clone)]
pub(super) struct Listener {
    pub(super) id: String,
    pub(super) binds: Vec<SocketAddr>,
    pub(super) protocol: &'static str,
    pub(super) tls: Tls,
    pub(super) trusted: Option<Trust>,
    pub(super) backend: SocketAddr,
}

/// Whether the client's bytes are TLS from the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    Implicit,
    Later,
}

impl Plan {
    pub(super) fn note(
        &mut self,
        section: Section,
        place: Option<&Position>,
        key: impl Into<String>,
        kind: NoteKind,
        text: impl Into<String>,
    ) {
        self.notes.push(Note { section, place: place.cloned(), key: key.into(), kind, text: text.into() });
    }
}
