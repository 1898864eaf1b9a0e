//! Lists of networks: how people write them, and what a list means that they may not have meant.
//!
//! [`read`] is for `trusted-networks`, the one setting that decides who may speak for others: a list that cannot be
//! read is an error, never "everybody" and never "nobody". [`clients`] is for lists of clients.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use toml::de::{DeTable, DeValue};
use truepeer::{Nat64Prefix, TrustedNetworks, UnixPeers};

use crate::facts::network::parse_written;

use super::TrustedNetwork;
use super::names::TrustedName;
use super::problem::Problem;
use super::read::{Reader, Text};
use super::tree::{Found, Owner};

/// Who is in a list.
#[derive(Debug, Clone, Default)]
pub(super) struct NetworkList {
    /// The networks.
    pub(super) networks: TrustedNetworks,
    /// The same, with their places.
    pub(super) lines: Vec<TrustedNetwork>,
    /// Whether the word `"unix"` is in it.
    pub(super) unix: UnixPeers,
    /// Who is trusted by name.
    pub(super) names: Vec<TrustedName>,
}

impl NetworkList {
    /// Whether no TCP peer is ever trusted.
    pub(super) fn is_nobody(&self) -> bool {
        self.networks.is_empty() && self.names.is_empty()
    }
}

/// Whose addresses a list is made of, for advice.
#[derive(Debug, Clone, Copy)]
enum Whose {
    Proxy,
    Client,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proxy => "your proxy's",
            Self::Client => "the client's",
        })
    }
}

/// Reads a list of networks and says what is surprising about it.
pub(super) fn read<'t>(
    reader: &mut Reader<'t>,
    found: &'t Found<'t>,
    gateways: &[IpAddr],
) -> Option<NetworkList> {
    let texts = match found.value.get_ref() {
        DeValue::Table(table) if table.is_empty() => Vec::new(),
        DeValue::Table(table) => {
            let problem = reader.wrong_problem(found, found.value).help(as_list(found, table));
            reader.problem(problem);
            return None;
        }
        _ => reader.strings(found)?,
    };
    if texts.is_empty() {
        reader.problem(
            Problem::new(format!("`{}` is empty", found.key))
                .at(found.value.span(), "no network here")
                .help(format!("if nobody is to be trusted, say so: `{} = \"off\"`", last(&found.key))),
        );
        return None;
    }
    if let Some(problem) = lost_networks(found, &texts) {
        reader.problem(problem);
        return None;
    }
    if let Some(off) = texts.iter().find(|text| text.text == "off") {
        if texts.len() > 1 {
            reader.problem(
                Problem::new(format!("`{}` is both off and on", found.key))
                    .at(off.at.clone(), "`\"off\"` stands alone")
                    .help("remove it, or remove the networks beside it"),
            );
            return None;
        }
        return Some(NetworkList::default());
    }
    let mut list = Some(NetworkList::default());
    let mut lines = Vec::new();
    let key: Arc<str> = Arc::from(found.key.as_str());
    for text in &texts {
        let taken = match text.text {
            "unix" if found.owner == Owner::Global => {
                reader.problem(
                    Problem::new("`\"unix\"` is trusted by single listeners only")
                        .at(text.at.clone(), "not in the server-wide list")
                        .note("the peers of a UNIX socket have no address, so this word is never inherited")
                        .help("put it into `proxy.trusted-networks` of the listener with the `unix:` bind"),
                );
                None
            }
            "unix" => {
                if let Some(list) = &mut list {
                    list.unix = UnixPeers::Trusted;
                }
                Some(())
            }
            _ => network(reader, found, text, gateways).map(|network| {
                let line = reader.lines.number(text.at.start);
                lines.push(TrustedNetwork { network, key: Arc::clone(&key), line });
            }),
        };
        if taken.is_none() {
            list = None;
        }
    }
    let networks = lines.iter().map(|said| said.network).collect();
    list.map(|list| NetworkList { networks, lines, ..list })
}

/// Reads a list of clients' networks. It may be empty: nobody is in it.
pub(super) fn clients<'t>(reader: &mut Reader<'t>, found: &'t Found<'t>) -> Option<Vec<IpNet>> {
    let texts = match found.value.get_ref() {
        DeValue::Table(table) if !table.is_empty() => {
            let problem = reader.wrong_problem(found, found.value).help(as_list(found, table));
            reader.problem(problem);
            return None;
        }
        _ => reader.strings(found)?,
    };
    let mut networks = Some(Vec::with_capacity(texts.len()));
    for text in &texts {
        match parse(text.text, Whose::Client) {
            Ok(written) => {
                advise_host_bits(reader, &found.key, text, written);
                if let Some(networks) = &mut networks {
                    networks.push(written.trunc());
                }
            }
            Err(help) => {
                reader.problem(not_a_network(found, text).help(help));
                networks = None;
            }
        }
    }
    networks
}

/// Reads the prefixes of translators. It may be empty: there are none.
pub(super) fn nat64<'t>(reader: &mut Reader<'t>, found: &'t Found<'t>) -> Vec<Nat64Prefix> {
    let mut prefixes = Vec::new();
    for text in reader.strings_of(found) {
        match text.text.parse() {
            Ok(prefix) => prefixes.push(prefix),
            Err(error) => {
                let title = format!("`{}`: {:?} is no prefix of a translator", found.key, text.text);
                reader.problem(
                    Problem::new(title).at(text.at.clone(), "not one of RFC 6052").help(format!("{error}")),
                );
            }
        }
    }
    prefixes
}

fn not_a_network(found: &Found<'_>, text: &Text<'_>) -> Problem {
    Problem::new(format!("`{}`: {:?} is not a network", found.key, text.text))
        .at(text.at.clone(), "an address, or an address with a prefix length, is needed here")
}

fn network(
    reader: &mut Reader<'_>,
    found: &Found<'_>,
    text: &Text<'_>,
    gateways: &[IpAddr],
) -> Option<IpNet> {
    match parse(text.text, Whose::Proxy) {
        Ok(network) => {
            advise(reader, &found.key, text, network, gateways);
            Some(network.trunc())
        }
        Err(help) => {
            reader.problem(not_a_network(found, text).help(help));
            None
        }
    }
}

/// The network as written, host bits and all; v4-mapped IPv6 is folded. The error is what to do instead.
fn parse(text: &str, whose: Whose) -> Result<IpNet, String> {
    let written = parse_written(text).map_err(|_| instead_of(text, whose))?;
    if written.addr().is_unspecified() && !text.contains('/') {
        return Err(format!("`{text}` is no host's address and no wildcard; write {whose} address"));
    }
    Ok(written)
}

/// What to write instead of something that is no network.
fn instead_of(text: &str, whose: Whose) -> String {
    if text.contains([',', ' ', ';']) {
        return "each network has quotes of its own: `[\"192.0.2.10\", \"192.0.2.11\"]`".to_owned();
    }
    if let Some((addr, len)) = text.split_once('/') {
        let bits = match addr.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => Some(32),
            Ok(IpAddr::V6(_)) => Some(128),
            Err(_) => None,
        };
        if let Some(bits) = bits {
            return match len.parse::<Ipv4Addr>() {
                Ok(_) => "write a netmask as prefix length: `/24` for 255.255.255.0".to_owned(),
                Err(_) => format!("the prefix length of this address is a number from 0 to {bits}"),
            };
        }
    }
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return format!("a network has no port: write `\"{}\"`", socket.ip());
    }
    if text.bytes().any(|byte| byte.is_ascii_alphabetic()) && !text.contains(':') {
        return match whose {
            Whose::Proxy => "names are not looked up here: they stand in `proxy.trusted-names`, which follows their addresses; or write your proxy's address, such as `\"192.0.2.10\"`".to_owned(),
            Whose::Client => format!("names are not looked up here: write {whose} address, such as `\"192.0.2.10\"`"),
        };
    }
    "write it as `\"192.0.2.10\"`, `\"192.0.2.0/28\"` or `\"2001:db8::/64\"`".to_owned()
}

/// Says what a valid network means where that may surprise.
fn advise(reader: &mut Reader<'_>, key: &str, text: &Text<'_>, written: IpNet, gateways: &[IpAddr]) {
    let network = written.trunc();
    let single = network.prefix_len() == network.max_prefix_len();
    let name = if single { network.addr().to_string() } else { network.to_string() };
    advise_host_bits(reader, key, text, written);
    let mut say = |advice: String| reader.advise(key, &text.at, advice);
    if network.prefix_len() == 0 {
        let family = if matches!(network, IpNet::V4(_)) { "IPv4" } else { "IPv6" };
        say(format!(
            "`{name}` is every {family} address: anybody on the internet can claim to be any client; list your \
             proxies instead"
        ));
        return;
    }
    if holds_loopback(&network) {
        say(format!(
            "`{name}` holds loopback: every process on this machine can claim to be any client; keep it only if \
             the proxy runs here and nothing else does that you would not trust with that"
        ));
    }
    if let Some(gateway) = gateways.iter().find(|gateway| network.contains(&gateway.to_canonical())) {
        say(format!(
            "`{name}` holds {gateway}, a default gateway of this machine: in a container, everybody whom the host \
             forwards arrives from that address and can claim to be any client; list the proxy's own address, or put \
             proxy and truepeer on a network of their own and publish no port of truepeer's, or give truepeer the \
             host's network"
        ));
    } else if let Some(hosts) = private_lan(&network) {
        say(format!(
            "`{name}` is {hosts} of a private network: every machine and container in it can claim to be any \
             client; list the proxies' own addresses"
        ));
    }
    if public_and_wide(&network) {
        say(format!(
            "`{name}` is a wide part of the internet: everybody who has or rents an address in it can claim to be \
             any client; list the proxies' own addresses"
        ));
    }
}

fn advise_host_bits(reader: &mut Reader<'_>, key: &str, text: &Text<'_>, written: IpNet) {
    let network = written.trunc();
    if network != written {
        let addr = written.addr();
        reader.advise(
            key,
            &text.at,
            format!(
                "`{}` means the whole of `{network}`; write that, or `{addr}` for this one address",
                text.text
            ),
        );
    }
}

fn holds_loopback(network: &IpNet) -> bool {
    let v4: IpNet = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into();
    network.contains(&IpAddr::V6(Ipv6Addr::LOCALHOST)) || network.contains(&v4) || v4.contains(network)
}

/// The blocks that no host on the internet has.
fn in_private_space(network: &IpNet) -> bool {
    let addr = network.addr();
    let widest = match addr {
        IpAddr::V4(addr) => match addr.octets() {
            [10, ..] | [127, ..] => 8,
            [172, 16..=31, ..] => 12,
            [192, 168, ..] | [169, 254, ..] => 16,
            [100, 64..=127, ..] => 10,
            _ => return false,
        },
        IpAddr::V6(addr) if addr.is_unique_local() => 7,
        IpAddr::V6(addr) if addr.is_unicast_link_local() => 10,
        IpAddr::V6(_) => return false,
    };
    network.prefix_len() >= widest
}

/// How much of a private network this is, if it is one at large and not a few hosts of it.
fn private_lan(network: &IpNet) -> Option<String> {
    if !in_private_space(network) || holds_loopback(network) {
        return None;
    }
    match network {
        IpNet::V4(v4) if v4.prefix_len() <= 24 => {
            let bits = u32::from(32_u8.saturating_sub(v4.prefix_len()));
            Some(format!("{} addresses", 1_u64.checked_shl(bits)?))
        }
        IpNet::V6(v6) if v6.prefix_len() <= 64 => Some("all".to_owned()),
        _ => None,
    }
}

fn public_and_wide(network: &IpNet) -> bool {
    let widest_fair = if matches!(network, IpNet::V4(_)) { 16 } else { 32 };
    !in_private_space(network) && network.prefix_len() < widest_fair
}

/// The problem of a page that lost its networks on the way: empty strings where they were.
fn lost_networks(found: &Found<'_>, texts: &[Text<'_>]) -> Option<Problem> {
    let mut empty = texts.iter().filter(|text| text.text.trim().is_empty());
    let first = empty.next()?;
    let problem = Problem::new(format!("`{}` holds an empty string", found.key))
        .at(first.at.clone(), "a network is missing here")
        .help("the page you copied from lost its networks here: write your proxy's address, such as `\"192.0.2.10\"`");
    Some(empty.fold(problem, |problem, text| problem.also(text.at.clone(), "and here")))
}

/// A table of networks, as Stalwart's files hold them, as the list that is meant.
fn as_list(found: &Found<'_>, table: &DeTable<'_>) -> String {
    let mut words = Vec::new();
    for (key, value) in table {
        let key = key.get_ref();
        match value.get_ref() {
            // `0000 = "192.0.2.10"`: an indexed list.
            DeValue::String(text) if !text.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit()) => {
                words.push(text.as_ref());
            }
            // `"192.0.2.10" = ""` or `= true`: a set.
            _ if parse(key, Whose::Client).is_ok() => words.push(key.as_ref()),
            _ => {
                return "networks are written as a list here, `[\"192.0.2.10\", \"2001:db8::10\"]`"
                    .to_owned();
            }
        }
    }
    format!("write it as a list: `{} = {words:?}`", last(&found.key))
}

/// The key as it stands in its own section.
fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_as_people_write_them() {
        for (text, network) in [
            ("192.0.2.10", "192.0.2.10/32"),
            ("192.0.2.0/28", "192.0.2.0/28"),
            ("2001:db8::10", "2001:db8::10/128"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("fc00::/7", "fc00::/7"),
        ] {
            assert_eq!(parse(text, Whose::Proxy), Ok(network.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_no_network_says_what_to_write() {
        for (text, help) in [
            ("0.0.0.0", "no wildcard"),
            ("::", "no wildcard"),
            ("10.0.0.1, 10.0.0.2", "quotes of its own"),
            ("10.0.0.0/33", "0 to 32"),
            ("2001:db8::/129", "0 to 128"),
            ("10.0.0.0/255.0.0.0", "prefix length"),
            ("192.0.2.1:25", "no port"),
            ("haproxy", "not looked up"),
            ("localhost/8", "not looked up"),
            ("10.0.0", "write it as"),
        ] {
            let error = parse(text, Whose::Proxy).unwrap_err();
            assert!(error.contains(help), "{text}: {error}");
        }
    }

    #[test]
    fn wide_lists_are_told_apart() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        for (text, loopback, lan, wide) in [
            ("127.0.0.1/32", true, false, false),
            ("127.0.0.0/8", true, false, false),
            ("::1/128", true, false, false),
            ("10.0.0.0/8", false, true, false),
            ("192.168.1.0/24", false, true, false),
            ("192.168.1.7/32", false, false, false),
            ("172.16.0.0/12", false, true, false),
            ("fd00::/8", false, true, false),
            ("fd00:1:2:3::4/128", false, false, false),
            ("198.51.0.0/16", false, false, false),
            ("198.0.0.0/8", false, false, true),
            ("8.0.0.0/5", false, false, true),
            ("64.0.0.0/2", true, false, true),
            ("2001:db8::/32", false, false, false),
            ("2000::/3", false, false, true),
        ] {
            let network = net(text);
            assert_eq!(holds_loopback(&network), loopback, "{text} loopback");
            assert_eq!(private_lan(&network).is_some(), lan, "{text} lan");
            assert_eq!(public_and_wide(&network), wide, "{text} wide");
        }
    }
}
