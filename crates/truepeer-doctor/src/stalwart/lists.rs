//! Lists of networks in every spelling that Stalwart's documentation has had, and what Stalwart makes of each entry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::flat::{Assignment, Position, Syntax};

/// A list as it was written.
#[derive(Debug, Clone, Default)]
pub struct Written<'e> {
    /// Its entries, in the order of the file.
    pub items: Vec<Item<'e>>,
    /// Where it is written that the list is empty.
    pub empty: Option<&'e Position>,
    /// What is under the key and no entry of a list.
    pub strange: Vec<&'e Assignment>,
}

/// One entry of a list.
#[derive(Debug, Clone, Copy)]
pub struct Item<'e> {
    /// The entry itself.
    pub text: &'e str,
    /// Where it stands.
    pub place: &'e Position,
    /// How it is spelled.
    pub spelled: Spelled,
}

/// How an entry of a list is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelled {
    /// `key = "x"`
    Single,
    /// `key = ["x"]`
    List,
    /// `key.0 = "x"`
    Indexed,
    /// `key = {"x"}`
    Set,
    /// `[key]` and `"x" = ""`
    Table,
}

impl Spelled {
    /// Whether it is one of a set, by either spelling.
    #[must_use]
    pub fn is_set(self) -> bool {
        matches!(self, Self::Set | Self::Table)
    }
}

/// The list of that key.
#[must_use]
pub fn written<'e>(entries: &'e [Assignment], key: &str) -> Written<'e> {
    let mut list = Written::default();
    for entry in entries {
        let Some(tail) = entry.key.strip_prefix(key) else { continue };
        let place = &entry.place;
        let mut push = |text: &'e str, spelled| list.items.push(Item { text, place, spelled });
        let Some(tail) = tail.strip_prefix('.') else {
            match (tail, entry.form) {
                ("", Syntax::Empty) => list.empty = Some(place),
                ("", _) => push(&entry.value, Spelled::Single),
                _ => {} // another key that begins alike
            }
            continue;
        };
        let index = !tail.is_empty() && tail.bytes().all(|byte| byte.is_ascii_digit());
        match entry.form {
            Syntax::Element if index => push(&entry.value, Spelled::List),
            Syntax::Member => push(tail, Spelled::Set),
            Syntax::Value if index => push(&entry.value, Spelled::Indexed),
            Syntax::Value if matches!(entry.value.as_str(), "" | "true") => push(tail, Spelled::Table),
            _ => list.strange.push(entry),
        }
    }
    list
}

/// What Stalwart makes of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// The network, and what of it is not what it looks like.
    Network(IpNet, Vec<String>),
    /// Nothing, for this reason.
    Nothing(String),
}

/// The shortest prefix that Stalwart takes, in both families.
const SHORTEST: u8 = 8;

/// Reads an entry as Stalwart does.
#[must_use]
pub fn made_of(text: &str) -> Made {
    let nothing = |why: &str| Made::Nothing(why.to_owned());
    if text.trim().is_empty() {
        return nothing(
            "an empty string is no network: the page it was copied from lost its networks; write your proxy's address",
        );
    }
    if text.contains("%{") {
        return nothing("the value comes from elsewhere (a macro) and is not known here");
    }
    if let Ok(addr) = text.parse::<IpAddr>() {
        if addr.is_unspecified() {
            return nothing(
                "to Stalwart this is exactly that address and no wildcard, so nobody is meant by it",
            );
        }
        return Made::Network(addr.to_canonical().into(), Vec::new());
    }
    let Ok(network) = text.parse::<IpNet>() else {
        let name = if is_name(text) { "; here `proxy.trusted-names` looks names up" } else { "" };
        return Made::Nothing(format!(
            "no address and no network: Stalwart says `Invalid IP address \"{}\"`, drops it and runs on{name}",
            text.escape_debug()
        ));
    };
    if network.prefix_len() < SHORTEST {
        return nothing(
            "Stalwart takes no prefix shorter than 8, says `Invalid IP address`, drops it and runs on; truepeer \
             would take it at its word, so write it yourself if that is meant",
        );
    }
    let mut told = Vec::new();
    if network.trunc() != network {
        told.push(format!(
            "the bits behind the prefix are ignored without a word: this is all of {}",
            network.trunc()
        ));
    }
    let network = network.trunc();
    match network {
        IpNet::V6(v6) if v6.contains(&mapped()) && v6 != mapped() => told.push(
            "to Stalwart this holds every IPv4 address, too; here it holds IPv6 addresses only".to_owned(),
        ),
        IpNet::V4(v4) if v4.contains(&Ipv4Addr::new(0, 0, 0, 1)) => {
            told.push("to Stalwart this holds ::1, too; here it holds IPv4 addresses only".to_owned());
        }
        _ => {}
    }
    let folded = match network {
        IpNet::V6(v6) => v6
            .addr()
            .to_ipv4_mapped()
            .zip(v6.prefix_len().checked_sub(MAPPED_BITS))
            .and_then(|(addr, len)| Ipv4Net::new(addr, len).ok())
            .map_or(network, IpNet::V4),
        IpNet::V4(_) => network,
    };
    Made::Network(folded, told)
}

/// A name of a proxy, as containers have them.
fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

const MAPPED_BITS: u8 = 96;

/// IPv4 within IPv6.
fn mapped() -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), MAPPED_BITS)
}

/// As people write it: a single address without a prefix.
#[must_use]
pub fn shown(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}
