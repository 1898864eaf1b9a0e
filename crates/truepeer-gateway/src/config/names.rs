//! `proxy.trusted-names`: proxies that are trusted by name, wherever their addresses move.
//!
//! Nothing is looked up here; the keeper does that, and `truepeer check` once.

use std::sync::Arc;

use crate::facts::network::parse_network;

use super::addresses::is_host_name;
use super::problem::Problem;
use super::read::Reader;
use super::tree::Found;

/// Names in one list; each costs a look-up every few seconds.
const MOST: usize = 64;

/// One trusted name, and where the file says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedName {
    /// The host name.
    pub name: Arc<str>,
    /// The key.
    pub key: Arc<str>,
    /// The line.
    pub line: usize,
}

/// Reads the list, each name once. An empty one and `"off"` mean that nobody is trusted by name.
pub(super) fn read<'t>(reader: &mut Reader<'t>, found: &'t Found<'t>) -> Vec<TrustedName> {
    let texts = reader.strings_of(found);
    if let [only] = texts.as_slice()
        && only.text == "off"
    {
        return Vec::new();
    }
    let key: Arc<str> = Arc::from(found.key.as_str());
    let mut names: Vec<TrustedName> = Vec::with_capacity(texts.len());
    for text in &texts {
        match parse(text.text) {
            Ok(name) if names.iter().any(|known| *known.name == *name) => {}
            Ok(name) => {
                let line = reader.lines.number(text.at.start);
                names.push(TrustedName { name: name.into(), key: Arc::clone(&key), line });
            }
            Err(help) => reader.problem(
                Problem::new(format!("`{}`: {:?} is no host name", found.key, text.text))
                    .at(text.at.clone(), "the name of a proxy is needed here")
                    .help(help),
            ),
        }
    }
    if names.len() > MOST {
        reader.problem(
            Problem::new(format!("`{}` has {} names", found.key, names.len()))
                .at(found.value.span(), format!("at most {MOST}"))
                .help("give the proxies one name with all of their addresses, or list their networks"),
        );
    }
    names
}

/// The name in lower case, without the dot at its end; the error is what to write instead.
fn parse(text: &str) -> Result<String, &'static str> {
    const LONGEST_LABEL: usize = 63;
    if parse_network(text).is_ok() {
        return Err("addresses and networks belong into `proxy.trusted-networks`");
    }
    if text == "off" {
        return Err("`\"off\"` stands alone");
    }
    if text.contains('*') {
        return Err("a pattern cannot be looked up: list each proxy's own name");
    }
    if text.contains(':') {
        return Err("a name has no port here: the proxy may connect from any");
    }
    let looks_like_an_address = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let name = text.strip_suffix('.').unwrap_or(text);
    if looks_like_an_address
        || !is_host_name(text)
        || name.split('.').any(|label| label.len() > LONGEST_LABEL)
    {
        return Err("write it as `\"traefik\"` or `\"proxy.example.org\"`");
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_people_write_them() {
        for (text, name) in [
            ("traefik", "traefik"),
            ("tasks.haproxy", "tasks.haproxy"),
            ("Proxy.Example.ORG.", "proxy.example.org"),
            ("my_proxy", "my_proxy"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(name), "{text}");
        }
        for (text, help) in [
            ("192.0.2.10", "trusted-networks"),
            ("10.0.0.0/8", "trusted-networks"),
            ("::1", "trusted-networks"),
            ("*.example.org", "pattern"),
            ("traefik:8080", "no port"),
            ("two words", "write it as"),
            ("-x", "write it as"),
            ("1.2.3", "write it as"),
            ("", "write it as"),
            (&"x".repeat(64), "write it as"),
            ("off", "alone"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(help), "{text}: {error}");
        }
    }
}
