//! `proxy.hop-networks`: proxies that may stand inside a chain of headers, each by its exact address.
//!
//! A wider entry is an error: anyone who has an address in it could put a header of its own behind the proxy's.

use std::net::IpAddr;

use ipnet::IpNet;
use truepeer::NetworkSet;

use crate::facts::network::parse_written;

use super::problem::Problem;
use super::read::{Reader, Text};
use super::tree::Found;

/// Reads the list. An empty one and `"off"` mean that no header may follow another.
pub(super) fn read<'t>(reader: &mut Reader<'t>, found: &'t Found<'t>) -> NetworkSet {
    let texts = reader.strings_of(found);
    if let [only] = texts.as_slice()
        && only.text == "off"
    {
        return NetworkSet::default();
    }
    let mut hops = Vec::with_capacity(texts.len());
    for text in &texts {
        match parse(text.text) {
            Ok(addr) => hops.push(IpNet::from(addr)),
            Err(problem) => reader.problem(explain(found, text, problem)),
        }
    }
    hops.into_iter().collect()
}

/// Why an entry is none.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wrong {
    /// It is a network of so many.
    Wide(IpNet),
    /// It is the word for none, beside others.
    Off,
    /// It is no address.
    NoAddress,
}

fn parse(text: &str) -> Result<IpAddr, Wrong> {
    match parse_written(text) {
        Ok(network) if network.prefix_len() < network.max_prefix_len() => Err(Wrong::Wide(network)),
        Ok(network) if network.addr().is_unspecified() => Err(Wrong::NoAddress),
        Ok(network) => Ok(network.addr()),
        Err(_) if text == "off" => Err(Wrong::Off),
        Err(_) => Err(Wrong::NoAddress),
    }
}

fn explain(found: &Found<'_>, text: &Text<'_>, wrong: Wrong) -> Problem {
    let title = |what: &str| Problem::new(format!("`{}`: {:?} {what}", found.key, text.text));
    let at = text.at.clone();
    match wrong {
        Wrong::Wide(_) => title("is wider than one address")
            .at(at, "the exact address of one proxy is needed here")
            .note("every client with an address in it could send a header of its own behind the proxy's, and be believed")
            .help("list each proxy by its address, such as `\"192.0.2.20\"`"),
        Wrong::Off => Problem::new(format!("`{}` is both off and on", found.key))
            .at(at, "`\"off\"` stands alone")
            .help("remove it, or remove the addresses beside it"),
        Wrong::NoAddress => title("is no address of a proxy")
            .at(at, "the exact address of one proxy is needed here")
            .help("write it as `\"192.0.2.20\"` or `\"2001:db8::20\"`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_addresses_are_proxies_on_the_way() {
        let addr = |text: &str| text.parse::<IpAddr>().unwrap();
        for (text, parsed) in [
            ("192.0.2.20", Ok(addr("192.0.2.20"))),
            ("192.0.2.20/32", Ok(addr("192.0.2.20"))),
            ("::ffff:192.0.2.20", Ok(addr("192.0.2.20"))),
            ("2001:db8::20/128", Ok(addr("2001:db8::20"))),
            ("192.0.2.0/31", Err(Wrong::Wide("192.0.2.0/31".parse().unwrap()))),
            ("0.0.0.0/0", Err(Wrong::Wide("0.0.0.0/0".parse().unwrap()))),
            ("0.0.0.0", Err(Wrong::NoAddress)),
            ("haproxy", Err(Wrong::NoAddress)),
            ("off", Err(Wrong::Off)),
        ] {
            assert_eq!(parse(text), parsed, "{text}");
        }
    }
}
