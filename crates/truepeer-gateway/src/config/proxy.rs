//! `proxy.*`: what holds for the headers of a listener, its own word or the server's.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;
use truepeer::proto::{MixedFamilies, Versions};
use truepeer::{Nat64Prefix, NetworkSet, Unlisted};

use super::hops;
use super::missing::MissingWords;
use super::names;
use super::networks::{self, NetworkList};
use super::problem::Problem;
use super::read::Reader;
use super::settings::{
    self, HEADER_MIXED_FAMILIES, HEADER_TIMEOUT, HEADER_TIMEOUT_DEFAULT, HEADER_VERSIONS, HOP_NETWORKS,
    NAT64_PREFIXES, OWN_CONNECTIONS, TRUSTED_NAMES, TRUSTED_NETWORKS, UNLISTED_PEERS, UNSAFE_IMPLAUSIBLE,
};
use super::tree::{Found, Owner};
use crate::facts::address::ClientIp;
use crate::facts::protocol::OwnConnections;
use crate::rooms::identify::ImplausibleClients;

/// What holds for the headers of one listener, or of all that say nothing.
#[derive(Debug, Clone)]
pub(super) struct Proxy {
    /// Who may send headers.
    pub(super) trusted: NetworkList,
    /// What of the others.
    pub(super) unlisted: Unlisted,
    /// The deadline of a header.
    pub(super) header_timeout: Duration,
    /// The versions that are read.
    pub(super) versions: Versions,
    /// Whether version 1 lines may mix families.
    pub(super) mixed_families: MixedFamilies,
    /// What trusted peers without a header are.
    pub(super) missing: MissingWords,
    /// Proxies that may stand inside a chain of headers.
    pub(super) hops: NetworkSet,
    /// The prefixes of translators.
    pub(super) nat64: Arc<[Nat64Prefix]>,
    /// What of the proxy's own connections, with the key that says so; `None` follows the protocol.
    pub(super) own: Option<(OwnConnections, Said)>,
    /// Whether impossible clients are believed.
    pub(super) implausible: ImplausibleClients,
}

/// A key and the place of its value.
#[derive(Debug, Clone)]
pub(super) struct Said {
    /// The full key.
    pub(super) key: String,
    /// Its value.
    pub(super) at: Range<usize>,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            trusted: NetworkList::default(),
            unlisted: Unlisted::default(),
            header_timeout: HEADER_TIMEOUT_DEFAULT,
            versions: Versions::Both,
            mixed_families: MixedFamilies::default(),
            missing: MissingWords::default(),
            hops: NetworkSet::default(),
            nat64: Arc::default(),
            own: None,
            implausible: ImplausibleClients::default(),
        }
    }
}

impl Proxy {
    /// What `owner` says, and `self` where it is silent.
    pub(super) fn overridden(&self, reader: &mut Reader<'_>, owner: Owner<'_>, gateways: &[IpAddr]) -> Self {
        let mut new = self.clone();
        new.trusted = trusted(reader, owner, gateways)
            .unwrap_or_else(|| NetworkList { unix: truepeer::UnixPeers::default(), ..new.trusted });
        if let Some(word) = reader.word(reader.get(&UNLISTED_PEERS, owner), &settings::UNLISTED) {
            new.unlisted = word;
        }
        if let Some(timeout) = reader.duration(reader.get(&HEADER_TIMEOUT, owner)) {
            new.header_timeout = timeout;
        }
        new.missing = new.missing.overridden(reader, owner, &new.trusted, new.header_timeout);
        if let Some(versions) = reader.words(reader.get(&HEADER_VERSIONS, owner), &settings::VERSIONS) {
            new.versions = match versions.as_slice() {
                [only] => *only,
                _ => Versions::Both,
            };
        }
        if let Some(word) = reader.word(reader.get(&HEADER_MIXED_FAMILIES, owner), &settings::MIXED_FAMILIES)
        {
            new.mixed_families = word;
        }
        if let Some(found) = reader.get(&HOP_NETWORKS, owner) {
            new.hops = hops::read(reader, found);
        }
        if let Some(found) = reader.get(&NAT64_PREFIXES, owner) {
            new.nat64 = networks::nat64(reader, found).into();
        }
        if let Some(found) = reader.get(&OWN_CONNECTIONS, owner)
            && let Some(own) = reader.word(Some(found), &settings::OWN)
        {
            new.own = Some((own, Said { key: found.key.clone(), at: found.value.span() }));
        }
        if let Some(found) = reader.get(&UNSAFE_IMPLAUSIBLE, owner) {
            new.implausible = implausible(reader, found);
        }
        new
    }
}

fn implausible<'t>(reader: &mut Reader<'t>, found: &'t Found<'t>) -> ImplausibleClients {
    match found.value.get_ref() {
        DeValue::Boolean(true) => return ImplausibleClients::UnsafeAccept,
        DeValue::Boolean(false) => return ImplausibleClients::Refuse,
        _ => {}
    }
    let mut these = Vec::new();
    for text in reader.strings_of(found) {
        match text.text.parse::<ClientIp>() {
            Ok(client) => these.push(client.ip()),
            Err(_) => reader.problem(
                Problem::new(format!("`{}`: {:?} is not an address", found.key, text.text))
                    .at(text.at, "a single address is needed here")
                    .help("each address stands alone: a network would admit more than the hosts that were looked at"),
            ),
        }
    }
    ImplausibleClients::UnsafeAcceptOnly(these.into())
}

/// Whom `owner` trusts, if it says so: a list of its own, be it of networks or of names, replaces both.
fn trusted(reader: &mut Reader<'_>, owner: Owner<'_>, gateways: &[IpAddr]) -> Option<NetworkList> {
    let (networks, names) = (reader.get(&TRUSTED_NETWORKS, owner), reader.get(&TRUSTED_NAMES, owner));
    // A list that cannot be read has left a problem, so this value is never used.
    let mut list = match networks {
        Some(found) => networks::read(reader, found, gateways).unwrap_or_default(),
        None => NetworkList::default(),
    };
    if let Some(found) = names {
        list.names = names::read(reader, found);
    }
    if let (Some(off), Some(on)) = (networks, names)
        && list.lines.is_empty()
        && list.unix == truepeer::UnixPeers::default()
        && !list.names.is_empty()
        && off.is_word("off")
    {
        reader.problem(
            Problem::new(format!("`{}` is off, and `{}` is on", off.key, on.key))
                .at(off.value.span(), "no header is read from anybody")
                .also(on.value.span(), "these names are trusted")
                .help("remove one of the two"),
        );
    }
    networks.or(names).map(|_| list)
}
