//! What may be said of a client in words: the facts that XCLIENT and ID carry.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use truepeer::ClientIdentity;

use super::{Substituted, Untellable};
use crate::facts::protocol::Protocol;

/// Where a backend is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// In which language.
    pub protocol: Protocol,
    /// What this host calls itself there.
    pub hostname: Arc<str>,
}

/// The facts about one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct About {
    /// Where they are told.
    pub(super) counter: Counter,
    /// Its address.
    pub(super) client: IpAddr,
    /// Its port, if it was told.
    pub(super) client_port: Option<u16>,
    /// Where it wanted to go, in its own family.
    pub(super) destination: Option<SocketAddr>,
    /// Our id for the connection; empty when there is no client.
    pub(super) id: String,
    /// Whether it came over TLS.
    pub(super) secure: bool,
    /// The host name that it asked for.
    pub(super) asked_for: Option<String>,
    /// What of this its proxy did not tell.
    pub(super) substituted: Substituted,
}

impl About {
    /// What `identity` says.
    ///
    /// # Errors
    /// [`Untellable`].
    pub(super) fn new(
        counter: &Counter,
        identity: &ClientIdentity,
        reached: Option<SocketAddr>,
        id: &str,
    ) -> Result<Self, Untellable> {
        let client = super::client(identity)?;
        let mut substituted = Substituted::default();
        let destination = super::destination(identity, client.ip, reached, &mut substituted);
        let asked_for = identity.authority().filter(|name| is_dns_name(name));
        Ok(Self {
            counter: counter.clone(),
            client: client.ip,
            client_port: client.port.map(Into::into),
            destination: Some(destination).filter(|to| !to.ip().is_unspecified()),
            id: id.to_owned(),
            secure: identity.is_secure(),
            asked_for: asked_for.map(str::to_owned),
            substituted,
        })
    }
}

/// Letters, digits, dots and hyphens: what every server takes for a name.
pub(super) fn is_dns_name(name: &str) -> bool {
    let is_label_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(is_label_byte)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_labels_of_letters_digits_and_hyphens_within() {
        let (longest, too_long) = (["a"; 127].join("."), ["a"; 128].join("."));
        let label = "a".repeat(63);
        for name in ["mx.example.org", "a", "1-2.example", &label, &longest] {
            assert!(is_dns_name(name), "{name}");
        }
        let label = "a".repeat(64);
        for name in ["", ".", "a..b", "a.", "-a.example", "a-.example", "a_b", "a b", &label, &too_long] {
            assert!(!is_dns_name(name), "{name}");
        }
    }
}
