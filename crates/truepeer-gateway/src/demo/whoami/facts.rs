//! An identity in words: one sentence for people, `name=value` words for programs.
//!
//! Pure. Every text is printable ASCII without quotes or backslashes whatever the header carried, so that it may stand
//! in a line of any protocol.

use std::fmt::Write as _;

use truepeer::{ClientIdentity, IdentitySource, Role, Tls};

/// The most bytes of one value from the wire that are repeated.
const MAX_VALUE: usize = 64;

/// Who you are, through whom, and why that is believed.
pub(super) fn sentence(identity: &ClientIdentity) -> String {
    let peer = identity.peer();
    let who = match identity.role() {
        Role::Client(client) => {
            let how = match identity.tls() {
                Some(tls) => format!("over {}", tls_version(&tls)),
                None => "in clear text".to_owned(),
            };
            format!("you are {client}, connected through {peer}, {how}")
        }
        Role::ProxyOwn(own) => {
            format!("you are the proxy {peer} itself and speak for nobody ({})", own.code())
        }
    };
    let because = match identity.source() {
        IdentitySource::Header(_) => {
            let version = identity.source().code();
            format!("the peer is in the trusted networks and sent a {version} header")
        }
        _ => "it is the address of the connection itself".to_owned(),
    };
    format!("{who} (I believe it because {because})")
}

/// The same and more as `name=value`, in a fixed order. Values have no spaces; bytes that are no plain character are
/// written as `%XX`. `client` and `destination` are `none` where none was told.
pub(super) fn words(identity: &ClientIdentity) -> Vec<String> {
    let or_none = |endpoint: Option<truepeer::Endpoint>| {
        endpoint.map_or_else(|| "none".to_owned(), |endpoint| endpoint.to_string())
    };
    let mut words = vec![
        format!("client={}", or_none(identity.client())),
        format!("peer={}", plain(identity.peer().to_string().as_bytes())),
        format!("destination={}", or_none(identity.destination())),
        format!("source={}", identity.source().code()),
    ];
    if let Role::ProxyOwn(own) = identity.role() {
        words.push(format!("own={}", own.code()));
    }
    match identity.tls() {
        None => words.push("tls=none".to_owned()),
        Some(tls) => {
            words.push(format!("tls={}", tls_version(&tls)));
            words.extend(tls.cipher().map(|cipher| format!("cipher={}", plain(cipher))));
            words.extend(tls.verified_common_name().map(|name| format!("common_name={}", plain(name))));
        }
    }
    words.extend(identity.authority().map(|name| format!("authority={}", plain(name.as_bytes()))));
    words.extend(identity.alpn().map(|name| format!("alpn={}", plain(name))));
    words.extend(identity.unique_id().map(|id| format!("id={}", plain(id))));
    words
}

fn tls_version(tls: &Tls<'_>) -> String {
    tls.version().map_or_else(|| "TLS".to_owned(), plain)
}

/// `value` as one word that cannot break a line, a quoted string or a list of words.
fn plain(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len().min(MAX_VALUE));
    for byte in value.iter().take(MAX_VALUE) {
        // The square brackets are those of an address literal.
        if byte.is_ascii_alphanumeric() || b".-_:/@+*,=[]".contains(byte) {
            text.push(char::from(*byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The value of the fact `name` in what the built-in backend said, in whichever protocol.
    pub(crate) fn fact<'a>(said: &'a str, name: &str) -> Option<&'a str> {
        said.split([' ', '\r', '\n', '"'])
            .map(|word| word.strip_prefix("250-").unwrap_or(word))
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    #[test]
    fn a_value_stays_one_plain_word() {
        for (value, word) in [
            (&b"TLS_AES_128_GCM_SHA256"[..], "TLS_AES_128_GCM_SHA256"),
            (b"[2001:db8::7]:25", "[2001:db8::7]:25"),
            (b"a b\"c\\d\r\n250 ok", "a%20b%22c%5Cd%0D%0A250%20ok"),
            (b"\0\xff%", "%00%FF%25"),
            (b"", ""),
        ] {
            assert_eq!(plain(value), word);
        }
        assert_eq!(plain(&[b'x'; 1000]).len(), MAX_VALUE);
    }

    #[test]
    fn a_fact_is_found_in_every_language_and_only_under_its_own_name() {
        for said in [
            "250-client=203.0.113.7:4711\r\n250 OK\r\n",
            "* OK client=203.0.113.7:4711\r\na OK done\r\n",
            "\"XWHOAMI\" \"client=203.0.113.7:4711 peer=x\"\r\n",
            "x\nclient=203.0.113.7:4711\n",
        ] {
            assert_eq!(fact(said, "client"), Some("203.0.113.7:4711"), "{said}");
            assert_eq!(fact(said, "ient"), None);
            assert_eq!(fact(said, "clien"), None);
        }
    }
}
