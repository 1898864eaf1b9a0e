//! Identities as objects for logs and queues, networks as lists in configuration files.
//!
//! Addresses and networks are read as people write them, and through the same door: a list that trusts everybody is
//! refused here as well. Identities are written only. Anyone who could read one from a file could be anybody.

use core::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::{
    Caller, Client, ClientIdentity, Endpoint, NetworkSet, PeerAddress, ProxyOwn, Role, TrustedNetworks,
};

/// As text: `203.0.113.5:40000`, or the address alone where no port was told.
impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As text: `192.0.2.10:1000`, `unix uid=113`, `vsock 3:1024`.
impl Serialize for PeerAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As an object: `client` (for a proxy's own connection `own`, with its code), `peer`, `destination`, `source`,
/// `secure`, and of what the header adds `tls_version`, `tls_cipher`, `verified_common_name`, `authority`, `alpn` and
/// `unique_id`. What is not known is left out. Bytes of the wire that are no UTF-8 have replacement characters; the
/// unique id is hexadecimal.
impl Serialize for ClientIdentity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.role() {
            Role::Client(client) => map.serialize_entry("client", &client)?,
            Role::ProxyOwn(own) => map.serialize_entry("own", own.code())?,
        }
        map.serialize_entry("peer", &self.peer())?;
        if let Some(destination) = self.destination() {
            map.serialize_entry("destination", &destination)?;
        }
        map.serialize_entry("source", self.source().code())?;
        map.serialize_entry("secure", &self.is_secure())?;
        let tls = self.tls();
        for (name, bytes) in [
            ("tls_version", tls.and_then(|tls| tls.version())),
            ("tls_cipher", tls.and_then(|tls| tls.cipher())),
            ("verified_common_name", tls.and_then(|tls| tls.verified_common_name())),
            ("authority", self.authority().map(str::as_bytes)),
            ("alpn", self.alpn()),
        ] {
            if let Some(bytes) = bytes {
                map.serialize_entry(name, &String::from_utf8_lossy(bytes))?;
            }
        }
        if let Some(id) = self.unique_id() {
            map.serialize_entry("unique_id", &Hex(id))?;
        }
        map.end()
    }
}

/// As its [`ClientIdentity`].
impl Serialize for Client {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.identity().serialize(serializer)
    }
}

/// As an object with `own`, the code, and `peer`.
impl Serialize for ProxyOwn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("own", self.why().code())?;
        map.serialize_entry("peer", &self.peer())?;
        map.end()
    }
}

/// As whichever it is: an object with `client`, or one with `own`.
impl Serialize for Caller {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Client(client) => client.serialize(serializer),
            Self::ProxyOwn(own) => own.serialize(serializer),
        }
    }
}

/// As a list of networks: `["192.0.2.10/32", "2001:db8:7::/64"]`.
impl Serialize for NetworkSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Shown))
    }
}

/// As a list of networks: `["192.0.2.10/32", "2001:db8:7::/64"]`.
impl Serialize for TrustedNetworks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Shown))
    }
}

/// A list of addresses and networks, read by [`TrustedNetworks::parse`], with its errors: everybody is refused.
impl<'de> Deserialize<'de> for TrustedNetworks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(deserializer.deserialize_seq(Entries)?).map_err(D::Error::custom)
    }
}

/// A list of addresses and networks, which may be any: a set by itself trusts nobody.
impl<'de> Deserialize<'de> for NetworkSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(deserializer.deserialize_seq(Entries)?).map_err(D::Error::custom)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of addresses (\"192.0.2.10\") and networks (\"192.0.2.0/24\")")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        // Not as many at once as a stranger may announce.
        let mut entries = Vec::new();
        while let Some(entry) = seq.next_element()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

struct Shown<T>(T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
