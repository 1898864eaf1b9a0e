//! Pages: a bounded, sorted and searched part of a list that may be very long, as `truepeer top` asks for it.
//!
//! The same types on both ends of the socket. Nobody can ask for more than [`MAX_ROWS`] at once.

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::facts::network::parse_network;
use crate::rooms::backend::Reached;
use crate::rooms::record::Entry;

/// Rows of a page, at most.
pub const MAX_ROWS: usize = 200;
/// Rows before a page, at most: whoever looks further back has to search.
pub const MAX_SKIP: usize = 10_000;
/// Characters of a search, at most.
pub const MAX_SEARCH: usize = 64;

/// Which part of a list, in which order; the bounds hold for whatever is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRequest<By> {
    /// What decides the order.
    pub by: By,
    /// Which end comes first.
    #[serde(default)]
    pub direction: ListOrder,
    /// What a row must hold; empty admits all.
    #[serde(default)]
    pub search: String,
    /// Rows before the first one.
    #[serde(default)]
    pub skip: usize,
    /// Rows.
    pub rows: usize,
}

/// Which end of a list comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListOrder {
    /// The most, the longest.
    #[default]
    Falling,
    /// The least, the first of the alphabet.
    Rising,
}

/// What decides the order of connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionsBy {
    /// How long they have been open.
    #[default]
    Open,
    /// The client's address.
    Client,
    /// The peer's.
    Peer,
    /// The listener's name.
    Listener,
    /// The backend's name.
    Backend,
    /// Bytes from the client.
    BytesIn,
    /// Bytes to the client.
    BytesOut,
}

/// What decides the order of clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientsBy {
    /// How many connections they have open.
    #[default]
    Open,
    /// How many they began of late.
    New,
    /// Bytes from the client, in what is open.
    BytesIn,
    /// Bytes to the client, in what is open.
    BytesOut,
    /// The address.
    Client,
}

/// What a row must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Search {
    All,
    /// A client or peer in this network.
    Network(IpNet),
    /// This text, in lower case.
    Text(String),
}

impl<By> PageRequest<By> {
    /// The rows that are skipped and those that are shown, within the bounds.
    pub(super) fn bounds(&self) -> (usize, usize) {
        (self.skip.min(MAX_SKIP), self.rows.min(MAX_ROWS))
    }

    pub(super) fn search(&self) -> Search {
        Search::parse(&self.search)
    }
}

impl Search {
    fn parse(text: &str) -> Self {
        let text: String = text.trim().chars().take(MAX_SEARCH).collect();
        match parse_network(&text) {
            _ if text.is_empty() => Self::All,
            Ok(network) => Self::Network(network),
            Err(_) => Self::Text(text.to_lowercase()),
        }
    }

    /// Whether `entry` is looked for; `room` is written over, so that nothing is allocated for each.
    pub(super) fn finds(&self, entry: &Entry, room: &mut String) -> bool {
        let text = match self {
            Self::All => return true,
            Self::Network(network) => {
                let client = entry.client().map(|client| client.ip);
                return [entry.peer().ip(), client].into_iter().flatten().any(|ip| network.contains(&ip));
            }
            Self::Text(text) => text,
        };
        room.clear();
        // Writing to a string cannot fail.
        let _ =
            write!(room, "{} {} {} {}", entry.listener(), entry.protocol().name(), entry.peer(), entry.id());
        if let Some(client) = entry.client() {
            let _ = write!(room, " {client}");
        }
        if let Some(Reached { backend, address, .. }) = entry.backend() {
            let _ = write!(room, " {backend} {address}");
        }
        room.make_ascii_lowercase();
        room.contains(text)
    }

    /// Whether a client is looked for.
    pub(super) fn finds_client(&self, client: &IpNet, room: &mut String) -> bool {
        match self {
            Self::All => true,
            Self::Network(network) => network.contains(client) || client.contains(network),
            Self::Text(text) => {
                room.clear();
                let _ = write!(room, "{}", shown(client));
                room.contains(text)
            }
        }
    }
}

/// A client as it is shown: one address without the length of a network.
pub(super) fn shown(client: &IpNet) -> String {
    if client.prefix_len() == client.max_prefix_len() {
        client.addr().to_string()
    } else {
        client.to_string()
    }
}

/// About whom it is asked why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// An open connection, by its id.
    Connection(String),
    /// A client, by its address.
    Client(IpAddr),
}
